"""The same one-to-one rooms through this server and through Janus (VideoRoom), alternating in one run, as ratios.

Both run in one network namespace made for it, pinned to the first CPU, one at a time; the participants are the native
generator on the last (`benchmarks/load.py`). Janus gives everybody one connection to publish and one to receive, ours
one for both: what a session costs is compared, packets forwarded being the same. CPU and memory are those of the whole
server process.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiortc.rtcdtlstransport import RTCCertificate

from benchmarks import charts, namespace
from benchmarks.janus import ADDRESS, Janus, find_program, make_rooms, publish, subscribe
from benchmarks.load import WARM_UP_S, Crowd, Window, window_of
from benchmarks.participant import Seat, SharedSocket
from benchmarks.server import Server
from media import _forwarder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from media._forwarder import LoadParticipant

FIRST_ADDRESS: Final = int(IPv4Address("10.77.1.1"))
ROOMS_AT_ONCE: Final = 10


@dataclass(frozen=True)
class Side:
    """One server's windows, and its resident size before anybody came."""

    windows: tuple[Window, ...]
    empty_bytes: int

    @property
    def us_per_packet(self) -> float:
        """CPU per forwarded packet that arrived."""
        return statistics.mean(window.cpu_s * 1e6 / max(window.received, 1) for window in self.windows)

    @property
    def sessions_per_core(self) -> float:
        return statistics.mean(window.rooms / window.cores for window in self.windows)

    @property
    def loss(self) -> float:
        return max(window.loss for window in self.windows)

    @property
    def delay_us_p50(self) -> float:
        return statistics.mean(window.delay_us_p50 for window in self.windows)

    @property
    def delay_us_p99(self) -> float:
        return max(window.delay_us_p99 for window in self.windows)

    @property
    def bytes_per_participant(self) -> float:
        return statistics.mean((window.rss_bytes - self.empty_bytes) / (2 * window.rooms) for window in self.windows)

    def as_json(self) -> dict[str, Any]:
        return {
            "us_per_packet": round(self.us_per_packet, 3),
            "sessions_per_core": round(self.sessions_per_core, 1),
            "loss": self.loss,
            "delay_ms": {"p50": round(self.delay_us_p50 / 1000, 3), "p99": round(self.delay_us_p99 / 1000, 3)},
            "rss_bytes_per_participant": round(self.bytes_per_participant),
        }


@dataclass(frozen=True)
class Result:
    ours: Side
    theirs: Side

    @property
    def rooms(self) -> int:
        return self.ours.windows[0].rooms

    @property
    def title(self) -> str:
        return f"peers: {self.rooms} one-to-one rooms through this server and through Janus"

    def as_json(self) -> dict[str, Any]:
        return {
            "rooms": self.rooms,
            "ours": self.ours.as_json(),
            "janus": self.theirs.as_json(),
            "janus_to_ours": {
                "cpu_per_packet": round(self.theirs.us_per_packet / self.ours.us_per_packet, 2),
                "memory": round(self.theirs.bytes_per_participant / self.ours.bytes_per_participant, 2),
            },
        }

    def rows(self) -> list[tuple[str, str]]:
        ours, theirs = self.ours, self.theirs
        ratio = theirs.us_per_packet / ours.us_per_packet
        memory = theirs.bytes_per_participant / ours.bytes_per_participant
        return [
            ("", f"{'ours':<20}{'Janus':<20}"),
            ("CPU per forwarded packet, µs", f"{ours.us_per_packet:<20.2f}{theirs.us_per_packet:<20.2f}× {ratio:.1f}"),
            ("sessions per core", f"{ours.sessions_per_core:<20.0f}{theirs.sessions_per_core:<20.0f}"),
            ("loss", f"{ours.loss:<20.6f}{theirs.loss:<20.6f}"),
            ("delay p50, ms", f"{ours.delay_us_p50 / 1000:<20.2f}{theirs.delay_us_p50 / 1000:<20.2f}"),
            ("delay p99, ms", f"{ours.delay_us_p99 / 1000:<20.2f}{theirs.delay_us_p99 / 1000:<20.2f}"),
            (
                "memory per participant, kB",
                f"{ours.bytes_per_participant / 1000:<20.0f}{theirs.bytes_per_participant / 1000:<20.0f}× {memory:.1f}",
            ),
        ]

    def draw(self, figure: "Figure") -> None:
        cost, delay, memory = figure.subplots(1, 3, width_ratios=[2, 3, 2])
        names, sides = ["ours", "Janus"], (self.ours, self.theirs)
        charts.bars(cost, names, {"CPU": [side.us_per_packet for side in sides]})
        cost.set_ylabel("µs CPU per forwarded packet")
        delays = {
            "p50": [side.delay_us_p50 / 1000 for side in sides],
            "p99": [side.delay_us_p99 / 1000 for side in sides],
        }
        charts.bars(delay, names, delays)
        delay.set_ylabel("delay, ms")
        charts.bars(memory, names, {"memory": [side.bytes_per_participant / 1000 for side in sides]}, number="{:.0f}")
        memory.set_ylabel("kB per participant")


