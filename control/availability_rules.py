"""Weekly rules and exceptions: what a practitioner offers every week, and when not. Actions, and the week as a page.

Every change takes the practitioner's turn (`lock_calendar`), so a booking that is being made sees it whole or not at
all. Bookings are never touched: what is booked stays booked when its rule goes or its day is taken off.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.availability import (
    FARTHEST_WINDOW,
    LONGEST_SERVICE,
    LONGEST_WINDOW,
    MOST_DAYS_OFF,
    busy_between,
    exceptions_touching,
    lock_calendar,
    require_profile,
    taken_between,
    taken_over,
    windows_between,
)
from control.availability_windows import SlotView, check_offer, services_of, slots_for
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.language import t
from control.models.appointments import Appointment
from control.models.people import Role
from control.models.practice import AvailabilityException, AvailabilityRule
from control.slots import Span, day_in
from control.weekly import MIDNIGHT, time_off

MOST_RULES = 100  # each costs every slot query a few microseconds per week
MOST_EXCEPTIONS = 1_000  # of those still to come


@dataclass(frozen=True, slots=True)
class RuleView:
    id: str
    weekday: int
    local_start: str
    local_end: str
    time_zone: str
    service_id: str | None
    price_minor: int | None
    valid_from: str
    valid_until: str | None


@dataclass(frozen=True, slots=True)
class ExceptionView:
    """Without wall times it is the whole day, or all days to `local_until`. `booked` sessions in it stay."""

    id: str
    local_date: str
    local_until: str | None
    local_start: str | None
    local_end: str | None
    time_zone: str
    starts_at: datetime
    ends_at: datetime
    reason: str
    booked: int = 0


@dataclass(frozen=True, slots=True)
class OpenTime:
    """One stretch of offered time of a week, from a window or a rule."""

    id: str
    starts_at: datetime
    ends_at: datetime
    service_id: str | None
    price_minor: int | None
    slots: tuple[SlotView, ...]

    @property
    def is_weekly(self) -> bool:
        return ":" in self.id  # a rule's windows are named by rule and day


@dataclass(frozen=True, slots=True)
class WeekView:
    open: tuple[OpenTime, ...]
    rules: tuple[RuleView, ...]
    exceptions: tuple[ExceptionView, ...]
    busy: tuple[Span, ...]


# -- rules -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewRule:
    """The same times on each of `weekdays` (Monday is 0). An end of 00:00 is the midnight that ends the day."""

    weekdays: tuple[int, ...]
    start: time
    end: time
    service_id: str | None = None
    price_minor: int | None = None
    valid_from: date | None = None
    valid_until: date | None = None


async def add_rules(db: Database, actor: Actor, wanted: NewRule, *, now: datetime) -> tuple[RuleView, ...]:
    """One rule per weekday, in the practitioner's zone, all or none. Valid from today unless said otherwise."""
    _require_practitioner(actor)
    today = now.astimezone(ZoneInfo(actor.time_zone)).date()
    first = wanted.valid_from or today
    _check_rule(wanted, first, today)
    minutes = _minutes(wanted.end, end=True) - _minutes(wanted.start)
    async with db.transaction() as session:
        await require_profile(session, actor.person_id)
        await lock_calendar(session, actor.person_id)
        services = await services_of(session, actor.person_id)
        check_offer(services, wanted.service_id, wanted.price_minor, timedelta(minutes=minutes))
        there = (await session.scalars(_rules_of(actor.person_id))).all()
        if len(there) + len(wanted.weekdays) > MOST_RULES:
            raise Conflict(
                "too_many_rules",
                t("At most %(most_rules)s weekly times can be kept. Remove some first.", most_rules=MOST_RULES),
            )
        rows = [_rule_row(actor, wanted, weekday, first, now) for weekday in sorted(wanted.weekdays)]
        for row in rows:
            if any(_overlap(row, other) for other in there):
                raise Conflict("rule_overlaps", "You already offer some of this time every week. Nothing was saved.")
        session.add_all(rows)
        for row in rows:
            record(session, actor, "availability.rule_added", f"rule:{row.id}", now=now)
        await session.flush()
        return tuple(_rule_view(row) for row in rows)


