"""A bad line between one browser and the server, in namespaces of our own (FACTS.md, "A bad network on one machine").

    browser in `far` ──veth── relay (delay) ── server          everybody else is on the server's side, undisturbed

Random loss by nftables where UDP comes in, rate by tbf on both ends of the pair, delay and jitter by the relay, whose
address is the one that the server advertises. Pages and signaling go by a TCP relay beside it: only media suffers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.namespace import Namespace, run
from benchmarks.practice import CHROMIUM
from benchmarks.relay import Relay, open_relay

SERVER_IP: Final = "10.77.0.1"
RELAY_IP: Final = "10.77.0.3"
FAR_IP: Final = "10.77.0.2"
FAR: Final = f"{FAR_IP}/32"
NEAR_END: Final = "near0"
FAR_END: Final = "eth0"

BURST_BYTES: Final = 4_000
QUEUE_MS: Final = 250
"""What a slow line's queue holds; what comes on top is lost. Home routers have this much and more."""


@dataclass(frozen=True)
class Conditions:
    """Of both directions alike."""

    loss: float = 0.0
    """Share of datagrams, 0–1, in steps of 0.001."""
    rtt_ms: float = 0.0
    """Added round trip: half of it each way."""
    jitter_ms: float = 0.0
    """Greatest addition each way; order is kept."""
    rate_kbps: int | None = None


class BadLine:
    """Made by `bad_line`."""

    def __init__(self, far: Namespace, relay: Relay) -> None:
        self._far = far
        self._relay = relay

    def chromium(self, folder: Path) -> Path:
        """A program that starts Chromium at the far end."""
        script = folder / "chromium-far"
        script.write_text(f'#!/bin/sh\nexec {" ".join(self._far.prefix)} {CHROMIUM} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        return script

    def set(self, conditions: Conditions) -> None:
        self._relay.delay.round_trip_s = conditions.rtt_ms / 1000
        self._relay.delay.jitter_s = conditions.jitter_ms / 1000
        for prefix, device in (((), NEAR_END), (self._far.prefix, FAR_END)):
            _set_loss(prefix, device, conditions.loss)
            _set_rate(prefix, device, conditions.rate_kbps)


def _set_loss(prefix: tuple[str, ...], device: str, loss: float) -> None:
    run(*prefix, "nft", "flush", "chain", "inet", "line", "input")
    if loss:
        some = f"numgen random mod 1000 < {round(loss * 1000)} drop"
        run(*prefix, "nft", f"add rule inet line input iifname {device} meta l4proto udp {some}")


def _set_rate(prefix: tuple[str, ...], device: str, rate_kbps: int | None) -> None:
    discipline: tuple[str, ...] = ("pfifo_fast",)
    if rate_kbps:
        discipline = ("tbf", "rate", f"{rate_kbps}kbit", "burst", str(BURST_BYTES), "latency", f"{QUEUE_MS}ms")
    run(*prefix, "tc", "qdisc", "replace", "dev", device, "root", *discipline)


@asynccontextmanager
async def bad_line(pages_port: int, media_port: int) -> AsyncIterator[BadLine]:
    """Call `namespace.enter_new("nft", "tc", "nsenter")` first. The server may start before or after."""
    far = Namespace()
    far.join(NEAR_END, f"{SERVER_IP}/24", f"{FAR_IP}/24")
    run("ip", "address", "add", f"{RELAY_IP}/24", "dev", NEAR_END)
    for prefix in ((), far.prefix):
        run(*prefix, "nft", "add table inet line; add chain inet line input { type filter hook input priority 0; }")
    relay = await open_relay((RELAY_IP, media_port), (SERVER_IP, media_port), FAR)
    pages = await asyncio.start_server(
        lambda reader, writer: _join_streams(reader, writer, pages_port), sock=far.listen(pages_port)
    )
    try:
        yield BadLine(far, relay)
    finally:
        pages.close()
        relay.close()
        far.close()


async def _join_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    try:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the other side has gone; so goes this one
    finally:
        writer.close()
