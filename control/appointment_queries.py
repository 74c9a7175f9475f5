"""Reading appointments: one shape for pages, API and command line, one query each, whatever the number of rows.

Changes nothing. Who may see what is decided here too: a stranger gets NotFound, a practitioner never sees a hold.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, exists, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from control.accounts import Actor
from control.appointment_moves import facts_of, guest_of, is_hidden
from control.appointment_states import ENDED, OPEN, State
from control.database import Database
from control.errors import NotFound
from control.lifecycle import Facts, Party
from control.models.appointments import Appointment, Guest
from control.models.money import Payment
from control.models.people import Person, Role
from control.money.payments import LIVE, WOULD_LAPSE
from control.paging import MOST_PAGE, Page, Place, Wanted, after, cut
from control.slots import Span

MOST_ROWS = 50
"""Rows of a look at what is next or was last; lists are paged."""

LONGEST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SessionView:
    """An appointment as one of its people sees it. "party" says which of them is looking."""

    id: str
    party: Party
    state: State
    version: int
    service_id: str
    service_name: str
    mode: str
    recording_offered: bool
    practitioner_id: str
    practitioner_name: str
    practitioner_time_zone: str
    client_id: str
    client_name: str
    client_time_zone: str
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    hold_expires_at: datetime | None
    confirmed_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    end_reason: str | None
    price_minor: int
    currency: str
    kept_minor: int | None
    refund_minor: int | None
    fee_waived_at: datetime | None
    needs_activation: bool
    activated_at: datetime | None
    late_from: datetime | None
    series_id: str | None
    late_window_minutes: int
    late_fee_bp: int
    no_show_fee_bp: int
    platform_fee_bp: int
    payment_method: str | None
    payment_state: str | None
    payment_failure: str | None
    facts: Facts
    """What the rules of lifecycle.py ask; they are asked about the same here as where something is done."""

    @property
    def needs_another_way(self) -> bool:
        """Its bank won't keep, or did not keep, the money of this session to come (control/money/payments.py)."""
        if self.state not in (State.SCHEDULED, State.CONFIRMED) or self.price_minor == 0:
            return False
        return self.payment_state is None or self.payment_failure == WOULD_LAPSE


_client = aliased(Person)
_practitioner = aliased(Person)


def _select() -> Select[*tuple[Any, ...]]:
    return (
        select(
            Appointment,
            _client.name.label("client_name"),
            _practitioner.name.label("practitioner_name"),
            _practitioner.time_zone.label("practitioner_time_zone"),
            Payment.method.label("payment_method"),
            Payment.state.label("payment_state"),
            Payment.failure_code.label("payment_failure"),
        )
        .join(_client, _client.id == Appointment.client_id)
        .join(_practitioner, _practitioner.id == Appointment.practitioner_id)
        .outerjoin(Payment, and_(Payment.appointment_id == Appointment.id, Payment.state.in_(LIVE)))
    )


def _view(found: Row[Any], actor: Actor) -> SessionView:
    row: Appointment = found[0]
    if actor.person_id == row.practitioner_id:
        party = Party.PRACTITIONER
    elif actor.person_id == row.client_id:
        party = Party.CLIENT
    else:
        party = Party.ADMIN if actor.is_any(Role.ADMIN) else Party.GUEST
    copied = {name: getattr(row, name) for name in SessionView.__dataclass_fields__ if hasattr(Appointment, name)}
    return SessionView(
        **(copied | {"state": State(row.state)}),
        party=party,
        client_name=found.client_name,
        practitioner_name=found.practitioner_name,
        practitioner_time_zone=found.practitioner_time_zone,
        payment_method=found.payment_method,
        payment_state=found.payment_state,
        payment_failure=found.payment_failure,
        facts=facts_of(row),
    )


async def view(session: AsyncSession, actor: Actor, appointment_id: str) -> SessionView:
    """One appointment inside the caller's session. Raises NotFound for a stranger."""
    query = _select().where(Appointment.id == appointment_id).execution_options(populate_existing=True)
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise NotFound
    seen = _view(found, actor)
    if seen.party is Party.GUEST and await guest_of(session, appointment_id, actor.person_id) is None:
        raise NotFound
    if seen.party is Party.PRACTITIONER and is_hidden(found[0]):
        if not actor.is_any(Role.ADMIN):
            raise NotFound
        return replace(seen, party=Party.ADMIN)
    return seen


async def get_for(db: Database, actor: Actor, appointment_id: str) -> SessionView:
    async with db.reading() as session:
        return await view(session, actor, appointment_id)


def _mine(actor: Actor) -> Any:
    """Appointments of the person in any role."""
    return or_(Appointment.client_id == actor.person_id, led_by(actor), _guest_at(actor))


def _guest_at(actor: Actor) -> ColumnElement[bool]:
    invited = select(Guest.appointment_id).where(Guest.person_id == actor.person_id, Guest.removed_at.is_(None))
    return Appointment.id.in_(invited)


def led_by(actor: Actor) -> ColumnElement[bool]:
    """Appointments a practitioner knows of: secured at least, and activated where the practice asks for that."""
    return and_(
        Appointment.practitioner_id == actor.person_id,
        Appointment.state.not_in((State.PENDING, State.EXPIRED)),
        or_(Appointment.needs_activation.is_(False), Appointment.activated_at.is_not(None)),
    )


