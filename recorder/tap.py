"""One recording while it runs: who may be recorded, which tracks are tapped, what the journal is told.

The core is asked for everything that matters: it refuses a tap without a grant and ends it when the grant goes.
Operations of one recording run one after the other, except that revoking a grant never waits. Must not decide who
agreed; keeps no media.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from media.errors import MediaError, UnknownId
from media.types import ParticipantId, RoomId, TrackInfo
from recorder.errors import DiskFull, MediaGone, WrongState, journal_code
from recorder.events import Event, Included, Noted, Tapped, encode
from recorder.storage import KEY_BYTES

log = logging.getLogger(__name__)

TRY_AGAIN_AFTER_S: Final = (0.1, 0.5, 2.0)
"""A tap or a close that the core refuses is asked for again after these pauses, then given up."""

CLOSE_TIMEOUT_S: Final = 5.0
"""The journal lingers 0.3 s for late records; a disk that takes longer than this is left to `recover`."""


class Media(Protocol):
    """The part of `media.node.MediaNode` that recording needs."""

    async def tracks(self, room: RoomId) -> tuple[TrackInfo, ...]: ...
    async def grant_recording(self, room: RoomId, participant: ParticipantId, grant: str) -> None: ...
    async def revoke_recording(self, room: RoomId, grant: str) -> None: ...
    async def open_journal(self, path: str, key: bytes, header: bytes) -> int: ...
    async def journal_event(self, journal: int, event: bytes) -> None: ...
    async def close_journal(self, journal: int) -> None: ...
    async def add_tap(self, room: RoomId, track: int, grant: str, journal: int, key_id: int, key: bytes) -> int: ...
    async def remove_tap(self, room: RoomId, tap: int) -> None: ...


class KeyKeeper(Protocol):
    async def __call__(self, key_id: int, key: bytes) -> None:
        """Returns when the key is safely stored: nothing may be sealed under it before."""


@dataclass
class Person:
    participant: ParticipantId
    name: str
    key_id: int
    key: bytes
    grant: str | None = None
    """None after they were excluded: nothing of them is taken."""
    taps: dict[int, int] = field(default_factory=dict)
    """Track → tap."""
    retry: "asyncio.Task[None] | None" = None
    connection: int = 0
    """Counts their connections: one begins when a tap is made while they have none."""


class LiveRecording:
    """Between `start` and `stop` of one recording."""

    def __init__(self, recording_id: str, room: RoomId, media: Media, journal: int, keep_key: KeyKeeper) -> None:
        self.recording_id = recording_id
        self.room = room
        self.journal = journal
        self.paused = False
        self.failure: str | None = None
        self._media = media
        self._keep_key = keep_key
        self._people: dict[ParticipantId, Person] = {}
        self._excluded: set[ParticipantId] = set()
        """Excluded since they were last to be included: an `include` still under way stops there."""
        self._turn = asyncio.Lock()
        self._closed = asyncio.Event()
        self._stopped = False

    # what control asks for

    async def include(self, participant: ParticipantId, name: str, grant: str) -> None:
        """Idempotent; also grants again after the room was gone and came back."""
        self._excluded.discard(participant)
        async with self._turn:
            self._must_run()
            person = self._people.get(participant)
            if person is None:
                person = Person(participant, name, len(self._people) + 1, os.urandom(KEY_BYTES))
                await self._keep_key(person.key_id, person.key)
                self._people[participant] = person
                await self._tell(Included(person.key_id, participant, name))
            if person.grant is not None and person.grant != grant:
                await self._revoke(person.grant)
                person.taps.clear()
            if participant in self._excluded:
                return
            person.grant = grant
            if not self.paused:
                await self._tap_all([person])

    async def exclude(self, participant: ParticipantId) -> None:
        """From the moment this returns nothing more of them is kept; what was kept before stays."""
        self._excluded.add(participant)
        person = self._people.get(participant)
        if person is None or person.grant is None:
            return
        grant, person.grant = person.grant, None
        await self._revoke(grant)
        async with self._turn:
            if person.grant is None:
                person.taps.clear()
            await self._tell(Noted("excluded", participant))

    async def pause(self) -> None:
        self.paused = True
        async with self._turn:
            await self._untap_all()
            await self._tell(Noted("paused"))

    async def resume(self) -> None:
        async with self._turn:
            self._must_run()
            self.paused = False
            await self._tell(Noted("resumed"))
            await self._tap_all(self._people.values())

    async def stop(self) -> None:
        """Untap, close the journal and wait until it is on disk. Safe to call twice."""
        async with self._turn:
            if not self._stopped:
                self._stopped = True
                for person in self._people.values():
                    if person.retry is not None:
                        person.retry.cancel()
                await self._untap_all()
                await self._tell(Noted("stopped"))
                await self._close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._closed.wait()
        except TimeoutError:
            log.warning("journal not closed in time recording=%s", self.recording_id[:8])

    # what media tells

    async def track_published(self, info: TrackInfo) -> None:
        async with self._turn:
            person = self._people.get(info.participant)
            if person is not None and person.grant is not None and not self.paused and not self._stopped:
                await self._tap(person, [info])

    async def track_ended(self, participant: ParticipantId, track: int) -> None:
        async with self._turn:
            person = self._people.get(participant)
            if person is not None and (tap := person.taps.pop(track, None)) is not None:
                await self._tell(Noted("tap_ended", participant, tap))

    def tap_ended(self, tap: int) -> None:
        for person in self._people.values():
            for track in [track for track, known in person.taps.items() if known == tap]:
                del person.taps[track]

    def room_gone(self) -> None:
        for person in self._people.values():
            person.taps.clear()

    def journal_changed(self, state: str, detail: str) -> None:
        if state == "failed":
            self.failure = detail or "the journal could not be written"
        if state in {"failed", "closed"}:
            self._stopped = True
            self._closed.set()

    # steps

    def _must_run(self) -> None:
        if self._stopped:
            raise WrongState(f"recording {self.recording_id} has stopped")

    async def _tap_all(self, people: Iterable[Person]) -> None:
        try:
            tracks = await self._media.tracks(self.room)
        except UnknownId:
            return  # nobody is in the room yet; `track_published` follows
        for person in people:
            if person.grant is not None:
                await self._tap(person, [info for info in tracks if info.participant == person.participant])

    async def _tap(self, person: Person, tracks: Iterable[TrackInfo]) -> None:
        new = [info for info in tracks if info.track not in person.taps]
        if not new or person.grant is None:
            return
        grant = person.grant
        try:
            await self._media.grant_recording(self.room, person.participant, grant)
            if person.grant != grant:
                # Excluded while the grant was on its way: the revocation may have overtaken it.
                await self._revoke(grant)
                return
            if not person.taps:
                person.connection += 1
            for info in new:
                tap = await self._media.add_tap(self.room, info.track, grant, self.journal, person.key_id, person.key)
                person.taps[info.track] = tap
                await self._tell(Tapped(tap, person.key_id, info.source, person.connection))
        except UnknownId:
            pass  # the track or the person is gone again: nothing to record
        except MediaError as error:
            log.warning("not tapped recording=%s reason=%s", self.recording_id[:8], error.code)
            self._try_again(person)

    def _try_again(self, person: Person) -> None:
        """Later, with whatever tracks there are then: the turn is not held meanwhile, and a withdrawal ends it."""
        if person.retry is None:
            person.retry = asyncio.create_task(self._tap_later(person))

    async def _tap_later(self, person: Person) -> None:
        try:
            for pause_s in TRY_AGAIN_AFTER_S:
                await asyncio.sleep(pause_s)
                async with self._turn:
                    if person.grant is None or self.paused or self._stopped:
                        return
                    await self._tap_all([person])
                    tracks = await self._media.tracks(self.room)
                    if all(info.track in person.taps for info in tracks if info.participant == person.participant):
                        return
            log.error("given up tapping recording=%s", self.recording_id[:8])
        except MediaError as error:
            log.info("no more tapping recording=%s reason=%s", self.recording_id[:8], error.code)
        finally:
            person.retry = None

    async def _close(self) -> None:
        for pause_s in (*TRY_AGAIN_AFTER_S, None):
            try:
                return await self._media.close_journal(self.journal)
            except UnknownId:
                return self._closed.set()
            except MediaError as error:
                log.warning("journal not closed recording=%s reason=%s", self.recording_id[:8], error.code)
                if pause_s is not None:
                    await asyncio.sleep(pause_s)
        return None

    async def _untap_all(self) -> None:
        for person in self._people.values():
            taps, person.taps = list(person.taps.values()), {}
            for tap in taps:
                await self._attempt("remove_tap", self._media.remove_tap(self.room, tap))

    async def _revoke(self, grant: str) -> None:
        await self._attempt("revoke", self._media.revoke_recording(self.room, grant))

    async def _tell(self, event: Event) -> None:
        await self._attempt("journal_event", self._media.journal_event(self.journal, encode(event)))

    async def _attempt(self, what: str, work: Awaitable[None]) -> None:
        """Steps that must not keep the following ones from happening: rooms and taps may be gone already."""
        try:
            await work
        except MediaError as error:
            log.info("%s recording=%s refused=%s", what, self.recording_id[:8], error.code)


async def open_journal(media: Media, path: str, key: bytes, header: bytes) -> int:
    try:
        return await media.open_journal(path, key, header)
    except MediaError as error:
        kind = DiskFull if journal_code(str(error)) == DiskFull.code else MediaGone
        raise kind(f"the journal could not be opened: {error}") from error
