"""The waiting room's network test: on a room of its own, one per person, bounded, and nobody else's."""

import asyncio
from pathlib import Path

import pytest

from control import network_test
from control.errors import Conflict, Unavailable
from control.keys import NETWORK_TESTS
from control.network_test import End, NetworkTests
from media.errors import MediaError
from media.types import Answer, Offer, ParticipantId, RoomId, TrackSource
from tests.helpers.practice import Site, World

SDP = (Path(__file__).parents[1] / "data" / "offer_chromium_156.sdp").read_bytes().decode()
SOURCES = {"0": "microphone", "1": "camera"}


class Rooms:
    """Who is in which media room."""

    def __init__(self) -> None:
        self.full = False
        self.inside: dict[RoomId, dict[ParticipantId, frozenset[TrackSource]]] = {}

    async def join(self, room: RoomId, participant: ParticipantId, *, may_publish: frozenset[TrackSource]) -> None:
        if self.full:
            raise MediaError("no room")
        self.inside.setdefault(room, {})[participant] = may_publish

    async def negotiate(self, room: RoomId, participant: ParticipantId, offer: Offer) -> Answer:
        return Answer(offer.revision, f"{participant} of {room}")

    async def close_room(self, room: RoomId) -> None:
        self.inside.pop(room, None)


async def test_each_test_has_a_room_of_its_own_and_a_new_one_ends_the_last(world: World) -> None:
    view = await world.confirmed()
    rooms = Rooms()
    tests = NetworkTests(world.db, rooms)
    await tests.begin(world.bob, view.id)
    (first,) = rooms.inside
    await tests.begin(world.bob, view.id)
    await tests.begin(world.alice, view.id)
    assert len(rooms.inside) == 2
    assert first not in rooms.inside
    assert not any(room.startswith("session_") for room in rooms.inside)
    for inside in rooms.inside.values():
        assert {end: bool(allowed) for end, allowed in inside.items()} == {"send": True, "receive": False}
    await tests.end(world.bob)
    await tests.end(world.bob)
    with pytest.raises(Conflict, match="no_test"):
        await tests.answer(world.bob, End.SEND, SDP, {})
    await tests.close()
    assert rooms.inside == {}


async def test_it_ends_by_itself_and_there_are_not_too_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    view = await world.confirmed()
    rooms = Rooms()
    tests = NetworkTests(world.db, rooms)
    monkeypatch.setattr(network_test, "MOST_AT_ONCE", 1)
    await tests.begin(world.bob, view.id)
    with pytest.raises(Unavailable, match="too_many_tests"):
        await tests.begin(world.alice, view.id)
    (room,) = rooms.inside
    tests._expire(world.bob.person_id, room)
    await tests.close()
    assert rooms.inside == {}
    await tests.begin(world.alice, view.id)
    await tests.close()


async def test_one_that_could_not_begin_takes_nobodys_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    view = await world.confirmed()
    rooms = Rooms()
    tests = NetworkTests(world.db, rooms)
    monkeypatch.setattr(network_test, "MOST_AT_ONCE", 1)
    rooms.full = True
    with pytest.raises(Unavailable, match="media_unavailable"):
        await tests.begin(world.bob, view.id)
    rooms.full = False
    await tests.begin(world.alice, view.id)
    await tests.close()
    assert rooms.inside == {}


async def test_beginning_many_at_once_leaves_one(world: World) -> None:
    view = await world.confirmed()
    rooms = Rooms()
    tests = NetworkTests(world.db, rooms)
    await asyncio.gather(*(tests.begin(world.bob, view.id) for _ in range(5)))
    assert len(rooms.inside) == 1
    await tests.close()


async def test_offer_of_a_browser_is_answered_and_strangers_test_nothing(site: Site) -> None:
    world = site.world
    view = await world.confirmed()
    path = f"/api/appointments/{view.id}/network-test"
    bob = await site.hand_of(world.bob)
    offer = {"end": "send", "sdp": SDP, "sources": SOURCES}
    assert (await bob.post("/api/network-test/offer", offer))[1]["code"] == "no_test"
    status, begun = await bob.post(path)
    assert (status, begun) == (201, {"ice_servers": []})
    status, answer = await bob.post("/api/network-test/offer", offer)
    assert status == 200
    assert answer["sdp"].startswith("v=0")
    assert (await bob.post("/api/network-test/offer", {**offer, "end": "receive", "sdp": "nonsense"}))[0] == 422
    assert (await bob.post("/api/network-test/offer", {**offer, "sources": {"0": "soup"}}))[0] == 422
    for who, begins, offers in (
        (world.charlie, 404, 409),
        (world.erin, 404, 409),
        (world.dana, 403, 409),
        (None, 401, 401),
    ):
        hand = await site.hand_of(who)
        assert (await hand.post(path))[0] == begins
        assert (await hand.post("/api/network-test/offer", offer))[0] == offers
        assert (await hand.delete("/api/network-test"))[0] == (401 if who is None else 204)
    assert (await bob.post("/api/network-test/offer", offer))[0] == 200
    assert (await bob.delete("/api/network-test"))[0] == 204
    await site.app[NETWORK_TESTS].close()
