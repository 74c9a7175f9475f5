"""CPU per forwarded packet: one publisher, many subscribers, against the limit loop in the same run (DESIGN.md §8).

The server is a process of its own on the first CPU; publisher and receivers are one native thread on the last, which
never sleeps. After a warm-up the window is measured: CPU of the whole server process (Python included) by outgoing
packet, loss by the sequence numbers in clear headers, delay from the scheduled send to the kernel's receive stamp. Then
the publisher pauses and the limit loop, on the server's CPU, seals and sends to the same live receivers what the first
of them got: the same sizes in the same bursts at the same times (and once more as fast as it goes, for the table).
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiortc.rtcdtlstransport import RTCCertificate

from benchmarks import charts
from benchmarks.participant import PROFILES, Peer, Seat, SharedSocket
from benchmarks.server import Server
from media import _forwarder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from media._forwarder import LimitResult, LoadParticipant, LoadReport

WARM_UP_S: Final = 3.0
"""Keyframes asked for by the last joiners are over, estimates have settled."""
DRAIN_S: Final = 0.3


@dataclass(frozen=True)
class Limit:
    """One run of the limit loop, and how much of it the receivers got."""

    result: "LimitResult"
    received: int

    @property
    def us_per_packet(self) -> float:
        return self.result["cpu_ns"] / 1000 / max(self.result["packets"], 1)

    @property
    def segments_per_send(self) -> float:
        return self.result["packets"] / max(self.result["sends"], 1)

    @property
    def loss(self) -> float:
        return 1 - self.received / max(self.result["packets"], 1)


@dataclass(frozen=True)
class Options:
    subscribers: int
    seconds: float = 10.0
    gro: bool = False
    gso: bool = True
    profile: str | None = None
    """None: what both ends like best."""


@dataclass(frozen=True)
class Measured:
    """With one number of subscribers."""

    us_per_packet: float
    limit_us_per_packet: float
    unpaced_limit_us_per_packet: float
    packets_per_second: float
    loss: float
    delay_us_p50: float
    delay_us_p99: float
    limit_loss: float
    segments_per_send: float
    limit_segments_per_send: float
    thread_us_per_packet: float
    """The runtime thread's part of `us_per_packet`; the rest is Python."""
    published_per_second: float
    mismatched: int
    checked: int
    idle_share: float
    profile: str
    dropped: dict[str, int]
    """By the server in the window, by reason."""

    @property
    def ratio(self) -> float:
        return self.us_per_packet / self.limit_us_per_packet

    def as_json(self) -> dict[str, object]:
        return {
            "us_per_packet": round(self.us_per_packet, 3),
            "limit_us_per_packet": round(self.limit_us_per_packet, 3),
            "ratio": round(self.ratio, 3),
            "packets_per_second": round(self.packets_per_second, 1),
            "loss": self.loss,
            "delay_us": {"p50": round(self.delay_us_p50, 1), "p99": round(self.delay_us_p99, 1)},
            "segments_per_send": round(self.segments_per_send, 3),
        }

    def rows(self) -> list[tuple[str, str]]:
        return [
            ("CPU per forwarded packet", f"{self.us_per_packet:.2f} µs"),
            ("  of it the runtime thread", f"{self.thread_us_per_packet:.2f} µs"),
            ("limit loop, same bursts at the same times", f"{self.limit_us_per_packet:.2f} µs"),
            ("limit loop, as fast as it goes", f"{self.unpaced_limit_us_per_packet:.2f} µs"),
            ("ratio (goal: at most 1.5)", f"{self.ratio:.2f}"),
            ("forwarded", f"{self.packets_per_second:,.0f} packets/s"),
            ("published", f"{self.published_per_second:,.0f} packets/s"),
            ("loss, server / limit", f"{self.loss:.6f} / {self.limit_loss:.6f}"),
            ("delay p50 / p99", f"{self.delay_us_p50:.0f} / {self.delay_us_p99:.0f} µs"),
            ("segments per send, server / limit", f"{self.segments_per_send:.2f} / {self.limit_segments_per_send:.2f}"),
            ("decrypted samples, wrong ones", f"{self.checked}, {self.mismatched}"),
            ("dropped by the server", ", ".join(f"{n} {why}" for why, n in self.dropped.items()) or "nothing"),
            ("SRTP profile", self.profile),
            ("generator idle", f"{self.idle_share:.0%}"),
        ]


