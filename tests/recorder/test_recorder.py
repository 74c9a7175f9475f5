"""The recorder while it runs and afterwards, over a media node that keeps its promises and nothing else."""

import asyncio
import errno
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from media.errors import MediaError, Refused
from media.types import (
    JournalChanged,
    TrackEnded,
    TrackInfo,
    TrackSource,
)
from recorder import recorder as recorder_module
from recorder import tap as tap_module
from recorder import work as work_module
from recorder.errors import DiskFull, FinishFailed, MediaGone, StillFinishing, UnknownRecording, WrongKey, WrongState
from recorder.recorder import Recorder
from recorder.storage import Shelf
from recorder.tap import LiveRecording
from tests.recorder.fake_media import AMARA, MINA, ROOM, FakeMedia
from tests.recorder.studio import audio, play, video

MASTER = b"m" * 32
RECORDING = "0123456789abcdef0123456789abcdef"


def folders(path: Path) -> list[Path]:
    return list(path.iterdir())


async def settled() -> None:
    """Lets tasks that media's events started run to their end: each does only a few steps of the fake."""
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
def media() -> FakeMedia:
    return FakeMedia()


@pytest_asyncio.fixture
async def recorder(media: FakeMedia, tmp_path: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder(media, tmp_path, MASTER)
    yield recorder
    await recorder.close()


async def test_from_start_to_a_file_that_plays(recorder: Recorder, media: FakeMedia) -> None:
    media.publish(1, AMARA)
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "consent-1")
    media.publish(2, AMARA, TrackSource.microphone)
    await settled()
    media.play(video, 1, 2)
    media.play(audio, 2, 2)
    await recorder.stop(RECORDING)
    finished = await recorder.finish(RECORDING)
    (file,) = finished.files
    assert (file.participant, file.display_name, file.video_frames) == ("amara", "Amara", 48)
    opened = await recorder.open_file(RECORDING, file.file_id)
    seen = play(opened.read(0, opened.size))
    assert (len(seen.video_s), len(seen.audio_s)) == (48, 100)
    assert await recorder.finish(RECORDING) == finished == await recorder.describe(RECORDING)


async def test_nobody_is_tapped_who_was_not_included(recorder: Recorder, media: FakeMedia) -> None:
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "consent-1")
    media.publish(1, AMARA)
    media.publish(2, MINA)
    await settled()
    assert [facts[0] for facts in media.taps.values()] == [1]


async def test_excluding_ends_it_at_once_and_keeps_later_tracks_out(recorder: Recorder, media: FakeMedia) -> None:
    media.publish(1, AMARA)
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "consent-1")
    await recorder.exclude(RECORDING, AMARA)
    assert media.taps == {}
    assert media.grants == {}
    media.publish(2, AMARA)
    await settled()
    assert media.taps == {}
    await recorder.include(RECORDING, AMARA, "Amara", "consent-2")
    assert {facts[:2] for facts in media.taps.values()} == {(1, "consent-2"), (2, "consent-2")}


