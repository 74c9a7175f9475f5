"""How many one-to-one video sessions one core carries: rooms of two, more at every step, until one breaks.

The server is a process of its own with one runtime thread, pinned to the first CPU; all participants are one native
thread on the last (`benchmarks/load.py`). A step holds while nothing is lost and 99 % of packets are forwarded within
5 ms of the time they were due. First the raw reflector runs under the same load: a step counts only if the machine
itself loses nothing there. CPU is that of the whole server process; sessions per core are rooms by that CPU.
"""

import argparse
import asyncio
import os
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks import charts
from benchmarks.load import SENDINGS, Crowd, Sending, Window, measure_reflector
from benchmarks.server import Server
from media import _forwarder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_DELAY_US: Final = 5_000.0
LEAST_HEADROOM: Final = 0.2
"""With a busier generator the answer is "at least N"."""
TRIES: Final = 2
"""A step is measured again if it breaks: this machine may have been taken from us for a moment."""


@dataclass(frozen=True)
class Step:
    server: Window
    reflector: Window

    @property
    def counts(self) -> bool:
        return self.reflector.loss == 0

    @property
    def held(self) -> bool:
        return self.counts and self.server.loss == 0 and self.server.delay_us_p99 < MAX_DELAY_US

    @property
    def sessions_per_core(self) -> float:
        return self.server.rooms / self.server.cores if self.server.cores else 0.0

    def as_json(self) -> dict[str, Any]:
        window = self.server
        return {
            "rooms": window.rooms,
            "held": self.held,
            "loss": window.loss,
            "delay_ms": {"p50": round(window.delay_us_p50 / 1000, 3), "p99": round(window.delay_us_p99 / 1000, 3)},
            "server_cores": round(window.cores, 4),
            "sessions_per_core": round(self.sessions_per_core, 1),
            "us_per_packet": round(window.us_per_packet, 3),
            "segments_per_send": round(window.packets_out / max(window.sends, 1), 3),
            "generator_headroom": round(window.generator_idle, 3),
            "reflector": {
                "loss": self.reflector.loss,
                "delay_ms_p99": round(self.reflector.delay_us_p99 / 1000, 3),
            },
        }


@dataclass(frozen=True)
class Result:
    steps: tuple[Step, ...]
    """Fewest rooms first; the last may have broken."""
    empty_rss_bytes: int
    sending: Sending
    unconnected: int | None = None
    """The number of rooms at which somebody could no longer enter while the others played."""

    @property
    def title(self) -> str:
        return "sessions: one-to-one rooms on one core, 1.2 Mbit/s and audio each way"

    @property
    def best(self) -> Step | None:
        """The last step before the first that broke."""
        held = None
        for step in self.steps:
            if not step.held:
                return held
            held = step
        return held

    @property
    def half(self) -> Step | None:
        """The step nearest to half of the best."""
        best = self.best
        if best is None:
            return None
        return min(self.steps, key=lambda step: abs(step.server.rooms - best.server.rooms / 2))

    @property
    def is_at_least(self) -> bool:
        """The generator, the machine or the list of steps ended first, not the server."""
        best = self.best
        if best is None or self.unconnected:
            return False
        broken = next((step for step in self.steps if not step.held), None)
        return broken is None or not broken.counts or best.server.generator_idle < LEAST_HEADROOM

    @property
    def cores_by_rooms(self) -> tuple[float, float] | None:
        """Server's CPU as (cores without rooms, cores per room), by least squares; None with one step only."""
        held = [step.server for step in self.steps if step.held]
        if len(held) < 2:
            return None
        slope, base = statistics.linear_regression([w.rooms for w in held], [w.cores for w in held])
        return base, slope

    def as_json(self) -> dict[str, Any]:
        best = self.best
        whole = best.as_json() if best else {"rooms": 0}
        if best:
            rss = best.server.rss_bytes - self.empty_rss_bytes
            whole["rss_bytes_per_participant"] = round(rss / (2 * best.server.rooms))
        return {
            **whole,
            "at_least": self.is_at_least,
            "unconnected_at": self.unconnected,
            "half_load": self.half.as_json() if self.half else None,
            "cores_by_rooms": self.cores_by_rooms,
            "sending": self.sending,
            "steps": [step.as_json() for step in self.steps],
        }

    def rows(self) -> list[tuple[str, str]]:
        servers = [step.server for step in self.steps]
        best, half = self.best, self.half
        rows = [
            ("rooms", _in_columns(str(w.rooms) for w in servers)),
            ("held", _in_columns(_verdict(step) for step in self.steps)),
            ("loss", _in_columns(f"{w.loss:.6f}" for w in servers)),
            ("delay p50 / p99, ms", _in_columns(_delay(w) for w in servers)),
            ("server, cores", _in_columns(f"{w.cores:.3f}" for w in servers)),
            ("sessions per core", _in_columns(f"{step.sessions_per_core:.0f}" for step in self.steps)),
            ("CPU per packet, µs", _in_columns(f"{w.us_per_packet:.2f}" for w in servers)),
            ("segments per send", _in_columns(f"{w.packets_out / max(w.sends, 1):.2f}" for w in servers)),
            ("generator idle", _in_columns(f"{w.generator_idle:.0%}" for w in servers)),
            ("reflector: loss", _in_columns(f"{step.reflector.loss:.6f}" for step in self.steps)),
            ("reflector: p50 / p99, ms", _in_columns(_delay(step.reflector) for step in self.steps)),
            ("decrypted samples, wrong ones", _in_columns(f"{w.checked}, {w.mismatched}" for w in servers)),
        ]
        if best and half:
            least = "at least " if self.is_at_least else ""
            rss = (best.server.rss_bytes - self.empty_rss_bytes) / (2 * best.server.rooms)
            rows += [
                (
                    "rooms held (goal: 400 per core)",
                    f"{least}{best.server.rooms}, {best.sessions_per_core:.0f} per core",
                ),
                (
                    "at half load",
                    f"{half.server.rooms} rooms, {half.sessions_per_core:.0f} per core, {_delay(half.server)} ms",
                ),
                ("memory per participant", f"{rss / 1000:.0f} kB"),
            ]
        if self.unconnected:
            rows.append(("rooms at which nobody more could enter", str(self.unconnected)))
        if self.cores_by_rooms:
            base, slope = self.cores_by_rooms
            rows.append(("cores for N rooms", f"{base:.3f} + {slope * 1000:.2f} N / 1000"))
        return rows

    def draw(self, figure: "Figure") -> None:
        cost, delay = figure.subplots(1, 2)
        rooms = [step.server.rooms for step in self.steps]
        cost.plot(rooms, [step.server.cores for step in self.steps], "o-", color=charts.OURS, label="server")
        cost.plot(rooms, [count / 400 for count in rooms], "--", color=charts.GOAL, label="goal: 400 rooms per core")
        cost.set_xlabel("one-to-one rooms")
        cost.set_ylabel("cores of the whole server")
        cost.legend(frameon=False, fontsize=8)
        for percentile, style in (("p50", "o-"), ("p99", "s-")):
            ours = [getattr(step.server, f"delay_us_{percentile}") / 1000 for step in self.steps]
            raw = [getattr(step.reflector, f"delay_us_{percentile}") / 1000 for step in self.steps]
            delay.plot(rooms, ours, style, color=charts.OURS, label=f"server, {percentile}")
            delay.plot(rooms, raw, style, color=charts.QUIET, label=f"raw reflector, {percentile}")
        charts.goal(delay, MAX_DELAY_US / 1000, "a step holds below")
        delay.set_yscale("log")
        delay.set_xlabel("one-to-one rooms")
        delay.set_ylabel("delay since due, ms")
        delay.legend(frameon=False, fontsize=7)