@dataclass(frozen=True)
class Result:
    by_subscribers: dict[int, Measured]
    """Fewest first."""

    @property
    def title(self) -> str:
        return f"forward: one publisher to {', '.join(map(str, self.by_subscribers))} subscribers"

    @property
    def _most(self) -> Measured:
        return self.by_subscribers[max(self.by_subscribers)]

    @property
    def fit(self) -> tuple[float, float] | None:
        """(a, b) in µs of a + b/N by least squares; None with one N only."""
        if len(self.by_subscribers) < 2:
            return None
        b, a = statistics.linear_regression(
            [1 / count for count in self.by_subscribers], [each.us_per_packet for each in self.by_subscribers.values()]
        )
        return a, b

    def as_json(self) -> dict[str, object]:
        whole = self._most.as_json()
        whole["by_subscribers"] = {str(count): each.as_json() for count, each in self.by_subscribers.items()}
        if self.fit:
            whole["fit_us"] = {"a": round(self.fit[0], 3), "b": round(self.fit[1], 3)}
        return whole

    def rows(self) -> list[tuple[str, str]]:
        columns = [each.rows() for each in self.by_subscribers.values()]
        rows = [("subscribers", _in_columns(map(str, self.by_subscribers)))]
        rows += [(each[0][0], _in_columns(value for _, value in each)) for each in zip(*columns, strict=True)]
        if self.fit:
            rows.append(("CPU per packet to N subscribers", f"{self.fit[0]:.2f} + {self.fit[1]:.2f} / N µs"))
        return rows

    def draw(self, figure: "Figure") -> None:
        cost, delay = figure.subplots(1, 2, width_ratios=[3, 2])
        names = [f"1 → {count}\n× {each.ratio:.2f}" for count, each in self.by_subscribers.items()]
        every = self.by_subscribers.values()
        series = {
            "server": [each.us_per_packet for each in every],
            "limit loop, same bursts at the same times": [each.limit_us_per_packet for each in every],
        }
        charts.bars(cost, names, series)
        cost.set_ylabel("µs CPU per forwarded packet")
        series = {"p50": [each.delay_us_p50 for each in every], "p99": [each.delay_us_p99 for each in every]}
        charts.bars(delay, names, series, number="{:.0f}")
        delay.set_ylabel("delay, µs")


def _in_columns(values: Iterable[str]) -> str:
    return "".join(f"{value:<26}" for value in values).rstrip()


SUMMARY = "CPU per forwarded packet, one publisher to many subscribers, against the limit loop"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--subscribers", type=int, nargs="+", default=[1, 10, 50], metavar="N")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="length of each measured window")
    parser.add_argument("--gro", action="store_true", help="receivers use UDP_GRO")
    parser.add_argument("--no-gso", action="store_true", help="the server sends every packet by itself")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="SRTP profile (default: what both ends like best)")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    measured = {}
    for count in sorted(set(options.subscribers)):
        one = Options(count, options.seconds, options.gro, not options.no_gso, options.profile)
        measured[count] = asyncio.run(measure(one, tell))
    return Result(measured)


async def measure(options: Options, tell: Callable[[str], None]) -> Measured:
    """Raises RuntimeError when a peer cannot connect."""
    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, load_cpu = (cpus[0], cpus[-1]) if len(cpus) > 1 else (None, None)
    server = await Server.start(cpu=server_cpu, gso=options.gso)
    generator = _forwarder.LoadGenerator(cpu=load_cpu, gro=options.gro, sending="single")
    sockets = [SharedSocket() for _ in range(options.subscribers + 1)]
    try:
        participants = await _connect_all(server, options, sockets, tell)
        for shared, participant in zip(sockets, participants, strict=True):
            shared.release()
            generator.add({**participant, "socket": generator.add_socket(shared.fd)})
        generator.start()
        window = await _measure_server(server, generator, options, tell)
        receivers = [("127.0.0.1", shared.port) for shared in sockets[1:]]
        tell("limit loop")
        limits = await asyncio.to_thread(
            _measure_limits, generator, window.report, receivers, participants[0], server_cpu
        )
        return window.result(limits, participants[0]["profile"])
    finally:
        generator.stop()
        for shared in sockets:
            shared.close()
        await server.close()


