"""VP8 in and out by aiortc's codecs, as planes of 8-bit samples, one picture at a time and none held back.

What comes in was encoded by a stranger's browser: sizes are read from the bitstream and bounded before libvpx
allocates for them. Used by stream.py; knows nothing of blur.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import cv2
import numpy as np
from aiortc.codecs.vpx import Vp8Decoder, Vp8Encoder, vp8_depayload
from aiortc.jitterbuffer import JitterFrame
from av.error import FFmpegError
from cv2.typing import MatLike

Plane = MatLike
"""OpenCV's name for an array of numbers; here always two-dimensional and of 8 bits."""

CLOCK_HZ: Final = 90_000
START_BPS: Final = 1_000_000
"""Until the core says RATE; what Chromium's encoder is told to begin with (media/answer.py)."""
MOST_PIXELS: Final = 1920 * 1088
"""Decoding a picture of VP8's own bound, 16,383 by 16,383, would take 400 MB."""
FITTING_PIXELS: Final = 640 * 480
"""What is given out. 1280 by 720 would cost three times as much time and rate for a face in a blur."""
LEAST_SIDE: Final = 16
USUAL_STEP: Final = CLOCK_HZ // 24
LONGEST_STEP: Final = 10 * CLOCK_HZ
"""The encoder's clock runs forward only; a step that is none or longer than this is taken for a new beginning."""
KEYFRAME_HEAD_BYTES: Final = 10
"""RFC 6386, 9.1: three bytes of frame tag, the start code 9d 01 2a, width and height of 14 bits each."""


class BadPicture(Exception):
    """Can't be decoded: damaged, its references are missing, or it is larger than we take."""


@dataclass(frozen=True, slots=True)
class Picture:
    """4:2:0; the colour planes are half as wide and high, rounded up."""

    y: Plane
    u: Plane
    v: Plane

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)"""
        return self.y.shape[1], self.y.shape[0]


def fit(picture: Picture) -> Picture:
    """No larger than what a worker's share of a core is reckoned for; smaller ones stay as they are."""
    width, height = picture.size
    if width * height <= FITTING_PIXELS:
        return picture
    shrink = (FITTING_PIXELS / (width * height)) ** 0.5
    wide, high = int(width * shrink) // 2 * 2, int(height * shrink) // 2 * 2
    y = cv2.resize(picture.y, (wide, high), interpolation=cv2.INTER_AREA)
    u, v = (cv2.resize(one, (wide // 2, high // 2), interpolation=cv2.INTER_AREA) for one in (picture.u, picture.v))
    return Picture(y, u, v)


def is_keyframe(data: bytes) -> bool:
    return not data[0] & 1


class Decoder:
    def __init__(self) -> None:
        self._codec = Vp8Decoder()

    def decode(self, data: bytes) -> Picture | None:
        """None where the frame is not one to be shown. Raises BadPicture; then only a keyframe helps."""
        if is_keyframe(data):
            _check_size(data)
        try:
            shown = self._codec.decode(JitterFrame(data=data, timestamp=0))
        except FFmpegError as error:
            raise BadPicture(str(error)) from error
        return Picture(*_planes(shown[-1])) if shown else None  # type: ignore[arg-type]  # a video decoder gives video frames


def _check_size(data: bytes) -> None:
    if len(data) < KEYFRAME_HEAD_BYTES or data[3:6] != b"\x9d\x01\x2a":
        raise BadPicture("not a VP8 keyframe")
    width = int.from_bytes(data[6:8], "little") & 0x3FFF
    height = int.from_bytes(data[8:10], "little") & 0x3FFF
    if min(width, height) < LEAST_SIDE or width * height > MOST_PIXELS:
        raise BadPicture(f"{width} by {height}")


def _planes(frame: av.VideoFrame) -> list[Plane]:
    """Without a copy: they live as long as the frame, which they hold."""
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]  # type: ignore[call-overload]
        for plane in frame.planes
    ]


class Encoder:
    """A change of rate by over a tenth, or of size, makes aiortc begin anew, with a keyframe."""

    def __init__(self) -> None:
        self._codec = Vp8Encoder()
        self._codec.target_bitrate = START_BPS
        self._last_ts: int | None = None
        self._pts = 0

    def set_rate(self, bps: int) -> None:
        self._codec.target_bitrate = bps

    def encode(self, picture: Picture, rtp_ts: int, *, keyframe: bool) -> bytes:
        """Empty where the encoder leaves the picture out."""
        width, height = picture.size
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, samples in zip(_planes(frame), (picture.y, picture.u, picture.v), strict=True):
            plane[:] = samples
        frame.pts, frame.time_base = self._next_pts(rtp_ts), Fraction(1, CLOCK_HZ)
        payloads, _ = self._codec.encode(frame, force_keyframe=keyframe)
        return b"".join(vp8_depayload(payload) for payload in payloads)

    def _next_pts(self, rtp_ts: int) -> int:
        step = (rtp_ts - self._last_ts) % 2**32 if self._last_ts is not None else USUAL_STEP
        self._last_ts = rtp_ts
        self._pts += step if 0 < step <= LONGEST_STEP else USUAL_STEP
        return self._pts
