"""From a journal to files that play: sync, gaps, bad links, crashes, and who is in them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from recorder import finish as finishing
from recorder.errors import Damaged
from recorder.finish import finish
from recorder.storage import EncryptedFile, Shelf, file_key
from tests.recorder.studio import (
    FPS,
    START_US,
    Camera,
    Link,
    Packet,
    Played,
    audio,
    event,
    key,
    play,
    prologue,
    video,
    write_journal,
)

KEYS = {key_id: key(key_id) for key_id in range(4)}


def finished(shelf: Shelf, packets: Iterable[Packet], *, closed: bool = True) -> dict[str, Any]:
    write_journal(shelf.journal_path, packets, closed=closed)
    return finish(shelf.path.parent, "r", KEYS)


def content_of(shelf: Shelf, entry: dict[str, Any]) -> bytes:
    secret = file_key(key(entry["key_id"]), entry["file_id"])
    file = EncryptedFile(shelf.file_path(entry["file_id"]), secret, shelf.file_context(entry["file_id"]), entry["size"])
    assert file.sha256() == entry["sha256"]
    return file.read(0, file.size)


def played(shelf: Shelf, manifest: dict[str, Any], number: int = 0) -> Played:
    return play(content_of(shelf, manifest["files"][number]))


def by_arrival(*streams: Iterable[Packet]) -> list[Packet]:
    return sorted((packet for stream in streams for packet in stream), key=lambda packet: packet.arrival_us)


def test_a_person_becomes_one_file_with_every_picture_and_sound(shelf: Shelf) -> None:
    picture, sound = Camera(tap=1), Camera(tap=2, first_seq=9, first_ts=77)
    packets = prologue((picture, "camera"), (sound, "microphone")) + by_arrival(video(picture, 4), audio(sound, 4))
    manifest = finished(shelf, packets)
    (entry,) = manifest["files"]
    assert (entry["participant"], entry["display_name"], entry["mime"]) == ("person-amara", "Amara", "video/webm")
    assert (entry["width"], entry["height"], entry["lost_frames"]) == (160, 120, 0)
    assert manifest["complete"]
    assert manifest["damage"] is None
    seen = played(shelf, manifest)
    assert len(seen.video_s) == 4 * FPS
    assert len(seen.audio_s) == 200
    assert seen.duration_s == pytest.approx(4, abs=0.06)
    assert seen.luma == sorted(seen.luma)


@pytest.mark.parametrize(("codec", "mime"), [("vp9", "video/webm"), ("h264", "video/mp4"), ("av1", "video/webm")])
def test_every_codec_is_kept_without_decoding_and_plays(shelf: Shelf, codec: str, mime: str) -> None:
    picture, sound = Camera(tap=1), Camera(tap=2, first_seq=9, first_ts=77)
    packets = prologue((picture, "camera"), (sound, "microphone"))
    (entry,) = finished(shelf, packets + by_arrival(video(picture, 4, codec), audio(sound, 4)))["files"]
    assert (entry["mime"], entry["width"], entry["height"], entry["lost_frames"]) == (mime, 160, 120, 0)
    seen = play(content_of(shelf, entry))
    assert len(seen.video_s) == 4 * FPS
    assert len(seen.audio_s) == 200
    assert abs(seen.video_s[0] - seen.audio_s[0]) < 0.03
    assert seen.duration_s == pytest.approx(4, abs=0.06)
    assert seen.luma[-1] > seen.luma[0] + 50


def test_pictures_in_a_second_codec_get_a_file_of_their_own(shelf: Shelf) -> None:
    first, second = Camera(tap=1), Camera(tap=2, first_seq=9, begin_us=START_US + 5_000_000)
    packets = prologue((first, "camera"), (second, "camera"))
    manifest = finished(shelf, packets + by_arrival(video(first, 2), video(second, 2, "vp9")))
    assert [entry["file_id"] for entry in manifest["files"]] == ["1-camera", "1-camera-vp9"]
    for number in range(2):
        assert len(played(shelf, manifest, number).video_s) == 2 * FPS


@pytest.mark.parametrize("skew_us", [0, 3_600_000_000, -7_000_000])
def test_audio_and_video_are_in_step_although_video_is_sent_much_later(shelf: Shelf, skew_us: int) -> None:
    picture = Camera(tap=1, encoder_delay_us=300_000, clock_skew_us=skew_us)
    sound = Camera(tap=2, first_seq=9, first_ts=77, encoder_delay_us=10_000, clock_skew_us=skew_us)
    packets = prologue((picture, "camera"), (sound, "microphone")) + by_arrival(video(picture, 4), audio(sound, 4))
    seen = played(shelf, finished(shelf, packets))
    # Captured at the same moment, so they must begin at the same moment (Opus skips 6.5 ms of pre-roll).
    assert abs(seen.video_s[0] - seen.audio_s[0]) < 0.03
    assert abs(seen.video_s[-1] - seen.audio_s[-1]) < 0.08


def test_a_bad_link_repeats_and_disorders_but_nothing_is_missing(shelf: Shelf) -> None:
    picture, sound = Camera(tap=1), Camera(tap=2, first_seq=65_530, first_ts=0xFFFF_FF00)
    link = Link(seed=3, duplicates=0.2, jitter_us=150_000)
    packets = prologue((picture, "camera"), (sound, "microphone")) + link.carry(
        by_arrival(video(picture, 5), audio(sound, 5))
    )
    seen = played(shelf, finished(shelf, packets))
    assert len(seen.video_s) == 5 * FPS
    assert len(seen.audio_s) == 250


def test_lost_packets_leave_out_frames_and_are_counted(shelf: Shelf) -> None:
    picture = Camera(tap=1)
    packets = prologue((picture, "camera")) + Link(seed=8, loss=0.02).carry(video(picture, 6))
    manifest = finished(shelf, packets)
    (entry,) = manifest["files"]
    assert entry["lost_frames"] > 0
    assert 2 * FPS < entry["video_frames"] < 6 * FPS
    assert len(played(shelf, manifest).video_s) == entry["video_frames"]


def test_a_pause_stays_a_gap_of_wall_time(shelf: Shelf) -> None:
    before = Camera(tap=1)
    after = Camera(tap=3, first_seq=40, first_ts=5, begin_us=START_US + 12_000_000)
    packets = prologue((before, "camera"), (after, "camera")) + by_arrival(video(before, 2), video(after, 2))
    manifest = finished(shelf, packets)
    (entry,) = manifest["files"]
    assert entry["duration_ms"] == pytest.approx(13_900, abs=100)
    seen = played(shelf, manifest)
    assert len(seen.video_s) == 4 * FPS
    assert seen.video_s[2 * FPS] - seen.video_s[2 * FPS - 1] == pytest.approx(9.94, abs=0.1)


def test_people_are_laid_to_each_other_by_arrival(shelf: Shelf) -> None:
    amara = Camera(tap=1, clock_skew_us=5_000_000)
    mina = Camera(tap=2, key_id=2, begin_us=START_US + 1_500_000, clock_skew_us=-90_000_000, delay_us=40_000)
    packets = prologue((amara, "camera"), (mina, "camera"), names={1: "amara", 2: "mina"})
    manifest = finished(shelf, packets + by_arrival(video(amara, 3), video(mina, 3)))
    starts = {entry["display_name"]: entry["starts_ms"] for entry in manifest["files"]}
    assert starts["Amara"] == pytest.approx(120, abs=5)
    assert starts["Mina"] == pytest.approx(1540, abs=5)


def test_chapters_mark_who_comes_what_is_shared_and_whose_consent_changes(shelf: Shelf) -> None:
    amara, mina, screen = Camera(tap=1), Camera(tap=2, key_id=2), Camera(tap=3, key_id=2, first_seq=5)
    packets = prologue((amara, "camera")) + by_arrival(
        video(amara, 4),
        [
            event(START_US + 500_000, event="included", key_id=2, participant="person-mina", name="Mina"),
            event(START_US + 1_000_000, event="tapped", tap=mina.tap, key_id=2, source="camera", connection=1),
            event(START_US + 2_000_000, event="tapped", tap=screen.tap, key_id=2, source="screen", connection=1),
            event(START_US + 3_000_000, event="noted", what="excluded", participant="person-mina"),
            event(START_US + 3_000_001, event="noted", what="paused"),
            event(START_US + 3_500_000, event="noted", what="resumed"),
        ],
    )
    assert [(mark["at_ms"], mark["title"]) for mark in finished(shelf, packets)["chapters"]] == [
        (0, "Amara is recorded"),
        (1000, "Mina is recorded"),
        (2000, "Mina shares a screen"),
        (3000, "Mina is no longer recorded"),
        (3000, "Paused"),
        (3500, "Recording goes on"),
    ]


def test_a_shared_screen_is_a_file_of_its_own(shelf: Shelf) -> None:
    camera, screen = Camera(tap=1), Camera(tap=2, first_seq=5)
    packets = prologue((camera, "camera"), (screen, "screen")) + by_arrival(video(camera, 2), video(screen, 2))
    assert [entry["view"] for entry in finished(shelf, packets)["files"]] == ["camera", "screen"]


def test_sound_alone_is_an_audio_file(shelf: Shelf) -> None:
    sound = Camera(tap=2)
    manifest = finished(shelf, prologue((sound, "microphone")) + list(audio(sound, 2)))
    assert manifest["files"][0]["mime"] == "audio/webm"
    assert len(played(shelf, manifest).audio_s) == 100


def test_a_killed_process_loses_only_the_torn_end(shelf: Shelf) -> None:
    picture, sound = Camera(tap=1), Camera(tap=2, first_ts=77)
    packets = prologue((picture, "camera"), (sound, "microphone")) + by_arrival(video(picture, 6), audio(sound, 6))
    write_journal(shelf.journal_path, packets, closed=False)
    content = shelf.journal_path.read_bytes()
    shelf.journal_path.write_bytes(content[:-300])
    manifest = finish(shelf.path.parent, "r", KEYS)
    assert not manifest["complete"]
    assert manifest["dropped_bytes"] > 0
    seen = played(shelf, manifest)
    assert seen.video_s[-1] > 5
    assert seen.audio_s[-1] > 5


def test_a_tap_whose_event_was_lost_in_the_crash_is_kept_by_its_codec(shelf: Shelf) -> None:
    picture, sound = Camera(tap=1), Camera(tap=2, first_ts=77)
    events = [packet for packet in prologue() if b"tapped" not in packet.payload]
    manifest = finished(shelf, events + by_arrival(video(picture, 2), audio(sound, 2)), closed=False)
    assert manifest["files"][0]["view"] == "camera"
    assert len(played(shelf, manifest).video_s) == 2 * FPS


def test_what_was_changed_on_disk_is_told_and_what_stands_before_it_is_kept(shelf: Shelf) -> None:
    picture = Camera(tap=1)
    write_journal(shelf.journal_path, prologue((picture, "camera")) + list(video(picture, 6)))
    content = bytearray(shelf.journal_path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    shelf.journal_path.write_bytes(content)
    manifest = finish(shelf.path.parent, "r", KEYS)
    assert "authenticate" in manifest["damage"]
    assert 2 * FPS < len(played(shelf, manifest).video_s) < 6 * FPS


def test_a_file_that_is_no_journal_is_damage(shelf: Shelf) -> None:
    shelf.journal_path.write_bytes(b"something else entirely, and longer than a preamble")
    with pytest.raises(Damaged):
        finish(shelf.path.parent, "r", KEYS)


def test_an_empty_recording_has_no_files(shelf: Shelf) -> None:
    manifest = finished(shelf, [*prologue(), event(START_US + 9, event="noted", what="stopped")])
    assert manifest["files"] == []


def test_finishing_again_makes_the_same_and_leaves_no_partial_files(shelf: Shelf) -> None:
    picture = Camera(tap=1)
    first = finished(shelf, prologue((picture, "camera")) + list(video(picture, 2)))
    second = finish(shelf.path.parent, "r", KEYS)
    assert first["files"][0]["video_frames"] == second["files"][0]["video_frames"]
    assert sorted(path.suffix for path in shelf.path.iterdir()) == [".journal", ".media"]


def test_no_picture_reaches_the_disk_in_clear(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = finishing.EncryptedWriter

    class Watched(real):  # type: ignore[valid-type, misc]
        def __init__(self, path: Path, *rest: Any) -> None:
            opened.append(path.name)
            super().__init__(path, *rest)

    monkeypatch.setattr(finishing, "EncryptedWriter", Watched)
    picture = Camera(tap=1)
    finished(shelf, prologue((picture, "camera")) + list(video(picture, 2)))
    assert opened == ["1-camera.part"]
    for path in shelf.path.iterdir():
        content = path.read_bytes()
        assert b"webm" not in content
        assert b"\x9d\x01\x2a" not in content
        assert b"Amara" not in content