def _check_rule(wanted: NewRule, first: date, today: date) -> None:
    if not wanted.weekdays or len(set(wanted.weekdays)) != len(wanted.weekdays):
        raise Invalid("weekdays_invalid", "Choose at least one day, each once.", pointer="/weekdays")
    if _minutes(wanted.end, end=True) <= _minutes(wanted.start):
        raise Invalid("window_empty", "The end must be after the start.", pointer="/endTime")
    farthest = today + FARTHEST_WINDOW
    if not date(2000, 1, 1) <= first <= farthest:
        raise Invalid("date_out_of_range", "This date is too far away.", pointer="/validFrom")
    if wanted.valid_until is not None and not max(first, today) <= wanted.valid_until <= date(9000, 1, 1):
        raise Invalid("validity_empty", "The last day must not be before the first, nor past.", pointer="/validUntil")


def _minutes(clock: time, *, end: bool = False) -> int:
    return 24 * 60 if end and clock == MIDNIGHT else clock.hour * 60 + clock.minute


def _rule_row(actor: Actor, wanted: NewRule, weekday: int, first: date, now: datetime) -> AvailabilityRule:
    return AvailabilityRule(
        id=new_id(),
        practitioner_id=actor.person_id,
        service_id=wanted.service_id,
        weekday=weekday,
        local_start=f"{wanted.start:%H:%M}",
        local_end=f"{wanted.end:%H:%M}",
        time_zone=actor.time_zone,
        price_minor=wanted.price_minor,
        valid_from=first.isoformat(),
        valid_until=wanted.valid_until.isoformat() if wanted.valid_until else None,
        created_at=now,
    )


def _overlap(one: AvailabilityRule, other: AvailabilityRule) -> bool:
    """Whether both offer the same service at the same time; two services may share their hours."""
    same_service = one.service_id == other.service_id
    same_days = one.weekday == other.weekday and (
        one.valid_from <= (other.valid_until or "9999-12-31") and other.valid_from <= (one.valid_until or "9999-12-31")
    )
    one_end, other_end = (rule.local_end if rule.local_end != "00:00" else "24:00" for rule in (one, other))
    same_zone = one.time_zone == other.time_zone
    return same_service and same_zone and same_days and one.local_start < other_end and other.local_start < one_end


async def my_rules(db: Database, actor: Actor) -> tuple[RuleView, ...]:
    async with db.reading() as session:
        return tuple(_rule_view(row) for row in await session.scalars(_rules_of(actor.person_id)))


async def change_rule(db: Database, actor: Actor, rule_id: str, wanted: NewRule, *, now: datetime) -> RuleView:
    """Write a rule anew in its place: one weekday, from today or a later day on. What is booked stays booked."""
    _require_practitioner(actor)
    today = now.astimezone(ZoneInfo(actor.time_zone)).date()
    async with db.transaction() as session:
        await lock_calendar(session, actor.person_id)
        row = await session.get(AvailabilityRule, rule_id)
        if row is None or row.practitioner_id != actor.person_id:
            raise NotFound
        first = wanted.valid_from or date.fromisoformat(row.valid_from)
        _check_rule(wanted, first, today)
        if len(wanted.weekdays) != 1:
            raise Invalid("weekdays_invalid", "A weekly time has one day.", pointer="/weekdays")
        minutes = _minutes(wanted.end, end=True) - _minutes(wanted.start)
        services = await services_of(session, actor.person_id)
        check_offer(services, wanted.service_id, wanted.price_minor, timedelta(minutes=minutes))
        changed = _rule_row(actor, wanted, wanted.weekdays[0], first, now)
        others = (await session.scalars(_rules_of(actor.person_id))).all()
        if any(_overlap(changed, other) for other in others if other.id != rule_id):
            raise Conflict("rule_overlaps", "You already offer some of this time every week. Nothing was saved.")
        for name in RuleView.__dataclass_fields__:
            if name != "id":
                setattr(row, name, getattr(changed, name))
        record(session, actor, "availability.rule_changed", f"rule:{rule_id}", now=now)
        await session.flush()
        return _rule_view(row)


async def delete_rule(db: Database, actor: Actor, rule_id: str, *, now: datetime) -> None:
    """Offer this no longer. NotFound if it is not theirs."""
    async with db.transaction() as session:
        await lock_calendar(session, actor.person_id)
        row = await session.get(AvailabilityRule, rule_id)
        if row is None or row.practitioner_id != actor.person_id:
            raise NotFound
        await session.execute(delete(AvailabilityRule).where(AvailabilityRule.id == rule_id))
        record(session, actor, "availability.rule_deleted", f"rule:{rule_id}", now=now)


