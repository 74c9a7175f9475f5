"""A UDP relay in front of the media server that loses, delays, narrows or cuts: a bad network on one machine.

It listens on another loopback address with the server's port (that address is what the server advertises) and gives
each client a socket of its own towards the server, so that the server tells them apart as it would behind a NAT.
"""

import asyncio
import random
from collections.abc import Callable

Address = tuple[str, int]

QUEUE_S = 0.25
"""What a narrow line's queue holds; what comes on top is lost."""


class BadLink:
    def __init__(self, server: Address, *, seed: int = 1) -> None:
        self.loss = 0.0
        """Share of datagrams lost, each way."""
        self.delay_s = 0.0
        """Each way."""
        self.rate_bps: int | None = None
        """Of each client, each way."""
        self.cut = False
        self.lost = 0
        self.carried = 0
        self._server = server
        self._random = random.Random(seed)  # noqa: S311  (a repeatable network, no secret)
        self._front: asyncio.DatagramTransport | None = None
        self._clients: dict[Address, asyncio.DatagramTransport] = {}
        self._opening: dict[Address, list[bytes]] = {}
        self._free_at: dict[tuple[int, Address | None], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, ip: str) -> None:
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(
            lambda: _Receiver(self._from_client), local_addr=(ip, self._server[1])
        )

    def close(self) -> None:
        for transport in (self._front, *self._clients.values()):
            if transport is not None:
                transport.close()

    def _carries(self) -> bool:
        if self.cut or self._random.random() < self.loss:
            self.lost += 1
            return False
        self.carried += 1
        return True

    def _from_client(self, data: bytes, client: Address) -> None:
        if not self._carries():
            return
        upstream = self._clients.get(client)
        if upstream is not None:
            self._later(upstream, data, None)
        elif client in self._opening:
            self._opening[client].append(data)
        else:
            self._opening[client] = [data]
            task = asyncio.get_running_loop().create_task(self._open_upstream(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open_upstream(self, client: Address) -> None:
        def from_server(data: bytes, _: Address) -> None:
            if self._front is not None and self._carries():
                self._later(self._front, data, client)

        upstream, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Receiver(from_server), remote_addr=self._server
        )
        self._clients[client] = upstream
        for data in self._opening.pop(client):
            self._later(upstream, data, None)

    def _later(self, transport: asyncio.DatagramTransport, data: bytes, to: Address | None) -> None:
        loop = asyncio.get_running_loop()
        delay_s = self.delay_s
        if self.rate_bps is not None:
            way, now = (id(transport), to), loop.time()
            starts = max(now, self._free_at.get(way, now))
            if starts - now > QUEUE_S:
                self.lost += 1
                return
            self._free_at[way] = starts + len(data) * 8 / self.rate_bps
            delay_s += self._free_at[way] - now
        if delay_s:
            loop.call_later(delay_s, _send, transport, data, to)
        else:
            _send(transport, data, to)


def _send(transport: asyncio.DatagramTransport, data: bytes, to: Address | None) -> None:
    if not transport.is_closing():
        transport.sendto(data, to)


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, Address], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._take(data, addr)

    def error_received(self, exc: Exception) -> None:
        """A client that is gone answers with ICMP."""
