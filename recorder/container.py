"""Writes frames of one participant into a file without decoding them, by PyAV's muxers.

WebM for VP8, VP9 and AV1, MP4 for H.264, Opus in both. Timestamps are milliseconds of the recording's wall clock minus
the file's own start: gaps of mute or pause stay gaps. Writes to whatever binary file it is given; knows no packets
and no keys.
"""

import io
import struct
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet

MILLISECOND: Final = Fraction(1, 1000)

INTERLEAVE_MS: Final = 4000
"""Frames are held back this long so that audio and video stand in the file in order of time. Must exceed the wait for
a gap in either (timeline.REORDER_US); costs that much media in memory."""

MAX_BACK_MS: Final = 100

_FOURCC: Final = {"vp8": b"VP80", "vp9": b"VP90", "av1": b"AV01"}


class BinarySink(Protocol):
    def write(self, data: bytes, /) -> int: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What a muxer must know before the first frame: read by PyAV from a keyframe."""

    codec: str
    width: int
    height: int
    keyframe: bytes

    @property
    def container(self) -> str:
        return "mp4" if self.codec == "h264" else "webm"


def format_of(codec: str, keyframe: bytes) -> VideoFormat | None:
    """None where the bytes are no keyframe that says its size."""
    try:
        with _opened(codec, keyframe) as container:
            stream = container.streams.video[0]
            width, height = stream.width, stream.height
    except (FFmpegError, IndexError):
        return None
    return VideoFormat(codec, width, height, keyframe) if width and height else None


def _opened(codec: str, keyframe: bytes) -> InputContainer:
    if codec == "h264":
        return av.open(io.BytesIO(keyframe), "r", format="h264")
    header = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, _FOURCC[codec], 0, 0, 1000, 1, 1, 0)
    return av.open(io.BytesIO(header + struct.pack("<IQ", len(keyframe), 0) + keyframe), "r", format="ivf")


@dataclass
class _Lane:
    stream_index: int
    waiting: "deque[tuple[int, bytes, bool]]"
    last_ms: int = -1


class MediaWriter:
    """One file with video, Opus audio, or both."""

    def __init__(self, sink: BinarySink, *, video: VideoFormat | None, audio: bool) -> None:
        self._container: OutputContainer = av.open(sink, "w", format=video.container if video else "webm")
        self._lanes: dict[str, _Lane] = {}
        self.frames = {"video": 0, "audio": 0}
        self.end_ms = 0
        if video is not None:
            with _opened(video.codec, video.keyframe) as template:
                stream = self._container.add_stream_from_template(template.streams.video[0], opaque=True)
                stream.time_base = MILLISECOND
            self._lanes["video"] = _Lane(stream.index, deque())
        if audio:
            # The mux-stream form would write no OpusHead, without which players refuse the track.
            opus = self._container.add_stream("libopus", rate=48_000, layout="stereo")
            self._lanes["audio"] = _Lane(opus.index, deque())

    def add(self, kind: str, at_ms: int, data: bytes, *, keyframe: bool) -> bool:
        """Take one frame; frames of one kind come in order.

        One that would not advance is set a millisecond after the last; one that lies further back (the end of a
        stream that another has followed already) is refused with False.
        """
        lane = self._lanes[kind]
        if at_ms < lane.last_ms - MAX_BACK_MS:
            return False
        at_ms = max(at_ms, lane.last_ms + 1)
        lane.last_ms = at_ms
        lane.waiting.append((at_ms, data, keyframe))
        self.end_ms = max(self.end_ms, at_ms)
        self._write_until(self.end_ms - INTERLEAVE_MS)
        return True

    def close(self) -> None:
        self._write_until(self.end_ms)
        self._container.close()

    def _write_until(self, limit_ms: int) -> None:
        while True:
            due = [(lane.waiting[0][0], kind) for kind, lane in self._lanes.items() if lane.waiting]
            if not due:
                return
            at_ms, kind = min(due)
            if at_ms > limit_ms:
                return
            self._write(kind, *self._lanes[kind].waiting.popleft())

    def _write(self, kind: str, at_ms: int, data: bytes, keyframe: bool) -> None:
        packet = Packet(data)
        packet.stream = self._container.streams[self._lanes[kind].stream_index]
        packet.time_base = MILLISECOND
        packet.pts = packet.dts = at_ms
        packet.is_keyframe = keyframe
        self._container.mux_one(packet)
        self.frames[kind] += 1
