"""Memory per connected participant: resident size of the media server with more and more one-to-one rooms.

Counted once when everybody is connected (ICE, DTLS and SRTP done) and again while everybody sends 1.2 Mbit/s of video
and audio, long enough for every cache of sent packets to be full. The slope over the steps is what one participant
costs; what the process holds without any is told apart. Signaling's and control's part is not in it.
"""

import argparse
import asyncio
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks import charts
from benchmarks.load import Crowd
from benchmarks.server import Server
from media import _forwarder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GOAL_BYTES: Final = 350_000


@dataclass(frozen=True)
class Step:
    participants: int
    connected_bytes: int
    """Resident size with all of them connected; those of earlier steps have sent before."""
    playing_bytes: int


@dataclass(frozen=True)
class Result:
    empty_bytes: int
    steps: tuple[Step, ...]
    """Fewest first."""

    @property
    def title(self) -> str:
        return f"memory: {self.steps[-1].participants} participants in one-to-one rooms, 1.2 Mbit/s and audio each way"

    @property
    def bytes_per_participant(self) -> float:
        slope, _ = statistics.linear_regression(
            [0, *(step.participants for step in self.steps)],
            [self.empty_bytes, *(step.playing_bytes for step in self.steps)],
        )
        return slope

    @property
    def connected_per_participant(self) -> float:
        """Of the first step: only there nobody had sent before."""
        return (self.steps[0].connected_bytes - self.empty_bytes) / self.steps[0].participants

    def as_json(self) -> dict[str, Any]:
        return {
            "bytes_per_participant": round(self.bytes_per_participant),
            "connected_bytes_per_participant": round(self.connected_per_participant),
            "empty_bytes": self.empty_bytes,
            "steps": [vars(step) for step in self.steps],
        }

    def rows(self) -> list[tuple[str, str]]:
        steps = [(f"with {step.participants}, playing", f"{step.playing_bytes / 1e6:.1f} MB") for step in self.steps]
        return [
            ("per participant (goal: under 350 kB)", f"{self.bytes_per_participant / 1000:.0f} kB"),
            ("  of it before media", f"{self.connected_per_participant / 1000:.0f} kB"),
            ("the process without participants", f"{self.empty_bytes / 1e6:.1f} MB"),
            *steps,
        ]

    def draw(self, figure: "Figure") -> None:
        axes = figure.subplots()
        counts = [0, *(step.participants for step in self.steps)]
        playing = [self.empty_bytes, *(step.playing_bytes for step in self.steps)]
        axes.plot(counts, [size / 1e6 for size in playing], "o-", color=charts.OURS, label="media server, all playing")
        goal = [(self.empty_bytes + count * GOAL_BYTES) / 1e6 for count in counts]
        axes.plot(counts, goal, "--", color=charts.GOAL, label="goal: 350 kB each")
        axes.set_xlabel("participants")
        axes.set_ylabel("resident size, MB")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8)


SUMMARY = "resident memory per connected participant at 1.2 Mbit/s each way"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rooms", type=int, nargs="+", default=[20, 40, 60], metavar="N", help="the steps")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="how long each step plays")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    return asyncio.run(measure(sorted(set(options.rooms)), options.seconds, tell))


async def measure(rooms: list[int], seconds: float, tell: Callable[[str], None]) -> Result:
    """Raises RuntimeError when a participant cannot connect."""
    cpus = sorted(os.sched_getaffinity(0))
    server = await Server.start(cpu=cpus[0] if len(cpus) > 1 else None)
    generator = _forwarder.LoadGenerator(cpu=cpus[-1] if len(cpus) > 1 else None, gro=True, sending="gso")
    crowd = Crowd(server, generator)
    steps: list[Step] = []
    try:
        empty = int((await server.ask("usage"))["rss_bytes"])
        for count in rooms:
            await crowd.grow(count, tell)
            connected = int((await server.ask("usage"))["rss_bytes"])
            if not steps:
                generator.start()
                generator.publish(True)
            tell(f"{2 * count} participants: playing")
            window = await crowd.measure(seconds)
            steps.append(Step(2 * count, connected, window.rss_bytes))
        return Result(empty, tuple(steps))
    finally:
        generator.stop()
        crowd.close()
        await server.close()
