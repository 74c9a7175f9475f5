"""The one way an appointment changes its state: load, move by the table, settle its money, tell people.

Everything here works on the caller's open transaction; the action functions (booking.py, appointments.py) and the
scheduler compose it. `move` is a conditional update on state and version: whoever loses a race changes nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_states import Event, State, next_state
from control.audit import record
from control.database import publish
from control.errors import NotFound
from control.lifecycle import Bounds, Facts, Party, Seen, due_event, due_since, was_present
from control.models.appointments import Appointment, Guest, Presence, RescheduleRequest
from control.models.people import Person, PersonRole, Role
from control.money import payments
from control.money.gateway_work import Destination
from control.money.policy import Outcome, Policy, is_late
from control.notices.outbox import Notice, NoticeKind, SessionFacts, enqueue, plan_reminders
from control.session_events import SessionChanged
from control.slots import Span

OUTCOME_OF: dict[State, Outcome] = {
    State.COMPLETED: Outcome.COMPLETED,
    State.NO_SHOW_CLIENT: Outcome.CLIENT_NO_SHOW,
    State.NO_SHOW_PRACTITIONER: Outcome.RELEASED,
    State.EXPIRED: Outcome.RELEASED,
}
"""A cancellation is not here: whether it is late depends on who and when."""

BY_TIME = "system"
"""Who ended an appointment that nobody ended."""

INVITES = frozenset({State.SCHEDULED, State.CONFIRMED})
"""States in which people have the session in their calendars."""


async def load(session: AsyncSession, appointment_id: str) -> Appointment:
    row = await session.get(Appointment, appointment_id, populate_existing=True)
    if row is None:
        raise NotFound
    return row


def is_hidden(row: Appointment) -> bool:
    """From its practitioner: a session the practice has still to activate, or never did."""
    return row.needs_activation and row.activated_at is None


def party_of(actor: Actor, row: Appointment) -> Party:
    """Raises NotFound for a stranger: that the appointment exists is not theirs to know. Guests: `party_in`."""
    if actor.person_id == row.practitioner_id and not is_hidden(row):
        return Party.PRACTITIONER
    if actor.person_id == row.client_id:
        return Party.CLIENT
    if actor.is_any(Role.ADMIN):
        return Party.ADMIN
    raise NotFound


async def party_in(session: AsyncSession, actor: Actor, row: Appointment) -> Party:
    """`party_of`, and guests: for what they may do too. Raises NotFound for a stranger."""
    try:
        return party_of(actor, row)
    except NotFound:
        if await guest_of(session, row.id, actor.person_id) is None:
            raise
        return Party.GUEST


async def guest_of(session: AsyncSession, appointment_id: str, person_id: str) -> Guest | None:
    """Their invitation, unless it was taken back."""
    found: Guest | None = await session.scalar(
        select(Guest)
        .where(Guest.appointment_id == appointment_id, Guest.person_id == person_id, Guest.removed_at.is_(None))
        .execution_options(populate_existing=True)
    )
    return found


async def guest_ids(session: AsyncSession, appointment_id: str) -> Sequence[str]:
    found = await session.scalars(
        select(Guest.person_id).where(Guest.appointment_id == appointment_id, Guest.removed_at.is_(None))
    )
    return found.all()


def facts_of(row: Appointment) -> Facts:
    return Facts(
        state=State(row.state),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        started_at=row.started_at,
        client_admitted=row.client_admitted_at is not None,
        practitioner_admitted=row.practitioner_admitted_at is not None,
        hold_expires_at=row.hold_expires_at,
        awaits_activation=is_hidden(row),
        empty_since=row.empty_since,
        bounds=Bounds(
            opens_before=timedelta(seconds=row.opens_before_s),
            no_show_after=timedelta(seconds=row.no_show_after_s),
            present_for=timedelta(seconds=row.present_for_s),
            grace=timedelta(seconds=row.grace_s),
            left_for=timedelta(seconds=row.left_for_s),
        ),
    )


def policy_of(row: Appointment) -> Policy:
    return Policy(
        late_window=timedelta(minutes=row.late_window_minutes),
        late_fee_bp=row.late_fee_bp,
        no_show_fee_bp=row.no_show_fee_bp,
        platform_fee_bp=row.platform_fee_bp,
    )


def counts_from(row: Appointment) -> datetime:
    """From which start "late" is counted: the earlier one, where the client asked inside its late window."""
    return row.starts_at if row.late_from is None else min(row.starts_at, row.late_from)


_STAMPS: dict[State, str] = {
    State.SCHEDULED: "scheduled_at",
    State.CONFIRMED: "confirmed_at",
    State.IN_PROGRESS: "started_at",
}


async def move(
    session: AsyncSession,
    row: Appointment,
    event: Event,
    *,
    actor: Actor | None,
    party: Party | None,
    now: datetime,
    reason: str | None = None,
    refund_to: Destination = Destination.ORIGINAL,
    waive_fee: bool = False,
) -> bool:
    """Apply `event`; False if the table knows no such step or somebody was faster. `row` is fresh either way.

    Steps, all in the caller's transaction: state and version; money at an end; notices; audit; the event for
    listeners. `actor` and `party` None: time itself.
    """
    before = State(row.state)
    after = next_state(before, event)
    if after is None:
        return False
    values: dict[str, Any] = {"state": after, "version": row.version + 1}
    if after in _STAMPS:
        values[_STAMPS[after]] = now
    else:
        values |= {"ended_at": now, "ended_by": party or BY_TIME, "end_reason": reason}
        if before in INVITES:
            values["calendar_sequence"] = row.calendar_sequence + 1
    if waive_fee:
        values["fee_waived_at"] = now
    started_at = now if after is State.IN_PROGRESS else row.started_at
    values["due_at"] = due_since(replace(facts_of(row), state=after, started_at=started_at))
    changed = await session.execute(
        update(Appointment)
        .where(Appointment.id == row.id, Appointment.state == before, Appointment.version == row.version)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    if cast(CursorResult[Any], changed).rowcount == 1 and after not in _STAMPS:
        outcome = Outcome.RELEASED if waive_fee else _outcome(row, before, after, party, now)
        await payments.settle(session, row, outcome, policy_of(row), refund_to=refund_to, now=now)
    await session.refresh(row)
    if cast(CursorResult[Any], changed).rowcount != 1:
        return False
    if before is State.PENDING:
        await payments.abandon(session, row, now=now)
    if before in INVITES and after not in INVITES:
        await _close_requests(session, row.id, now)
    await _tell(session, row, before, now)
    record(session, actor, f"appointment.{event}", f"appointment:{row.id}", {"from": before, "to": after}, now=now)
    publish(session, SessionChanged(row.id, row.practitioner_id, row.client_id, after))
    return True


async def _close_requests(session: AsyncSession, appointment_id: str, now: datetime) -> None:
    """A session that starts or ends is not moved any more."""
    await session.execute(
        update(RescheduleRequest)
        .where(RescheduleRequest.appointment_id == appointment_id, RescheduleRequest.state == "open")
        .values(state="expired", decided_at=now)
        .execution_options(synchronize_session=False)
    )


def _outcome(row: Appointment, before: State, after: State, party: Party | None, now: datetime) -> Outcome:
    if after is not State.CANCELLED:
        return OUTCOME_OF[after]
    late = before is not State.PENDING and is_late(counts_from(row), now, policy_of(row))
    return Outcome.CANCELLED_LATE if late and party is Party.CLIENT else Outcome.RELEASED


async def advance(session: AsyncSession, row: Appointment, *, now: datetime) -> bool:
    """Do everything that time alone has made due, one step after the other. True if anything changed."""
    changed = False
    for _ in State:  # each step leads to another state, so there are never more steps than states
        facts = facts_of(row)
        since = due_since(facts)
        if since is None or now < since:
            break
        event = due_event(facts, await _seen(session, row, now))
        if not await move(session, row, event, actor=None, party=None, now=now):
            break
        changed = True
    return changed


async def _seen(session: AsyncSession, row: Appointment, now: datetime) -> Seen:
    if row.state != State.CONFIRMED:
        return Seen(practitioner=False, client=False)
    stays = await session.execute(
        select(Presence.person_id, Presence.connected_at, Presence.disconnected_at).where(
            Presence.appointment_id == row.id
        )
    )
    spans: dict[str, list[Span]] = {}
    for person_id, since, until in stays:
        spans.setdefault(person_id, []).append(Span(since, until or now))
    facts = facts_of(row)
    return Seen(
        practitioner=was_present(spans.get(row.practitioner_id, ()), facts),
        client=was_present(spans.get(row.client_id, ()), facts),
    )


async def session_facts(session: AsyncSession, row: Appointment, *, amount_minor: int = 0) -> SessionFacts:
    """What the notices about this appointment are told."""
    found = await session.execute(
        select(Person.id, Person.name).where(Person.id.in_((row.client_id, row.practitioner_id)))
    )
    names = {row.id: row.name for row in found}
    return SessionFacts(
        appointment_id=row.id,
        service_name=row.service_name,
        practitioner_name=names[row.practitioner_id],
        client_name=names[row.client_id],
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        mode=row.mode,
        sequence=row.calendar_sequence,
        reason=row.end_reason or "",
        amount_minor=amount_minor,
        currency=row.currency,
    )


async def tell_paid(session: AsyncSession, row: Appointment, amount_minor: int, now: datetime) -> None:
    """Money of the client's, not a credit, has secured the session."""
    about = await session_facts(session, row, amount_minor=amount_minor)
    await enqueue(session, Notice(NoticeKind.PAYMENT_CONFIRMED, row.client_id, about), now=now)


