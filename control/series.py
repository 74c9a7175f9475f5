"""A weekly series: several sessions at the same weekday and time, booked together and paid one by one or all at once.

`look` says which weeks are free, so that the others are left out before anybody pays; `book_series` holds all the
starts it is given or none, and names those that went meanwhile. Afterwards each is an appointment like any other.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import load, move
from control.appointment_queries import SessionView, series_of
from control.appointment_states import Event, State
from control.audit import record
from control.availability import Offer, lock_calendar, offer_of
from control.booking import (
    TERMS,
    Terms,
    Wanted,
    expire_stale,
    holders_of,
    is_overlap,
    new_row,
    offered_slot,
    pay_in,
)
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, Invalid, NotFound, Problem
from control.language import t
from control.lifecycle import Party
from control.models.appointments import Appointment
from control.models.people import Person, Role
from control.money import payments
from control.money.payments import Method
from control.slots import wall_to_utc

MOST_WEEKS = 12


@dataclass(frozen=True, slots=True)
class Week:
    """`code` is why it can't be booked, empty for a free one."""

    start: datetime
    end: datetime
    code: str = ""


async def look(db: Database, wanted: Wanted, weeks: int, *, now: datetime) -> tuple[Week, ...]:
    """The same weekday and time of the practitioner's clock, week by week from `wanted.start` on."""
    if not 1 <= weeks <= MOST_WEEKS:
        raise Invalid("too_many_weeks", t("A series has at most %(most_weeks)s weeks.", most_weeks=MOST_WEEKS))
    async with db.reading() as session:
        offer = await offer_of(session, wanted.service_id)
        zone = await _zone_of(session, offer)
        found = []
        for number in range(weeks):
            start = _weekly(wanted.start, number, zone)
            problem = await _obstacle(session, offer, replace(wanted, start=start), now)
            found.append(Week(start, start + offer.rules.length, problem.code if problem else ""))
        return tuple(found)


async def _zone_of(session: AsyncSession, offer: Offer) -> ZoneInfo:
    person = await session.get_one(Person, offer.service.practitioner_id)
    return ZoneInfo(person.time_zone)


def _weekly(start: datetime, number: int, zone: ZoneInfo) -> datetime:
    wall = start.astimezone(zone)
    return wall_to_utc(wall.date() + timedelta(weeks=number), wall.time(), zone) if number else start.astimezone(UTC)


async def _obstacle(session: AsyncSession, offer: Offer, wanted: Wanted, now: datetime) -> Problem | None:
    """Why this start can't be booked now, None if it can."""
    try:
        slot = await offered_slot(session, offer, wanted, now)
    except Problem as problem:
        return problem
    if await holders_of(session, offer, offer.rules.busy(slot.start), now):
        return Conflict("slot_taken", "Somebody has taken this time.")
    return None


async def book_series(
    db: Database,
    actor: Actor,
    wanted: Wanted,
    starts: Sequence[datetime],
    *,
    terms: Terms = TERMS,
    now: datetime,
) -> tuple[SessionView, ...]:
    """Hold every start or none. Raises Conflict("slots_taken") with the `taken` starts and why each can't be had.

    The starts are weeks of one series, each once. Under the same key the same series is found again.
    """
    if not actor.is_any(Role.CLIENT):
        raise Forbidden("not_client", "Book with a client's account.")
    asked = sorted({start.astimezone(UTC) for start in starts})
    if not 2 <= len(asked) <= MOST_WEEKS or len(asked) != len(starts):
        raise Invalid(
            "series_length",
            t("A series has 2 to %(most_weeks)s weeks, each once.", most_weeks=MOST_WEEKS),
            pointer="/starts",
        )
    try:
        async with db.transaction() as session:
            series_id = await _hold_all(session, actor, wanted, asked, terms, now)
    except IntegrityError as error:
        async with db.reading() as session:
            earlier = await _booked_under(session, actor, wanted, asked)
        if earlier is None:
            if not is_overlap(error):
                raise
            raise Conflict("slots_taken", "Somebody was faster. Look at the weeks again.", taken=[]) from None
        series_id = earlier
    return await series_of(db, actor, series_id)