async def _connect_all(
    server: Server, options: Options, sockets: list[SharedSocket], tell: Callable[[str], None]
) -> "list[LoadParticipant]":
    """The publisher first."""
    certificate = RTCCertificate.generateCertificate()
    participants = []
    for index, shared in enumerate(sockets):
        seat = Seat("benchmark", f"peer-{index}", shared, "127.0.0.1")
        peer = Peer(seat, certificate, options.profile)
        participants.append(await peer.connect(server, publishes=index == 0))
        tell(f"connected {index + 1} of {options.subscribers + 1}")
    return participants


@dataclass(frozen=True)
class _Window:
    before: dict[str, Any]
    after: dict[str, Any]
    report: "LoadReport"
    seconds: float

    def _spent(self, counter: str) -> float:
        return float(self.after["stats"][counter] - self.before["stats"][counter])

    def result(self, limits: "tuple[Limit, Limit]", profile: str) -> Measured:
        report, (paced, unpaced) = self.report, limits
        packets = self._spent("packets_out") or 1
        threads_ns = sum(self.after["stats"]["thread_cpu_ns"]) - sum(self.before["stats"]["thread_cpu_ns"])
        return Measured(
            us_per_packet=(self.after["cpu_ns"] - self.before["cpu_ns"]) / 1000 / packets,
            thread_us_per_packet=threads_ns / 1000 / packets,
            limit_us_per_packet=paced.us_per_packet,
            unpaced_limit_us_per_packet=unpaced.us_per_packet,
            limit_loss=paced.loss,
            packets_per_second=packets / self.seconds,
            published_per_second=report["published"] / self.seconds,
            loss=1 - report["received"] / max(report["expected"], 1),
            delay_us_p50=report["delay_us_p50"] or 0.0,
            delay_us_p99=report["delay_us_p99"] or 0.0,
            segments_per_send=packets / max(self._spent("sends"), 1),
            limit_segments_per_send=paced.segments_per_send,
            mismatched=report["mismatched"],
            checked=report["checked"],
            idle_share=report["idle_share"],
            profile=profile,
            dropped=self._dropped(),
        )

    def _dropped(self) -> dict[str, int]:
        before, after = self.before["stats"], self.after["stats"]
        dropped = {why: count - before["dropped"].get(why, 0) for why, count in after["dropped"].items()}
        for counter in ("socket_overflow", "repeat_refused", "gso_refused"):
            dropped[counter] = int(self._spent(counter))
        return {why: count for why, count in dropped.items() if count}


async def _measure_server(
    server: Server, generator: "_forwarder.LoadGenerator", options: Options, tell: Callable[[str], None]
) -> _Window:
    loop = asyncio.get_running_loop()
    generator.publish(True)
    tell("warming up")
    await asyncio.sleep(WARM_UP_S)
    tell(f"measuring {options.seconds:g} s")
    generator.report()
    before, began = await server.ask("usage"), loop.time()
    await asyncio.sleep(options.seconds)
    after, seconds = await server.ask("usage"), loop.time() - began
    report = generator.report()
    generator.publish(False)
    await asyncio.sleep(DRAIN_S)
    generator.report()
    return _Window(before, after, report, seconds)


def _foreign_after_a_while(generator: "_forwarder.LoadGenerator") -> int:
    """What receivers still had in their buffers: their thread may have waited for its CPU."""
    time.sleep(DRAIN_S)
    return generator.report()["foreign"]


def _measure_limits(
    generator: "_forwarder.LoadGenerator",
    report: "LoadReport",
    receivers: list[tuple[str, int]],
    publisher: "LoadParticipant",
    cpu: int | None,
) -> "tuple[Limit, Limit]":
    def run(*, paced: bool) -> Limit:
        result = _forwarder.run_limit(
            receivers=receivers, bursts=report["recorded"], profile=publisher["profile"], cpu=cpu, paced=paced
        )
        received = 0
        while more := _foreign_after_a_while(generator):
            received += more
        return Limit(result, received)

    return run(paced=True), run(paced=False)