_CLIENT_HEARS: dict[State, tuple[NoticeKind, ...]] = {
    State.SCHEDULED: (NoticeKind.BOOKING_CONFIRMED,),
    State.CONFIRMED: (NoticeKind.STARTING_SOON,),
    State.IN_PROGRESS: (NoticeKind.SESSION_STARTED,),
    State.COMPLETED: (NoticeKind.SESSION_COMPLETED,),
    State.CANCELLED: (NoticeKind.SESSION_CANCELLED,),
    State.NO_SHOW_PRACTITIONER: (NoticeKind.SORRY_CANCELLED,),
    State.NO_SHOW_CLIENT: (NoticeKind.CLIENT_NO_SHOW,),
}
_PRACTITIONER_HEARS: dict[State, tuple[NoticeKind, ...]] = {
    State.SCHEDULED: (NoticeKind.NEW_BOOKING,),
    State.CONFIRMED: (NoticeKind.STARTING_SOON,),
    State.CANCELLED: (NoticeKind.SESSION_CANCELLED,),
}


_GUESTS_HEAR: dict[State, tuple[NoticeKind, ...]] = {
    State.IN_PROGRESS: (NoticeKind.SESSION_STARTED,),
    State.CANCELLED: (NoticeKind.SESSION_CANCELLED,),
    State.NO_SHOW_PRACTITIONER: (NoticeKind.SESSION_CANCELLED,),
}


