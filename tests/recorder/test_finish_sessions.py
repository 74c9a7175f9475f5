"""Finishing what real sessions leave: other sizes in the middle, mute gaps, rejoining, an hour of clocks that drift.

Every codec that can be recorded, with Opus; each result is decoded whole, picture by picture.
"""

import io
import random
from collections.abc import Iterable, Iterator
from itertools import cycle, islice, pairwise
from typing import Any

import av
import pytest

from recorder.finish import finish
from recorder.storage import EncryptedFile, Shelf, file_key
from tests.recorder.studio import (
    FPS,
    SMALL,
    START_US,
    USUAL,
    Camera,
    Link,
    Packet,
    Played,
    audio,
    encoded_frames,
    event,
    going_on,
    key,
    ntp,
    opus_frames,
    payloads,
    play,
    prologue,
    resized_frames,
    rtp,
    video,
    vp8_frames,
    write_journal,
)

KEYS = {key_id: key(key_id) for key_id in range(3)}
CODECS = ("vp8", "vp9", "h264", "av1")
PICTURE, SOUND = Camera(tap=1), Camera(tap=2, first_seq=9, first_ts=77)
TAPPED = ((PICTURE, "camera"), (SOUND, "microphone"))


def finished(shelf: Shelf, events: Iterable[Packet], *streams: Iterable[Packet]) -> tuple[dict[str, Any], bytes]:
    """The only file's manifest entry, and the file."""
    packets = sorted((packet for stream in streams for packet in stream), key=lambda packet: packet.arrival_us)
    write_journal(shelf.journal_path, [*events, *packets])
    (entry,) = finish(shelf.path.parent, "r", KEYS)["files"]
    file_id = entry["file_id"]
    secret, context = file_key(key(entry["key_id"]), file_id), shelf.file_context(file_id)
    return entry, EncryptedFile(shelf.file_path(file_id), secret, context, entry["size"]).read(0, entry["size"])


def sizes(content: bytes) -> list[tuple[int, int]]:
    with av.open(io.BytesIO(content)) as container:
        return [(frame.width, frame.height) for frame in container.decode(video=0)]


def assert_no_gap(seen: Played) -> None:
    assert max(later - earlier for earlier, later in pairwise(seen.video_s)) < 1.5 / FPS
    assert max(later - earlier for earlier, later in pairwise(seen.audio_s)) < 0.03


@pytest.mark.parametrize("codec", CODECS)
def test_another_size_in_the_middle_goes_on_in_the_same_file(shelf: Shelf, codec: str) -> None:
    frames = resized_frames(4, codec)
    entry, content = finished(shelf, prologue(*TAPPED), video(PICTURE, 4, codec, frames), audio(SOUND, 4))
    assert entry["lost_frames"] == 0
    assert sizes(content) == [SMALL] * (2 * FPS) + [USUAL] * (2 * FPS)
    assert_no_gap(play(content))


@pytest.mark.parametrize("codec", CODECS)
def test_layers_that_are_switched_down_and_up_again_over_a_bad_link_leave_no_gap(shelf: Shelf, codec: str) -> None:
    """The engine makes one stream of the layers, each beginning with a keyframe; packets come in disorder and twice."""
    large, small = encoded_frames(codec, 2, *USUAL), encoded_frames(codec, 2, *SMALL)
    link = Link(seed=4, duplicates=0.1, jitter_us=80_000)
    pictures = link.carry(video(PICTURE, 6, codec, large + small + large))
    entry, content = finished(shelf, prologue(*TAPPED), pictures, link.carry(audio(SOUND, 6)))
    assert entry["lost_frames"] == 0
    assert sizes(content) == [USUAL] * (2 * FPS) + [SMALL] * (2 * FPS) + [USUAL] * (2 * FPS)
    assert_no_gap(play(content))


@pytest.mark.parametrize("codec", CODECS)
def test_a_mute_is_a_gap_of_the_same_length_in_picture_and_sound(shelf: Shelf, codec: str) -> None:
    before, heard = list(video(PICTURE, 2, codec)), list(audio(SOUND, 2))
    after = video(going_on(PICTURE, before, 7, 90_000), 2, codec)
    heard_after = audio(going_on(SOUND, heard, 7, 48_000), 2)
    entry, content = finished(shelf, prologue(*TAPPED), before, heard, after, heard_after)
    seen = play(content)
    assert (entry["lost_frames"], len(seen.video_s), len(seen.audio_s)) == (0, 4 * FPS, 200)
    assert seen.video_s[2 * FPS] - seen.video_s[0] == pytest.approx(7, abs=0.01)
    assert seen.audio_s[100] - seen.audio_s[0] == pytest.approx(7, abs=0.01)
    assert abs(seen.video_s[2 * FPS] - seen.audio_s[100]) < 0.03


