"""What time does by itself: a loop that looks for appointments whose `due_at` has come and lets each move on.

Any number of processes may run it; the lease row lets one of them work at a time. Nothing depends on it to be
right, only to be prompt: every action lets time catch up on its own appointment first (appointments.catch_up), so
a stopped scheduler locks nobody out. A crash between two appointments leaves the second due.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, or_, select

from control.appointment_moves import advance, load
from control.database import Database, insert_into
from control.models.appointments import Appointment, JoinToken, Lease, Presence
from control.models.idempotency import KeptAnswer
from control.models.money import GatewayEvent

log = logging.getLogger(__name__)

LEASE = "scheduler"
LEASE_FOR = timedelta(seconds=30)  # a crashed holder's work is taken over after this
INTERVAL_S = 2.0
MOST_AT_ONCE = 200  # appointments of one round; the next round is at once if there are more
TIDY_EVERY = timedelta(minutes=10)
ANSWERS_KEPT = timedelta(hours=24)
TOKENS_KEPT = timedelta(days=1)
EVENTS_KEPT = timedelta(days=30)  # gateways repeat their webhooks for days, not weeks

Errand = Callable[[datetime], Awaitable[object]]


@dataclass
class Lag:
    """For the metrics: how long the oldest due appointment of the last round had been waiting."""

    seconds: float = 0.0
    rounds: int = 0
    moved: int = 0
    failed: int = 0


class Scheduler:
    """`start` and `close` for the application, `run_once` for tests and the command line."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], datetime],
        interval_s: float = INTERVAL_S,
        errands: Iterable[Errand] = (),
    ) -> None:
        """`errands`: slow work (gateways, calendars elsewhere) begun with each round beside it, each once at a time."""
        self.lag = Lag()
        self._db = db
        self._clock = clock
        self._interval_s = interval_s
        self._holder = secrets.token_hex(8)
        self._task: asyncio.Task[None] | None = None
        self._tidied_at: datetime | None = None
        self._errands: dict[Errand, asyncio.Task[None] | None] = dict.fromkeys(errands)

    async def start(self) -> None:
        await close_open_stays(self._db, now=self._clock())
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        tasks = (self._task, *self._errands.values())
        for task in tasks:
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._task = None
        self._errands = dict.fromkeys(self._errands)
        async with self._db.transaction() as session:
            await session.execute(delete(Lease).where(Lease.name == LEASE, Lease.holder == self._holder))

    async def _run(self) -> None:
        """The first round waits like the others: at a start, people's requests come first."""
        more = False
        while True:
            await asyncio.sleep(0 if more else self._interval_s)
            more = False
            try:
                more = await self.run_once(self._clock()) >= MOST_AT_ONCE
            except Exception:
                log.exception("scheduler round failed")

    async def run_once(self, now: datetime) -> int:
        """One round; the number of appointments that were due. Zero if another process holds the lease."""
        if not await self._take_lease(now):
            return 0
        async with self._db.reading() as session:
            due = (
                await session.execute(
                    select(Appointment.id, Appointment.due_at)
                    .where(Appointment.due_at <= now)
                    .order_by(Appointment.due_at)
                    .limit(MOST_AT_ONCE)
                )
            ).all()
        self.lag.seconds = (now - due[0].due_at).total_seconds() if due else 0.0
        self.lag.rounds += 1
        for found in due:
            await self._advance(found.id, now)
        if self._tidied_at is None or now - self._tidied_at >= TIDY_EVERY:
            self._tidied_at = now
            await tidy(self._db, now=now)
        for errand, task in self._errands.items():
            if task is None or task.done():
                self._errands[errand] = asyncio.create_task(self._run_errand(errand, now))
        return len(due)

    async def _run_errand(self, errand: Errand, now: datetime) -> None:
        try:
            await errand(now)
        except Exception:
            log.exception("scheduler's errand failed")

    async def _advance(self, appointment_id: str, now: datetime) -> None:
        """One that fails is logged and tried again next round; the others do not wait for it."""
        try:
            async with self._db.transaction() as session:
                self.lag.moved += await advance(session, await load(session, appointment_id), now=now)
        except Exception:
            self.lag.failed += 1
            log.exception("scheduler could not move appointment=%s", appointment_id[:8])

    async def _take_lease(self, now: datetime) -> bool:
        async with self._db.transaction() as session:
            values = {"holder": self._holder, "renewed_at": now, "expires_at": now + LEASE_FOR}
            taken = await session.execute(
                insert_into(session, Lease)
                .values(name=LEASE, **values)
                .on_conflict_do_update(
                    index_elements=[Lease.name],
                    set_=values,
                    where=or_(Lease.holder == self._holder, Lease.expires_at <= now),
                )
            )
            return cast(CursorResult[Any], taken).rowcount == 1


def seldom(errand: Errand, every: timedelta) -> Errand:
    """`errand` once in `every`, whatever the scheduler's own rhythm."""
    ran_at: datetime | None = None

    async def run(now: datetime) -> None:
        nonlocal ran_at
        if ran_at is None or now - ran_at >= every:
            ran_at = now
            await errand(now)

    return run


async def close_open_stays(db: Database, *, now: datetime) -> None:
    """At the start: nobody is connected yet, so stays still open were cut off by a crash.

    They end when the crashed process last renewed its lease, or began, whichever is later: at most one lease too
    short for somebody who was there.
    """
    async with db.transaction() as session:
        lease = await session.get(Lease, LEASE)
        seen = min(now, lease.renewed_at) if lease is not None else now
        open_stays = await session.scalars(select(Presence).where(Presence.disconnected_at.is_(None)))
        for stay in open_stays:
            stay.disconnected_at = max(seen, stay.connected_at)
            stay.reason = "server_restart"


async def tidy(db: Database, *, now: datetime) -> None:
    """Forget kept answers, join tokens and webhook events that can't be asked for any more."""
    async with db.transaction() as session:
        await session.execute(delete(KeptAnswer).where(KeptAnswer.created_at < now - ANSWERS_KEPT))
        await session.execute(delete(JoinToken).where(JoinToken.expires_at < now - TOKENS_KEPT))
        await session.execute(delete(GatewayEvent).where(GatewayEvent.received_at < now - EVENTS_KEPT))