async def _tell(session: AsyncSession, row: Appointment, before: State, now: datetime) -> None:
    """Owe the notices of the state just reached. Leaving a checkout concerns nobody else."""
    state = State(row.state)
    if before is State.PENDING and state is not State.SCHEDULED:
        return
    if state is State.CONFIRMED and now >= row.starts_at:
        return  # nobody was there to say it in time
    kinds = _CLIENT_HEARS.get(state, ())
    refund = row.refund_minor or 0
    if refund and state in (State.CANCELLED, State.NO_SHOW_PRACTITIONER, State.NO_SHOW_CLIENT):
        kinds = (*kinds, NoticeKind.REFUND_CONFIRMED)
    for kind in kinds:
        about = await session_facts(session, row, amount_minor=_amount_of(kind, row))
        await enqueue(session, Notice(kind, row.client_id, about), now=now)
    about = await session_facts(session, row)
    if not is_hidden(row):
        for kind in _PRACTITIONER_HEARS.get(state, ()):
            await enqueue(session, Notice(kind, row.practitioner_id, about), now=now)
    elif state is State.CANCELLED and row.ended_by == BY_TIME:
        await _tell_admins(session, about, now)
    for kind in _GUESTS_HEAR.get(state, ()):
        for person_id in await guest_ids(session, row.id):
            await enqueue(session, Notice(kind, person_id, about), now=now)
    if state is State.SCHEDULED:
        told = (row.client_id,) if is_hidden(row) else (row.client_id, row.practitioner_id)
        await plan_reminders(session, about, told, now=now)


async def _tell_admins(session: AsyncSession, about: SessionFacts, now: datetime) -> None:
    admins = await session.scalars(select(PersonRole.person_id).where(PersonRole.role == Role.ADMIN))
    for person_id in sorted(admins):
        await enqueue(session, Notice(NoticeKind.NOT_ACTIVATED, person_id, about), now=now)


def _amount_of(kind: NoticeKind, row: Appointment) -> int:
    """Which amount a notice speaks of: what is held, what is kept, what goes back."""
    match kind:
        case NoticeKind.BOOKING_CONFIRMED:
            return row.price_minor
        case NoticeKind.CLIENT_NO_SHOW:
            return row.kept_minor or 0
        case NoticeKind.SESSION_CANCELLED | NoticeKind.SORRY_CANCELLED | NoticeKind.REFUND_CONFIRMED:
            return row.refund_minor or 0
        case _:
            return 0