async def _hold_all(
    session: AsyncSession, actor: Actor, wanted: Wanted, starts: Sequence[datetime], terms: Terms, now: datetime
) -> str:
    offer = await offer_of(session, wanted.service_id)
    practitioner_id = offer.service.practitioner_id
    if practitioner_id == actor.person_id:
        raise Forbidden("own_service", "This is your own service.")
    await lock_calendar(session, practitioner_id)
    earlier = await _booked_under(session, actor, wanted, starts)
    if earlier is not None:
        return earlier
    _require_weekly(starts, await _zone_of(session, offer))
    obstacles = {start: await _obstacle(session, offer, replace(wanted, start=start), now) for start in starts}
    taken = [{"start": start.isoformat(), "code": one.code} for start, one in obstacles.items() if one is not None]
    if taken:
        raise Conflict("slots_taken", t("%(len)s of these weeks can't be had any more.", len=len(taken)), taken=taken)
    series_id = new_id()
    for number, start in enumerate(starts):
        one = replace(wanted, start=start, key=_key_of(wanted, number))
        slot = await offered_slot(session, offer, one, now)
        await expire_stale(session, practitioner_id, offer.rules.busy(start), now)
        row = new_row(actor, offer, slot, one, terms, now, series_id=series_id)
        session.add(row)
        await session.flush()
        record(session, actor, "appointment.book", f"appointment:{row.id}", {"to": State.PENDING}, now=now)
        if row.price_minor == 0:
            await payments.hold(session, row, Method.FREE, now=now)
            await move(session, row, Event.SECURE, actor=actor, party=Party.CLIENT, now=now)
    return series_id


def _require_weekly(starts: Sequence[datetime], zone: ZoneInfo) -> None:
    first = starts[0].astimezone(zone)
    for start in starts[1:]:
        days = (start.astimezone(zone).date() - first.date()).days
        if days % 7 or days > 7 * (MOST_WEEKS - 1) or _weekly(starts[0], days // 7, zone) != start:
            raise Invalid("series_not_weekly", "These are not the same weekday and time.", pointer="/starts")


def _key_of(wanted: Wanted, number: int) -> str | None:
    """Hashed, because a key may be as long as its column already."""
    return None if wanted.key is None else f"{hashlib.sha256(wanted.key.encode()).hexdigest()}:{number}"


async def _booked_under(session: AsyncSession, actor: Actor, wanted: Wanted, starts: Sequence[datetime]) -> str | None:
    """The series this key has booked before. Raises Invalid if that was another one."""
    keys = [_key_of(wanted, number) for number in range(len(starts))]
    found = await session.execute(
        select(Appointment.series_id, Appointment.service_id, Appointment.starts_at)
        .where(Appointment.client_id == actor.person_id, Appointment.booking_key.in_([key for key in keys if key]))
        .order_by(Appointment.booking_key)
    )
    rows = found.all()
    if not rows:
        return None
    if {(row.service_id, row.starts_at) for row in rows} != {(wanted.service_id, start) for start in starts}:
        raise Invalid("idempotency_key_reused", "This key was used for another booking.")
    return str(rows[0].series_id)


async def pay_series(
    db: Database, actor: Actor, series_id: str, method: Method, *, now: datetime
) -> tuple[SessionView, ...]:
    """Secure every session of it that still waits for its money, all or none; by wallet, credits, or free.

    Raises what paying one does. NotFound for anybody but the client.
    """
    mine = await series_of(db, actor, series_id)
    if not mine:
        raise NotFound
    async with db.transaction() as session:
        for view in mine:
            if view.state is State.PENDING:
                await pay_in(session, actor, await load(session, view.id), method, now)
    return await series_of(db, actor, series_id)
