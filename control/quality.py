"""Keeps what a session's connections were like: the hub's measurements in, a row per person and minute out.

Measured every few seconds, written about once a minute and when somebody goes, so that a crash loses at most a
minute. Rows are only ever added; they go with their appointment.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import func, select

from control.accounts import Actor
from control.appointment_moves import load, party_of
from control.database import Database
from control.models.people import Person
from control.models.quality import SessionQuality
from media.quality import MEASURE_EVERY_S, Word, word_for
from signaling.events import HubEvent, Left, Measured

log = logging.getLogger(__name__)

WRITE_EVERY = timedelta(seconds=60)


class Seats(Protocol):
    def add_listener(self, listener: Callable[[HubEvent], None]) -> None: ...


@dataclass(slots=True)
class Stretch:
    """Measurements of one person not written yet."""

    from_at: datetime
    measured: list[Measured] = field(default_factory=list)

    def as_row(self, appointment_id: str, person_id: str, until_at: datetime) -> SessionQuality:
        found = [one.quality for one in self.measured]
        trips = [one.round_trip_ms for one in found if one.round_trip_ms is not None]
        return SessionQuality(
            appointment_id=appointment_id,
            person_id=person_id,
            from_at=self.from_at,
            until_at=until_at,
            samples=len(found),
            loss_in=_mean([one.loss_in for one in found]),
            loss_out=_mean([one.loss_out for one in found]),
            jitter_ms=_mean([one.jitter_ms for one in found]),
            round_trip_ms=_mean(trips) if trips else None,
            mos=_mean([one.mos for one in found]),
            worst_mos=min(one.mos for one in found),
            freezes=sum(one.freezes for one in self.measured),
            frozen_ms=sum(one.frozen_ms for one in self.measured),
        )


class QualityLog:
    """Listens from its making on; `close` writes what is left."""

    def __init__(self, db: Database, seats: Seats, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._clock = clock
        self._open: dict[tuple[str, str], Stretch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        seats.add_listener(self._on_hub)

    async def close(self) -> None:
        for whose in tuple(self._open):
            self._write(whose)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _on_hub(self, event: HubEvent) -> None:
        if not isinstance(event, Measured | Left):
            return
        whose = event.admission.appointment_id, event.admission.person_id
        if isinstance(event, Left):
            self._write(whose)
            return
        now = self._clock()
        stretch = self._open.setdefault(whose, Stretch(now))
        stretch.measured.append(event)
        if now - stretch.from_at >= WRITE_EVERY:
            self._write(whose)

    def _write(self, whose: tuple[str, str]) -> None:
        stretch = self._open.pop(whose, None)
        if stretch is None:
            return
        task = asyncio.get_running_loop().create_task(self._store(stretch.as_row(*whose, self._clock())))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _store(self, row: SessionQuality) -> None:
        """What can't be stored is let go: nobody's session depends on it."""
        try:
            async with self._db.transaction() as session:
                session.add(row)
        except Exception:
            log.exception("session quality not stored appointment=%s", row.appointment_id[:8])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True, slots=True)
class PersonQuality:
    """One person's connection over a whole session."""

    person_id: str
    name: str
    word: Word
    mos: float
    worst_mos: float
    loss: float
    round_trip_ms: float | None
    freezes: int
    frozen_ms: int
    seconds: float


async def of_session(db: Database, actor: Actor, appointment_id: str) -> tuple[PersonQuality, ...]:
    """What is kept of a session, for its people and admins; in order of names. Raises NotFound for a stranger."""
    rows = SessionQuality
    weight = func.sum(rows.samples)
    async with db.reading() as session:
        party_of(actor, await load(session, appointment_id))
        found = await session.execute(
            select(
                rows.person_id,
                Person.name,
                (func.sum(rows.mos * rows.samples) / weight).label("mos"),
                func.min(rows.worst_mos).label("worst_mos"),
                (func.sum(rows.loss_in * rows.samples) / weight).label("loss_in"),
                (func.sum(rows.loss_out * rows.samples) / weight).label("loss_out"),
                func.avg(rows.round_trip_ms).label("round_trip_ms"),
                func.sum(rows.freezes).label("freezes"),
                func.sum(rows.frozen_ms).label("frozen_ms"),
                (weight * MEASURE_EVERY_S).label("seconds"),
            )
            .join(Person, Person.id == rows.person_id)
            .where(rows.appointment_id == appointment_id)
            .group_by(rows.person_id, Person.name)
            .order_by(Person.name)
        )
    return tuple(
        PersonQuality(
            person_id=row.person_id,
            name=row.name,
            word=word_for(row.mos, row.frozen_ms / (1_000 * row.seconds)),
            mos=row.mos,
            worst_mos=row.worst_mos,
            loss=max(row.loss_in, row.loss_out),
            round_trip_ms=row.round_trip_ms,
            freezes=row.freezes,
            frozen_ms=row.frozen_ms,
            seconds=row.seconds,
        )
        for row in found
    )
