"""Pictures for the server's blur: a person before a wall with writing on it, as VP8 and back, and how much is legible.

The person is matplotlib's sample portrait (public domain), cut out along a line drawn by hand (portraits.py).
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from media.blur.codec import Decoder, Encoder, Picture
from web.blur_assets import BLUR

ROOT = Path(__file__).parents[2]
MODEL = BLUR / "selfie_segmentation_landscape.tflite"


def picture_of(rgb: np.ndarray) -> Picture:
    """`rgb` has even sides."""
    height, width = rgb.shape[:2]
    planes = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2YUV_I420)
    half = (height // 2, width // 2)
    u, v = planes[height : height * 5 // 4].reshape(half), planes[height * 5 // 4 :].reshape(half)
    return Picture(planes[:height], u, v)


def rgb_of(picture: Picture) -> np.ndarray:
    width, height = picture.size
    planes = np.concatenate([plane.ravel() for plane in (picture.y, picture.u, picture.v)])
    return cv2.cvtColor(planes.reshape(height * 3 // 2, width), cv2.COLOR_YUV2RGB_I420)


def written_wall(width: int = 640, height: int = 480) -> np.ndarray:
    wall = np.full((height, width, 3), (235, 230, 220), np.uint8)
    for line in range(height // 40):
        at = (8, 30 + 40 * line)
        cv2.putText(wall, "nobody else may read this " * 2, at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, (20, 20, 40), 2)
    return wall


def edges(picture: Picture) -> float:
    """Mean step between neighbouring points of the strip along the left side: over ten with writing, two without."""
    strip = picture.y[:, 4:100].astype(int)
    return float(np.abs(np.diff(strip, axis=1)).mean())


def encoded(pictures: list[Picture], first_ts: int = 0) -> list[tuple[int, bytes]]:
    """(RTP timestamp, VP8 frame) of each, 24 a second."""
    encoder = Encoder()
    stamps = [(first_ts + number * 3750) % 2**32 for number in range(len(pictures))]
    return [(ts, encoder.encode(one, ts, keyframe=False)) for ts, one in zip(stamps, pictures, strict=True)]


class Viewer:
    """Who gets what comes out of a stream: decodes every frame in order."""

    def __init__(self) -> None:
        self._decoder = Decoder()

    def see(self, data: bytes) -> Picture:
        picture = self._decoder.decode(data)
        assert picture is not None
        return picture


@dataclass
class WorkerProcess:
    process: "subprocess.Popen[bytes]"
    control: socket.socket

    @contextmanager
    def port(self, track: int, effect: str = "strong") -> Iterator[socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ours.settimeout(20)
            with theirs:
                said = f'{{"open": {track}, "effect": "{effect}"}}'.encode()
                socket.send_fds(self.control, [said], [theirs.fileno()])
            yield ours


@contextmanager
def worker_process(*how: str) -> Iterator[WorkerProcess]:
    """A blur worker as workers.py starts it, or `how` else Python is to run it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(60)
    words = [sys.executable, *(how or ("-m", "media.blur")), str(theirs.fileno()), str(MODEL)]
    with ours:
        with theirs:
            process = subprocess.Popen(words, pass_fds=[theirs.fileno()], cwd=ROOT, stderr=subprocess.DEVNULL)  # noqa: S603  ours
        try:
            yield WorkerProcess(process, ours)
        finally:
            process.kill()
            process.wait()
