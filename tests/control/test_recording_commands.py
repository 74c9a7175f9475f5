"""`holdspace recordings`: what is listed, found damaged, purged, put under a new key, with real files on the disk."""

import base64
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from control import keyfiles
from control.__main__ import main
from control.commands import with_database
from control.config import Settings
from control.config_reading import SettingsError, read
from control.database import Database
from control.models.recordings import Recording, RecordingFile
from control.recording_commands import in_use
from recorder import verifying
from recorder.errors import WrongKey
from recorder.storage import EncryptedFile, EncryptedWriter, Shelf, file_key
from tests.helpers.clock import ManualClock
from tests.helpers.practice import MONDAY, found_practice

Run = Callable[..., tuple[int, str]]
KEYS = {0: b"e" * 32, 1: b"b" * 32}
CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("list")` is `holdspace recordings list` in a folder of its own: exit code and everything it said."""
    for name in [name for name in os.environ if name.startswith("HOLDSPACE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("control.__main__.set_up_logging", lambda _settings: None)

    def run_one(*arguments: str) -> tuple[int, str]:
        code = main(("recordings", *arguments))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run_one


@pytest.fixture
def shelf(run: Run) -> Shelf:
    """One finished recording with one file, in the database and on the disk. After `run`: in its folder."""
    del run
    settings = _settings()
    recording_id = with_database(settings, _add_recording)
    shelf = Shelf(settings.recordings_dir, recording_id)
    shelf.create()
    shelf.write_keys(KEYS, keyfiles.load(settings).recording_key)
    with EncryptedWriter(shelf.file_path("1-camera"), _file_key(), shelf.file_context("1-camera")) as sink:
        sink.write(CONTENT)
    entry = {"file_id": "1-camera", "key_id": 1, "size": len(CONTENT), "sha256": _stored(shelf).sha256()}
    shelf.write_manifest({"files": [entry]}, KEYS[0])

    async def note_hash(db: Database) -> None:
        async with db.transaction() as session:
            await session.execute(update(RecordingFile).values(sha256=entry["sha256"]))

    with_database(settings, note_hash)
    return shelf


def _settings() -> Settings:
    return read({}, None)


def _file_key() -> bytes:
    return file_key(KEYS[1], "1-camera")


def _stored(shelf: Shelf) -> EncryptedFile:
    return EncryptedFile(shelf.file_path("1-camera"), _file_key(), shelf.file_context("1-camera"), len(CONTENT))


async def _add_recording(db: Database) -> str:
    world = await found_practice(db, ManualClock(MONDAY))
    session_view = await world.scheduled()
    async with db.transaction() as session:
        row = Recording(
            appointment_id=session_view.id,
            practitioner_id=world.alice.person_id,
            state="ready",
            pressed="off",
            started_at=MONDAY,
            duration_ms=60_000,
            delete_after=datetime.now(UTC) + timedelta(days=30),
        )
        session.add(row)
        await session.flush()
        file: dict[str, Any] = {"participant_id": world.bob.person_id, "name": "Bob Client", "view": "camera"}
        session.add(
            RecordingFile(
                recording_id=row.id,
                file_id="1-camera",
                mime="video/webm",
                size_bytes=len(CONTENT),
                sha256="",
                starts_ms=0,
                duration_ms=60_000,
                **file,
            )
        )
        return row.id


def _change(**values: object) -> None:
    async def work(db: Database) -> None:
        async with db.transaction() as session:
            await session.execute(update(Recording).values(**values))

    with_database(_settings(), work)


def test_the_list_names_recordings_and_no_people(run: Run, shelf: Shelf) -> None:
    code, said = run("list")
    assert (code, shelf.recording_id in said, "1.0 min" in said) == (0, True, True)
    assert "Bob" not in said
    _change(state="deleted")
    assert run("list") == (0, "0 recordings\n")
    assert shelf.recording_id in run("list", "--all")[1]


def test_whole_files_are_found_good(run: Run, shelf: Shelf) -> None:
    code, said = run("verify")
    assert (code, f"{shelf.recording_id}  good" in said) == (0, True)
    assert run("verify", shelf.recording_id)[0] == 0


@pytest.mark.parametrize("harm", ["bit", "cut", "missing", "manifest", "hash", "folder", "stranger"])
def test_whatever_was_changed_is_found(run: Run, shelf: Shelf, harm: str) -> None:
    path = shelf.file_path("1-camera")
    match harm:
        case "bit":
            content = bytearray(path.read_bytes())
            content[1000] ^= 1
            path.write_bytes(content)
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "missing":
            path.unlink()
        case "manifest":
            (shelf.path / "manifest").write_bytes(b"\0" * 100)
        case "hash":
            _change_hash()
        case "folder":
            shelf.erase()
        case "stranger":
            shelf.write_keys({0: b"x" * 32, 1: b"y" * 32}, keyfiles.load(_settings()).recording_key)
    code, said = run("verify")
    assert (code, f"{shelf.recording_id}  BAD" in said, "1 bad" in said) == (1, True, True)


def _change_hash() -> None:
    async def work(db: Database) -> None:
        async with db.transaction() as session:
            await session.execute(update(RecordingFile).values(sha256="0" * 64))

    with_database(_settings(), work)


def test_purging_tells_first_and_deletes_what_is_due(run: Run, shelf: Shelf) -> None:
    assert run("purge") == (0, "Told of 0, deleted 0.\n")
    _change(delete_after=datetime.now(UTC) - timedelta(days=1))
    assert run("purge", "--dry-run") == (0, "Would tell of 1, would delete 0.\n")
    assert run("purge") == (0, "Told of 1, deleted 0.\n")
    _change(delete_after=datetime.now(UTC) - timedelta(days=1), held_at=MONDAY)
    assert run("purge") == (0, "Told of 0, deleted 0.\n")
    _change(held_at=None)
    assert run("purge", "--dry-run") == (0, "Would tell of 0, would delete 1.\n")
    assert shelf.exists()
    assert run("purge") == (0, "Told of 0, deleted 1.\n")
    assert not shelf.path.exists()


def test_after_a_rotation_only_the_new_key_opens_recordings(run: Run, shelf: Shelf) -> None:
    before = keyfiles.load(_settings())
    code, said = run("rotate-key")
    assert (code, "1 recordings are under a new key" in said) == (0, True)
    after = keyfiles.load(_settings())
    assert after.master_key == before.master_key
    assert after.recording_key != before.recording_key
    assert base64.b64decode(Path("var/recordings.key").read_text()) == after.recording_key
    assert shelf.read_keys(after.recording_key) == KEYS
    with pytest.raises(WrongKey):
        shelf.read_keys(before.recording_key)
    assert run("verify")[0] == 0


def test_a_rotation_cut_off_half_way_keeps_the_server_away_and_goes_on(
    run: Run, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as crashing:
        crashing.setattr(keyfiles, "take_next_recording_key", crash)
        assert run("rotate-key")[0] == 130
    with pytest.raises(SettingsError, match=r"rotate-key"):
        keyfiles.load(_settings())
    assert run("rotate-key")[0] == 0
    assert shelf.read_keys(keyfiles.load(_settings()).recording_key) == KEYS


def test_a_recording_that_no_key_opens_does_not_stop_a_rotation(run: Run, shelf: Shelf) -> None:
    other = Shelf(shelf.path.parent, "f" * 32)
    other.create()
    other.write_keys({0: b"z" * 32}, b"another master key of 32 bytes!!")
    code, said = run("rotate-key")
    assert (code, f"{other.recording_id}  left as it is" in said, "1 recordings are" in said) == (0, True, True)
    assert shelf.read_keys(keyfiles.load(_settings()).recording_key) == KEYS


def test_no_rotation_beside_a_running_server(run: Run, shelf: Shelf) -> None:
    with in_use(shelf.path.parent):
        code, said = run("rotate-key")
    assert (code, "server_running" in said) == (1, True)
    assert shelf.read_keys(keyfiles.load(_settings()).recording_key) == KEYS


def test_a_journal_that_still_runs_is_verified_by_its_chunks(run: Run, shelf: Shelf) -> None:
    del run
    from tests.recorder.studio import Camera, prologue, video, write_journal

    (shelf.path / "manifest").unlink()
    write_journal(shelf.journal_path, [*prologue((Camera(1), "camera")), *video(Camera(1), 1)], keys=KEYS)
    key = keyfiles.load(_settings()).recording_key
    assert verifying.verify(shelf, key).problems == ()
    content = bytearray(shelf.journal_path.read_bytes())
    content[len(content) // 2] ^= 1
    shelf.journal_path.write_bytes(content)
    assert len(verifying.verify(shelf, key).problems) == 1
