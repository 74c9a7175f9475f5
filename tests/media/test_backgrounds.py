"""Cameras through the server's blur: private before anything of them is seen, and seen only when a worker shows them.

The core has no packets and the worker no libraries (blur_stand_in.py); the processes and sockets between are real.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from media.blur import workers
from media.config import MediaSettings
from media.node import MediaNode
from media.types import (
    Background,
    BackgroundChanged,
    BackgroundState,
    MediaEvent,
    Offer,
    ParticipantId,
    RoomId,
    SlotsChanged,
    TrackSource,
)
from tests.helpers.fake_core import FakeCore

ROOT = Path(__file__).parents[2]
OFFER = (ROOT / "tests" / "data" / "offer_chromium_156.sdp").read_bytes().decode()
ROOM, ANN, BOB, CEM = RoomId("session_1"), ParticipantId("ann"), ParticipantId("bob"), ParticipantId("cem")
SOURCES = {"0": TrackSource.microphone, "1": TrackSource.camera}
STARTING, ON, OFF, UNAVAILABLE = (
    BackgroundState.starting,
    BackgroundState.on,
    BackgroundState.off,
    BackgroundState.unavailable,
)


class World:
    def __init__(self, settings: MediaSettings) -> None:
        self.core: FakeCore
        self.node = MediaNode(settings, open_core=self._open, blur_model=Path(__file__))  # type: ignore[arg-type]
        self.events: list[MediaEvent] = []
        self._grew = asyncio.Event()
        self.node.add_listener(self._take)

    def _open(self, options: object) -> FakeCore:
        self.core = FakeCore(options)  # type: ignore[arg-type]
        return self.core

    def _take(self, event: MediaEvent) -> None:
        self.events.append(event)
        self._grew.set()

    async def until(self, fits: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not fits():
                self._grew.clear()
                await self._grew.wait()

    async def enter(self, who: ParticipantId, background: Background = Background.off) -> None:
        await self.node.join(ROOM, who, may_publish=frozenset(TrackSource))
        if background is not Background.off:
            await self.node.set_background(ROOM, who, background)
        await self.node.negotiate(ROOM, who, Offer(1, OFFER, SOURCES))

    async def state(self, who: ParticipantId, wanted: BackgroundState) -> None:
        await self.until(lambda: self.told(who)[-1:] == [wanted])

    def told(self, who: ParticipantId) -> list[BackgroundState]:
        return [e.state for e in self.events if isinstance(e, BackgroundChanged) and e.participant == who]

    def sees_veiled(self, who: ParticipantId) -> bool:
        views = [event.slots for event in self.events if isinstance(event, SlotsChanged) and event.participant == who]
        return any(slot.veiled for slot in views[-1])

    def camera(self, who: ParticipantId) -> int:
        transport = next(key for key, one in self.core.transports.items() if one.participant == who)
        return next(
            key for key, one in self.core.tracks.items() if one.transport == transport and one.spec["kind"] == "video"
        )

    async def port(self, track: int, nth: int = 0) -> socket.socket:
        """The core's end of the track's nth port."""
        return await asyncio.to_thread(self.core.port, track, nth)

    async def show(self, who: ParticipantId, nth: int = 0) -> socket.socket:
        """A picture goes through the worker."""
        line = await self.port(self.camera(who), nth)
        await asyncio.to_thread(line.send, b"picture")
        assert await asyncio.to_thread(line.recv, 100) == b"picture"
        await self.state(who, ON)
        return line


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, str(ROOT / "tests" / "helpers" / "blur_stand_in.py")))


@pytest.fixture
def settings() -> MediaSettings:
    return MediaSettings(udp_port=0, blur_workers=1, blur_streams=2)


@pytest.fixture
async def world(settings: MediaSettings) -> AsyncIterator[World]:
    world = World(settings)
    await world.node.start()
    yield world
    await world.node.close()


async def test_a_camera_that_was_to_be_hidden_is_private_from_the_start_and_veiled_until_a_picture_comes(
    world: World,
) -> None:
    await world.enter(BOB)
    await world.enter(ANN, Background.strong)
    assert world.core.tracks[world.camera(ANN)].spec["private"] is True
    assert world.core.tracks[world.camera(BOB)].spec["private"] is False
    await world.state(ANN, STARTING)
    await world.until(lambda: world.sees_veiled(BOB))
    await world.show(ANN)
    await world.until(lambda: not world.sees_veiled(BOB))
    assert world.told(BOB) == []


async def test_hiding_in_mid_session_is_private_at_once_and_ends_with_the_cameras_keyframe(world: World) -> None:
    await world.enter(BOB)
    await world.enter(ANN)
    await world.node.set_background(ROOM, ANN, Background.light)
    track = world.camera(ANN)
    assert world.core.tracks[track].private
    line = await world.show(ANN)
    await world.node.set_background(ROOM, ANN, Background.off)
    assert not world.core.tracks[track].private
    assert world.told(ANN)[-1] is ON, "blurred pictures go on until the keyframe"
    (room,) = world.core.rooms
    world.core.say(("private", room, track, False))
    await world.state(ANN, OFF)
    assert await asyncio.to_thread(line.recv, 100) == b"", "the worker has let go of it"


async def test_a_slow_path_slows_the_blur_and_not_the_camera_behind_it(world: World) -> None:
    await world.enter(BOB)
    await world.enter(ANN, Background.strong)
    track = world.camera(ANN)
    ids = {one.participant: key for key, one in world.core.transports.items()}
    ann, (room,) = world.core.transports[ids[ANN]], world.core.rooms
    (picture,) = (s for s in world.core.slots.values() if s.transport == ids[BOB] and s.spec["kind"] == "video")
    world.core.say(("estimate", room, ids[BOB], 400_000, True), ("levels", room, ()))
    await world.until(lambda: picture.share == 300_000)
    assert ann.cap is None
    await world.show(ANN)
    await world.node.set_background(ROOM, ANN, Background.off)
    world.core.say(("private", room, track, False))
    await world.state(ANN, OFF)
    world.core.say(("levels", room, ()))
    await world.until(lambda: ann.cap == 380_000)


async def test_a_change_of_mind_before_the_keyframe_stays_hidden(world: World) -> None:
    await world.enter(ANN, Background.strong)
    line = await world.show(ANN)
    track = world.camera(ANN)
    (room,) = world.core.rooms
    await world.node.set_background(ROOM, ANN, Background.off)
    await world.node.set_background(ROOM, ANN, Background.colour)
    world.core.say(("private", room, track, False))
    assert await asyncio.to_thread(line.recv, 100) == b"colour"
    assert world.core.tracks[track].private
    await world.show(ANN)
    assert OFF not in world.told(ANN)


async def test_when_no_worker_is_free_the_person_is_told_and_has_the_next_free_place(world: World) -> None:
    for who in (ANN, BOB, CEM):
        await world.enter(who, Background.strong)
    await world.state(CEM, UNAVAILABLE)
    assert world.core.tracks[world.camera(CEM)].private
    await world.until(lambda: world.sees_veiled(ANN))
    await world.node.leave(ROOM, BOB)
    await world.state(CEM, STARTING)
    await world.show(CEM)


async def test_a_worker_that_dies_is_replaced_and_nothing_raw_is_asked_for_meanwhile(world: World) -> None:
    await world.enter(BOB)
    await world.enter(ANN, Background.strong)
    line = await world.show(ANN)
    await asyncio.to_thread(line.send, b"die")
    assert await asyncio.to_thread(line.recv, 100) == b""
    await world.show(ANN, nth=1)
    assert "set_private False" not in world.core.calls


async def test_a_camera_whose_workers_die_again_and_again_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "AGAIN_AFTER_S", (0.0, 0.0))
    await world.enter(ANN, Background.strong)
    for nth in range(3):
        line = await world.port(world.camera(ANN), nth)
        await asyncio.to_thread(line.send, b"die")
        assert await asyncio.to_thread(line.recv, 100) == b""
    await world.state(ANN, UNAVAILABLE)
    assert world.core.tracks[world.camera(ANN)].private
    await world.node.set_background(ROOM, ANN, Background.light)
    await world.show(ANN, nth=3)


async def test_a_worker_that_hangs_is_replaced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.enter(ANN, Background.strong)
    first = await world.show(ANN)
    monkeypatch.setattr(workers, "SILENT_S", 0.2)
    await asyncio.to_thread(first.send, b"picture")  # after which the stand-in says no more
    await world.port(world.camera(ANN), 1)
    monkeypatch.setattr(workers, "SILENT_S", 60.0)
    await world.show(ANN, nth=1)


async def test_a_short_gap_is_not_told_and_a_long_one_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.enter(ANN, Background.strong)
    line = await world.show(ANN)
    for word in (b"gap", b"picture"):
        await asyncio.to_thread(line.send, word)
        assert await asyncio.to_thread(line.recv, 100) == word
    assert world.told(ANN) == [STARTING, ON]
    await asyncio.to_thread(line.send, b"gap")
    await world.state(ANN, STARTING)


async def test_a_worker_is_ready_before_it_is_needed_and_stays_while_somebody_may_need_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "IDLE_S", 0.01)
    await world.enter(BOB)
    assert stand_ins() == [], "who says nothing of it costs nothing"
    await world.enter(ANN)
    await world.node.set_background(ROOM, ANN, Background.off)
    dismissed, loop, dismiss = asyncio.Semaphore(0), asyncio.get_running_loop(), workers.Workers._dismiss

    def count(pool: workers.Workers, worker: workers.Worker) -> None:
        dismiss(pool, worker)
        loop.call_soon_threadsafe(dismissed.release)

    monkeypatch.setattr(workers.Workers, "_dismiss", count)
    async with asyncio.timeout(20):
        while not (running := stand_ins()):  # noqa: ASYNC110  (a new process has its name a little later)
            await asyncio.sleep(0.01)
        for _ in range(3):
            await dismissed.acquire()
    assert stand_ins() == running, "though it has been idle again and again"
    await world.node.set_background(ROOM, ANN, Background.strong)
    await world.show(ANN)
    assert stand_ins() == running
    await world.node.leave(ROOM, ANN)
    async with asyncio.timeout(20):
        while stand_ins():  # noqa: ASYNC110  (the kernel tells nobody)
            await asyncio.sleep(0.01)


def stand_ins() -> list[int]:
    """Process ids of the workers."""
    pids = [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    return [pid for pid in pids if b"blur_stand_in" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def test_who_has_no_camera_may_wish_what_they_like_and_takes_no_worker(world: World) -> None:
    await world.node.join(ROOM, ANN, may_publish=frozenset({TrackSource.microphone}))
    for wish in (Background.strong, Background.off, Background.colour):
        await world.node.set_background(ROOM, ANN, wish)
    await world.node.negotiate(ROOM, ANN, Offer(1, OFFER, {"0": TrackSource.microphone}))
    assert world.core.ports == []
    assert not [call for call in world.core.calls if call.startswith("set_private")]
    assert world.told(ANN) == []
    for who in (BOB, CEM):
        await world.enter(who, Background.strong)
        await world.show(who)


@pytest.mark.parametrize("settings", [MediaSettings(udp_port=0, blur_path="browser")])
async def test_where_only_browsers_blur_the_server_shows_nothing_rather_than_the_camera(world: World) -> None:
    await world.enter(ANN, Background.strong)
    await world.state(ANN, UNAVAILABLE)
    assert world.core.tracks[world.camera(ANN)].private
    assert world.core.ports == []


@pytest.mark.parametrize("settings", [MediaSettings(udp_port=0, blur_workers=1, video_codecs=("vp9", "vp8"))])
async def test_while_the_server_may_blur_cameras_send_vp8(world: World) -> None:
    await world.enter(ANN)
    spec = world.core.tracks[world.camera(ANN)].spec
    assert [codec["name"] for codec in spec["codecs"]] == ["vp8"]


async def test_closing_ends_the_workers(settings: MediaSettings) -> None:
    world = World(settings)
    await world.node.start()
    await world.enter(ANN, Background.strong)
    line = await world.show(ANN)
    line = socket.socket(fileno=line.detach())
    line.settimeout(20)  # the descriptor does not block, and a worker takes a moment to die
    with line:
        await world.node.close()
        assert await asyncio.to_thread(line.recv, 100) == b""
