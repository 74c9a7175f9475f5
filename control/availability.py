"""Availability: the slots that a practitioner's open time leaves free.

The arithmetic is control/slots.py; here rows become its arguments. `windows_between` is the one place where weekly
rules, one-off windows, exceptions and busy times meet: whoever asks it, booking's own transaction included, offers
the same. Windows are changed by control/availability_windows.py, rules and exceptions by availability_rules.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    and_,
    bindparam,
    literal,
    null,
    or_,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession

from control.appointment_states import SLOT_HOLDING, State
from control.database import Base, Database, UtcDateTime
from control.errors import Conflict, Invalid, NotFound
from control.language import t
from control.models.appointments import Appointment
from control.models.calendars import BusyTime
from control.models.people import Person
from control.models.practice import (
    AvailabilityException,
    AvailabilityRule,
    AvailabilityWindow,
    PractitionerProfile,
    Service,
)
from control.slots import (
    Slot,
    SlotRules,
    Span,
    Window,
    day_in,
    first_free,
    free_slots,
    merged_times,
    nearest,
    touching,
)
from control.weekly import Rule, windows_of_rule

NEAREST_COUNT = 5
NEAREST_WITHIN = timedelta(days=21)  # how far from a lost slot others are looked for
FARTHEST_WINDOW = timedelta(days=400)
MOST_DAYS = 62  # two months of slots in one answer
LONGEST_WINDOW = timedelta(days=1, hours=1)
LONGEST_SERVICE = timedelta(hours=8)
MOST_DAYS_OFF = 92  # one exception's length; bounds how far back exceptions are looked for
LONGEST_TIME_OFF = timedelta(days=MOST_DAYS_OFF + 1)


@dataclass(frozen=True, slots=True)
class Offer:
    """A service with what booking it needs to know."""

    service: Service
    profile: PractitionerProfile
    rules: SlotRules


def rules_of(service: Service) -> SlotRules:
    return SlotRules(
        service_id=service.id,
        length=timedelta(minutes=service.length_minutes),
        buffer_before=timedelta(minutes=service.buffer_before_minutes),
        buffer_after=timedelta(minutes=service.buffer_after_minutes),
        minimum_notice=timedelta(minutes=service.minimum_notice_minutes),
        booking_window=timedelta(days=service.booking_window_days),
        price_minor=service.price_minor,
        currency=service.currency,
    )


_OFFER = (
    select(Service, PractitionerProfile)
    .join(PractitionerProfile, PractitionerProfile.person_id == Service.practitioner_id)
    .where(Service.id == bindparam("service"), Service.active.is_(True), PractitionerProfile.published.is_(True))
)


async def offer_of(session: AsyncSession, service_id: str) -> Offer:
    """A service that may be booked at all. Raises NotFound for one that is unknown, inactive or unpublished."""
    found = (await session.execute(_OFFER, {"service": service_id})).one_or_none()
    if found is None:
        raise NotFound("service_not_found", "This service is not offered.")
    return Offer(found[0], found[1], rules_of(found[0]))


async def windows_between(session: AsyncSession, practitioner_id: str, span: Span) -> list[Window]:
    """Every window that touches `span`, whole, with the times inside it that are not offered. One query."""
    return (await windows_of_all(session, (practitioner_id,), span))[practitioner_id]


async def windows_of_all(session: AsyncSession, practitioner_ids: Sequence[str], span: Span) -> dict[str, list[Window]]:
    """`windows_between` for several practitioners, each present. One query, however many they are."""
    wide = Span(span.start - LONGEST_WINDOW - LONGEST_SERVICE, span.end + LONGEST_WINDOW + LONGEST_SERVICE)
    rows = await session.execute(
        _CALENDARS,
        {
            "ids": practitioner_ids,
            "first_start": span.start - LONGEST_WINDOW,
            "start": span.start,
            "end": span.end,
            "first_off": wide.start - LONGEST_TIME_OFF,
            "wide_start": wide.start,
            "wide_end": wide.end,
        },
    )
    windows: dict[str, list[Window]] = {one: [] for one in practitioner_ids}
    off: list[Any] = []
    busy: list[Any] = []
    for row in rows:
        match row.kind:
            case "rule":
                windows[row.practitioner_id] += windows_of_rule(rule_of(row), span)
            case "window":
                own = Span(row.starts_at, row.ends_at)
                windows[row.practitioner_id].append(Window(row.id, own, row.service_id, row.price_minor))
            case _:
                times = (row.practitioner_id, row.starts_at, row.ends_at)
                (off if row.kind == "off" else busy).append(times)
    off_of, busy_of = _merged_of_all(practitioner_ids, off), _merged_of_all(practitioner_ids, busy)
    return {
        who: sorted(
            (without(window, off_of[who], busy_of[who]) for window in found),
            key=lambda window: (window.span, window.id),
        )
        for who, found in windows.items()
    }


def without(window: Window, off: Sequence[Span], busy: Sequence[Span]) -> Window:
    """`off` and `busy` are merged. Buffers reach out of a window, so do the busy times they may meet."""
    wide = Span(window.span.start - LONGEST_SERVICE, window.span.end + LONGEST_SERVICE)
    return replace(window, off=touching(off, window.span), busy=touching(busy, wide))


async def off_between(session: AsyncSession, practitioner_id: str, span: Span) -> list[Span]:
    """The practitioner's exceptions that touch `span`, merged."""
    rows = await session.execute(
        select(AvailabilityException.starts_at, AvailabilityException.ends_at).where(
            AvailabilityException.practitioner_id == practitioner_id, *exceptions_touching(span)
        )
    )
    return merged_times((start, end) for start, end in rows)


