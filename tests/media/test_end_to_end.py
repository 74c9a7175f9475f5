"""Two aiortc peers through the real core over loopback: real ICE, DTLS, SRTP; decoded frames arrive at both."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from media.config import MediaSettings
from media.node import MediaNode
from media.types import ConnectionChanged, ConnectionState, RoomId
from tests.media.people import Person, gather_loopback_only

ROOM = RoomId("session_1")
ANN_CHROMA, BOB_CHROMA = 60, 200


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MediaNode]:
    gather_loopback_only(monkeypatch)
    node = MediaNode(MediaSettings(threads=2, bind=("127.0.0.1",), udp_port=0, development=True))
    await node.start()
    yield node
    await node.close()


@pytest.fixture
async def pair(node: MediaNode) -> AsyncIterator[tuple[Person, Person]]:
    ann = Person(node, ROOM, "ann", chroma=ANN_CHROMA, pitch_hz=440)
    bob = Person(node, ROOM, "bob", chroma=BOB_CHROMA, pitch_hz=880)
    yield ann, bob
    await ann.close()
    await bob.close()


async def test_each_decodes_the_others_pictures_and_sound(node: MediaNode, pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    await ann.join()
    await bob.join()
    async with asyncio.timeout(15):
        await ann.connected.wait()
        await bob.connected.wait()
        for person, chroma in ((ann, BOB_CHROMA), (bob, ANN_CHROMA)):
            for _ in range(10):
                frame = await person.frames.get()
            assert (frame.width, frame.height) == (320, 240)
            assert abs(float(frame.to_ndarray(format="yuv420p")[245:295].mean()) - chroma) < 8
            loudest = 0
            for _ in range(25):
                sound = await person.sounds.get()
                loudest = max(loudest, int(abs(sound.to_ndarray()).max()))
            assert loudest > 4_000
    stats = node.stats()
    assert stats["rooms"] == 1
    assert stats["repeat_refused"] == 0


async def test_a_second_person_is_seen_without_a_new_offer(pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    await ann.join()
    async with asyncio.timeout(10):
        await ann.connected.wait()
        await bob.join()
        await ann.frames.get()


async def test_a_closed_connection_is_noticed_at_once(node: MediaNode, pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    await ann.join()
    await bob.join()
    async with asyncio.timeout(10):
        await ann.frames.get()
        await bob.frames.get()
        ended = asyncio.Event()
        closed = ConnectionChanged(ROOM, bob.name, ConnectionState.closed)
        node.add_listener(lambda event: ended.set() if event == closed else None)
        await bob.connection.close()
        await ended.wait()
