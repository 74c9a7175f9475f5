"""What control sees of recording: start, include, exclude, pause, resume, stop, finish, recover, read, delete.

Listens to media's events, keeps the recordings that run, and hands finished ones to a worker process, one at a time.
Owns the disk, not the database; consent has been decided by whoever calls.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from media.types import (
    JournalChanged,
    MediaEvent,
    ParticipantId,
    RoomFailed,
    RoomId,
    TapEnded,
    TrackEnded,
    TrackPublished,
)
from recorder.erasing import forget_person
from recorder.errors import (
    NO_SPACE,
    DiskFull,
    RecorderError,
    StillFinishing,
    UnknownRecording,
    WrongState,
    journal_code,
)
from recorder.events import Started, encode
from recorder.journal import EVENT_KEY
from recorder.storage import KEY_BYTES, EncryptedFile, Shelf, file_key
from recorder.tap import LiveRecording, Media, open_journal
from recorder.work import Progress, work

log = logging.getLogger(__name__)

FINISH_LEAST_S: Final = 120.0
FINISH_BYTES_PER_S: Final = 250_000
"""How long the worker may take: some 2 Mbit/s of recording in its own length, many times what a slow disk needs."""
COMPOSE_SILENT_S: Final = 300.0
"""The worker tells of every second it has composed; on a busy machine each may take long."""


class MediaNode(Media, Protocol):
    def add_listener(self, listener: Callable[[MediaEvent], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """One playable file. `starts_ms` is where its first moment lies in the recording: players start them in step."""

    file_id: str
    participant: str
    display_name: str
    view: str
    """`camera` (with the microphone), `screen` (with its sound), `composed` or `thumbnail`."""
    mime: str
    size: int
    sha256: str
    starts_ms: int
    duration_ms: int
    width: int | None
    height: int | None
    video_frames: int
    audio_frames: int
    lost_frames: int


@dataclass(frozen=True, slots=True)
class Chapter:
    at_ms: int
    title: str


@dataclass(frozen=True, slots=True)
class FinishedRecording:
    recording_id: str
    started_at: datetime | None
    """When its journal began, by this machine's clock; None where a crash took even that."""
    duration_ms: int
    complete: bool
    """False: the journal was cut by a crash, the last moments may be missing."""
    damage: str | None
    """Not None: bytes on disk were changed; what stood before them is kept."""
    files: tuple[FinishedFile, ...]
    thumbnail: FinishedFile | None
    composed: FinishedFile | None
    """Everybody in one picture, once `compose` has made it."""
    chapters: tuple[Chapter, ...]


FailureListener = Callable[[str, str], None]
"""Recording id and `disk_full` or `journal_failed`, when its journal failed while it ran."""


