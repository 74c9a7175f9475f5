"""A session to record, over a recorder and a hub that only keep what they are told: for the tests of recordings.

Their conftest takes the fixture by `from tests.control.recording_studio import studio`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest_asyncio

from control import appointments, consents
from control.accounts import Actor
from control.audit import entries_about
from control.consents import Answer, Purpose
from control.recording_archive import Archive
from control.recording_composing import Composer
from control.recording_queries import list_recordings
from control.recording_rule import Pressed, RecordingState, Shown
from control.recordings import Recordings
from media.types import ParticipantId, RoomId
from signaling.events import HubEvent, Presence
from signaling.permissions import Place, Role
from tests.helpers.practice import World

KEEP = timedelta(days=90)
NOTICE = timedelta(days=7)


class RecorderError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class File:
    file_id: str = "1-camera"
    participant: str = "bob"
    display_name: str = "Bob Client"
    view: str = "camera"
    mime: str = "video/webm"
    size: int = 10
    sha256: str = "0" * 64
    starts_ms: int = 500
    duration_ms: int = 60_000
    width: int | None = 640
    height: int | None = 480


@dataclass
class Mark:
    at_ms: int
    title: str


@dataclass
class Finished:
    started_at: datetime | None = None
    duration_ms: int = 61_000
    complete: bool = True
    damage: str | None = None
    files: tuple[File, ...] = (File(),)
    thumbnail: File | None = field(default_factory=lambda: File("thumbnail", "", "", "thumbnail", "image/jpeg"))
    composed: File | None = None
    chapters: tuple[Mark, ...] = (Mark(0, "Bob Client is recorded"), Mark(30_000, "Paused"))


@dataclass
class Content:
    size: int = 10

    def read(self, offset: int, length: int) -> bytes:
        return b"0123456789"[offset : offset + length]


@dataclass
class FakeRecorder:
    """Keeps what it is told, in order, and who is being recorded just now."""

    calls: list[tuple[str, ...]] = field(default_factory=list)
    live: dict[str, set[str]] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    on_disk: set[str] = field(default_factory=set)
    fails: dict[str, str] = field(default_factory=dict)
    finished: Finished = field(default_factory=Finished)
    listeners: list[Callable[[str, str], None]] = field(default_factory=list)
    composing: asyncio.Event = field(default_factory=asyncio.Event)
    may_compose: asyncio.Event = field(default_factory=asyncio.Event)

    def _call(self, *call: str) -> None:
        self.calls.append(call)
        if call[0] in self.fails:
            raise RecorderError(self.fails[call[0]])

    @property
    def recorded(self) -> set[str]:
        return {person for recording, people in self.live.items() if recording not in self.paused for person in people}

    async def start(self, recording_id: str, room: RoomId) -> None:
        self._call("start", room)
        self.live[recording_id] = set()
        self.on_disk.add(recording_id)

    async def include(self, recording_id: str, participant: ParticipantId, display_name: str, grant: str) -> None:
        self._call("include", participant, display_name, grant)
        self.live[recording_id].add(participant)

    async def exclude(self, recording_id: str, participant: ParticipantId) -> None:
        self._call("exclude", participant)
        self.live[recording_id].discard(participant)

    async def pause(self, recording_id: str) -> None:
        self._call("pause")
        self.paused.add(recording_id)

    async def resume(self, recording_id: str) -> None:
        self._call("resume")
        self.paused.discard(recording_id)

    async def stop(self, recording_id: str) -> None:
        self._call("stop")
        self.live.pop(recording_id, None)

    async def finish(self, recording_id: str) -> Finished:
        self._call("finish")
        if recording_id not in self.on_disk:
            raise RecorderError("unknown_recording")
        return self.finished

    async def compose(self, recording_id: str, progress: Callable[[float], None]) -> Finished:
        self._call("compose", recording_id)
        progress(0.5)
        self.composing.set()
        try:
            await self.may_compose.wait()
        except asyncio.CancelledError:
            self._call("compose_stopped")
            raise
        return replace(self.finished, composed=File("composed", "", "Everybody", "composed", "video/mp4"))

    async def stop_composing(self, recording_id: str) -> None:
        self._call("stop_composing")
        for task in asyncio.all_tasks():
            if task.get_coro().__qualname__.endswith("FakeRecorder.compose"):
                task.cancel()

    async def forget(self, recording_id: str, participant: ParticipantId) -> Finished:
        self._call("forget", participant)
        files = tuple(file for file in self.finished.files if file.participant != participant)
        self.finished = replace(self.finished, files=files, thumbnail=None)
        return self.finished

    async def recover(self) -> list[str]:
        return sorted(self.on_disk)

    async def open_file(self, recording_id: str, file_id: str) -> Content:
        return Content()

    async def delete(self, recording_id: str) -> None:
        self._call("delete")
        self.on_disk.discard(recording_id)

    async def close(self) -> None: ...

    def is_live(self, recording_id: str) -> bool:
        return recording_id in self.live

    def add_failure_listener(self, listener: Callable[[str, str], None]) -> None:
        self.listeners.append(listener)


@dataclass
class FakeHub:
    """Who is in the room, and how often everybody was sent a fresh snapshot."""

    world: World
    people: dict[str, Place] = field(default_factory=dict)
    told: int = 0
    listeners: list[Callable[[HubEvent], None]] = field(default_factory=list)

    def present(self, appointment_id: str) -> tuple[Presence, ...]:
        now = self.world.clock()
        return tuple(Presence(person, Role.client, place, now, True) for person, place in self.people.items())

    async def session_changed(self, appointment_id: str) -> None:
        self.told += 1

    def add_listener(self, listener: Callable[[HubEvent], None]) -> None:
        self.listeners.append(listener)


@dataclass
class Studio:
    world: World
    recorder: FakeRecorder
    hub: FakeHub
    recordings: Recordings
    archive: Archive
    composer: Composer
    appointment_id: str

    def admit(self, *people: Actor) -> None:
        self.hub.people |= {person.person_id: Place.admitted for person in people}

    async def agree(self, who: Actor, said: Answer = Answer.YES) -> None:
        await self.world.consent(who, self.appointment_id, Purpose.RECORDING, said)
        await self.settled()

    async def withdraw(self, who: Actor) -> None:
        await consents.withdraw(self.world.db, who, self.appointment_id, Purpose.RECORDING, now=self.world.clock())
        await self.settled()

    async def press(self, pressed: Pressed, who: Actor | None = None) -> Shown:
        return await self.recordings.press(who or self.world.alice, self.appointment_id, pressed)

    async def settled(self) -> None:
        """Everything that listeners started has run."""
        while tasks := self.recordings._tasks:
            await asyncio.gather(*tasks)

    async def end(self) -> None:
        """The practitioner presses End, after the client's time to come has passed."""
        self.world.clock.now += timedelta(minutes=20)
        await appointments.complete(self.world.db, self.world.alice, self.appointment_id, now=self.world.clock())
        await self.settled()

    async def state(self) -> RecordingState:
        (view,) = await list_recordings(self.world.db, self.world.alice)
        return view.state

    async def ready(self) -> str:
        """A finished recording's id."""
        self.admit(self.world.alice, self.world.bob)
        await self.agree(self.world.bob)
        await self.press(Pressed.ON)
        await self.press(Pressed.OFF)
        await self.settled()
        (view,) = await list_recordings(self.world.db, self.world.alice)
        assert view.state is RecordingState.READY
        return view.id

    async def audited(self, recording_id: str) -> list[str]:
        entries = await entries_about(self.world.db, f"recording:{recording_id}")
        return [entry.action for entry in entries]


def recordings_of(world: World, recorder: FakeRecorder, hub: FakeHub, archive: Archive) -> Recordings:
    return Recordings(world.db, recorder, hub, world.clock, keep=KEEP, on_finished=archive.carry_out_erasures)


@pytest_asyncio.fixture
async def studio(world: World) -> AsyncIterator[Studio]:
    view = await world.started()
    recorder, hub = FakeRecorder(), FakeHub(world)
    composer = Composer(world.db, recorder, world.clock)
    archive = Archive(world.db, recorder, world.clock, notice=NOTICE, on_composable=composer.wake)
    recordings = recordings_of(world, recorder, hub, archive)
    await recordings.start()
    studio = Studio(world, recorder, hub, recordings, archive, composer, view.id)
    await studio.settled()
    yield studio
    await studio.settled()
    await recordings.close()


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 — what is waited for has no event of its own
            await asyncio.sleep(0.01)
