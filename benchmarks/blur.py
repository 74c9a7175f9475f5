"""What the server's background blur costs: how many cameras one core carries, and by how much it delays them.

A real worker process (media/blur), held to one core, is sent VP8 pictures of a person who moves before a written wall,
640 by 480, 24 a second and camera, each camera at its own moment. The delay is from the last byte into the frame port
to the blurred picture out of it, decoding, segmenting, blurring and encoding included. Given for three cameras at
once; then more are added for as long as all keep pace.
"""

import argparse
import contextlib
import heapq
import json
import os
import select
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from benchmarks import charts
from media.blur.codec import Encoder
from media.blur.port import MAX_MESSAGE_BYTES, Frame, KeyframeWanted, pack, parse
from web.blur_assets import BLUR, FROM_WHEEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY = "what background blur on the server costs"
GOAL_STREAMS: Final = 3
GOAL_DELAY_MS: Final = 80.0
FPS: Final = 24
WIDTH, HEIGHT = 640, 480
KEEPS_PACE: Final = 0.97
"""Share of the pictures that must come back for a number of cameras to count as carried."""
MOST_STREAMS: Final = 8
LOOP: Final = 48
"""Pictures that are encoded; they are sent over and over, each round beginning with a keyframe."""
WARM_UP_S: Final = 2.0


@dataclass(frozen=True)
class Step:
    streams: int
    fps: float
    """Of the slowest camera."""
    p50_ms: float
    p95_ms: float
    cores: float

    @property
    def is_carried(self) -> bool:
        return self.fps >= KEEPS_PACE * FPS and self.p95_ms < GOAL_DELAY_MS


@dataclass(frozen=True)
class Result:
    steps: tuple[Step, ...]

    @property
    def title(self) -> str:
        return f"blur: cameras of {WIDTH} × {HEIGHT} at {FPS} pictures a second through one core"

    @property
    def streams_per_core(self) -> int:
        return max((step.streams for step in self.steps if step.is_carried), default=0)

    @property
    def three(self) -> Step:
        return next(step for step in self.steps if step.streams == GOAL_STREAMS)

    def as_json(self) -> dict[str, Any]:
        return {
            "streams_per_core": self.streams_per_core,
            "added_delay_ms": {"p50": round(self.three.p50_ms, 1), "p95": round(self.three.p95_ms, 1)},
            "fps": round(self.three.fps, 2),
            "steps": [
                {"streams": s.streams, "fps": round(s.fps, 2), "p95_ms": round(s.p95_ms, 1), "cores": round(s.cores, 3)}
                for s in self.steps
            ],
        }

    def rows(self) -> list[tuple[str, str]]:
        three = self.three
        return [
            ("cameras one core carries", f"{self.streams_per_core} (goal {GOAL_STREAMS})"),
            ("added delay of three, p50 / p95", f"{three.p50_ms:.1f} / {three.p95_ms:.1f} ms (goal under 80)"),
            ("pictures a second of three", f"{three.fps:.1f} of {FPS}"),
            *(
                (f"{s.streams} cameras", f"{s.fps:.1f} fps, p95 {s.p95_ms:.1f} ms, {s.cores:.2f} cores")
                for s in self.steps
            ),
        ]

    def draw(self, figure: "Figure") -> None:
        pace, delay = figure.subplots(1, 2)
        names = [str(step.streams) for step in self.steps]
        charts.bars(pace, names, {"pictures a second": [step.fps for step in self.steps]}, number="{:.1f}")
        pace.set_xlabel("cameras")
        pace.set_ylabel("pictures a second, slowest camera")
        charts.bars(delay, names, {"p95": [step.p95_ms for step in self.steps]}, number="{:.0f}")
        delay.set_xlabel("cameras")
        delay.set_ylabel("added delay, ms")
        charts.goal(delay, GOAL_DELAY_MS, "under 80 ms")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=15.0, metavar="S", help="length of each measured step")
    parser.add_argument("--most", type=int, default=MOST_STREAMS, metavar="N", help="cameras at which to stop adding")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    tell("making pictures")
    frames = _frames()
    steps: list[Step] = []
    for streams in range(1, max(options.most, GOAL_STREAMS) + 1):
        tell(f"{streams} cameras")
        steps.append(_measure(streams, options.seconds, frames))
        if streams >= GOAL_STREAMS and not steps[-1].is_carried:
            break
    return Result(tuple(steps))


