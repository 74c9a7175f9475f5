"""Crypto-erasure: of a whole recording and of one person in it; what is left on the disk can't be read any more."""

import json
import shutil
from pathlib import Path

import pytest

from recorder.compose import compose
from recorder.erasing import forget_person
from recorder.errors import UnknownRecording
from recorder.finish import finish
from recorder.storage import EncryptedFile, Shelf, file_key
from recorder.thumbnail import make_thumbnail
from tests.recorder.studio import Camera, audio, key, prologue, video, write_journal

MASTER = b"m" * 32
KEYS = {key_id: key(key_id) for key_id in range(3)}
AMARA, AMARA_SOUND, MINA = Camera(tap=1), Camera(tap=2, first_seq=9), Camera(tap=3, key_id=2, first_ts=5)


@pytest.fixture
def both(shelf: Shelf) -> Shelf:
    """A finished and composed recording of two people."""
    cameras = ((AMARA, "camera"), (AMARA_SOUND, "microphone"), (MINA, "camera"))
    packets = [*video(AMARA, 2), *audio(AMARA_SOUND, 2), *video(MINA, 2)]
    ordered = prologue(*cameras, names={1: "amara", 2: "mina"}) + sorted(packets, key=lambda one: one.arrival_us)
    write_journal(shelf.journal_path, ordered)
    shelf.write_keys(KEYS, MASTER)
    root = shelf.path.parent
    manifest = finish(root, "r", KEYS)
    manifest["thumbnail"] = make_thumbnail(root, KEYS, manifest)
    shelf.write_manifest(manifest, KEYS[0])
    manifest["composed"] = compose(root, "r", KEYS, lambda _: None)
    shelf.write_manifest(manifest, KEYS[0])
    shelf.drop_journal()
    return shelf


def opened(shelf: Shelf, keys: dict[int, bytes]) -> list[str]:
    """Ids of the files that these keys open, of all that the manifest names."""
    manifest = shelf.read_manifest(keys[0])
    found = []
    for entry in manifest["files"]:
        secret = file_key(keys[entry["key_id"]], entry["file_id"])
        file = EncryptedFile(
            shelf.file_path(entry["file_id"]), secret, shelf.file_context(entry["file_id"]), entry["size"]
        )
        assert file.sha256() == entry["sha256"]
        found.append(entry["file_id"])
    return found


def test_one_persons_key_and_files_go_and_the_others_stay(both: Shelf) -> None:
    wrapped = json.loads((both.path / "keys.json").read_text())["keys"]["2"]
    left = forget_person(both, MASTER, "person-mina")
    keys = both.read_keys(MASTER)
    assert sorted(keys) == [0, 1]
    assert opened(both, keys) == ["1-camera"]
    assert [entry["participant"] for entry in left["files"]] == ["person-amara"]
    assert (left.get("composed"), left.get("thumbnail")) == (None, None)
    assert not any("Mina" in mark["title"] for mark in left["chapters"])
    assert sorted(path.name for path in both.path.iterdir()) == ["1-camera.media", "keys.json", "manifest"]
    assert wrapped not in (both.path / "keys.json").read_text()
    assert forget_person(both, MASTER, "person-mina") == left


def test_what_keys_stood_on_the_disk_before_is_overwritten(both: Shelf, tmp_path: Path) -> None:
    """A second name for the old file's blocks: what a look at the raw disk would find."""
    blocks = tmp_path / "blocks"
    blocks.hardlink_to(both.path / "keys.json")
    film = tmp_path / "film"
    film.hardlink_to(both.path / "composed.media")
    forget_person(both, MASTER, "person-mina")
    assert set(blocks.read_bytes()) == {0}
    assert set(film.read_bytes()) == {0}


def test_a_crash_after_the_keys_is_repaired_by_the_next_try(both: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise OSError("the power went")

    monkeypatch.setattr(Shelf, "write_manifest", crash)
    with pytest.raises(OSError, match="power"):
        forget_person(both, MASTER, "person-mina")
    assert 2 not in both.read_keys(MASTER)
    monkeypatch.undo()
    assert len(forget_person(both, MASTER, "person-mina")["files"]) == 1
    assert not both.file_path("2-camera").exists()


def test_somebody_who_is_not_in_it_changes_nothing(both: Shelf) -> None:
    before = {path.name: path.read_bytes() for path in both.path.iterdir()}
    forget_person(both, MASTER, "person-charlie")
    assert {path.name: path.read_bytes() for path in both.path.iterdir()} == before


def test_without_its_keys_no_chunk_of_an_erased_recording_opens(both: Shelf, tmp_path: Path) -> None:
    """A copy of every chunk was taken before; the keys were not in it."""
    copy = tmp_path / "elsewhere" / "r"
    shutil.copytree(both.path, copy, ignore=shutil.ignore_patterns("keys.json"))
    both.erase()
    assert not both.path.exists()
    stolen = Shelf(copy.parent, "r")
    with pytest.raises(UnknownRecording):
        stolen.read_keys(MASTER)
    everything = b"".join(path.read_bytes() for path in copy.iterdir())
    for plain in (b"\x1a\x45\xdf\xa3", b"ftypisom", b"moov", b"Amara", b"\xff\xd8\xff\xe0", b"sha256"):
        assert plain not in everything
