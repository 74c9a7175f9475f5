"""One-to-one rooms under the native load generator: what `sessions` and `memory` put on the server, step by step.

Two participants a room, each sending 1.2 Mbit/s of video as real frame bursts at 30 fps and 50 audio packets a second
(`media/native/src/load/`), each on a local address of its own; they go through ICE, DTLS and SRTP like anybody else.
The same generator can be pointed at the raw reflector instead: what the machine carries with no server in between.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, Literal

from aiortc.rtcdtlstransport import RTCCertificate

from benchmarks.participant import (
    AUDIO_SSRC,
    PROFILES,
    TWCC_EXTENSION,
    VIDEO_SSRC,
    Peer,
    Seat,
    SharedSocket,
    publish_spec,
)
from benchmarks.server import Server
from media import _forwarder

if TYPE_CHECKING:
    from media._forwarder import LoadParticipant, LoadReport

Sending = Literal["single", "gso", "paced"]
SENDINGS: Final[tuple[Sending, ...]] = ("gso", "single", "paced")

FIRST_ADDRESS: Final = int(IPv4Address("127.1.0.1"))
HANDSHAKES_AT_ONCE: Final = 8
WARM_UP_S: Final = 3.0
"""Keyframes asked for by the last joiners are over, estimates have settled."""


@dataclass(frozen=True)
class Window:
    """One measured stretch of time."""

    rooms: int
    seconds: float
    expected: int
    received: int
    delay_us_p50: float
    delay_us_p99: float
    generator_idle: float
    checked: int
    mismatched: int
    cpu_s: float = 0.0
    """Of the whole server process; of the reflector's thread without a server."""
    thread_cpu_s: float = 0.0
    packets_out: int = 0
    sends: int = 0
    rss_bytes: int = 0

    @property
    def loss(self) -> float:
        return 1 - self.received / max(self.expected, 1)

    @property
    def cores(self) -> float:
        return self.cpu_s / self.seconds

    @property
    def us_per_packet(self) -> float:
        return self.cpu_s * 1e6 / max(self.packets_out, 1)


def window_of(rooms: int, seconds: float, report: "LoadReport") -> Window:
    return Window(
        rooms=rooms,
        seconds=seconds,
        expected=report["expected"],
        received=report["received"],
        delay_us_p50=report["delay_us_p50"] or 0.0,
        delay_us_p99=report["delay_us_p99"] or 0.0,
        generator_idle=report["idle_share"],
        checked=report["checked"],
        mismatched=report["mismatched"],
    )


class Crowd:
    """Rooms of two that play to a server; `grow` adds some, also while the others play."""

    def __init__(self, server: Server, generator: "_forwarder.LoadGenerator") -> None:
        self._server = server
        self._generator = generator
        self._certificate = RTCCertificate.generateCertificate()
        self._sockets: list[SharedSocket] = []
        self.rooms = 0
        self.address = ("", 0)
        self.ice_username = ""

    async def grow(self, rooms: int, tell: Callable[[str], None]) -> None:
        """Raises RuntimeError, or TimeoutError, when somebody can't connect."""
        shared = SharedSocket()
        self._sockets.append(shared)
        turn = asyncio.Semaphore(HANDSHAKES_AT_ONCE)

        async def connect(number: int) -> "LoadParticipant":
            source = str(IPv4Address(FIRST_ADDRESS + number))
            seat = Seat(f"room-{number // 2}", f"person-{number % 2}", shared, source)
            async with turn:
                found = await Peer(seat, self._certificate).connect(self._server, publishes=True)
            tell(f"connected {number + 1} of {2 * rooms}")
            return found

        participants = await asyncio.gather(*(connect(number) for number in range(2 * self.rooms, 2 * rooms)))
        shared.release()
        socket = self._generator.add_socket(shared.fd)
        for participant in participants:
            self._generator.add({**participant, "socket": socket})
        # Of one of them, for those who would be taken for it.
        self.address, self.ice_username = participants[0]["server"], participants[0]["ice_username"]
        self.rooms = rooms

    async def measure(self, seconds: float) -> Window:
        await asyncio.sleep(WARM_UP_S)
        loop = asyncio.get_running_loop()
        self._generator.report()
        before, began = await self._server.ask("usage"), loop.time()
        await asyncio.sleep(seconds)
        after, took = await self._server.ask("usage"), loop.time() - began
        window = window_of(self.rooms, took, self._generator.report())
        threads = [sum(usage["stats"]["thread_cpu_ns"]) for usage in (before, after)]
        return Window(
            **{
                **vars(window),
                "cpu_s": (after["cpu_ns"] - before["cpu_ns"]) / 1e9,
                "thread_cpu_s": (threads[1] - threads[0]) / 1e9,
                "packets_out": after["stats"]["packets_out"] - before["stats"]["packets_out"],
                "sends": after["stats"]["sends"] - before["stats"]["sends"],
                "rss_bytes": after["rss_bytes"],
            }
        )

    def close(self) -> None:
        for shared in self._sockets:
            shared.close()


async def measure_reflector(
    rooms: int, seconds: float, *, server_cpu: int | None, load_cpu: int | None, sending: Sending
) -> Window:
    """As many packets each way as `rooms` make, with nothing but the reflector at the other end."""
    reflector = _forwarder.Reflector(cpu=server_cpu)
    generator = _forwarder.LoadGenerator(cpu=load_cpu, gro=True, sending=sending)
    shared = SharedSocket()
    try:
        shared.release()
        socket = generator.add_socket(shared.fd)
        for number in range(2 * rooms):
            source = str(IPv4Address(FIRST_ADDRESS + number))
            generator.add(_alone(socket, source, reflector.address))
        generator.start()
        generator.publish(True)
        await asyncio.sleep(1.0)
        generator.report()
        await asyncio.sleep(seconds)
        return window_of(rooms, seconds, generator.report())
    finally:
        generator.stop()
        reflector.stop()
        shared.close()


def _alone(socket: int, source: str, reflector: tuple[str, int]) -> "LoadParticipant":
    """Somebody who hears only themselves."""
    profile = PROFILES["AEAD_AES_128_GCM"]
    key = secrets.token_bytes(profile.key_length + profile.salt_length)
    return {
        "socket": socket,
        "source": source,
        "server": reflector,
        "ice_username": "nobody:here",
        "ice_password": secrets.token_hex(16),
        "profile": "AEAD_AES_128_GCM",
        "send_key": key,
        "receive_key": key,
        "streams": ((AUDIO_SSRC, False), (VIDEO_SSRC, True)),
        "transport_cc_extension": TWCC_EXTENSION,
        "publish": publish_spec(),
    }
