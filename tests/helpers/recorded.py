"""What a recorded file holds, by decoding it: the numbers of its pictures, when marks and beeps begin."""

import io
import itertools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler

from tests.helpers.fake_media import FPS, MARK_HEIGHT, SAMPLE_HZ, SECONDS, read_number

LOOP = SECONDS * FPS


@dataclass(frozen=True)
class Picture:
    at_s: float
    number: int
    marked: bool
    width: int
    height: int
    tint: float
    """Mean of the U plane: whose camera it was."""


def pictures(data: bytes) -> list[Picture]:
    found = []
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(video=0):
            planes = frame.reformat(format="yuv420p").to_ndarray()
            luma = planes[: frame.height]
            tint = planes[frame.height : frame.height + frame.height // 4].mean()
            mark = luma[: MARK_HEIGHT * frame.height // 480].mean() > 125
            number = read_number(luma)
            found.append(Picture(float(frame.time), number, bool(mark), frame.width, frame.height, float(tint)))
    return found


def beeps(data: bytes) -> list[float]:
    """When each beep begins, in seconds of the file, by 5 ms windows."""
    resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_HZ)
    loud: dict[int, bool] = {}
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(audio=0):
            start = float(frame.time)
            for part in resampler.resample(frame):
                samples = part.to_ndarray().reshape(-1).astype(float)
                for index in range(0, len(samples) - 239, 240):
                    window = round((start + index / SAMPLE_HZ) * 200)
                    loud[window] = bool(np.sqrt((samples[index : index + 240] ** 2).mean()) > 600)
    return [w / 200 for w in sorted(loud) if loud[w] and not any(loud.get(w - k, False) for k in range(1, 40))]


def between(seen: list[Picture], first: dict[str, int], last: dict[str, int]) -> list[Picture]:
    """The pictures recorded between two moments at the sender (probe.sent), less than one loop apart."""
    start = next(i for i, picture in enumerate(seen) if (picture.number - first["number"]) % LOOP < FPS // 2)
    span = (last["number"] - seen[start].number) % LOOP
    return [p for p in seen[start : start + LOOP] if (p.number - seen[start].number) % LOOP <= span]


def offsets_s(data: bytes, part: list[Picture]) -> dict[int, float]:
    """How long after each mark the beep begins, by the number of the marked picture."""
    marks = [b for a, b in itertools.pairwise(part) if b.marked and not a.marked]
    sounds = beeps(data)
    return {mark.number: min((beep - mark.at_s for beep in sounds), key=abs) for mark in marks}


def ffprobe(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", str(path)]
    answer: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603 (our own file)
    return answer
