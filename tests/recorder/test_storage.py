"""Files nobody can read without the key, and read anywhere with it."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.errors import Damaged, UnknownRecording, WrongKey
from recorder.storage import CHUNK_BYTES, EncryptedFile, EncryptedWriter, Shelf

MASTER = bytes(32)
KEY = b"k" * 32


def write(path: Path, content: bytes) -> EncryptedFile:
    writer = EncryptedWriter(path, KEY, b"here")
    writer.write(content)
    writer.close()
    return EncryptedFile(path, KEY, b"here", writer.size)


def test_any_range_reads_as_the_plain_file_would(tmp_path: Path) -> None:
    content = os.urandom(3 * CHUNK_BYTES + 17)
    file = write(tmp_path / "f", content)
    for offset, length in [(0, 10), (CHUNK_BYTES - 5, 10), (2 * CHUNK_BYTES, CHUNK_BYTES), (len(content) - 3, 99)]:
        assert file.read(offset, length) == content[offset : offset + length]
    assert file.read(len(content), 5) == b""
    assert file.read(0, 10 * len(content)) == content


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3 * CHUNK_BYTES), st.binary(min_size=1, max_size=300)), min_size=1, max_size=25)
)
def test_a_muxer_that_seeks_and_rewrites_gets_what_a_plain_file_would_hold(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, bytes]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "seeking"
    plain = bytearray()
    writer = EncryptedWriter(path, KEY, b"here")
    for offset, data in writes:
        offset = min(offset, len(plain))
        writer.seek(offset)
        writer.write(data)
        plain[offset : offset + len(data)] = data
    writer.close()
    assert EncryptedFile(path, KEY, b"here", writer.size).read(0, len(plain) + 1) == plain


def test_nothing_of_the_content_is_on_disk(tmp_path: Path) -> None:
    write(tmp_path / "f", b"a sentence nobody may read " * 4000)
    assert b"sentence" not in (tmp_path / "f").read_bytes()


@pytest.mark.parametrize("damage", ["changed", "cut", "swapped", "elsewhere"])
def test_changed_bytes_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "f"
    file = write(path, os.urandom(2 * CHUNK_BYTES))
    stored = bytearray(path.read_bytes())
    half = len(stored) // 2
    if damage == "changed":
        stored[100] ^= 1
    elif damage == "cut":
        stored = stored[: half - 1]
    elif damage == "swapped":
        stored = stored[half:] + stored[:half]
    else:
        file = EncryptedFile(path, KEY, b"there", file.size)
    path.write_bytes(stored)
    with pytest.raises(Damaged):
        file.read(0, file.size)


def test_keys_come_back_only_with_the_master_key(shelf: Shelf) -> None:
    shelf.write_keys({0: b"0" * 32, 1: b"1" * 32}, MASTER)
    assert shelf.read_keys(MASTER) == {0: b"0" * 32, 1: b"1" * 32}
    assert b"1111" not in (shelf.path / "keys.json").read_bytes()
    with pytest.raises(WrongKey):
        shelf.read_keys(b"x" * 32)


def test_keys_of_one_recording_do_not_open_in_another(shelf: Shelf) -> None:
    shelf.write_keys({0: b"0" * 32}, MASTER)
    other = Shelf(shelf.path.parent, "other")
    other.create()
    (other.path / "keys.json").write_bytes((shelf.path / "keys.json").read_bytes())
    with pytest.raises(WrongKey):
        other.read_keys(MASTER)


def test_the_manifest_is_sealed(shelf: Shelf) -> None:
    shelf.write_manifest({"files": [], "name": "Amara"}, KEY)
    stored = (shelf.path / "manifest").read_bytes()
    assert b"Amara" not in stored
    assert shelf.read_manifest(KEY)["name"] == "Amara"
    (shelf.path / "manifest").write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
    with pytest.raises(Damaged):
        shelf.read_manifest(KEY)


def test_erasing_leaves_neither_keys_nor_files(shelf: Shelf) -> None:
    shelf.write_keys({0: KEY}, MASTER)
    write(shelf.file_path("1-camera"), b"x")
    shelf.erase()
    shelf.erase()
    assert not shelf.path.exists()
    with pytest.raises(UnknownRecording):
        shelf.read_keys(MASTER)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "x\x00"])
def test_ids_that_would_leave_the_folder_are_unknown(shelf: Shelf, name: str) -> None:
    with pytest.raises(UnknownRecording):
        Shelf(shelf.path.parent, name)
    with pytest.raises(UnknownRecording):
        shelf.file_path(name)