def _verdict(step: Step) -> str:
    return "yes" if step.held else "no" if step.counts else "machine lost"


def _delay(window: Window) -> str:
    return f"{window.delay_us_p50 / 1000:.2f} / {window.delay_us_p99 / 1000:.2f}"


def _in_columns(values: Iterable[str]) -> str:
    return "".join(f"{value:<14}" for value in values).rstrip()


SUMMARY = "one-to-one video sessions on one core, until loss or delay breaks"


def add_options(parser: argparse.ArgumentParser) -> None:
    steps = [25, 50, 100, 150, 200, 250, 300, 400, 500]
    parser.add_argument("--rooms", type=int, nargs="+", default=steps, metavar="N", help="the steps")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="length of each measured window")
    parser.add_argument(
        "--sending", choices=SENDINGS, default="gso", help="how the participants send a frame's packets"
    )


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    return asyncio.run(measure(sorted(set(options.rooms)), options.seconds, options.sending, tell))


async def measure(rooms: list[int], seconds: float, sending: Sending, tell: Callable[[str], None]) -> Result:
    """Raises RuntimeError, or TimeoutError, when nobody can connect at all."""
    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, load_cpu = (cpus[0], cpus[-1]) if len(cpus) > 1 else (None, None)
    raws: list[Window] = []
    for count in rooms:
        tell(f"{count} rooms: the machine alone")
        raws.append(await _raw(count, seconds, server_cpu, load_cpu, sending))
        if raws[-1].loss:
            break
    server = await Server.start(cpu=server_cpu)
    generator = _forwarder.LoadGenerator(cpu=load_cpu, gro=True, sending=sending)
    crowd = Crowd(server, generator)
    steps: list[Step] = []
    try:
        empty = int((await server.ask("usage"))["rss_bytes"])
        for raw in raws:
            try:
                await crowd.grow(raw.rooms, tell)
            except (RuntimeError, TimeoutError):
                if not steps:
                    raise
                return Result(tuple(steps), empty, sending, unconnected=raw.rooms)
            if not steps:
                generator.start()
                generator.publish(True)
            tell(f"{raw.rooms} rooms: measuring")
            steps.append(await _step(crowd, raw, seconds))
            if not steps[-1].held:
                break
        return Result(tuple(steps), empty, sending)
    finally:
        generator.stop()
        crowd.close()
        await server.close()


async def _raw(rooms: int, seconds: float, server_cpu: int | None, load_cpu: int | None, sending: Sending) -> Window:
    for _ in range(TRIES):
        window = await measure_reflector(rooms, seconds, server_cpu=server_cpu, load_cpu=load_cpu, sending=sending)
        if window.loss == 0:
            break
    return window


async def _step(crowd: Crowd, raw: Window, seconds: float) -> Step:
    for _ in range(TRIES):
        step = Step(await crowd.measure(seconds), raw)
        if step.held:
            break
    return step
