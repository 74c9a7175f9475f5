"""A media node that keeps its promises and nothing else: what the recorder's tests record from."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from media.errors import MediaError, Refused, UnknownId
from media.types import (
    JournalChanged,
    MediaEvent,
    ParticipantId,
    RoomId,
    TrackInfo,
    TrackPublished,
    TrackSource,
)
from tests.recorder.studio import START_US, Camera, Packet, write_journal

ROOM = RoomId("session_1")
AMARA, MINA = ParticipantId("amara"), ParticipantId("mina")


class FakeMedia:
    """Grants, taps and one journal per recording; the journal's file is written when it is closed."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[MediaEvent], None]] = []
        self.published: dict[int, TrackInfo] = {}
        self.grants: dict[str, ParticipantId] = {}
        self.taps: dict[int, tuple[int, str, int]] = {}
        """Tap → (track, grant, key id)."""
        self.keys: dict[int, bytes] = {}
        self.path = ""
        self.records: list[Packet] = []
        self.fails_to_open = False
        self.room_is_there = True
        self._next = 100

    def add_listener(self, listener: Callable[[MediaEvent], None]) -> None:
        self.listeners.append(listener)

    def emit(self, event: MediaEvent) -> None:
        for listener in self.listeners:
            listener(event)

    def publish(self, track: int, participant: ParticipantId, source: TrackSource = TrackSource.camera) -> None:
        info = TrackInfo(ROOM, participant, track, "0", source, source.kind, None, muted=False)
        self.published[track] = info
        self.emit(TrackPublished(info))

    def play(self, stream: Callable[[Camera, int], object], track: int, seconds: int) -> None:
        """What the track sends now; it is kept only where a tap stands."""
        for tap, (tapped, _, key_id) in self.taps.items():
            if tapped == track:
                self.records += stream(Camera(tap=tap, key_id=key_id), seconds)  # type: ignore[arg-type, operator]

    @property
    def events(self) -> list[str]:
        documents = [json.loads(record.payload) for record in self.records if record.kind == 3]
        return [document.get("what") or document["event"] for document in documents]

    async def tracks(self, room: RoomId) -> tuple[TrackInfo, ...]:
        if not self.room_is_there:
            raise UnknownId(room)
        return tuple(self.published.values())

    async def grant_recording(self, room: RoomId, participant: ParticipantId, grant: str) -> None:
        self.grants[grant] = participant

    async def revoke_recording(self, room: RoomId, grant: str) -> None:
        self.grants.pop(grant, None)
        self.taps = {tap: facts for tap, facts in self.taps.items() if facts[1] != grant}

    async def open_journal(self, path: str, key: bytes, header: bytes) -> int:
        if self.fails_to_open:
            raise MediaError("disk full")
        self.path, self.keys[0] = path, key
        make_file(path)
        return 7

    async def journal_event(self, journal: int, event: bytes) -> None:
        self.records.append(Packet(3, 0, 0, START_US, event, 0))

    async def close_journal(self, journal: int) -> None:
        self.write(closed=True)
        asyncio.get_running_loop().call_soon(self.emit, JournalChanged(journal, "closed", ""))

    def write(self, *, closed: bool) -> None:
        ordered = sorted(self.records, key=lambda record: record.arrival_us)
        write_journal(Path(self.path), ordered, closed=closed, keys=self.keys)

    async def add_tap(self, room: RoomId, track: int, grant: str, journal: int, key_id: int, key: bytes) -> int:
        if self.grants.get(grant) != self.published[track].participant:
            raise Refused("no grant")
        self._next += 1
        self.taps[self._next] = (track, grant, key_id)
        self.keys[key_id] = key
        return self._next

    async def remove_tap(self, room: RoomId, tap: int) -> None:
        if self.taps.pop(tap, None) is None:
            raise UnknownId(str(tap))


def make_file(path: str) -> None:
    Path(path).touch(mode=0o600, exist_ok=False)
