"""The composed file: everybody in one picture, all voices, chapter marks, and going on after being stopped."""

import io
import json
import os
from typing import Any

import av
import numpy as np
import pytest

from recorder import compose as composing
from recorder import worker
from recorder.compose import COMPOSED, compose
from recorder.errors import WrongState
from recorder.finish import finish
from recorder.layout import HEIGHT, WIDTH
from recorder.storage import EncryptedFile, Shelf, file_key
from tests.recorder.studio import Camera, Packet, audio, key, prologue, resized_frames, video, write_journal

KEYS = {key_id: key(key_id) for key_id in range(4)}
AMARA = Camera(tap=1)
AMARA_SOUND = Camera(tap=2, first_seq=9, first_ts=77)
MINA = Camera(tap=3, key_id=2, first_ts=5)
SECONDS = 4


def recorded(shelf: Shelf, *cameras: tuple[Camera, str]) -> None:
    """A finished recording of these streams."""
    streams: list[Packet] = []
    for camera, source in cameras:
        streams += audio(camera, SECONDS) if source == "microphone" else video(camera, SECONDS)
    packets = prologue(*cameras, names={1: "amara", 2: "mina"}) + sorted(streams, key=lambda one: one.arrival_us)
    write_journal(shelf.journal_path, packets)
    shelf.write_manifest(finish(shelf.path.parent, "r", KEYS), KEYS[0])


def composed(shelf: Shelf, shares: list[float] | None = None) -> dict[str, Any]:
    return compose(shelf.path.parent, "r", KEYS, (shares if shares is not None else []).append)


def content_of(shelf: Shelf, entry: dict[str, Any]) -> io.BytesIO:
    path, secret = shelf.file_path(COMPOSED), file_key(KEYS[0], COMPOSED)
    file = EncryptedFile(path, secret, shelf.file_context(COMPOSED), entry["size"])
    assert file.sha256() == entry["sha256"]
    return io.BytesIO(file.read(0, file.size))


def test_two_people_stand_side_by_side_with_their_voices_in_one_file(shelf: Shelf) -> None:
    recorded(shelf, (AMARA, "camera"), (AMARA_SOUND, "microphone"), (MINA, "camera"))
    shares: list[float] = []
    entry = composed(shelf, shares)
    with av.open(content_of(shelf, entry)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (WIDTH, HEIGHT)
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert len(pictures) == pytest.approx(entry["duration_ms"] * 24 / 1000, abs=1)
    middles = [(picture[HEIGHT // 2, WIDTH // 4], picture[HEIGHT // 2, WIDTH * 3 // 4]) for picture in pictures]
    # The studio's pictures brighten all the time, each side of its own.
    for side in range(2):
        brightness = [int(middle[side]) for middle in middles[6:-6:12]]
        assert brightness == sorted(brightness)
        assert brightness[-1] > brightness[0] + 20
    with av.open(content_of(shelf, entry)) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    loudest = np.argmax(np.abs(np.fft.rfft(sound[0][48_000:96_000])))
    assert loudest == pytest.approx(440, abs=2)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_a_picture_that_grows_in_the_middle_fills_its_place_throughout(shelf: Shelf) -> None:
    small_first = sorted(video(MINA, SECONDS, frames=resized_frames(SECONDS)), key=lambda one: one.arrival_us)
    write_journal(shelf.journal_path, prologue((MINA, "camera"), names={2: "mina"}) + small_first)
    shelf.write_manifest(finish(shelf.path.parent, "r", KEYS), KEYS[0])
    with av.open(content_of(shelf, composed(shelf))) as container:
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    for picture in pictures[12 : SECONDS * 24 - 12]:
        middle, corner = picture[HEIGHT // 2, WIDTH // 2], picture[40, WIDTH // 2 - 300]
        assert abs(int(middle) - int(corner)) < 12


def test_a_shared_screen_stands_large_beside_the_people(shelf: Shelf) -> None:
    recorded(shelf, (AMARA, "camera"), (MINA, "screen"))
    with av.open(content_of(shelf, composed(shelf))) as container:
        picture = list(container.decode(video=0))[48].to_ndarray(format="gray")
    assert picture[HEIGHT // 2, 480] > 45  # the screen, 960 wide
    assert picture[HEIGHT // 2, 960 + 160] > 45  # Amara in the column beside it
    assert picture[20, 960 + 160] == pytest.approx(22, abs=3)  # nothing above her


def test_a_composition_that_was_stopped_goes_on_after_its_last_whole_piece(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composing, "PIECE_S", 1)
    recorded(shelf, (AMARA, "camera"), (AMARA_SOUND, "microphone"))

    class Stopped(Exception):
        pass

    def stop_in_the_third_second(share: float) -> None:
        if share > 0.9 * 1.9 / SECONDS:
            raise Stopped

    with pytest.raises(Stopped):
        compose(shelf.path.parent, "r", KEYS, stop_in_the_third_second)
    kept = {path.name: path.stat().st_mtime_ns for path in shelf.path.glob("composed-*.media")}
    assert sorted(kept) == ["composed-0000.media", "composed-0001.media"]
    painted: list[float] = []
    paint = composing.paint
    monkeypatch.setattr(composing, "paint", lambda *args: painted.append(args[1]) or paint(*args))
    entry = composed(shelf)
    assert painted[0] == 2
    with av.open(content_of(shelf, entry)) as container:
        times = [float(frame.time or 0) for frame in container.decode(video=0)]
    assert np.diff(times) == pytest.approx(1 / 24, abs=0.002)
    assert [path.name for path in shelf.path.glob("composed*")] == ["composed.media"]


def test_nothing_in_clear_is_on_the_disk(shelf: Shelf) -> None:
    recorded(shelf, (AMARA, "camera"))
    composed(shelf)
    for path in shelf.path.iterdir():
        content = path.read_bytes()
        assert b"ftyp" not in content
        assert b"Amara" not in content


def test_a_recording_without_files_cannot_be_composed(shelf: Shelf) -> None:
    shelf.write_manifest({"files": [], "duration_ms": 0}, KEYS[0])
    with pytest.raises(WrongState):
        composed(shelf)


def test_painting_and_encoding_take_no_second_thread(shelf: Shelf) -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    recorded(shelf, (AMARA, "camera"), (MINA, "camera"))
    before, meanwhile = threads(), dict[float, int]()
    compose(shelf.path.parent, "r", KEYS, lambda share: meanwhile.setdefault(share, threads()))
    painting = [count for share, count in meanwhile.items() if share < 1 - composing.SOUND_SHARE]
    assert len(painting) > 2
    assert max(painting) <= before


def test_composing_leaves_the_processor_to_everything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []
    request = {"task": "compose", "root": "/nowhere", "recording": "r", "keys": {}}
    monkeypatch.setattr("recorder.worker.os.nice", asked.append)
    monkeypatch.setattr("recorder.worker.compose", lambda *_: {"lowest": asked == [19]})
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(request)))
    assert worker.main() == 0
    assert json.loads(capsys.readouterr().out) == {"answer": {"lowest": True}}