async def _views(db: Database, actor: Actor, query: Select[*tuple[Any, ...]]) -> tuple[SessionView, ...]:
    async with db.reading() as session:
        rows: Sequence[Row[Any]] = (await session.execute(query)).all()
        return tuple(_view(row, actor) for row in rows)


async def upcoming_for(db: Database, actor: Actor, now: datetime, *, limit: int = MOST_ROWS) -> tuple[SessionView, ...]:
    """What is open for this person, in every role, the next first. A hold that ran out is not open."""
    query = _select().where(_mine(actor), _is(When.UPCOMING, now))
    return await _views(db, actor, query.order_by(Appointment.starts_at, Appointment.id).limit(limit))


async def past_for(db: Database, actor: Actor, now: datetime, *, limit: int = MOST_ROWS) -> tuple[SessionView, ...]:
    """What has ended for this person, the newest first; bookings that were never paid are left out."""
    query = _select().where(_mine(actor), _is(When.PAST, now))
    return await _views(db, actor, query.order_by(Appointment.starts_at.desc(), Appointment.id).limit(limit))


async def series_of(db: Database, actor: Actor, series_id: str) -> tuple[SessionView, ...]:
    """The sessions a client booked together, by time; empty for anybody else."""
    query = _select().where(Appointment.series_id == series_id, Appointment.client_id == actor.person_id)
    return await _views(db, actor, query.order_by(Appointment.starts_at, Appointment.id))


async def led_between(db: Database, actor: Actor, span: Span) -> tuple[SessionView, ...]:
    """A practitioner's appointments that touch `span` (shorter ones than a day), by time."""
    query = _select().where(
        led_by(actor),
        Appointment.starts_at < span.end,
        Appointment.starts_at > span.start - LONGEST,
        Appointment.ends_at > span.start,
    )
    return await _views(db, actor, query.order_by(Appointment.starts_at, Appointment.id))


# -- lists -------------------------------------------------------------------------------------------------------


class When(StrEnum):
    UPCOMING = "upcoming"
    PAST = "past"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which rows of a list are wanted; empty fields choose all. `text` is looked for in names, or begins an id."""

    when: When | None = None
    states: frozenset[State] = frozenset()
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    client_id: str | None = None

    @property
    def descending(self) -> bool:
        return self.when is not When.UPCOMING


ALL = Chosen()


def _is(when: When, now: datetime) -> ColumnElement[bool]:
    """Past because it ended, not because of the hour."""
    if when is When.UPCOMING:
        alive = or_(Appointment.state != State.PENDING, Appointment.hold_expires_at > now)
        return and_(Appointment.state.in_(OPEN), alive)
    return Appointment.state.in_([state for state in ENDED if state is not State.EXPIRED])


async def page_for(
    db: Database, actor: Actor, party: Party, chosen: Chosen, wanted: Wanted, *, now: datetime
) -> Page[SessionView]:
    """One page of a person's appointments in one role, or for an admin of everybody's: by start, the newest first
    unless only upcoming ones are chosen. Two queries whatever is in it. Raises NotFound for an admin's list."""
    if party is Party.ADMIN and not actor.is_any(Role.ADMIN):
        raise NotFound
    async with db.reading() as session:
        query = _select().where(await _listed_for(session, actor, party), *_conditions(chosen, now))
        query = after(query, wanted, Appointment.starts_at, Appointment.id, descending=chosen.descending)
        rows = [_view(row, actor) for row in await session.execute(query)]
    return cut(rows, wanted, lambda row: Place(row.starts_at, row.id))


async def _listed_for(session: AsyncSession, actor: Actor, party: Party) -> ColumnElement[bool]:
    if party is Party.ADMIN:
        return true()
    if party is Party.PRACTITIONER:
        return led_by(actor)
    mine = Appointment.client_id == actor.person_id
    # Most people are nobody's guest, and an OR would cost them the index their list is sorted by.
    is_guest = await session.scalar(select(exists().where(Guest.person_id == actor.person_id)))
    return or_(mine, _guest_at(actor)) if is_guest else mine


def _conditions(chosen: Chosen, now: datetime) -> list[ColumnElement[bool]]:
    found = [] if chosen.when is None else [_is(chosen.when, now)]
    if chosen.states:
        found.append(Appointment.state.in_(chosen.states))
    if chosen.since is not None:
        found.append(Appointment.starts_at >= chosen.since)
    if chosen.until is not None:
        found.append(Appointment.starts_at < chosen.until)
    if chosen.client_id is not None:
        found.append(Appointment.client_id == chosen.client_id)
    if chosen.text:
        named = (_client.name, _practitioner.name, Appointment.service_name)
        text = chosen.text.lower()
        found.append(
            or_(
                *(column.icontains(chosen.text, autoescape=True) for column in named),
                Appointment.id.startswith(text, autoescape=True),
            )
        )
    return found


async def all_of(
    db: Database, actor: Actor, party: Party, chosen: Chosen, *, now: datetime
) -> AsyncIterator[SessionView]:
    """Every row of a list, page by page: for files."""
    wanted = Wanted(MOST_PAGE)
    while True:
        page = await page_for(db, actor, party, chosen, wanted, now=now)
        for row in page.rows:
            yield row
        if page.next_cursor is None:
            return
        last = page.rows[-1]
        wanted = Wanted(MOST_PAGE, Place(last.starts_at, last.id))
