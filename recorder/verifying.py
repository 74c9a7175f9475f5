"""Looks whether a recording's files are what its manifest says, and puts its keys under another master key.

For operators: reads every byte, shows none. Works beside a running server; rotation must not (control/recording_keys.py
keeps it away).
"""

import asyncio
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recorder.errors import Damaged, RecorderError, UnknownRecording, WrongKey
from recorder.journal import EVENT_KEY, Journal
from recorder.storage import EncryptedFile, Shelf, file_key


@dataclass(frozen=True)
class Verdict:
    recording_id: str
    files: int
    size_bytes: int
    problems: tuple[str, ...]
    hashes: dict[str, str]
    """File id → SHA-256 as the manifest has it."""
    is_finished: bool = True


def shelves(root: Path) -> Iterator[Shelf]:
    """Every recording there is on the disk, by its id."""
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        try:
            shelf = Shelf(root, folder.name)
        except UnknownRecording:
            continue
        if folder.is_dir() and shelf.exists():
            yield shelf


def verify(shelf: Shelf, master_key: bytes) -> Verdict:
    """Blocks: reads all of it. Never raises for what is wrong with the recording: that is the verdict."""
    try:
        keys = shelf.read_keys(master_key)
        if not shelf.has_manifest():
            return _verify_journal(shelf, keys)
        manifest = shelf.read_manifest(keys[EVENT_KEY])
    except RecorderError as error:
        return Verdict(shelf.recording_id, 0, 0, (f"{error.code}: {error}",), {})
    problems: list[str] = []
    size, hashes = 0, dict[str, str]()
    extra = [entry for name in ("thumbnail", "composed") if (entry := manifest.get(name))]
    for entry in (*manifest["files"], *extra):
        file_id = entry["file_id"]
        hashes[file_id], size = entry["sha256"], size + entry["size"]
        try:
            secret = file_key(keys[entry["key_id"]], file_id)
            file = EncryptedFile(shelf.file_path(file_id), secret, shelf.file_context(file_id), entry["size"])
            if not hmac.compare_digest(file.sha256(), entry["sha256"]):
                problems.append(f"{file_id}: its hash is not the manifest's")
        except FileNotFoundError:
            problems.append(f"{file_id}: missing")
        except KeyError:
            problems.append(f"{file_id}: its key is gone")
        except Damaged as error:
            problems.append(f"{file_id}: {error}")
    return Verdict(shelf.recording_id, len(hashes), size, tuple(problems), hashes)


def _verify_journal(shelf: Shelf, keys: dict[int, bytes]) -> Verdict:
    """Of a recording that runs, or that is not finished yet: every sealed chunk authenticates."""
    if not shelf.has_journal():
        return Verdict(shelf.recording_id, 0, 0, ("neither a manifest nor a journal",), {}, is_finished=False)
    size, problems = shelf.journal_path.stat().st_size, list[str]()
    try:
        for _ in Journal(shelf.journal_path, keys).chunks():
            pass
    except Damaged as error:
        problems.append(f"journal: {error}")
    return Verdict(shelf.recording_id, 0, size, tuple(problems), {}, is_finished=False)


def rewrap(shelf: Shelf, old: bytes, new: bytes) -> bool:
    """Put the keys of one recording under the new master key; False if they are already. Raises WrongKey, Damaged."""
    try:
        shelf.read_keys(new)
    except WrongKey:
        shelf.replace_keys(shelf.read_keys(old), new)
        return True
    return False


class Offline:
    """Erases recordings without a server: what the operator's `purge` needs of a recorder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def delete(self, recording_id: str) -> None:
        await asyncio.to_thread(Shelf(self._root, recording_id).erase)