def exceptions_touching(span: Span) -> tuple[ColumnElement[bool], ...]:
    return _off_inside(span.start - LONGEST_TIME_OFF, span.start, span.end)


def _off_inside(first: Any, start: Any, end: Any) -> tuple[ColumnElement[bool], ...]:
    return (
        AvailabilityException.starts_at < end,
        AvailabilityException.starts_at > first,
        AvailabilityException.ends_at > start,
    )


async def busy_between(session: AsyncSession, practitioner_id: str, span: Span) -> list[Span]:
    """Times the imported calendar marks as busy that touch `span`, merged."""
    rows = await session.execute(
        select(BusyTime.starts_at, BusyTime.ends_at).where(
            BusyTime.practitioner_id == practitioner_id, *_busy_inside(span.start, span.end)
        )
    )
    return merged_times((start, end) for start, end in rows)


def _busy_inside(start: Any, end: Any) -> tuple[ColumnElement[bool], ...]:
    return BusyTime.ends_at > start, BusyTime.starts_at < end


def _merged_of_all(practitioner_ids: Sequence[str], rows: Iterable[Any]) -> dict[str, list[Span]]:
    times: dict[str, list[tuple[datetime, datetime]]] = {one: [] for one in practitioner_ids}
    for who, start, end in rows:
        times[who].append((start, end))
    return {who: merged_times(found) for who, found in times.items()}


def rule_of(row: Any) -> Rule:
    """Of a row with the columns of AvailabilityRule."""
    return Rule(
        id=row.id,
        weekday=row.weekday,
        start=time.fromisoformat(row.local_start),
        end=time.fromisoformat(row.local_end),
        zone=ZoneInfo(row.time_zone),
        first=date.fromisoformat(row.valid_from),
        until=date.fromisoformat(row.valid_until) if row.valid_until else None,
        service_id=row.service_id,
        price_minor=row.price_minor,
    )


_CALENDAR_COLUMNS = (
    *("id", "practitioner_id", "service_id", "price_minor", "starts_at", "ends_at"),
    *("weekday", "local_start", "local_end", "time_zone", "valid_from", "valid_until"),
)