async def test_a_withdrawal_while_somebody_is_being_included_wins(
    recorder: Recorder, media: FakeMedia, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their key is still on its way to the disk when they say no."""
    media.publish(1, AMARA)
    await recorder.start(RECORDING, ROOM)
    asked = asyncio.Event()
    stored = Shelf.write_keys

    def write_keys(shelf: Shelf, keys: Mapping[int, bytes], master_key: bytes) -> None:
        loop.call_soon_threadsafe(asked.set)
        stored(shelf, keys, master_key)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(Shelf, "write_keys", write_keys)
    including = asyncio.create_task(recorder.include(RECORDING, AMARA, "Amara", "consent-1"))
    await asked.wait()
    assert not including.done()
    await recorder.exclude(RECORDING, AMARA)
    await including
    assert media.taps == {}
    await recorder.include(RECORDING, AMARA, "Amara", "consent-2")
    assert [facts[1] for facts in media.taps.values()] == ["consent-2"]


async def test_pause_takes_every_tap_away_and_resume_brings_them_back(recorder: Recorder, media: FakeMedia) -> None:
    media.publish(1, AMARA)
    media.publish(2, MINA)
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "a")
    await recorder.include(RECORDING, MINA, "Mina", "m")
    await recorder.pause(RECORDING)
    assert media.taps == {}
    media.publish(3, AMARA)
    await settled()
    assert media.taps == {}
    await recorder.exclude(RECORDING, MINA)
    await recorder.resume(RECORDING)
    assert {facts[0] for facts in media.taps.values()} == {1, 3}
    assert (
        media.events
        == ["started", "included", "tapped", "included", "tapped", "paused", "excluded", "resumed"] + ["tapped"] * 2
    )


async def test_a_new_connection_after_all_tracks_ended_is_counted(recorder: Recorder, media: FakeMedia) -> None:
    media.publish(1, AMARA)
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "a")
    del media.published[1]
    media.emit(TrackEnded(ROOM, AMARA, 1))
    media.publish(2, AMARA)
    await settled()
    tapped = [json.loads(record.payload) for record in media.records if b"tapped" in record.payload]
    assert [document["connection"] for document in tapped] == [1, 2]


async def test_including_before_the_room_exists_taps_what_comes(recorder: Recorder, media: FakeMedia) -> None:
    media.room_is_there = False
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "a")
    media.room_is_there = True
    media.publish(1, AMARA)
    await settled()
    assert len(media.taps) == 1


async def test_a_journal_that_fails_is_told_and_what_it_holds_can_be_finished(
    recorder: Recorder, media: FakeMedia
) -> None:
    told: list[tuple[str, str]] = []
    recorder.add_failure_listener(lambda recording, why: told.append((recording, why)))
    media.publish(1, AMARA)
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "a")
    media.play(video, 1, 2)
    media.write(closed=False)
    media.emit(JournalChanged(7, "failed", "No space left on device (os error 28)"))
    assert told == [(RECORDING, "disk_full")]
    finished = await recorder.finish(RECORDING)
    assert not finished.complete
    assert finished.files[0].video_frames == 48


async def test_what_a_crash_left_is_finished_at_the_next_start(media: FakeMedia, tmp_path: Path) -> None:
    before = Recorder(media, tmp_path, MASTER)
    media.publish(1, AMARA)
    await before.start(RECORDING, ROOM)
    await before.include(RECORDING, AMARA, "Amara", "a")
    media.play(video, 1, 2)
    media.write(closed=False)
    (tmp_path / "half-made").mkdir()
    after = Recorder(FakeMedia(), tmp_path, MASTER)
    assert await after.recover() == [RECORDING]
    assert await after.recover() == []
    assert not (tmp_path / "half-made").exists()
    assert (await after.describe(RECORDING)).files[0].video_frames == 48
    with pytest.raises(WrongKey):
        await Recorder(FakeMedia(), tmp_path, b"x" * 32).describe(RECORDING)


async def test_folders_that_are_not_recordings_survive_the_start(media: FakeMedia, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "letters.txt").write_text("keep me")
    half_erased = Shelf(tmp_path, RECORDING)
    half_erased.create()
    half_erased.file_path("1-camera").write_bytes(b"sealed")
    assert await Recorder(media, tmp_path, MASTER).recover() == []
    assert (tmp_path / "backup" / "letters.txt").read_text() == "keep me"
    assert not half_erased.path.exists()


async def test_a_left_over_that_cannot_be_read_does_not_keep_the_others_waiting(
    media: FakeMedia, tmp_path: Path
) -> None:
    before = Recorder(media, tmp_path, MASTER)
    media.publish(1, AMARA)
    await before.start(RECORDING, ROOM)
    await before.include(RECORDING, AMARA, "Amara", "a")
    media.play(video, 1, 2)
    media.write(closed=False)
    broken = Shelf(tmp_path, "0" * 32)
    (broken.path / "keys.json").mkdir(parents=True)
    broken.journal_path.touch()
    assert await Recorder(FakeMedia(), tmp_path, MASTER).recover() == [RECORDING]


async def test_a_journal_that_cannot_be_opened_leaves_nothing(
    recorder: Recorder, media: FakeMedia, tmp_path: Path
) -> None:
    media.fails_to_open = True
    with pytest.raises(MediaGone):
        await recorder.start(RECORDING, ROOM)
    assert folders(tmp_path) == []
    assert not recorder.is_live(RECORDING)


@pytest.mark.parametrize("where", ["key", "journal"])
async def test_a_full_disk_is_named_when_a_recording_begins(
    recorder: Recorder, media: FakeMedia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async def refused(*_: object) -> int:
        raise MediaError("No space left on device (os error 28)")

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "key":
        monkeypatch.setattr(Shelf, "write_keys", no_space)
    else:
        monkeypatch.setattr(media, "open_journal", refused)
    with pytest.raises(DiskFull):
        await recorder.start(RECORDING, ROOM)
    assert folders(tmp_path) == []
    monkeypatch.undo()
    await recorder.start(RECORDING, ROOM)
    assert recorder.is_live(RECORDING)


async def test_a_tap_that_was_refused_is_asked_for_again(
    recorder: Recorder, media: FakeMedia, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_module, "TRY_AGAIN_AFTER_S", (0.0, 0.0))
    add_tap, refusals = media.add_tap, [Refused("not now"), Refused("not yet")]

    async def refusing(*arguments: Any) -> int:
        if refusals:
            raise refusals.pop()
        return await add_tap(*arguments)

    monkeypatch.setattr(media, "add_tap", refusing)
    media.publish(1, AMARA)
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "a")
    assert media.taps == {}
    await settled()
    assert [track for track, _, _ in media.taps.values()] == [1]


async def test_a_withdrawal_ends_the_asking_again(
    recorder: Recorder, media: FakeMedia, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_module, "TRY_AGAIN_AFTER_S", (0.0,) * 5)
    asked: list[object] = []

    async def refusing(*arguments: object) -> int:
        asked.append(arguments)
        raise Refused("never")

    monkeypatch.setattr(media, "add_tap", refusing)
    media.publish(1, AMARA)
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "a")
    await recorder.exclude(RECORDING, AMARA)
    await settled()
    assert len(asked) == 1


async def test_a_close_that_was_refused_is_asked_for_again(
    recorder: Recorder, media: FakeMedia, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_module, "TRY_AGAIN_AFTER_S", (0.0, 0.0))
    close, refusals = media.close_journal, [MediaError("busy")]

    async def refusing(journal: int) -> None:
        if refusals:
            raise refusals.pop()
        await close(journal)

    monkeypatch.setattr(media, "close_journal", refusing)
    await recorder.start(RECORDING, ROOM)
    await asyncio.wait_for(recorder.stop(RECORDING), 5)
    assert refusals == []
    assert (await recorder.finish(RECORDING)).complete


async def test_deleting_erases_also_while_it_runs(recorder: Recorder, media: FakeMedia, tmp_path: Path) -> None:
    media.publish(1, AMARA)
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "a")
    await recorder.delete(RECORDING)
    await recorder.delete(RECORDING)
    assert media.taps == {}
    assert folders(tmp_path) == []
    with pytest.raises(UnknownRecording):
        await recorder.finish(RECORDING)


OTHER = "f" * 32


async def left_over(media: FakeMedia, path: Path) -> None:
    """A recording that a crash cut."""
    before = Recorder(media, path, MASTER)
    media.publish(1, AMARA)
    await before.start(RECORDING, ROOM)
    await before.include(RECORDING, AMARA, "Amara", "a")
    media.play(video, 1, 2)
    media.write(closed=False)


async def test_a_hung_worker_is_ended_and_the_next_one_works(
    media: FakeMedia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left_over(media, tmp_path)
    after = Recorder(FakeMedia(), tmp_path, MASTER)
    hung = (sys.executable, "-c", "import time; time.sleep(600)")
    with monkeypatch.context() as patched:
        patched.setattr(work_module, "WORKER", hung)
        patched.setattr(recorder_module, "FINISH_LEAST_S", 0.2)
        patched.setattr(recorder_module, "FINISH_BYTES_PER_S", 1e9)
        with pytest.raises(FinishFailed, match="said nothing"):
            await asyncio.wait_for(after.finish(RECORDING), 30)
    assert (await after.finish(RECORDING)).files[0].video_frames == 48


async def test_what_is_being_finished_cannot_be_deleted(
    media: FakeMedia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left_over(media, tmp_path)
    after = Recorder(FakeMedia(), tmp_path, MASTER)
    working, go_on = asyncio.Event(), asyncio.Event()
    work = work_module.work

    async def slow(*what: Any, **how: Any) -> dict[str, Any]:
        working.set()
        await go_on.wait()
        return await work(*what, **how)

    monkeypatch.setattr(recorder_module, "work", slow)
    recovering = asyncio.create_task(after.recover())
    await working.wait()
    with pytest.raises(StillFinishing):
        await after.delete(RECORDING)
    go_on.set()
    assert await recovering == [RECORDING]
    await after.delete(RECORDING)
    assert folders(tmp_path) == []


async def test_closing_stops_all_at_once_whatever_becomes_of_one(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    all_there = asyncio.Event()

    async def stop(live: LiveRecording) -> None:
        begun.append(live.recording_id)
        if len(begun) == 2:
            all_there.set()
        await all_there.wait()
        if live.recording_id == OTHER:
            raise RuntimeError("broken")

    monkeypatch.setattr(LiveRecording, "stop", stop)
    for recording_id in (OTHER, RECORDING):
        await recorder.start(recording_id, ROOM)
    await asyncio.wait_for(recorder.close(), 10)
    assert sorted(begun) == [RECORDING, OTHER]


async def test_what_fails_while_following_the_room_is_logged(
    recorder: Recorder, media: FakeMedia, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(live: LiveRecording, info: TrackInfo) -> None:
        raise RuntimeError("no tap today")

    monkeypatch.setattr(LiveRecording, "track_published", broken)
    await recorder.start(RECORDING, ROOM)
    media.publish(1, AMARA)
    await settled()
    assert "recording did not follow its room" in caplog.messages


async def test_steps_out_of_order_are_refused(recorder: Recorder, media: FakeMedia) -> None:
    with pytest.raises(UnknownRecording):
        await recorder.include(RECORDING, AMARA, "Amara", "a")
    await recorder.start(RECORDING, ROOM)
    await recorder.start(RECORDING, ROOM)
    with pytest.raises(WrongState):
        await recorder.finish(RECORDING)
    await recorder.stop(RECORDING)
    await recorder.stop(RECORDING)
    with pytest.raises(WrongState):
        await recorder.start(RECORDING, ROOM)
    with pytest.raises(UnknownRecording):
        await recorder.open_file(RECORDING, "1-camera")


async def test_a_participants_key_is_stored_before_anything_is_sealed_under_it(
    recorder: Recorder, media: FakeMedia, tmp_path: Path
) -> None:
    stored: list[int] = []

    async def add_tap(*_: object) -> int:
        stored.append(len(json.loads((tmp_path / RECORDING / "keys.json").read_text())["keys"]))
        return 1

    media.publish(1, AMARA)
    media.add_tap = add_tap  # type: ignore[method-assign, assignment]
    await recorder.start(RECORDING, ROOM)
    await recorder.include(RECORDING, AMARA, "Amara", "a")
    assert stored == [2]


async def test_a_crash_before_the_journal_began_leaves_nothing_to_finish(recorder: Recorder, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, RECORDING)
    shelf.create()
    shelf.write_keys({0: bytes(32)}, MASTER)
    with pytest.raises(UnknownRecording):
        await recorder.finish(RECORDING)


async def test_a_finished_recording_is_composed_with_progress_and_only_once(
    media: FakeMedia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left_over(media, tmp_path)
    after = Recorder(FakeMedia(), tmp_path, MASTER)
    finished = await after.finish(RECORDING)
    assert finished.thumbnail is not None
    assert (await after.open_file(RECORDING, "thumbnail")).read(0, 3) == b"\xff\xd8\xff"
    shares: list[float] = []
    composed = (await after.compose(RECORDING, shares.append)).composed
    assert composed is not None
    assert shares == sorted(shares)
    assert b"ftyp" in (await after.open_file(RECORDING, "composed")).read(0, 64)
    monkeypatch.setattr(work_module, "WORKER", ("/bin/false",))
    assert (await after.compose(RECORDING, shares.append)).composed == composed


async def test_deleting_ends_a_composition_and_leaves_nothing(media: FakeMedia, tmp_path: Path) -> None:
    await left_over(media, tmp_path)
    after = Recorder(FakeMedia(), tmp_path, MASTER)
    await after.finish(RECORDING)
    begun = asyncio.Event()
    composing = asyncio.create_task(after.compose(RECORDING, lambda _: begun.set()))
    await begun.wait()
    await after.delete(RECORDING)
    assert isinstance((await asyncio.gather(composing, return_exceptions=True))[0], asyncio.CancelledError)
    assert folders(tmp_path) == []
