"""`holdspace recordings list | verify | purge | rotate-key`: what the operator does with recordings on the disk.

None of them shows a picture or a sound. The parts that read the disk are handed in by __main__.py: control may not
import the recorder.
"""

import argparse
import contextlib
import fcntl
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, cast

from sqlalchemy import select

from control import keyfiles
from control.commands import with_database
from control.config import Settings
from control.database import Database
from control.errors import Conflict
from control.models.recordings import Recording, RecordingFile
from control.recording_archive import Archive
from control.recording_ports import RecorderPort
from control.recording_rule import RecordingState


class Verdict(Protocol):
    @property
    def recording_id(self) -> str: ...
    @property
    def files(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def problems(self) -> tuple[str, ...]: ...
    @property
    def hashes(self) -> dict[str, str]: ...
    @property
    def is_finished(self) -> bool: ...


class Disk(Protocol):
    """What `recorder.verifying` offers."""

    def shelves(self, root: Path) -> Iterable[Any]: ...
    def verify(self, shelf: Any, master_key: bytes) -> Verdict: ...
    def rewrap(self, shelf: Any, old: bytes, new: bytes) -> bool: ...
    def Offline(self, root: Path) -> Any: ...


def list_all(options: argparse.Namespace, settings: Settings, disk: Disk) -> int:
    """Ids, states and dates; no names."""
    del disk

    async def work(db: Database) -> list[Recording]:
        query = select(Recording).order_by(Recording.started_at)
        if not options.all:
            query = query.where(Recording.state != RecordingState.DELETED)
        async with db.reading() as session:
            return list(await session.scalars(query))

    rows = with_database(settings, work)
    for row in rows:
        minutes = "" if row.duration_ms is None else f"{row.duration_ms / 60_000:.1f} min"
        notes = [
            f"kept until {row.delete_after:%Y-%m-%d}" if row.delete_after and row.state != "deleted" else "",
            "held" if row.held_at else "",
            "shared" if row.shared_at else "",
            f"film {row.composition}" if row.state == "ready" else "",
            row.failure or "",
        ]
        told = ", ".join(note for note in notes if note)
        print(f"{row.id}  {row.started_at:%Y-%m-%d %H:%M}  {row.state:<9}  {minutes:>10}  {told}")
    print(f"{len(rows)} recordings")
    return 0


def verify(options: argparse.Namespace, settings: Settings, disk: Disk) -> int:
    """Every chunk authenticated, every hash compared with the manifest's and the database's. 1 if anything is wrong."""
    key = keyfiles.load(settings).recording_key
    known = with_database(settings, _known_hashes)
    found = {shelf.recording_id: shelf for shelf in disk.shelves(settings.recordings_dir)}
    wanted = sorted({*found, *known}) if options.id is None else [options.id]
    bad = 0
    for recording_id in wanted:
        if recording_id in found:
            verdict = disk.verify(found[recording_id], key)
            problems = [*verdict.problems, *_differences(verdict, known.get(recording_id))]
            told = f"{verdict.files} files, {verdict.size_bytes / 1e6:.1f} MB" + (
                "" if verdict.is_finished else ", not finished yet"
            )
        else:
            problems, told = ["nothing of it is on the disk"], ""
        bad += bool(problems)
        print(f"{recording_id}  {'BAD' if problems else 'good'}  {told}")
        for problem in problems:
            print(f"    {problem}")
    print(f"{len(wanted)} recordings, {bad} bad")
    return 1 if bad else 0


async def _known_hashes(db: Database) -> dict[str, dict[str, str]]:
    """Of every recording that has files, as the database has them."""
    known: dict[str, dict[str, str]] = {}
    files = (
        select(Recording.id, RecordingFile.file_id, RecordingFile.sha256)
        .join(RecordingFile, RecordingFile.recording_id == Recording.id)
        .where(Recording.state == RecordingState.READY)
    )
    async with db.reading() as session:
        for recording_id, file_id, sha256 in await session.execute(files):
            known.setdefault(recording_id, {})[file_id] = sha256
    return known


def _differences(verdict: Verdict, known: Mapping[str, str] | None) -> list[str]:
    if known is None or not verdict.is_finished or not verdict.hashes:
        return []
    return [
        f"{file_id}: the database and the manifest differ"
        for file_id in sorted({*known, *verdict.hashes})
        if known.get(file_id) != verdict.hashes.get(file_id)
    ]


def purge(options: argparse.Namespace, settings: Settings, disk: Disk) -> int:
    """Tell practitioners of what is due soon, delete what is due. What is held, or was not told of, stays."""
    notice = timedelta(days=settings.recording.notice_days)

    async def work(db: Database) -> tuple[int, int]:
        recorder = cast(RecorderPort, disk.Offline(settings.recordings_dir))
        archive = Archive(db, recorder, lambda: datetime.now(UTC), notice=notice)
        if options.dry_run:
            return len(await archive.due_to_warn()), len(await archive.due_to_delete())
        return await archive.warn(), await archive.purge()

    warned, deleted = with_database(settings, work)
    told, done = ("Would tell", "would delete") if options.dry_run else ("Told", "deleted")
    print(f"{told} of {warned}, {done} {deleted}.")
    return 0


def rotate_key(options: argparse.Namespace, settings: Settings, disk: Disk) -> int:
    """Put every recording under a new key.

    Steps: the new key is written beside the old one, then each recording's keys are wrapped again, then the new one
    takes the old one's place. Cut off between any two, the server refuses to start until this has run again.
    """
    del options
    with alone_with(settings.recordings_dir):
        keys = keyfiles.load(settings, rotating=True)
        new = keyfiles.next_recording_key(settings)
        changed = 0
        for shelf in disk.shelves(settings.recordings_dir):
            try:
                changed += disk.rewrap(shelf, keys.recording_key, new)
            except Exception as error:
                if not hasattr(error, "code"):
                    raise
                print(f"{shelf.recording_id}  left as it is: {error}", file=sys.stderr)
        where = keyfiles.take_next_recording_key(settings)
    print(f"{changed} recordings are under a new key, in {where}. Keep a copy of it elsewhere.")
    print("Copies of recordings made before, with their keys, still open with the old one.", file=sys.stderr)
    return 0


@contextlib.contextmanager
def alone_with(folder: Path) -> Iterator[None]:
    """Raises Conflict("server_running") while a server uses the recordings."""
    with _locked(folder, fcntl.LOCK_EX) as locked:
        if not locked:
            raise Conflict("server_running", "Stop the server first: it holds the key that is to be changed.")
        yield


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Held by a running server. Raises Conflict("key_rotating") while the key is being changed."""
    with _locked(folder, fcntl.LOCK_SH) as locked:
        if not locked:
            raise Conflict("key_rotating", "The recordings' key is being changed. Start again when that is done.")
        yield


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / ".in-use", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        locked = True
    except BlockingIOError:
        locked = False
    try:
        yield locked
    finally:
        os.close(descriptor)