# -- exceptions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewException:
    """A day, several to `until`, or from `start` to `end` of one."""

    day: date
    start: time | None = None
    end: time | None = None
    reason: str = ""
    until: date | None = None


async def add_exception(db: Database, actor: Actor, wanted: NewException, *, now: datetime) -> ExceptionView:
    """Take days or part of one off. What is booked in it stays; the answer says how many."""
    _require_practitioner(actor)
    if (wanted.start is None) != (wanted.end is None):
        raise Invalid("times_incomplete", "Give both times, or none for the whole day.", pointer="/endTime")
    if not date(2000, 1, 1) <= wanted.day <= date(9000, 1, 1):
        raise Invalid("date_out_of_range", "This date is too far away.", pointer="/date")
    last = wanted.until or wanted.day
    if not wanted.day <= last <= wanted.day + timedelta(days=MOST_DAYS_OFF - 1):
        words = t("The last day is the first or a later one, at most %(days)s days in all.", days=MOST_DAYS_OFF)
        raise Invalid("dates_out_of_range", words, pointer="/untilDate")
    if last != wanted.day and wanted.start is not None:
        raise Invalid("times_of_one_day", "Times are for a single day. Leave them out.", pointer="/startTime")
    zone = ZoneInfo(actor.time_zone)
    span = time_off(wanted.day, wanted.start, wanted.end, zone)
    span = Span(span.start, day_in(last, zone).end) if last != wanted.day else span
    _check_time_off(span, now)
    async with db.transaction() as session:
        await require_profile(session, actor.person_id)
        await lock_calendar(session, actor.person_id)
        return await _keep(session, actor, span, wanted, now)


async def delete_slot(
    db: Database, actor: Actor, start: datetime, end: datetime, *, reason: str = "", now: datetime
) -> ExceptionView:
    """ "Not on this day": an exception of exactly this time. Conflict("slot_booked") if somebody has booked in it."""
    _require_practitioner(actor)
    span = Span(start, end)
    _check_time_off(span, now)
    if end - start > LONGEST_SERVICE:
        raise Invalid("slot_too_long", "No session is that long. Take the day off instead.", pointer="/end")
    here = ZoneInfo(actor.time_zone)
    first, last = start.astimezone(here), end.astimezone(here)
    wanted = NewException(first.date(), first.time(), last.time(), reason)
    async with db.transaction() as session:
        await require_profile(session, actor.person_id)
        await lock_calendar(session, actor.person_id)
        if await _booked(session, actor.person_id, span, now):
            raise Conflict("slot_booked", "Somebody has booked this time. Cancel that first.")
        return await _keep(session, actor, span, wanted, now)


def _check_time_off(span: Span, now: datetime) -> None:
    if span.end <= span.start:
        raise Invalid("window_empty", "The end must be after the start.", pointer="/endTime")
    if span.end <= now:
        raise Invalid("window_past", "This time has passed.", pointer="/date")
    if span.start > now + FARTHEST_WINDOW:
        raise Invalid("date_out_of_range", "This date is too far away.", pointer="/date")


async def _keep(session: AsyncSession, actor: Actor, span: Span, wanted: NewException, now: datetime) -> ExceptionView:
    """Taking the same time off twice is one exception."""
    there = await session.scalar(
        select(AvailabilityException).where(
            AvailabilityException.practitioner_id == actor.person_id,
            AvailabilityException.starts_at == span.start,
            AvailabilityException.ends_at == span.end,
        )
    )
    row = there or AvailabilityException(
        id=new_id(),
        practitioner_id=actor.person_id,
        local_date=wanted.day.isoformat(),
        local_until=wanted.until.isoformat() if wanted.until not in (None, wanted.day) else None,
        local_start=f"{wanted.start:%H:%M}" if wanted.start is not None else None,
        local_end=f"{wanted.end:%H:%M}" if wanted.end is not None else None,
        time_zone=actor.time_zone,
        starts_at=span.start,
        ends_at=span.end,
        reason=wanted.reason,
        created_at=now,
    )
    if there is None:
        count = select(func.count()).select_from(_coming(actor.person_id, now).subquery())
        if (await session.scalar(count) or 0) >= MOST_EXCEPTIONS:
            raise Conflict("too_many_exceptions", "Too many exceptions are kept. Remove some first.")
        session.add(row)
        record(session, actor, "availability.exception_added", f"exception:{row.id}", now=now)
        await session.flush()
    return _exception_view(row, await _booked(session, actor.person_id, span, now))


