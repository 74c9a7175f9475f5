"""What a flood of strangers does to those who are in a session, and what each forged datagram costs.

One-to-one rooms play to a server of one runtime thread on the first CPU, as in `sessions`; a process beside the load
generator floods its port from sixteen addresses: STUN checks of a fragment nobody has, checks of a real fragment with a
wrong password, and what looks like media. Each at some rates, the last being a gigabit a second of Ethernet. First the
same flood goes to a socket nobody reads: what is lost then was lost by the machine, not by the server.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aioice import stun

from benchmarks import charts
from benchmarks.load import WARM_UP_S, Crowd, Window, window_of
from benchmarks.participant import SharedSocket
from benchmarks.server import Server
from media import _forwarder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GOAL_US: Final = 2.0
GIGABIT_BPS: Final = 1_000_000_000
ETHERNET_BYTES: Final = 8 + 14 + 4 + 12 + 20 + 8
"""Around each datagram on the wire: preamble, frame, gap, IPv4 and UDP."""
KINDS: Final = ("check of nobody", "forged check", "stranger's media")


@dataclass(frozen=True)
class Step:
    kind: str
    wanted_per_s: int
    sent_per_s: float
    machine: Window
    """While the flood goes elsewhere."""
    server: Window
    us_per_datagram: float
    """CPU of the runtime thread for each that it received, beyond what it takes for the rooms alone."""
    overflow: int
    """Datagrams, anybody's, that found the socket's buffer full."""

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "sent_per_s": round(self.sent_per_s),
            "loss": self.server.loss,
            "machine_loss": self.machine.loss,
            "delay_ms_p99": round(self.server.delay_us_p99 / 1000, 3),
            "us_per_datagram": round(self.us_per_datagram, 3),
            "socket_overflow": self.overflow,
        }


@dataclass(frozen=True)
class Result:
    rooms: int
    quiet: Window
    steps: tuple[Step, ...]

    @property
    def title(self) -> str:
        return f"flood: strangers against {self.rooms} one-to-one rooms on one core"

    def as_json(self) -> dict[str, Any]:
        quiet = {"loss": self.quiet.loss, "delay_ms_p99": round(self.quiet.delay_us_p99 / 1000, 3)}
        return {"rooms": self.rooms, "quiet": quiet, "steps": [step.as_json() for step in self.steps]}

    def rows(self) -> list[tuple[str, str]]:
        rows = [("no flood", f"loss {self.quiet.loss:.6f}, p99 {self.quiet.delay_us_p99 / 1000:.2f} ms")]
        for step in self.steps:
            words = f"loss {step.server.loss:.6f} (machine {step.machine.loss:.6f})"
            words += f", p99 {step.server.delay_us_p99 / 1000:.2f} ms (machine {step.machine.delay_us_p99 / 1000:.2f})"
            words += f", {step.us_per_datagram:.2f} µs each, {step.overflow} found no room"
            rows.append((f"{step.kind}, {step.sent_per_s / 1000:.0f},000/s", words))
        return rows

    def draw(self, figure: "Figure") -> None:
        cost, loss = figure.subplots(1, 2)
        for kind, color in zip(KINDS, (charts.OURS, charts.THEIRS, charts.QUIET), strict=True):
            steps = [step for step in self.steps if step.kind == kind]
            rates = [step.sent_per_s / 1000 for step in steps]
            cost.plot(rates, [step.us_per_datagram for step in steps], "o-", color=color, label=kind)
            loss.plot(rates, [100 * step.server.loss for step in steps], "o-", color=color, label=kind)
        charts.goal(cost, GOAL_US, "goal")
        cost.set_ylabel("µs of CPU per datagram")
        loss.set_ylabel("lost by the sessions, %")
        for axes in (cost, loss):
            axes.set_xlabel("thousand datagrams a second")
            axes.legend(frameon=False, fontsize=8)


SUMMARY = "a flood of strangers beside sessions: what they lose, what each datagram costs"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rooms", type=int, default=10, metavar="N", help="one-to-one rooms that play meanwhile")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="length of each measured window")
    rates = [50_000, 200_000]
    parser.add_argument("--rates", type=int, nargs="*", default=rates, metavar="N", help="datagrams a second")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    return asyncio.run(measure(options.rooms, options.seconds, options.rates, tell))


def forged(kind: str, username: str) -> bytes:
    """`username`: of a check that a participant really makes."""
    if kind == "stranger's media":
        return b"\x80\x60" + secrets.token_bytes(1_100)
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    request.attributes["USERNAME"] = username if kind == "forged check" else f"{secrets.token_hex(8)}:nobody"
    request.attributes["PRIORITY"] = 1_845_494_271
    request.attributes["ICE-CONTROLLING"] = secrets.randbits(64)
    request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity(secrets.token_hex(12).encode())
    return bytes(request)


async def measure(rooms: int, seconds: float, rates: list[int], tell: Callable[[str], None]) -> Result:
    """Raises RuntimeError when a participant cannot connect."""
    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, load_cpu = (cpus[0], cpus[-1]) if len(cpus) > 1 else (None, None)
    server = await Server.start(cpu=server_cpu)
    generator = _forwarder.LoadGenerator(cpu=load_cpu, gro=True, sending="gso")
    crowd, elsewhere = Crowd(server, generator), SharedSocket()
    elsewhere.release()
    try:
        await crowd.grow(rooms, tell)
        generator.start()
        generator.publish(True)
        await asyncio.sleep(WARM_UP_S)
        quiet, _ = await _window(server, generator, rooms, seconds)
        steps: list[Step] = []
        for kind in KINDS:
            datagram = forged(kind, crowd.ice_username)
            for rate in [*rates, GIGABIT_BPS // 8 // (len(datagram) + ETHERNET_BYTES)]:
                tell(f"{kind}: {rate} a second")
                async with _strangers(("127.0.0.1", elsewhere.port), datagram, rate, load_cpu):
                    machine, _ = await _window(server, generator, rooms, seconds)
                async with _strangers(crowd.address, datagram, rate, load_cpu) as sent:
                    window, stats = await _window(server, generator, rooms, seconds)
                received = max(1, sum(stats[name] for name in ("unknown_ufrag", "unauthenticated", "unknown_address")))
                more_s = window.thread_cpu_s - quiet.thread_cpu_s * window.seconds / quiet.seconds
                overflow = stats["socket_overflow"]
                steps.append(Step(kind, rate, sent[0], machine, window, more_s * 1e6 / received, overflow))
        return Result(rooms, quiet, tuple(steps))
    finally:
        generator.stop()
        crowd.close()
        elsewhere.close()
        await server.close()


async def _window(
    server: Server, generator: "_forwarder.LoadGenerator", rooms: int, seconds: float
) -> tuple[Window, dict[str, int]]:
    """With how much the server's counters of dropped datagrams grew."""
    loop = asyncio.get_running_loop()
    generator.report()
    before, began = await server.ask("usage"), loop.time()
    await asyncio.sleep(seconds)
    after, took = await server.ask("usage"), loop.time() - began
    window = window_of(rooms, took, generator.report())
    spent = [sum(usage["stats"]["thread_cpu_ns"]) / 1e9 for usage in (before, after)]
    counts = [{**usage["stats"]["dropped"], **usage["stats"]} for usage in (before, after)]
    names = ("unknown_ufrag", "unauthenticated", "unknown_address", "socket_overflow")
    grown = {name: counts[1].get(name, 0) - counts[0].get(name, 0) for name in names}
    return Window(**{**vars(window), "thread_cpu_s": spent[1] - spent[0]}), grown


@asynccontextmanager
async def _strangers(
    to: tuple[str, int], datagram: bytes, per_second: int, cpu: int | None
) -> AsyncIterator[list[float]]:
    """Gives, once it has ended, how many they sent per second."""
    said = {"to": to, "datagram": datagram.hex(), "per_second": per_second, "cpu": cpu}
    program = (sys.executable, "-m", "benchmarks.strangers", json.dumps(said))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)
    loop, rate = asyncio.get_running_loop(), [0.0]
    await asyncio.sleep(1.0)  # it starts
    began = loop.time()
    try:
        yield rate
    finally:
        out, _ = await process.communicate(b"")
        rate[0] = int(out) / (loop.time() - began + 1.0)
