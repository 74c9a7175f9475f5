"""What keeps a crowd cheap: shared and gathered looks, and turns in which losers learn of the winner without a query.

Only a saving: the transaction that follows decides, and the database refuses an overlap whatever happened here. Held
per `Database`, so per process; another process's bookings are seen in the transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

from control.database import Database
from control.slots import Span

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

MOST_GATHERED: Final = 100
"""Keys of one statement: more rows at once would hold up the loop while they are read."""

Look = Callable[[Database, Sequence[K]], Awaitable[Mapping[K, T]]]
"""Finds the rows of several keys; those that are not there are left out."""


class SlotTaken(Exception):
    """Somebody was faster. The answer with other free slots is made outside of the transaction."""


@dataclass
class _Calendar:
    """One practitioner's queue. `taken` grows while anybody is in it and goes with the last one out."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    taken: list[Span] = field(default_factory=list)
    inside: int = 0


@dataclass
class _Gathering:
    """Who waits for the next statement of one look, and the task that asks them one after the other."""

    waiting: dict[Any, asyncio.Future[Any]] = field(default_factory=dict)
    asking: asyncio.Task[None] | None = None


@dataclass
class Crowd:
    _calendars: dict[str, _Calendar] = field(default_factory=dict)
    _looks: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)
    _gatherings: dict[Hashable, _Gathering] = field(default_factory=dict)

    async def gathered(self, db: Database, look: Look[K, T], key: K) -> T | None:
        """What `look` finds under `key`, asked together with all who come while an earlier statement is under way.

        Nobody gets an answer that was begun before they asked: it is as fresh as a statement of their own.
        """
        gathering = self._gatherings.setdefault(look, _Gathering())
        answer = gathering.waiting.get(key)
        if answer is None:
            answer = gathering.waiting[key] = asyncio.get_running_loop().create_future()
        if gathering.asking is None:
            gathering.asking = asyncio.create_task(_ask(db, look, gathering))
        return cast(T | None, await asyncio.shield(answer))

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


async def _ask(db: Database, look: Look[Any, Any], gathering: _Gathering) -> None:
    try:
        while gathering.waiting:
            asked = {key: gathering.waiting.pop(key) for key in [*gathering.waiting][:MOST_GATHERED]}
            try:
                found = await look(db, tuple(asked))
            except Exception as error:
                for answer in asked.values():
                    answer.set_exception(error)
                    answer.exception()  # everybody who waited may have left
            else:
                for key, answer in asked.items():
                    answer.set_result(found.get(key))
    finally:
        gathering.asking = None


async def _run(look: Callable[[], Awaitable[T]]) -> T:
    return await look()


_crowds: WeakKeyDictionary[Database, Crowd] = WeakKeyDictionary()


def crowd_of(db: Database) -> Crowd:
    return _crowds.setdefault(db, Crowd())
