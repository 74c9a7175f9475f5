"""Camera and microphone files for Chromium under test: pictures that carry a number, and beeps in step with them.

Each picture is 640×480 at 24 fps (or a part of that) with a drifting pattern, and in its lower part a row of 16 black
or white squares: bit 15 first, the picture's number modulo 2¹⁶. The first twelve pictures of every second are *marked*
by a white band along the top, and a beep of the person's own pitch sounds for exactly that half second: sound and
picture compare.
"""

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, FPS = 640, 480, 24
BITS, SQUARE, ROW_TOP = 16, 32, 400
MARK_HEIGHT = 48
SECONDS = 10
"""Length of the files; Chromium plays them in a loop."""
SAMPLE_HZ = 48_000

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FakePerson:
    """What tells two people's media apart: the beep's pitch and the picture's tint (the U plane's value)."""

    name: str
    pitch_hz: int
    tint: int


AMARA = FakePerson("amara", 880, 90)
MINA = FakePerson("mina", 1320, 170)
GWEN = FakePerson("gwen", 700, 128)


def luma(number: int) -> Picture:
    """The Y plane of picture `number`: a pattern that moves 4 pixels a frame, its number, its mark."""
    x = np.arange(WIDTH, dtype=np.int32)[None, :] + 4 * number
    y = np.arange(HEIGHT, dtype=np.int32)[:, None]
    plane = (64 + ((x // 20 + y // 20) % 8) * 16).astype(np.uint8)
    plane[:MARK_HEIGHT] = 235 if number % FPS < FPS // 2 else 16
    row = plane[ROW_TOP : ROW_TOP + SQUARE]
    row[:] = 16
    for bit in range(BITS):
        if number >> (BITS - 1 - bit) & 1:
            row[:, 64 + bit * SQUARE : 64 + (bit + 1) * SQUARE] = 235
    return plane


def read_number(plane: Picture) -> int:
    """The number of a decoded picture, from the middle of each square; any size that kept 4:3."""
    height, width = plane.shape
    number = 0
    for bit in range(BITS):
        y = int((ROW_TOP + SQUARE / 2) * height / HEIGHT)
        x = int((64 + bit * SQUARE + SQUARE / 2) * width / WIDTH)
        number = number << 1 | int(plane[y - 2 : y + 3, x - 2 : x + 3].mean() > 125)
    return number


def write_camera(path: Path, person: FakePerson, *, every: int = 1, smaller: int = 1) -> Path:
    """An uncompressed Y4M file for `--use-file-for-fake-video-capture`.

    Of each `every`th picture, `smaller` times in width and height: two people in a room whose pictures nobody
    measures take half the processor by that.
    """
    width, height = WIDTH // smaller, HEIGHT // smaller
    half = np.full((height // 2, width // 2), 128, np.uint8).tobytes()
    tint = np.full((height // 2, width // 2), person.tint, np.uint8).tobytes()
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420jpeg\n" % (width, height, FPS // every))
        for number in range(0, SECONDS * FPS, every):
            file.write(b"FRAME\n" + luma(number)[::smaller, ::smaller].tobytes() + tint + half)
    return path


def write_microphone(path: Path, person: FakePerson) -> Path:
    """A WAV file for `--use-file-for-fake-audio-capture`: half a second of beep, half a second of silence."""
    t = np.arange(SECONDS * SAMPLE_HZ) / SAMPLE_HZ
    tone = sum(np.sin(2 * np.pi * person.pitch_hz * k * t) / k for k in (1, 2, 3))
    samples = (np.where(t % 1 < 0.5, tone, 0) * 9000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_HZ)
        file.writeframes(samples.tobytes())
    return path