@pytest.mark.parametrize("codec", CODECS)
def test_who_comes_back_goes_on_in_the_same_file_in_step(shelf: Shelf, codec: str) -> None:
    """Another device: its streams count from elsewhere, its clock is hours off, its camera sends late."""
    back_us, skew_us = START_US + 10_000_000, -7_200_000_000
    picture = Camera(3, 1, 5, 4_000_000_000, back_us, skew_us, encoder_delay_us=200_000)
    sound = Camera(4, 1, 65_530, 0xFFFF_FFF0, back_us, skew_us)
    events = prologue(*TAPPED)
    for camera, source in ((picture, "camera"), (sound, "microphone")):
        events.append(event(back_us - 1, event="tapped", tap=camera.tap, key_id=1, source=source, connection=2))
    before = [*video(PICTURE, 2, codec), *audio(SOUND, 2)]
    entry, content = finished(shelf, events, before, video(picture, 2, codec), audio(sound, 2))
    seen = play(content)
    assert (entry["lost_frames"], len(seen.video_s), len(seen.audio_s)) == (0, 4 * FPS, 200)
    assert seen.video_s[2 * FPS] - seen.video_s[0] == pytest.approx(9.9, abs=0.02)
    assert abs(seen.video_s[2 * FPS] - seen.audio_s[100]) < 0.03


# an hour

STEP_S, SOUND_STEP_S, LENGTH_S = 0.5, 0.1, 3600
LATE_US = {"video": 95_000, "audio": 5_000}
"""How much later than it was seen or heard each is sent."""


def drifting(kind: str, drift: float, pace: float, frames: Iterable[list[bytes]]) -> Iterator[Packet]:
    """`drift`: the sender's wall clock against ours; `pace`: the stream's clock against the sender's wall clock."""
    dice = random.Random(kind)  # noqa: S311  repeatable on purpose
    tap, codec, clock_hz, step_s = (1, 1, 90_000, STEP_S) if kind == "video" else (2, 5, 48_000, SOUND_STEP_S)
    seq = 0
    for number, parts in enumerate(islice(frames, round(LENGTH_S / step_s))):
        sender_us = number * step_s * 1_000_000 * (1 + drift)
        ts = round(sender_us * pace * clock_hz / 1_000_000) + 0xFFFF_0000
        true_us = START_US + 100_000 + round(number * step_s * 1_000_000)
        arrival_us = true_us + LATE_US[kind] + 20_000 + round(dice.expovariate(1 / 8_000))
        for at, part in enumerate(parts):
            packet = rtp(96 if kind == "video" else 111, seq, ts, part, marker=at == len(parts) - 1)
            yield Packet(1, codec, tap, arrival_us + at, packet, 1)
            seq += 1
        if number % round(2 / step_s) == 1:
            body = (7).to_bytes(4, "big") + ntp(START_US + 40_000_000_000 + round(sender_us)).to_bytes(8, "big")
            yield Packet(2, 0, tap, arrival_us + 50, body + (ts & 0xFFFF_FFFF).to_bytes(4, "big"), 1)


@pytest.mark.parametrize(("drift", "pace"), [(80e-6, 1 + 150e-6), (-80e-6, 1 - 150e-6)])
def test_after_an_hour_of_drifting_clocks_picture_and_sound_are_still_in_step(
    shelf: Shelf, drift: float, pace: float
) -> None:
    pictures = (payloads("vp8", frame, number) for number, frame in enumerate(cycle(vp8_frames(2))))
    sounds = ([frame] for frame in cycle(opus_frames(2)))
    streams = drifting("video", drift, 1.0, pictures), drifting("audio", drift, pace, sounds)
    entry, content = finished(shelf, prologue(*TAPPED), *streams)
    assert (entry["lost_frames"], entry["duration_ms"]) == (0, pytest.approx(LENGTH_S * 1000, abs=1_000))
    at_s: dict[str, list[float]] = {"video": [], "audio": []}
    with av.open(io.BytesIO(content)) as container:
        for packet in container.demux():
            if packet.pts is not None:
                at_s[packet.stream.type].append(float(packet.pts * packet.time_base))
    each = round(STEP_S / SOUND_STEP_S)
    together = list(zip(at_s["video"], at_s["audio"][::each], strict=True))
    assert len(together) == LENGTH_S / STEP_S
    assert max(abs(picture - sound) for picture, sound in together) < 0.04
    first, last = together[0], together[-1]
    assert last[1] - first[1] == pytest.approx(LENGTH_S - STEP_S, abs=0.04)  # and the hour has its length