class Recorder:
    """All recordings of this node. Methods raise classes of recorder.errors."""

    def __init__(
        self,
        media: MediaNode,
        storage_dir: Path,
        master_key: bytes,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if len(master_key) != KEY_BYTES:
            raise ValueError("the master key has 32 bytes")
        self._media = media
        self._root = storage_dir.absolute()
        self._master_key = master_key
        self._clock = clock
        self._live: dict[str, LiveRecording] = {}
        self._failure_listeners: list[FailureListener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._one_finisher = asyncio.Semaphore(1)
        self._one_composer = asyncio.Semaphore(1)
        self._finishing: set[str] = set()
        self._composing: dict[str, asyncio.Task[FinishedRecording]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Finishing and deleting one recording: never at once."""
        self._folders = asyncio.Lock()
        """Held while a folder is made or left-over ones are looked for: a half-made one is no left-over."""
        media.add_listener(self._on_media)

    def add_failure_listener(self, listener: FailureListener) -> None:
        """Called on the application's loop; must not block."""
        self._failure_listeners.append(listener)

    # while it runs

    async def start(self, recording_id: str, room: RoomId) -> None:
        """Open the journal. Steps: folder, wrapped key, journal file; a crash between them leaves an empty folder."""
        async with self._folders:
            if recording_id in self._live:
                return
            await self._open(recording_id, room)
        started = Started(recording_id, self._clock().isoformat())
        await self._media.journal_event(self._live[recording_id].journal, encode(started))

    async def include(self, recording_id: str, participant: ParticipantId, display_name: str, grant: str) -> None:
        """Record this participant under a grant: all tracks there are and all that come. Idempotent."""
        await self._running(recording_id).include(participant, display_name, grant)

    async def exclude(self, recording_id: str, participant: ParticipantId) -> None:
        """Ends it at once; unknown participants are excluded already."""
        await self._running(recording_id).exclude(participant)

    async def pause(self, recording_id: str) -> None:
        await self._running(recording_id).pause()

    async def resume(self, recording_id: str) -> None:
        await self._running(recording_id).resume()

    async def stop(self, recording_id: str) -> None:
        """Close the journal; `finish` makes files of it. A recording that does not run is stopped already."""
        live = self._live.get(recording_id)
        if live is not None:
            await live.stop()
            self._live.pop(recording_id, None)

    def is_live(self, recording_id: str) -> bool:
        return recording_id in self._live

    async def close(self) -> None:
        """Stop everything that runs; `recover` finishes it at the next start."""
        running = list(self._live)
        stopped = await asyncio.gather(*(self.stop(one) for one in running), return_exceptions=True)
        for recording_id, failure in zip(running, stopped, strict=True):
            if failure is not None:
                log.error("recording not stopped recording=%s", recording_id[:8], exc_info=failure)
        ending = [*self._tasks, *self._composing.values()]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    # afterwards

    async def finish(self, recording_id: str) -> FinishedRecording:
        """Make playable files, in a worker process. Again after success it answers the same without working.

        Steps: files under temporary names, then their names, then the manifest, then the journal goes. A crash
        between any two is repaired by calling it again.
        """
        if recording_id in self._live:
            raise WrongState(f"recording {recording_id} is still running")
        async with self._turn_of(recording_id):
            self._finishing.add(recording_id)
            try:
                return await self._finish(recording_id)
            finally:
                self._finishing.discard(recording_id)

    async def compose(self, recording_id: str, progress: Progress) -> FinishedRecording:
        """Make one picture of everybody, in a worker process of the lowest priority; one recording at a time.

        Cancelled or killed it goes on where it was when called again. Again after success it answers at once.
        Raises UnknownRecording, WrongState, Damaged, FinishFailed.
        """
        task = self._composing.get(recording_id)
        if task is None:
            task = self._composing[recording_id] = asyncio.create_task(self._compose(recording_id, progress))
            task.add_done_callback(lambda _: self._composing.pop(recording_id, None))
        return await task

    async def stop_composing(self, recording_id: str) -> None:
        """Whole pieces stay: `compose` goes on from them. A composed file that is ready stays as well."""
        task = self._composing.get(recording_id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def recover(self) -> list[str]:
        """Finish what a crash left, at start; answers the recordings that are ready now. Failures are logged."""
        finished: list[str] = []
        async with self._folders:
            left = await asyncio.to_thread(self._left_over)
        for recording_id in left:
            try:
                await self.finish(recording_id)
            except (RecorderError, OSError) as error:
                code = getattr(error, "code", type(error).__name__)
                log.error("recording not recovered recording=%s code=%s", recording_id[:8], code)
            else:
                finished.append(recording_id)
        return finished

    async def describe(self, recording_id: str) -> FinishedRecording:
        """What `finish` answered, from the manifest."""
        shelf = self._shelf(recording_id)
        keys = await asyncio.to_thread(shelf.read_keys, self._master_key)
        return _finished(recording_id, await asyncio.to_thread(shelf.read_manifest, keys[EVENT_KEY]))

    async def open_file(self, recording_id: str, file_id: str) -> EncryptedFile:
        """For reading ranges; its `read` blocks."""
        return await asyncio.to_thread(self._open_file, recording_id, file_id)

    async def forget(self, recording_id: str, participant: ParticipantId) -> FinishedRecording:
        """Erase one person's keys and files, and every picture that shows them; the others' files stay.

        Steps: keys, then the manifest, then files. A crash between them is repaired by calling it again; from the
        first step on nothing of theirs can be read. Raises StillFinishing, and UnknownRecording before `finish`.
        """
        if recording_id in self._finishing:
            raise StillFinishing(f"files of recording {recording_id} are being made")
        await self.stop_composing(recording_id)
        async with self._turn_of(recording_id):
            manifest = await asyncio.to_thread(forget_person, self._shelf(recording_id), self._master_key, participant)
        return _finished(recording_id, manifest)

    async def delete(self, recording_id: str) -> None:
        """Stop it if it runs, erase its keys, then its files. Idempotent. Raises StillFinishing."""
        if recording_id in self._finishing:
            raise StillFinishing(f"files of recording {recording_id} are being made")
        await self.stop_composing(recording_id)
        async with self._turn_of(recording_id):
            await self.stop(recording_id)
            await asyncio.to_thread(self._shelf(recording_id).erase)

    # inside

    async def _finish(self, recording_id: str) -> FinishedRecording:
        shelf = self._shelf(recording_id)
        keys = await asyncio.to_thread(shelf.read_keys, self._master_key)
        if not await asyncio.to_thread(shelf.has_manifest):
            if not await asyncio.to_thread(shelf.has_journal):
                raise UnknownRecording(f"recording {recording_id} holds nothing")
            size = await asyncio.to_thread(lambda: shelf.journal_path.stat().st_size)
            silent_s = max(FINISH_LEAST_S, size / FINISH_BYTES_PER_S)
            async with self._one_finisher:
                manifest = await work("finish", self._root, recording_id, keys, silent_s=silent_s)
            await asyncio.to_thread(shelf.write_manifest, manifest, keys[EVENT_KEY])
        manifest = await asyncio.to_thread(shelf.read_manifest, keys[EVENT_KEY])
        await asyncio.to_thread(shelf.drop_journal)
        return _finished(recording_id, manifest)

    async def _compose(self, recording_id: str, progress: Progress) -> FinishedRecording:
        shelf = self._shelf(recording_id)
        async with self._one_composer, self._turn_of(recording_id):
            keys = await asyncio.to_thread(shelf.read_keys, self._master_key)
            manifest = await asyncio.to_thread(shelf.read_manifest, keys[EVENT_KEY])
            if not manifest.get("composed"):
                manifest["composed"] = await work(
                    "compose", self._root, recording_id, keys, silent_s=COMPOSE_SILENT_S, progress=progress
                )
                await asyncio.to_thread(shelf.write_manifest, manifest, keys[EVENT_KEY])
            return _finished(recording_id, manifest)

    def _turn_of(self, recording_id: str) -> asyncio.Lock:
        turn = self._turns.get(recording_id)
        if turn is None:
            turn = self._turns[recording_id] = asyncio.Lock()
        return turn

    async def _open(self, recording_id: str, room: RoomId) -> None:
        shelf = self._shelf(recording_id)
        keys = {EVENT_KEY: os.urandom(KEY_BYTES)}

        def prepare() -> None:
            if shelf.exists():
                raise WrongState(f"recording {recording_id} exists already")
            shelf.create()
            shelf.write_keys(keys, self._master_key)

        try:
            await asyncio.to_thread(prepare)
        except OSError as error:
            await asyncio.to_thread(shelf.erase)
            if error.errno in NO_SPACE:
                raise DiskFull(str(error)) from error
            raise

        async def keep_key(key_id: int, key: bytes) -> None:
            keys[key_id] = key
            await asyncio.to_thread(shelf.write_keys, dict(keys), self._master_key)

        header = json.dumps({"recording": recording_id}).encode()
        try:
            journal = await open_journal(self._media, str(shelf.journal_path), keys[EVENT_KEY], header)
        except RecorderError:
            await asyncio.to_thread(shelf.erase)
            raise
        self._live[recording_id] = LiveRecording(recording_id, room, self._media, journal, keep_key)

    def _shelf(self, recording_id: str) -> Shelf:
        return Shelf(self._root, recording_id)

    def _running(self, recording_id: str) -> LiveRecording:
        live = self._live.get(recording_id)
        if live is None:
            raise UnknownRecording(f"recording {recording_id} does not run")
        return live

    def _left_over(self) -> list[str]:
        """Recordings with a journal; our folders that never got as far as keys are swept away, others left alone."""
        if not self._root.is_dir():
            return []
        left: list[str] = []
        for folder in sorted(self._root.iterdir()):
            if not folder.is_dir() or folder.name in self._live:
                continue
            try:
                shelf = self._shelf(folder.name)
            except UnknownRecording:
                continue
            if shelf.is_remainder():
                shelf.erase()
            elif shelf.exists() and shelf.has_journal():
                left.append(folder.name)
        return left

    def _open_file(self, recording_id: str, file_id: str) -> EncryptedFile:
        shelf = self._shelf(recording_id)
        keys = shelf.read_keys(self._master_key)
        manifest = shelf.read_manifest(keys[EVENT_KEY])
        for entry in _entries(manifest):
            if entry["file_id"] == file_id:
                if entry["key_id"] not in keys:
                    break  # erased, but the manifest was not yet written again
                key = file_key(keys[entry["key_id"]], file_id)
                return EncryptedFile(shelf.file_path(file_id), key, shelf.file_context(file_id), entry["size"])
        raise UnknownRecording(f"no file {file_id} in recording {recording_id}")

    def _on_media(self, event: MediaEvent) -> None:
        match event:
            case TrackPublished(info):
                self._tell_room(info.room, lambda live: live.track_published(info))
            case TrackEnded(room, participant, track):
                self._tell_room(room, lambda live: live.track_ended(participant, track))
            case TapEnded(room, tap, _):
                for live in self._of_room(room):
                    live.tap_ended(tap)
            case RoomFailed(room, _):
                for live in self._of_room(room):
                    live.room_gone()
            case JournalChanged(journal, state, detail):
                self._journal_changed(journal, state, detail)
            case _:
                pass

    def _journal_changed(self, journal: int, state: str, detail: str) -> None:
        for live in list(self._live.values()):
            if live.journal == journal:
                live.journal_changed(state, detail)
                if live.failure is not None:
                    log.error("journal failed recording=%s why=%s", live.recording_id[:8], live.failure)
                    del self._live[live.recording_id]
                    for listener in self._failure_listeners:
                        listener(live.recording_id, journal_code(live.failure))

    def _of_room(self, room: RoomId) -> list[LiveRecording]:
        return [live for live in self._live.values() if live.room == room]

    def _tell_room(self, room: RoomId, action: Callable[[LiveRecording], Coroutine[Any, Any, None]]) -> None:
        for live in self._of_room(room):
            task = asyncio.get_running_loop().create_task(action(live))
            self._tasks.add(task)
            task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("recording did not follow its room", exc_info=failure)


def _finished(recording_id: str, manifest: dict[str, Any]) -> FinishedRecording:
    thumbnail, composed = manifest.get("thumbnail"), manifest.get("composed")
    return FinishedRecording(
        recording_id=recording_id,
        started_at=datetime.fromisoformat(began) if (began := manifest.get("started_at")) else None,
        duration_ms=manifest["duration_ms"],
        complete=manifest["complete"],
        damage=manifest["damage"],
        files=tuple(_file(entry) for entry in manifest["files"]),
        thumbnail=_file(thumbnail) if thumbnail else None,
        composed=_file(composed) if composed else None,
        chapters=tuple(Chapter(mark["at_ms"], mark["title"]) for mark in manifest.get("chapters", ())),
    )


def _file(entry: dict[str, Any]) -> FinishedFile:
    fields = FinishedFile.__dataclass_fields__
    return FinishedFile(**{name: value for name, value in entry.items() if name in fields})


def _entries(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    extra = (manifest.get("thumbnail"), manifest.get("composed"))
    return [*manifest["files"], *(entry for entry in extra if entry)]
