"""Synthetic people for recorder tests: encoded pictures and tones, packets over a bad link, sealed journals.

The journal is written here from the layout in format.rs, independently of both the Rust writer and the reader.
"""

import hashlib
import json
import os
import random
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FPS = 24
START_US = 1_700_000_000_000_000
"""Arrival time of the recording's first event."""


def key(key_id: int) -> bytes:
    return bytes([key_id + 1]) * 32


@dataclass(frozen=True)
class Packet:
    """One journal record before it is sealed."""

    kind: int
    codec: int
    tap: int
    arrival_us: int
    payload: bytes
    key_id: int

    def encoded(self) -> bytes:
        header = struct.pack(">BBHQQ", self.kind, self.codec, len(self.payload), self.tap, self.arrival_us)
        return header + self.payload


ENCODERS = {
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "h264": (
        "libx264",
        {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1:sliced-threads=0"},
    ),
    "av1": ("libsvtav1", {"preset": "11", "svtav1-params": "pred-struct=1:rtc=1:rc=2"}),
}


def vp8_frames(seconds: int, width: int = 160, height: int = 120) -> tuple[bytes, ...]:
    return encoded_frames("vp8", seconds, width, height)


@cache
def encoded_frames(codec: str, seconds: int, width: int = 160, height: int = 120) -> tuple[bytes, ...]:
    """A brightening picture; a keyframe every two seconds."""
    name, options = ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.bit_rate = 200_000
    encoder.options = options | {"g": str(2 * FPS)}
    encoder.thread_count = 1
    frames: list[bytes] = []
    for number in range(seconds * FPS):
        picture = np.full((height * 3 // 2, width), 128, np.uint8)
        picture[:height] = 16 + number % 200
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        frames.extend(bytes(packet) for packet in encoder.encode(frame))
    frames.extend(bytes(packet) for packet in encoder.encode(None))
    return tuple(_as_kept(codec, frame) for frame in frames)


def _as_kept(codec: str, frame: bytes) -> bytes:
    """Without AV1's temporal delimiter, and with four bytes before each H.264 unit, as it comes out of RTP again."""
    if codec == "h264":
        return b"".join(b"\0\0\0\1" + unit for unit in _units(frame))
    return frame.removeprefix(b"\x12\x00") if codec == "av1" else frame


def _units(frame: bytes) -> list[bytes]:
    return [unit for unit in frame.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]


def payloads(codec: str, frame: bytes, number: int, size: int = 300) -> list[bytes]:
    """One frame as RTP payloads of little more than `size` bytes."""
    of_codec = {"vp8": _vp8_payloads, "vp9": _vp9_payloads, "h264": _h264_payloads, "av1": _av1_payloads}
    return of_codec[codec](frame, number, size)


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _vp8_payloads(frame: bytes, number: int, size: int) -> list[bytes]:
    picture = bytes([0x80, 0x80 | number >> 8 & 0x7F, number & 0xFF])
    return [bytes([0x90 if at == 0 else 0x80]) + picture + part for at, part in enumerate(_cut(frame, size))]


def _vp9_payloads(frame: bytes, number: int, size: int) -> list[bytes]:
    parts, picture = _cut(frame, size), bytes([0x80 | number >> 8 & 0x7F, number & 0xFF])
    inter = 0 if frame[0] & 0x0C == 0 else 0x40
    return [
        bytes([0x80 | inter | (0x08 if at == 0 else 0) | (0x04 if at == len(parts) - 1 else 0)]) + picture + part
        for at, part in enumerate(parts)
    ]


def _h264_payloads(frame: bytes, _number: int, size: int) -> list[bytes]:
    units, out = _units(frame), list[bytes]()
    if len(units) > 1:  # parameter sets together
        out.append(b"\x18" + b"".join(struct.pack(">H", len(unit)) + unit for unit in units[:2]))
        units = units[2:]
    for unit in units:
        if len(unit) <= size:
            out.append(unit)
            continue
        parts = _cut(unit[1:], size)
        for at, part in enumerate(parts):
            flags = (0x80 if at == 0 else 0) | (0x40 if at == len(parts) - 1 else 0)
            out.append(bytes([unit[0] & 0xE0 | 28, flags | unit[0] & 0x1F]) + part)
    return out


def _av1_payloads(frame: bytes, _number: int, size: int) -> list[bytes]:
    """Each OBU alone, without its size, cut where it is long."""
    out: list[bytes] = []
    at = 0
    while at < len(frame):
        header, at = frame[at], at + 1
        length = shift = 0
        while True:
            length |= (frame[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not frame[at - 1] & 0x80:
                break
        parts = _cut(bytes([header & ~2]) + frame[at : at + length], size)
        at += length
        for number, part in enumerate(parts):
            flags = (0x80 if number else 0) | (0x40 if number < len(parts) - 1 else 0)
            out.append(bytes([flags | 1 << 4]) + part)
    return out


@cache
def opus_frames(seconds: int) -> tuple[bytes, ...]:
    """A 440 Hz tone in frames of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    frames: list[bytes] = []
    for number in range(seconds * 50):
        t = (np.arange(960) + number * 960) / 48_000
        samples = (np.sin(2 * np.pi * 440 * t) * 8000).astype(np.int16).repeat(2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, number * 960, Fraction(1, 48_000)
        frames.extend(bytes(packet) for packet in encoder.encode(frame))
    return tuple(frames)


@dataclass(frozen=True)
class Camera:
    """How one tapped stream is sent. `ntp_us` is the sender's clock at the stream's time 0 (arrival clock + skew)."""

    tap: int
    key_id: int = 1
    first_seq: int = 65_500
    first_ts: int = 0xFFFF_F000
    begin_us: int = START_US + 100_000
    clock_skew_us: int = 0
    delay_us: int = 20_000
    """Least network delay; the stream's capture is that much before its earliest arrival."""
    encoder_delay_us: int = 0
    """How much later than captured a frame is sent: what only sender reports can undo."""


def rtp(pt: int, seq: int, ts: int, payload: bytes, *, marker: bool) -> bytes:
    head = struct.pack(">BBHII", 0x80, marker << 7 | pt, seq & 0xFFFF, ts & 0xFFFF_FFFF, 0x1234)
    return head + payload


def ntp(us: int) -> int:
    return (us + 2_208_988_800_000_000) * (1 << 32) // 1_000_000


CODEC_NUMBERS = {"vp8": 1, "vp9": 2, "h264": 3, "av1": 4}


SMALL, USUAL = (96, 72), (160, 120)
"""Pictures of two encodings. AV1's encoder makes none under 64 pixels."""


def resized_frames(seconds: int, codec: str = "vp8") -> tuple[bytes, ...]:
    """Begins smaller, as when a recording asks for an encoding that nobody watched."""
    half = seconds // 2
    return encoded_frames(codec, half, *SMALL) + encoded_frames(codec, seconds - half, *USUAL)


def going_on(camera: "Camera", sent: Iterable["Packet"], after_s: float, clock_hz: int) -> "Camera":
    """The same stream `after_s` after it began; what was `sent` is all that came since."""
    return replace(
        camera,
        first_seq=camera.first_seq + sum(packet.kind == 1 for packet in sent),
        first_ts=camera.first_ts + round(after_s * clock_hz),
        begin_us=camera.begin_us + round(after_s * 1_000_000),
    )


def video(camera: Camera, seconds: int, codec: str = "vp8", frames: Sequence[bytes] | None = None) -> Iterator[Packet]:
    seq = camera.first_seq
    for number, frame in enumerate(frames or encoded_frames(codec, seconds)):
        ts = camera.first_ts + number * 90_000 // FPS
        captured_us = camera.begin_us + number * 1_000_000 // FPS
        sent_us = captured_us + camera.encoder_delay_us
        parts = payloads(codec, frame, number)
        for at, part in enumerate(parts):
            packet = rtp(96, seq, ts, part, marker=at == len(parts) - 1)
            arrival_us = sent_us + camera.delay_us + at * 300
            yield Packet(1, CODEC_NUMBERS[codec], camera.tap, arrival_us, packet, camera.key_id)
            seq += 1
        if number % FPS == FPS // 2:
            yield report(camera, captured_us, ts, sent_us)


def audio(camera: Camera, seconds: int, codec: int = 5) -> Iterator[Packet]:
    for number, frame in enumerate(opus_frames(seconds)):
        ts = camera.first_ts + number * 960
        captured_us = camera.begin_us + number * 20_000
        sent_us = captured_us + camera.encoder_delay_us
        packet = rtp(111, camera.first_seq + number, ts, frame, marker=False)
        yield Packet(1, codec, camera.tap, sent_us + camera.delay_us, packet, camera.key_id)
        if number % 50 == 25:
            yield report(camera, captured_us, ts, sent_us)


def report(camera: Camera, captured_us: int, ts: int, sent_us: int) -> Packet:
    body = struct.pack(">IQI", 0x1234, ntp(captured_us + camera.clock_skew_us), ts & 0xFFFF_FFFF)
    return Packet(2, 0, camera.tap, sent_us + camera.delay_us, body, camera.key_id)


def event(arrival_us: int, **document: object) -> Packet:
    return Packet(3, 0, 0, arrival_us, json.dumps(document).encode(), 0)


def prologue(*cameras: tuple[Camera, str], names: dict[int, str] | None = None) -> list[Packet]:
    """The events a recorder writes: start, who, which tap shows what."""
    names = names or {1: "amara"}
    events = [event(START_US, event="started", recording="r", wall_time="2026-11-21T09:00:00+00:00")]
    events += [
        event(START_US + 1, event="included", key_id=key_id, participant=f"person-{name}", name=name.title())
        for key_id, name in names.items()
    ]
    events += [
        event(START_US + 2, event="tapped", tap=camera.tap, key_id=camera.key_id, source=source, connection=1)
        for camera, source in cameras
    ]
    return events


@dataclass
class Link:
    """What happens to RTP between sender and journal; the same seed gives the same trouble."""

    seed: int = 1
    loss: float = 0.0
    duplicates: float = 0.0
    jitter_us: int = 0
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311  repeatable on purpose

    def carry(self, packets: Iterable[Packet]) -> list[Packet]:
        carried: list[Packet] = []
        for packet in packets:
            copies = 1 + (self.dice.random() < self.duplicates)
            if packet.kind == 1 and self.dice.random() < self.loss:
                continue
            for _ in range(copies):
                late = self.dice.randrange(self.jitter_us) if self.jitter_us else 0
                carried.append(replace(packet, arrival_us=packet.arrival_us + late))
        return sorted(carried, key=lambda packet: packet.arrival_us)


def write_journal(
    path: Path,
    packets: Iterable[Packet],
    *,
    closed: bool = True,
    chunk_us: int = 200_000,
    keys: Mapping[int, bytes] | None = None,
) -> Path:
    """Seals records into chunks per key, one every `chunk_us` of arrival time, as the writer thread does."""
    file_id = os.urandom(16)
    header = b'{"recording": "r"}'
    preamble = b"HSJRNL\x00\x01" + file_id + struct.pack(">I", len(header)) + header
    binding = hashlib.sha256(preamble).digest()
    number = 0
    waiting: dict[int, list[bytes]] = {}
    with path.open("wb") as file:
        file.write(preamble)

        def seal() -> None:
            nonlocal number
            for key_id, records in waiting.items():
                plain = b"".join(records)
                info = b"holdspace journal" + key_id.to_bytes(4, "big")
                chunk_key = HKDF(algorithm=SHA256(), length=32, salt=file_id, info=info).derive(
                    keys[key_id] if keys else key(key_id)
                )
                framing = struct.pack(">4sIQI", b"HSCK", key_id, number, len(plain) + 16)
                file.write(framing)
                file.write(AESGCM(chunk_key).encrypt(number.to_bytes(12, "big"), plain, binding + framing))
                number += 1
            waiting.clear()

        since = 0
        for packet in packets:
            if packet.arrival_us - since >= chunk_us or sum(map(len, waiting.get(packet.key_id, ()))) > 40_000:
                seal()
                since = packet.arrival_us
            waiting.setdefault(packet.key_id, []).append(packet.encoded())
        seal()
        if closed:
            waiting[0] = [struct.pack(">BBHQQ", 4, 0, 0, 0, 0)]
            seal()
    return path


@dataclass(frozen=True)
class Played:
    """What a player finds in a finished file; times in seconds."""

    video_s: list[float]
    audio_s: list[float]
    luma: list[int]
    duration_s: float


def play(content: bytes) -> Played:
    """Decodes everything; raises if anything does not decode."""
    import io

    video_s: list[float] = []
    audio_s: list[float] = []
    luma: list[int] = []
    with av.open(io.BytesIO(content), "r") as container:
        for packet in container.demux():
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    video_s.append(float(frame.time or 0))
                    luma.append(int(frame.to_ndarray(format="gray").mean()))
                elif isinstance(frame, av.AudioFrame):
                    audio_s.append(float(frame.time or 0))
        duration_s = (container.duration or 0) / 1_000_000
    return Played(video_s, audio_s, luma, duration_s)
