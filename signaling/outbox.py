"""What waits to be written to one socket: bounded, in order, drained by the socket's writer task.

A socket that does not read must not hold memory: over the bound the outbox closes itself with `too_slow` and drops
what waits (the session keeps the numbered messages for a resume). No I/O here.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

MAX_WAITING_BYTES = 512 * 1024
"""Eight answers of the largest size. More only feeds a reader that is gone."""
MAX_WAITING_MESSAGES = 256


@dataclass(frozen=True, slots=True)
class Closing:
    """How the socket is to be closed once everything before it was written."""

    code: int
    reason: str


TOO_SLOW = Closing(4413, "too_slow")


class Outbox:
    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._waiting_bytes = 0
        self._something = asyncio.Event()
        self.closing: Closing | None = None

    def push(self, text: str) -> None:
        """Quietly does nothing after `close`."""
        if self.closing is not None:
            return
        if len(self._waiting) >= MAX_WAITING_MESSAGES or self._waiting_bytes + len(text) > MAX_WAITING_BYTES:
            self._waiting.clear()
            self._waiting_bytes = 0
            self.close(TOO_SLOW)
            return
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        self._something.set()

    def close(self, closing: Closing) -> None:
        """The first word counts."""
        if self.closing is None:
            self.closing = closing
            self._something.set()

    async def next(self) -> str | Closing:
        """Wait for the next text, or, when all is written, for the way to close."""
        while not self._waiting:
            if self.closing is not None:
                return self.closing
            self._something.clear()
            await self._something.wait()
        text = self._waiting.popleft()
        self._waiting_bytes -= len(text)
        return text
