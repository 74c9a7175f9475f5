"""A UDP relay that delays: what stands in front of the server where the kernel has no `tc netem` (it often has none).

Whoever sends to its address gets a socket of its own towards the server. Senders inside `slow` are delayed, each way
by half of the round trip and a random part of the jitter; order is kept, as on one path. All others pass at once.
"""

import asyncio
import ipaddress
import random
from dataclasses import dataclass
from typing import Any, cast

Address = tuple[str, int]


@dataclass
class Delay:
    """Takes effect with the next datagram."""

    round_trip_s: float = 0.0
    jitter_s: float = 0.0
    """Greatest addition, each way."""

    def next_s(self) -> float:
        return self.round_trip_s / 2 + random.random() * self.jitter_s  # noqa: S311  a network, no secret


class _Side(asyncio.DatagramProtocol):
    """One direction of one sender: passes on what it gets, later, in order."""

    transport: asyncio.DatagramTransport

    def __init__(self, delay: Delay) -> None:
        self._delay = delay
        self._free_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def pass_on(self, through: asyncio.DatagramTransport, data: bytes, to: Address) -> None:
        loop = asyncio.get_running_loop()
        self._free_at = max(self._free_at, loop.time() + self._delay.next_s())
        if self._free_at <= loop.time():
            through.sendto(data, to)
        else:
            loop.call_at(self._free_at, through.sendto, data, to)


class _Upstream(_Side):
    """Towards the server, on behalf of one sender."""

    def __init__(self, delay: Delay, sender: Address, front: asyncio.DatagramTransport, server: Address) -> None:
        super().__init__(delay)
        self._sender = sender
        self._front = front
        self._server = server
        self._up = _Side(delay)

    def take(self, data: bytes) -> None:
        self._up.pass_on(self.transport, data, self._server)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.pass_on(self._front, data, self._sender)


class Relay(asyncio.DatagramProtocol):
    """Made by `open_relay`; `delay` may be changed at any time."""

    def __init__(self, server: Address, slow: str) -> None:
        self.delay = Delay()
        self._server = server
        self._slow = ipaddress.ip_network(slow)
        self._senders: dict[Address, asyncio.Task[_Upstream]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._front = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        known = self._senders.get(addr)
        if known is None:
            known = self._senders[addr] = asyncio.get_running_loop().create_task(self._open(addr))
        if known.done():
            known.result().take(data)
        else:
            known.add_done_callback(lambda task: task.result().take(data))

    async def _open(self, sender: Address) -> _Upstream:
        delay = self.delay if ipaddress.ip_address(sender[0]) in self._slow else Delay()
        here = self._front.get_extra_info("sockname")[0]
        _, upstream = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Upstream(delay, sender, self._front, self._server), local_addr=(here, 0)
        )
        return upstream

    def close(self) -> None:
        for opened in self._senders.values():
            if opened.done():
                opened.result().transport.close()
        self._front.close()


async def open_relay(here: Address, server: Address, slow: str) -> Relay:
    """Relays datagrams for `here` to `server`; the network `slow` is delayed."""
    loop = asyncio.get_running_loop()
    _, relay = await loop.create_datagram_endpoint(lambda: Relay(server, slow), local_addr=here)
    return relay
