"""One-off windows of a practitioner: opened, shown with their slots, taken back while nothing in them is booked.

What slots a window makes is control/availability.py's and control/slots.py's. Weekly rules ask here what an offer of
open time is worth (`check_offer`), and show their slots as windows do (`slots_for`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_states import SLOT_HOLDING, State
from control.audit import record
from control.availability import (
    FARTHEST_WINDOW,
    LONGEST_SERVICE,
    busy_between,
    lock_calendar,
    off_between,
    require_profile,
    rules_of,
    taken_between,
    without,
)
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.language import t
from control.models.appointments import Appointment
from control.models.people import Role
from control.models.practice import AvailabilityWindow, Service
from control.money.policy import price_allowed
from control.slots import Span, Window, all_slots, touching
from control.weekly import span_on


@dataclass(frozen=True, slots=True)
class WindowView:
    id: str
    service_id: str | None
    local_date: str
    local_start: str
    local_end: str
    time_zone: str
    starts_at: datetime
    ends_at: datetime
    price_minor: int | None
    slots: tuple["SlotView", ...] = ()


@dataclass(frozen=True, slots=True)
class SlotView:
    """A slot as a practitioner sees it: with what became of it."""

    service_id: str
    start: datetime
    end: datetime
    price_minor: int
    currency: str
    free: bool


@dataclass(frozen=True, slots=True)
class NewWindow:
    day: date
    start: time
    end: time
    service_id: str | None = None
    price_minor: int | None = None


async def add_window(db: Database, actor: Actor, wanted: NewWindow, *, now: datetime) -> WindowView:
    """A one-off window in the practitioner's zone. An end of 00:00 is the midnight that ends the day."""
    if not actor.is_any(Role.PRACTITIONER):
        raise Forbidden("not_practitioner", "Only a practitioner offers time.")
    zone = ZoneInfo(actor.time_zone)
    if wanted.day >= date.max:
        raise Invalid("date_out_of_range", "This date is too far away.")
    span = span_on(wanted.day, wanted.start, wanted.end, zone)
    if span.end <= span.start:
        raise Invalid("window_empty", "The end must be after the start.")
    if span.end <= now:
        raise Invalid("window_past", "This time has passed.")
    if span.start > now + FARTHEST_WINDOW:
        raise Invalid("date_out_of_range", "This date is too far away.")
    async with db.transaction() as session:
        services = await services_of(session, actor.person_id)
        check_offer(services, wanted.service_id, wanted.price_minor, span.end - span.start)
        row = AvailabilityWindow(
            id=new_id(),
            practitioner_id=actor.person_id,
            service_id=wanted.service_id,
            local_date=wanted.day.isoformat(),
            local_start=f"{wanted.start:%H:%M}",
            local_end=f"{wanted.end:%H:%M}",
            time_zone=actor.time_zone,
            starts_at=span.start,
            ends_at=span.end,
            price_minor=wanted.price_minor,
            created_at=now,
        )
        await require_profile(session, actor.person_id)
        session.add(row)
        record(session, actor, "availability.added", f"window:{row.id}", now=now)
        await session.flush()
        return (await _window_views(session, actor.person_id, [row], services, now))[0]


async def my_windows(db: Database, actor: Actor, *, now: datetime) -> tuple[WindowView, ...]:
    """The practitioner's windows that are not over, with their slots and whether those are free."""
    async with db.reading() as session:
        rows = (
            await session.scalars(
                select(AvailabilityWindow)
                .where(AvailabilityWindow.practitioner_id == actor.person_id, AvailabilityWindow.ends_at > now)
                .order_by(AvailabilityWindow.starts_at, AvailabilityWindow.id)
                .limit(500)
            )
        ).all()
        services = await services_of(session, actor.person_id)
        return tuple(await _window_views(session, actor.person_id, rows, services, now))


async def delete_window(db: Database, actor: Actor, window_id: str, *, now: datetime) -> None:
    """Take a window back. Conflict("window_booked") if anything in it is booked; NotFound if it is not theirs."""
    async with db.transaction() as session:
        await lock_calendar(session, actor.person_id)
        row = await session.get(AvailabilityWindow, window_id)
        if row is None or row.practitioner_id != actor.person_id:
            raise NotFound
        booked = await session.scalar(
            select(func.count())
            .select_from(Appointment)
            .where(
                Appointment.practitioner_id == actor.person_id,
                Appointment.state.in_(SLOT_HOLDING),
                or_(Appointment.state != State.PENDING, Appointment.hold_expires_at > now),
                Appointment.starts_at < row.ends_at,
                Appointment.ends_at > row.starts_at,
            )
        )
        if booked:
            raise Conflict("window_booked", "Something in this window is booked. Cancel that first.")
        await session.execute(delete(AvailabilityWindow).where(AvailabilityWindow.id == window_id))
        record(session, actor, "availability.deleted", f"window:{window_id}", now=now)


def check_offer(
    services: Sequence[Service], service_id: str | None, price_minor: int | None, length: timedelta
) -> None:
    """That open time of this length is worth something: a service that is theirs, a price allowed, room for one."""
    concerned = [one for one in services if service_id in (None, one.id)]
    if service_id is not None and not concerned:
        raise NotFound("service_not_found", "You offer no such service.")
    if price_minor is not None and not all(price_allowed(price_minor, one.currency) for one in concerned):
        raise Invalid("price_out_of_range", "This price is outside of what can be charged.", pointer="/price")
    shortest = min((one.length_minutes for one in concerned), default=0)
    if length < timedelta(minutes=shortest):
        words = t("Too short for one session of %(minutes)s min. Nothing was saved.", minutes=shortest)
        raise Invalid("window_too_short", words, pointer="/endTime")


async def services_of(session: AsyncSession, practitioner_id: str) -> Sequence[Service]:
    rows = await session.scalars(
        select(Service)
        .where(Service.practitioner_id == practitioner_id, Service.active.is_(True))
        .order_by(Service.name)
    )
    return rows.all()


async def _window_views(
    session: AsyncSession,
    practitioner_id: str,
    rows: Sequence[AvailabilityWindow],
    services: Sequence[Service],
    now: datetime,
) -> list[WindowView]:
    if not rows:
        return []
    span = Span(min(row.starts_at for row in rows), max(row.ends_at for row in rows))
    wide = Span(span.start - LONGEST_SERVICE, span.end + LONGEST_SERVICE)
    taken = await taken_between(session, practitioner_id, wide, now)
    off = await off_between(session, practitioner_id, wide)
    busy = await busy_between(session, practitioner_id, wide)
    views = []
    for row in rows:
        window = Window(row.id, Span(row.starts_at, row.ends_at), row.service_id, row.price_minor)
        slots = slots_for(without(window, off, busy), services, taken)
        views.append(
            WindowView(
                row.id,
                row.service_id,
                row.local_date,
                row.local_start,
                row.local_end,
                row.time_zone,
                row.starts_at,
                row.ends_at,
                row.price_minor,
                slots,
            )
        )
    return views


def slots_for(window: Window, services: Sequence[Service], taken: Sequence[Span]) -> tuple[SlotView, ...]:
    """What a window offers of each service. `taken` is merged."""
    views: list[SlotView] = []
    for service in services:
        rules = rules_of(service)
        views += (
            SlotView(
                service.id,
                slot.start,
                slot.end,
                slot.price_minor,
                slot.currency,
                free=not touching(taken, rules.busy(slot.start)),
            )
            for slot in all_slots([window], rules)
        )
    return tuple(views)
