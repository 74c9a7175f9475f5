"""The actions on a booked appointment: activate, confirm, start, complete, cancel, and what time does by itself.

Each is one transaction and safe to repeat: who comes second gets the appointment as it is now. The table of states
is appointment_states.py, the bounds of time lifecycle.py, the steps of a move appointment_moves.py; booking and
paying are booking.py. Reads for pages are named here too, so that callers know one module.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import advance, facts_of, is_hidden, load, move, party_of, session_facts
from control.appointment_queries import (
    Chosen,
    SessionView,
    When,
    all_of,
    get_for,
    led_between,
    page_for,
    past_for,
    upcoming_for,
    view,
)
from control.appointment_states import Event, State
from control.audit import record
from control.booking import Wanted, book, pay
from control.database import Database, publish
from control.errors import Conflict, Forbidden, NotFound
from control.language import t
from control.lifecycle import Party, can_cancel, due_since, ending, no_show_from, opens_at
from control.models.appointments import Appointment
from control.models.people import Person
from control.money import refunds
from control.money.gateway_work import Destination
from control.notices.outbox import Notice, NoticeKind, enqueue, plan_reminders
from control.session_events import SessionChanged

__all__ = [
    "Chosen",
    "SessionView",
    "Wanted",
    "When",
    "activate",
    "all_of",
    "book",
    "cancel",
    "catch_up",
    "complete",
    "get_for",
    "led_between",
    "page_for",
    "past_for",
    "pay",
    "start",
    "upcoming_for",
]


async def catch_up(db: Database, appointment_id: str, *, now: datetime) -> State:
    """Let time do what is due to one appointment, whether or not a scheduler runs. Raises NotFound."""
    async with db.reading() as session:
        row = await load(session, appointment_id)
        since = due_since(facts_of(row))
        if since is None or now < since:
            return State(row.state)
    async with db.transaction() as session:
        row = await load(session, appointment_id)
        await advance(session, row, now=now)
        return State(row.state)


@asynccontextmanager
async def _acting(
    db: Database, actor: Actor, appointment_id: str, now: datetime
) -> AsyncIterator[tuple[AsyncSession, Appointment, Party]]:
    """The appointment as time has left it, in a transaction; a stranger gets NotFound and touches nothing."""
    async with db.reading() as session:
        party_of(actor, await load(session, appointment_id))
    await catch_up(db, appointment_id, now=now)
    async with db.transaction() as session:
        row = await load(session, appointment_id)
        yield session, row, party_of(actor, row)


def _require_leader(party: Party) -> None:
    if party is Party.CLIENT:
        raise Forbidden("not_practitioner", "Only the practitioner starts and ends a session.")


async def start(
    db: Database, actor: Actor, appointment_id: str, *, end_earlier: bool = False, now: datetime
) -> SessionView:
    """The practitioner presses Start. Raises Conflict("another_in_progress" | "too_early" | "not_startable").

    With `end_earlier` the session that still runs is ended first, as if End were pressed; if that is refused nothing
    is started, and a crash between the two leaves the one ended and the other to be started.
    """
    try:
        return await _start(db, actor, appointment_id, now)
    except Conflict as refusal:
        if not end_earlier or refusal.code != "another_in_progress":
            raise
        await complete(db, actor, refusal.extra["other"]["id"], now=now)
        return await _start(db, actor, appointment_id, now)


async def _start(db: Database, actor: Actor, appointment_id: str, now: datetime) -> SessionView:
    try:
        async with _acting(db, actor, appointment_id, now) as (session, row, party):
            _require_leader(party)
            if row.state == State.SCHEDULED:
                raise Conflict(
                    "too_early", "This session can't be started yet.", opens_at=opens_at(facts_of(row)).isoformat()
                )
            if row.state == State.CONFIRMED:
                await _refuse_if_another_runs(session, row)
                await move(session, row, Event.START, actor=actor, party=party, now=now)
            if row.state != State.IN_PROGRESS:
                raise Conflict("not_startable", "This session can't be started any more.", status_now=row.state)
            return await view(session, actor, row.id)
    except IntegrityError as error:
        # Another start committed between our look and our update; the partial unique index saw both.
        async with db.reading() as session:
            await _refuse_if_another_runs(session, await load(session, appointment_id))
        raise error


async def _refuse_if_another_runs(session: AsyncSession, row: Appointment) -> None:
    other = (
        await session.execute(
            select(Appointment.id, Appointment.starts_at, Person.name)
            .join(Person, Person.id == Appointment.client_id)
            .where(
                Appointment.practitioner_id == row.practitioner_id,
                Appointment.state == State.IN_PROGRESS,
                Appointment.id != row.id,
            )
        )
    ).first()
    if other is not None:
        raise Conflict(
            "another_in_progress",
            t("Your session with %(name)s is still running. End it first.", name=other.name),
            other={"id": other.id, "client_name": other.name, "starts_at": other.starts_at.isoformat()},
        )


async def complete(
    db: Database,
    actor: Actor,
    appointment_id: str,
    *,
    is_no_show: bool = False,
    waive_fee: bool = False,
    reason: str | None = None,
    now: datetime,
) -> SessionView:
    """End pressed, or "Mark as no-show", with or without its fee. Ended already: returned as it is.

    A session the client was never let into ends as their no-show, and only once they have had their time to come:
    before that Conflict("client_may_still_come"). Conflict("client_was_here") if they were.
    """
    async with _acting(db, actor, appointment_id, now) as (session, row, party):
        _require_leader(party)
        facts = facts_of(row)
        if is_no_show and row.state in (State.CONFIRMED, State.IN_PROGRESS):
            if facts.client_admitted:
                raise Conflict("client_was_here", "Your client was in this session.")
            event = Event.MISS_BY_CLIENT
        elif row.state == State.IN_PROGRESS:
            event = ending(facts)
        elif row.state in (State.PENDING, State.SCHEDULED, State.CONFIRMED):
            raise Conflict("not_started", "This session has not been started.", status_now=row.state)
        else:
            if is_no_show and waive_fee and row.state == State.NO_SHOW_CLIENT:
                await _waive(session, actor, row, now)
            return await view(session, actor, row.id)
        until = no_show_from(facts)
        if event is Event.MISS_BY_CLIENT and until is not None and now < until:
            raise Conflict(
                "client_may_still_come",
                "Your client has not been here and still has time to come.",
                from_moment=until.isoformat(),
            )
        waived = waive_fee and event is Event.MISS_BY_CLIENT
        await move(session, row, event, actor=actor, party=party, now=now, reason=reason, waive_fee=waived)
        return await view(session, actor, row.id)


async def cancel(
    db: Database,
    actor: Actor,
    appointment_id: str,
    *,
    reason: str | None = None,
    refund_to: Destination = Destination.ORIGINAL,
    now: datetime,
) -> SessionView:
    """Cancel by the policy frozen at booking. Cancelled already: returned as it is.

    Where money that was taken goes back to is the client's choice only.
    """
    async with _acting(db, actor, appointment_id, now) as (session, row, party):
        if row.state == State.CANCELLED:
            return await view(session, actor, row.id)
        if not can_cancel(facts_of(row), party, now):
            raise Conflict("not_cancellable", "This session can't be cancelled any more.", status_now=row.state)
        to = refund_to if party is Party.CLIENT else Destination.ORIGINAL
        await move(session, row, Event.CANCEL, actor=actor, party=party, now=now, reason=reason, refund_to=to)
        return await view(session, actor, row.id)


async def waive_fee(db: Database, actor: Actor, appointment_id: str, *, now: datetime) -> SessionView:
    """What a late cancellation or a missed session has kept goes back to the client. Waived already: as it is."""
    async with _acting(db, actor, appointment_id, now) as (session, row, party):
        _require_leader(party)
        if row.state not in (State.CANCELLED, State.NO_SHOW_CLIENT):
            raise Conflict("no_fee", "Nothing was kept of this session as a fee.", status_now=row.state)
        await _waive(session, actor, row, now)
        return await view(session, actor, row.id)


async def _waive(session: AsyncSession, actor: Actor, row: Appointment, now: datetime) -> None:
    if await refunds.waive(session, actor, row.id, now=now):
        row.fee_waived_at = now
        await session.flush()


async def activate(
    db: Database, actor: Actor | None, appointment_id: str, *, force: bool = False, now: datetime
) -> State:
    """An admin lets a paid session take place; where that is due it is confirmed too.

    Where the practice asks for activation this is what shows the session to its practitioner, at any time before the
    start. Elsewhere it only confirms what is due, and with `force` outside of its five minutes, as the audit log
    tells. For the command line (actor None) and admins. Raises Conflict("too_early" | "not_scheduled").
    """
    async with db.reading() as session:
        row = await load(session, appointment_id)
        if actor is not None and party_of(actor, row) is not Party.ADMIN:
            raise NotFound
    await catch_up(db, appointment_id, now=now)
    async with db.transaction() as session:
        row = await load(session, appointment_id)
        if row.state in (State.CONFIRMED, State.IN_PROGRESS):
            return State(row.state)
        if row.state != State.SCHEDULED:
            raise Conflict("not_scheduled", "Only a paid session that lies ahead is activated.", status_now=row.state)
        activated = is_hidden(row)
        if activated:
            await _show_to_practitioner(session, row, actor, now)
        early = now < opens_at(facts_of(row))
        if early and not force:
            if activated or row.needs_activation:
                return State(row.state)
            raise Conflict(
                "too_early", "This session can't be activated yet.", opens_at=opens_at(facts_of(row)).isoformat()
            )
        party = None if actor is None else Party.ADMIN
        await move(session, row, Event.CONFIRM, actor=actor, party=party, now=now)
        if early:
            record(session, actor, "appointment.forced", f"appointment:{row.id}", now=now)
        return State(row.state)


async def _show_to_practitioner(session: AsyncSession, row: Appointment, actor: Actor | None, now: datetime) -> None:
    """Conditional on the version: who activates second finds it done."""
    due_at = due_since(replace(facts_of(row), awaits_activation=False))
    changed = await session.execute(
        update(Appointment)
        .where(Appointment.id == row.id, Appointment.version == row.version, Appointment.activated_at.is_(None))
        .values(activated_at=now, version=row.version + 1, due_at=due_at)
        .execution_options(synchronize_session=False)
    )
    await session.refresh(row)
    if cast(CursorResult[Any], changed).rowcount != 1:
        return
    about = await session_facts(session, row)
    await enqueue(session, Notice(NoticeKind.SESSION_ACTIVATED, row.practitioner_id, about), now=now)
    await plan_reminders(session, about, (row.practitioner_id,), now=now)
    record(session, actor, "appointment.activate", f"appointment:{row.id}", now=now)
    publish(session, SessionChanged(row.id, row.practitioner_id, row.client_id, State(row.state)))
