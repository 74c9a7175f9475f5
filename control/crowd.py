"""What keeps a crowd on one slot cheap: shared looks, and turns in which losers learn of the winner without a query.

Only a saving: the transaction that follows decides, and the database refuses an overlap whatever happened here. Held
per `Database`, so per process; another process's bookings are seen in the transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from control.database import Database
from control.slots import Span

T = TypeVar("T")


class SlotTaken(Exception):
    """Somebody was faster. The answer with other free slots is made outside of the transaction."""


@dataclass
class _Calendar:
    """One practitioner's queue. `taken` grows while anybody is in it and goes with the last one out."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    taken: list[Span] = field(default_factory=list)
    inside: int = 0


@dataclass
class Crowd:
    _calendars: dict[str, _Calendar] = field(default_factory=dict)
    _looks: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)

    async def shared(self, key: Hashable, look: Callable[[], Awaitable[T]]) -> T:
        """The result of `look`, or of the same look that is under way already. Who leaves does not end it."""
        task = self._looks.get(key)
        if task is None:
            task = asyncio.ensure_future(_run(look))
            self._looks[key] = task
            task.add_done_callback(partial(self._looked, key))
        return cast(T, await asyncio.shield(task))

    def _looked(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._looks[key]
        if not task.cancelled():
            task.exception()  # everybody who waited may have left; then nobody else asks for it

    @asynccontextmanager
    async def turn(self, practitioner_id: str, busy: Span) -> AsyncIterator[None]:
        """Bookings of one practitioner one after the other; leaving without an exception has taken `busy`.

        Raises SlotTaken to those who waited while somebody took what they wanted.
        """
        calendar = self._calendars.setdefault(practitioner_id, _Calendar())
        came = len(calendar.taken)
        calendar.inside += 1
        try:
            async with calendar.lock:
                if any(span.overlaps(busy) for span in calendar.taken[came:]):
                    raise SlotTaken
                yield
                calendar.taken.append(busy)
        finally:
            calendar.inside -= 1
            if not calendar.inside:
                del self._calendars[practitioner_id]


async def _run(look: Callable[[], Awaitable[T]]) -> T:
    return await look()


_crowds: WeakKeyDictionary[Database, Crowd] = WeakKeyDictionary()


def crowd_of(db: Database) -> Crowd:
    return _crowds.setdefault(db, Crowd())
