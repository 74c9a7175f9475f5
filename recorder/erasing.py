"""Takes one person out of a finished recording: their keys, their files, and every picture that shows them.

The keys go first: they were never written anywhere else, so from then on nothing of that person can be read, in no
copy of the disk either. The composed file and the small picture show everybody and lie under key 0: their bytes are
overwritten before they are unlinked, and the composed one can be made again from what is left.
"""

import os
from pathlib import Path
from typing import Any

from recorder.errors import UnknownRecording
from recorder.journal import EVENT_KEY
from recorder.storage import Shelf


def forget_person(shelf: Shelf, master_key: bytes, participant: str) -> dict[str, Any]:
    """Answers the manifest that is left. Blocks. Safe to repeat; somebody who is not in it changes nothing."""
    keys = shelf.read_keys(master_key)
    if not shelf.has_manifest():
        raise UnknownRecording(f"recording {shelf.recording_id} is not finished")
    manifest = shelf.read_manifest(keys[EVENT_KEY])
    theirs = [entry for entry in manifest["files"] if entry["participant"] == participant]
    if not theirs:
        return manifest
    lost = {entry["key_id"] for entry in theirs}
    shelf.replace_keys({key_id: key for key_id, key in keys.items() if key_id not in lost}, master_key)
    shared = [entry for name in ("thumbnail", "composed") if (entry := manifest.pop(name, None))]
    manifest["files"] = [entry for entry in manifest["files"] if entry["participant"] != participant]
    names = {entry["display_name"] for entry in theirs}
    manifest["chapters"] = [mark for mark in manifest.get("chapters", ()) if not _tells_of(mark["title"], names)]
    shelf.write_manifest(manifest, keys[EVENT_KEY])
    for entry in shared:
        _overwrite(shelf.file_path(entry["file_id"]))
    for entry in (*theirs, *shared):
        shelf.file_path(entry["file_id"]).unlink(missing_ok=True)
    shelf.drop_pieces()
    return manifest


def _tells_of(title: str, names: set[str]) -> bool:
    return any(name and title.startswith(f"{name} ") for name in names)


def _overwrite(path: Path) -> None:
    if not path.exists():
        return
    with path.open("r+b") as file:
        for _ in range(-(-path.stat().st_size // (1 << 20))):
            file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