async def _booked(session: AsyncSession, practitioner_id: str, span: Span, now: datetime) -> int:
    found = await session.scalar(
        select(func.count())
        .select_from(Appointment)
        .where(
            taken_over(practitioner_id, span, now), Appointment.starts_at < span.end, Appointment.ends_at > span.start
        )
    )
    return found or 0


async def my_exceptions(db: Database, actor: Actor, *, now: datetime) -> tuple[ExceptionView, ...]:
    """Those that are not over, by time."""
    async with db.reading() as session:
        rows = await session.scalars(_coming(actor.person_id, now).limit(MOST_EXCEPTIONS))
        return tuple(_exception_view(row) for row in rows)


async def delete_exception(db: Database, actor: Actor, exception_id: str, *, now: datetime) -> None:
    """Offer the time again. NotFound if it is not theirs."""
    async with db.transaction() as session:
        await lock_calendar(session, actor.person_id)
        row = await session.get(AvailabilityException, exception_id)
        if row is None or row.practitioner_id != actor.person_id:
            raise NotFound
        await session.execute(delete(AvailabilityException).where(AvailabilityException.id == exception_id))
        record(session, actor, "availability.exception_deleted", f"exception:{exception_id}", now=now)


# -- the week ----------------------------------------------------------------------------------------------------


async def week_of_practitioner(db: Database, actor: Actor, span: Span, *, now: datetime) -> WeekView:
    """Everything that is offered and not offered in `span`. Nine queries, whatever is in it."""
    mine = actor.person_id
    async with db.reading() as session:
        services = await services_of(session, mine)
        windows = await windows_between(session, mine, span)
        wide = Span(span.start - LONGEST_WINDOW, span.end + LONGEST_WINDOW)
        taken = await taken_between(session, mine, wide, now)
        rules = (await session.scalars(_rules_of(mine))).all()
        exceptions = await session.scalars(
            select(AvailabilityException)
            .where(AvailabilityException.practitioner_id == mine, *exceptions_touching(span))
            .order_by(AvailabilityException.starts_at, AvailabilityException.id)
        )
        return WeekView(
            open=tuple(
                OpenTime(
                    one.id,
                    one.span.start,
                    one.span.end,
                    one.service_id,
                    one.price_minor,
                    slots_for(one, services, taken),
                )
                for one in windows
            ),
            rules=tuple(_rule_view(row) for row in rules),
            exceptions=tuple(_exception_view(row) for row in exceptions),
            busy=tuple(await busy_between(session, mine, span)),
        )


# -- rows --------------------------------------------------------------------------------------------------------


def _rules_of(practitioner_id: str) -> Select[AvailabilityRule]:
    return (
        select(AvailabilityRule)
        .where(AvailabilityRule.practitioner_id == practitioner_id)
        .order_by(AvailabilityRule.weekday, AvailabilityRule.local_start, AvailabilityRule.id)
    )


def _coming(practitioner_id: str, now: datetime) -> Select[AvailabilityException]:
    return (
        select(AvailabilityException)
        .where(AvailabilityException.practitioner_id == practitioner_id, AvailabilityException.ends_at > now)
        .order_by(AvailabilityException.starts_at, AvailabilityException.id)
    )


def _require_practitioner(actor: Actor) -> None:
    if not actor.is_any(Role.PRACTITIONER):
        raise Forbidden("not_practitioner", "Only a practitioner offers time.")


def _rule_view(row: AvailabilityRule) -> RuleView:
    return RuleView(**{name: getattr(row, name) for name in RuleView.__dataclass_fields__})


def _exception_view(row: AvailabilityException, booked: int = 0) -> ExceptionView:
    fields = (name for name in ExceptionView.__dataclass_fields__ if name != "booked")
    return ExceptionView(**{name: getattr(row, name) for name in fields}, booked=booked)