def _calendar_part(kind: str, table: type[Base], *conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Columns that the table lacks are empty. Rules come first and windows next: PostgreSQL types a union by these."""
    columns = (
        getattr(table, name) if hasattr(table, name) else type_coerce(null(), UtcDateTime()).label(name)
        for name in _CALENDAR_COLUMNS
    )
    mine = table.__table__.c.practitioner_id.in_(bindparam("ids", expanding=True))
    return select(literal(kind).label("kind"), *columns).where(mine, *conditions)


def _calendars() -> CompoundSelect[*tuple[Any, ...]]:
    """Rules, windows, exceptions and busy times at once. Built once: each booking and each month asks it."""
    first_start, start, end, first_off, wide_start, wide_end = (
        bindparam(name, type_=UtcDateTime())
        for name in ("first_start", "start", "end", "first_off", "wide_start", "wide_end")
    )
    windows = (
        AvailabilityWindow.starts_at < end,
        AvailabilityWindow.starts_at > first_start,
        AvailabilityWindow.ends_at > start,
    )
    return union_all(
        _calendar_part("rule", AvailabilityRule),
        _calendar_part("window", AvailabilityWindow, *windows),
        _calendar_part("off", AvailabilityException, *_off_inside(first_off, wide_start, wide_end)),
        _calendar_part("busy", BusyTime, *_busy_inside(wide_start, wide_end)),
    )


_CALENDARS = _calendars()


def taken_over(practitioner_id: str, span: Span, now: datetime) -> ColumnElement[bool]:
    """The SQL of "keeps this practitioner's time inside `span`". A hold that ran out keeps nothing."""
    return and_(Appointment.practitioner_id == practitioner_id, _taken(span, now))


def _taken(span: Span, now: datetime) -> ColumnElement[bool]:
    return and_(
        Appointment.state.in_(SLOT_HOLDING),
        or_(Appointment.state != State.PENDING, Appointment.hold_expires_at > now),
        # The index is on starts_at; buffers and lengths are bounded, so this loses none.
        Appointment.starts_at > span.start - 2 * LONGEST_SERVICE,
        Appointment.starts_at < span.end + LONGEST_SERVICE,
        Appointment.busy_from < span.end,
        Appointment.busy_until > span.start,
    )


async def taken_between(session: AsyncSession, practitioner_id: str, span: Span, now: datetime) -> list[Span]:
    """The practitioner's busy spans that touch `span`, merged."""
    rows = await session.execute(
        select(Appointment.busy_from, Appointment.busy_until).where(taken_over(practitioner_id, span, now))
    )
    return merged_times((start, end) for start, end in rows)


async def free_between(session: AsyncSession, offer: Offer, span: Span, now: datetime) -> list[Slot]:
    """Free slots that start inside `span`, in order."""
    practitioner_id = offer.service.practitioner_id
    windows = await windows_between(session, practitioner_id, span)
    wide = Span(span.start - offer.rules.step, span.end + offer.rules.step)
    taken = await taken_between(session, practitioner_id, wide, now)
    free = free_slots(windows, offer.rules, taken, now)
    return [slot for slot in free if span.start <= slot.start < span.end]


async def first_free_of_all(
    db: Database, services: Mapping[str, Sequence[str]], span: Span, now: datetime
) -> dict[str, tuple[str, datetime]]:
    """Practitioner → the service that can be had first inside `span`, and when; only those with a free time.

    `services` are the ids of what each practitioner offers. Three queries, however many they are.
    """
    ids = tuple(services)
    wanted = [one for of_one in services.values() for one in of_one]
    async with db.reading() as session:
        rows = (await session.scalars(select(Service).where(Service.id.in_(wanted)))).all()
        windows = await windows_of_all(session, ids, span)
        wide = Span(span.start - 2 * LONGEST_SERVICE, span.end + 2 * LONGEST_SERVICE)
        found = await session.execute(
            select(Appointment.practitioner_id, Appointment.busy_from, Appointment.busy_until).where(
                Appointment.practitioner_id.in_(ids), _taken(wide, now)
            )
        )
        taken = _merged_of_all(ids, found)
    first: dict[str, tuple[str, datetime]] = {}
    for service in sorted(rows, key=lambda one: wanted.index(one.id)):  # the first named wins among equals
        who = service.practitioner_id
        start = first_free(windows[who], rules_of(service), taken[who], Span(max(span.start, now), span.end), now)
        if start is not None and (who not in first or start < first[who][1]):
            first[who] = (service.id, start)
    return first


async def nearest_free(session: AsyncSession, offer: Offer, wanted: datetime, now: datetime) -> list[Slot]:
    span = Span(wanted - NEAREST_WITHIN, wanted + NEAREST_WITHIN)
    return nearest(await free_between(session, offer, span, now), wanted, NEAREST_COUNT)


async def month_of_slots(
    db: Database, service_id: str, first: date, last: date, zone: ZoneInfo, now: datetime
) -> dict[date, tuple[Slot, ...]]:
    """Free slots of the days `first` to `last` of a calendar in `zone`, each day present, empty ones too."""
    if not first <= last <= first + timedelta(days=MOST_DAYS) or last >= date.max:
        raise Invalid(
            "dates_out_of_range", t("Ask for at most %(most_days)s days, the first of them first.", most_days=MOST_DAYS)
        )
    days: dict[date, list[Slot]] = {first + timedelta(days=n): [] for n in range((last - first).days + 1)}
    span = Span(day_in(first, zone).start, day_in(last, zone).end)
    async with db.reading() as session:
        offer = await offer_of(session, service_id)
        for slot in await free_between(session, offer, span, now):
            days[slot.start.astimezone(zone).date()].append(slot)
    return {day: tuple(slots) for day, slots in days.items()}


async def day_of_practitioner(
    db: Database, practitioner_id: str, day: date, now: datetime
) -> tuple[str, list[tuple[Service, list[Slot]]]]:
    """The practitioner's zone, and each bookable service with its free slots on that day there."""
    async with db.reading() as session:
        zone_name = await session.scalar(
            select(Person.time_zone)
            .join(PractitionerProfile, PractitionerProfile.person_id == Person.id)
            .where(Person.id == practitioner_id, PractitionerProfile.published.is_(True))
        )
        if zone_name is None:
            raise NotFound("practitioner_not_found", "There is no such practitioner.")
        services = (
            await session.scalars(
                select(Service)
                .where(Service.practitioner_id == practitioner_id, Service.active.is_(True))
                .order_by(Service.name)
            )
        ).all()
        span = day_in(day, ZoneInfo(zone_name))
        windows = await windows_between(session, practitioner_id, span)
        wide = Span(span.start - LONGEST_SERVICE, span.end + LONGEST_SERVICE)
        taken = await taken_between(session, practitioner_id, wide, now)
    offered = []
    for service in services:
        free = free_slots(windows, rules_of(service), taken, now)
        offered.append((service, [slot for slot in free if span.start <= slot.start < span.end]))
    return zone_name, offered


async def lock_calendar(session: AsyncSession, practitioner_id: str) -> None:
    """One change of a practitioner's time after the other, until the commit.

    PostgreSQL's exclusion constraint alone would stop overlaps too, but parallel inserts that wait for each other
    there end as deadlocks. SQLite has one writer anyway and ignores the lock.
    """
    await session.execute(
        select(PractitionerProfile.person_id)
        .where(PractitionerProfile.person_id == practitioner_id)
        .with_for_update(key_share=True)
    )


async def require_profile(session: AsyncSession, practitioner_id: str) -> None:
    if await session.get(PractitionerProfile, practitioner_id) is None:
        raise Conflict("profile_missing", "Fill in your profile first.")