def _frames() -> list[bytes]:
    from tests.helpers.blurring import picture_of, written_wall
    from tests.helpers.portraits import admiral

    person, wall, encoder = admiral(), written_wall(WIDTH, HEIGHT), Encoder()
    lefts = [60 + 4 * min(number, LOOP - number) for number in range(LOOP)]
    pictures = [picture_of(person.before(wall, share=0.8, left=left)[0]) for left in lefts]
    return [encoder.encode(one, number * 3750, keyframe=number == 0) for number, one in enumerate(pictures)]


@dataclass
class Camera:
    line: socket.socket
    number: int = 0
    sent: dict[int, float] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)

    def send(self, frames: list[bytes], now: float) -> None:
        data = frames[self.number % LOOP]
        ts = self.number * 90_000 // FPS
        self.number += 1
        self.sent[ts] = now
        with contextlib.suppress(BlockingIOError):
            self.line.send(pack(Frame(ts, data, keyframe=self.number % LOOP == 1)))

    def receive(self, now: float) -> None:
        message = parse(self.line.recv(MAX_MESSAGE_BYTES))
        if isinstance(message, Frame):
            self.delays.append((now - self.sent.pop(message.rtp_ts)) * 1000)
        elif isinstance(message, KeyframeWanted):
            self.number += -self.number % LOOP


def _measure(streams: int, seconds: float, frames: list[bytes]) -> Step:
    with _worker() as (process, control):
        cameras = [Camera(_open(control, track)) for track in range(streams)]
        begin = monotonic()
        due = [(begin + index / FPS / streams, index) for index in range(streams)]
        _run(cameras, due, frames, until=begin + WARM_UP_S)
        for camera in cameras:
            camera.delays.clear()
        cpu, began = _cpu_s(process.pid), monotonic()
        _run(cameras, due, frames, until=began + seconds)
        took, cpu = monotonic() - began, _cpu_s(process.pid) - cpu
        for camera in cameras:
            camera.line.close()
    delays = sorted(delay for camera in cameras for delay in camera.delays) or [float("inf")] * 2
    return Step(
        streams,
        fps=min(len(camera.delays) for camera in cameras) / took,
        p50_ms=statistics.median(delays),
        p95_ms=delays[int(0.95 * (len(delays) - 1))],
        cores=cpu / took,
    )


def _run(cameras: list[Camera], due: list[tuple[float, int]], frames: list[bytes], *, until: float) -> None:
    """`due` is a heap of (moment, camera)."""
    lines = {camera.line: camera for camera in cameras}
    while (now := monotonic()) < until:
        if due[0][0] <= now:
            moment, index = heapq.heappop(due)
            cameras[index].send(frames, now)
            heapq.heappush(due, (moment + 1 / FPS, index))
            continue
        for line in select.select(list(lines), [], [], min(due[0][0], until) - now)[0]:
            lines[line].receive(monotonic())


@contextlib.contextmanager
def _worker() -> Iterator[tuple["subprocess.Popen[bytes]", socket.socket]]:
    """On the last core; this process keeps to the others, where there are others."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    model = BLUR / Path(next(iter(FROM_WHEEL))).name
    command = [sys.executable, "-m", "media.blur", str(theirs.fileno()), str(model)]
    with ours:
        with theirs:
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)  # noqa: S603  ours
        try:
            cpus = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(process.pid, cpus[-1:])
            ours.settimeout(60)
            if json.loads(ours.recv(4096)) != {"ready": True}:
                raise RuntimeError("the blur worker did not start")
            for thread in os.listdir(f"/proc/{process.pid}/task"):
                os.sched_setaffinity(int(thread), cpus[-1:])
            yield process, ours
        finally:
            process.kill()
            process.wait()


def _open(control: socket.socket, track: int) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        socket.send_fds(control, [json.dumps({"open": track, "effect": "strong"}).encode()], [theirs.fileno()])
    ours.setblocking(False)
    return ours


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