SUMMARY = "the same rooms through this server and through Janus, as ratios"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rooms", type=int, default=30, metavar="N")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="how often each server has its turn")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="length of each measured window")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    """Raises NoRight where a namespace can't be made or Janus is missing."""
    find_program()
    namespace.enter_new("taskset")
    namespace.run("ip", "link", "add", "inside", "type", "veth", "peer", "name", "other")
    namespace.run("ip", "address", "add", f"{ADDRESS}/24", "dev", "inside")
    for name in ("inside", "other"):
        namespace.run("ip", "link", "set", name, "up")
    namespace.run("ip", "route", "add", "local", "10.77.1.0/24", "dev", "inside")
    return asyncio.run(measure(options.rooms, options.rounds, options.seconds, tell))


async def measure(rooms: int, rounds: int, seconds: float, tell: Callable[[str], None]) -> Result:
    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, load_cpu = (cpus[0], cpus[-1]) if len(cpus) > 1 else (None, None)
    ours: list[tuple[Window, int]] = []
    theirs: list[tuple[Window, int]] = []
    for turn in range(rounds):
        tell(f"round {turn + 1} of {rounds}: ours")
        ours.append(await _measure_ours(rooms, seconds, server_cpu, load_cpu))
        tell(f"round {turn + 1} of {rounds}: Janus")
        theirs.append(await _measure_janus(rooms, seconds, server_cpu, load_cpu))
    return Result(_side(ours), _side(theirs))


def _side(measured: Sequence[tuple[Window, int]]) -> Side:
    return Side(tuple(window for window, _ in measured), round(statistics.mean(empty for _, empty in measured)))


async def _measure_ours(rooms: int, seconds: float, server_cpu: int | None, load_cpu: int | None) -> tuple[Window, int]:
    server = await Server.start(cpu=server_cpu)
    generator = _forwarder.LoadGenerator(cpu=load_cpu, gro=True, sending="gso")
    crowd = Crowd(server, generator)
    try:
        empty = int((await server.ask("usage"))["rss_bytes"])
        await crowd.grow(rooms, lambda _: None)
        generator.start()
        generator.publish(True)
        return await crowd.measure(seconds), empty
    finally:
        generator.stop()
        crowd.close()
        await server.close()


async def _measure_janus(
    rooms: int, seconds: float, server_cpu: int | None, load_cpu: int | None
) -> tuple[Window, int]:
    generator = _forwarder.LoadGenerator(cpu=load_cpu, gro=True, sending="gso")
    shared = SharedSocket()
    with tempfile.TemporaryDirectory() as folder:
        janus = await Janus.start(Path(folder), cpu=server_cpu)
        try:
            _, empty = janus.usage()
            participants = await _enter(janus, rooms, shared)
            shared.release()
            socket = generator.add_socket(shared.fd)
            for participant in participants:
                generator.add({**participant, "socket": socket})
            generator.start()
            generator.publish(True)
            await asyncio.sleep(WARM_UP_S)
            generator.report()
            before, _ = janus.usage()
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(seconds)
            after, rss = janus.usage()
            window = window_of(rooms, asyncio.get_running_loop().time() - began, generator.report())
            return replace(window, cpu_s=after - before, rss_bytes=rss), empty
        finally:
            generator.stop()
            shared.close()
            await janus.close()


async def _enter(janus: Janus, rooms: int, shared: SharedSocket) -> "list[LoadParticipant]":
    """Many at a time: Janus drops what reaches it in the first moments, and DTLS repeats that only after a second."""
    certificate = RTCCertificate.generateCertificate()
    seats = (Seat("", "", shared, str(IPv4Address(FIRST_ADDRESS + number))) for number in range(4 * rooms))
    at_once = asyncio.Semaphore(ROOMS_AT_ONCE)
    await make_rooms(janus, rooms)

    async def enter(room: int) -> "list[LoadParticipant]":
        async with at_once:
            published = [await publish(janus, room, next(seats), certificate) for _ in range(2)]
            watching = [await subscribe(janus, room, feed, next(seats), certificate) for feed, _ in published]
            return [participant for _, participant in published] + watching

    entered = await asyncio.gather(*(enter(room) for room in range(1, rooms + 1)))
    return [participant for participants in entered for participant in participants]
