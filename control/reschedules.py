"""Moving a session: one of the two proposes another time, the other accepts or rejects (PRODUCT.md §2).

    open ──▶ accepted    the other one agreed: the appointment has a new time, and everything else it had
         ──▶ rejected    the other one did not
         ──▶ withdrawn   the proposer took it back
         ──▶ expired     nobody answered before the original start, or the session started or ended

An appointment has one open request at most. Nothing is held for a proposal: the time is looked at when it is proposed
and again, in the practitioner's turn, when it is accepted. Each action is one transaction and safe to repeat.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import counts_from, facts_of, load, party_in, party_of, policy_of, session_facts
from control.appointment_states import Event, State, next_state
from control.audit import record
from control.availability import Offer, lock_calendar, offer_of, taken_over, windows_between
from control.booking import is_overlap
from control.database import Database, new_id, publish
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.lifecycle import Party, can_reschedule, due_since
from control.models.appointments import Appointment, RescheduleRequest
from control.models.people import Person
from control.money.policy import is_late
from control.notices.outbox import Notice, NoticeKind, SessionFacts, enqueue, plan_reminders
from control.session_events import SessionChanged
from control.slots import Slot, Span, all_slots, merged_times, nearest

OTHERS = 5
OTHERS_WITHIN = timedelta(days=21)


class RequestState(StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Proposal:
    """`minutes` None: as long as it is now."""

    start: datetime
    minutes: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RequestView:
    id: str
    appointment_id: str
    state: RequestState
    asked_by: str
    asked_role: Party
    old_starts_at: datetime
    old_ends_at: datetime
    new_starts_at: datetime
    new_ends_at: datetime
    reason: str
    created_at: datetime
    decided_at: datetime | None


KeepMoney = Callable[[str, datetime], Awaitable[None]]
"""(appointment id, its new end) → the money stays secured until then. Raises a Problem if it can't be."""


async def money_stays(appointment_id: str, until: datetime) -> None:
    """Where nothing is paid by a card whose authorisation could lapse."""
    del appointment_id, until


# -- reading -----------------------------------------------------------------------------------------------------


async def requests_of(db: Database, actor: Actor, appointment_id: str, *, now: datetime) -> tuple[RequestView, ...]:
    """The newest first. Raises NotFound for a stranger."""
    async with db.reading() as session:
        await party_in(session, actor, await load(session, appointment_id))
        rows = await session.scalars(
            select(RescheduleRequest)
            .where(RescheduleRequest.appointment_id == appointment_id)
            .order_by(RescheduleRequest.created_at.desc(), RescheduleRequest.id)
        )
        return tuple(_view(row, now) for row in rows)


async def open_for(db: Database, person_id: str, *, now: datetime) -> dict[str, RequestView]:
    """Appointment → the request that waits for an answer, over all appointments of a person. One query."""
    async with db.reading() as session:
        rows = await session.scalars(
            select(RescheduleRequest)
            .join(Appointment, Appointment.id == RescheduleRequest.appointment_id)
            .where(
                RescheduleRequest.state == RequestState.OPEN,
                RescheduleRequest.old_starts_at > now,
                (Appointment.practitioner_id == person_id) | (Appointment.client_id == person_id),
            )
        )
        return {row.appointment_id: _view(row, now) for row in rows}


async def times_for(
    db: Database, actor: Actor, appointment_id: str, span: Span, minutes: int | None, *, now: datetime
) -> list[Slot]:
    """The starts inside `span` this session could be moved to, by whoever may propose one."""
    async with db.reading() as session:
        row = await load(session, appointment_id)
        _require_movable(row, party_of(actor, row), now)
        return await _free(session, row, await _offer(session, row, minutes), span, now)


async def lengths_for(db: Database, actor: Actor, appointment_id: str) -> tuple[int, ...]:
    """The lengths the service offers, and the one the session has."""
    async with db.reading() as session:
        row = await load(session, appointment_id)
        party_of(actor, row)
        try:
            offer = await offer_of(session, row.service_id)
        except NotFound:
            return (_minutes(row),)
    return tuple(sorted({offer.service.length_minutes, *offer.service.other_lengths, _minutes(row)}))


def _view(row: RescheduleRequest, now: datetime) -> RequestView:
    values: dict[str, Any] = {name: getattr(row, name) for name in RequestView.__dataclass_fields__}
    state = RequestState(row.state)
    if state is RequestState.OPEN and now >= row.old_starts_at:
        state = RequestState.EXPIRED  # the scheduler writes it down soon
    return RequestView(**(values | {"state": state, "asked_role": Party(row.asked_role)}))


# -- proposing ---------------------------------------------------------------------------------------------------


async def propose(db: Database, actor: Actor, appointment_id: str, wanted: Proposal, *, now: datetime) -> RequestView:
    """Ask the other one. The same proposal again is the one that is open.

    Raises Conflict("not_reschedulable" | "reschedule_open" | "slot_taken") and Invalid("start_past" | "same_time" |
    "length_not_offered").
    """
    try:
        async with db.transaction() as session:
            row = await load(session, appointment_id)
            party = party_of(actor, row)
            _require_movable(row, party, now)
            offer = await _offer(session, row, wanted.minutes)
            ends_at = wanted.start + offer.rules.length
            there = await _open_request(session, row.id, now)
            if there is not None:
                if (there.asked_by, there.new_starts_at, there.new_ends_at) == (actor.person_id, wanted.start, ends_at):
                    return _view(there, now)
                raise Conflict("reschedule_open", "Another proposal is still open. Answer or withdraw that first.")
            _check_times(row, wanted.start, ends_at, now)
            await _require_free(session, row, offer, wanted.start, now)
            request = _new_request(row, actor, party, wanted, ends_at, now)
            session.add(request)
            await session.flush()
            record(session, actor, "reschedule.propose", f"appointment:{row.id}", now=now)
            await _tell(session, row, request, NoticeKind.RESCHEDULE_REQUESTED, _other(row, actor.person_id), now)
            return _view(request, now)
    except IntegrityError:
        async with db.reading() as session:
            there = await _open_request(session, appointment_id, now)
        if there is not None and there.asked_by == actor.person_id and there.new_starts_at == wanted.start:
            return _view(there, now)
        raise Conflict("reschedule_open", "Another proposal is still open. Answer or withdraw that first.") from None


def _new_request(
    row: Appointment, actor: Actor, party: Party, wanted: Proposal, ends_at: datetime, now: datetime
) -> RescheduleRequest:
    return RescheduleRequest(
        id=new_id(),
        appointment_id=row.id,
        state=RequestState.OPEN,
        asked_by=actor.person_id,
        asked_role=party,
        asked_late=is_late(counts_from(row), now, policy_of(row)),
        old_starts_at=row.starts_at,
        old_ends_at=row.ends_at,
        new_starts_at=wanted.start,
        new_ends_at=ends_at,
        reason=wanted.reason,
        created_at=now,
    )


def _require_movable(row: Appointment, party: Party, now: datetime) -> None:
    if party not in (Party.CLIENT, Party.PRACTITIONER):
        raise Forbidden("not_in_session", "Only the two who meet can agree on another time.")
    if not can_reschedule(facts_of(row), party, now):
        raise Conflict("not_reschedulable", "This session can't be moved any more.", status_now=row.state)


def _check_times(row: Appointment, start: datetime, end: datetime, now: datetime) -> None:
    if start <= now:
        raise Invalid("start_past", "This time has passed.", pointer="/proposedDate")
    if (start, end) == (row.starts_at, row.ends_at):
        raise Invalid("same_time", "That is when it is already.", pointer="/proposedDate")


async def _open_request(session: AsyncSession, appointment_id: str, now: datetime) -> RescheduleRequest | None:
    found: RescheduleRequest | None = await session.scalar(
        select(RescheduleRequest).where(
            RescheduleRequest.appointment_id == appointment_id,
            RescheduleRequest.state == RequestState.OPEN,
            RescheduleRequest.old_starts_at > now,
        )
    )
    return found


# -- answering ---------------------------------------------------------------------------------------------------


async def accept(
    db: Database, actor: Actor, request_id: str, *, keep_money: KeepMoney = money_stays, now: datetime
) -> RequestView:
    """Move the appointment. Raises Conflict("slot_taken") with the nearest free slots; the request then stays open.

    A card whose authorisation would lapse is captured first (`keep_money`): a crash after that leaves the money in
    escrow and the request open, and accepting again goes on.
    """
    async with db.reading() as session:
        request, row = await _theirs(session, actor, request_id)
        if _view(request, now).state is not RequestState.OPEN:
            return _settled(request, RequestState.ACCEPTED, now)
        _require_other(actor, request)
    await keep_money(row.id, request.new_ends_at)
    try:
        async with db.transaction() as session:
            return await _accept(session, actor, request_id, now)
    except IntegrityError as error:
        if not is_overlap(error):
            raise
    async with db.reading() as session:
        request, row = await _theirs(session, actor, request_id)
        offer = await _offer(session, row, _minutes_of(request))
        raise await _taken(session, row, offer, request.new_starts_at, now)


async def _accept(session: AsyncSession, actor: Actor, request_id: str, now: datetime) -> RequestView:
    request, row = await _theirs(session, actor, request_id)
    await lock_calendar(session, row.practitioner_id)
    row = await load(session, row.id)
    await session.refresh(request)  # somebody may have decided it while we waited for the calendar
    if _view(request, now).state is not RequestState.OPEN:
        return _settled(request, RequestState.ACCEPTED, now)
    _require_movable(row, party_of(actor, row), now)
    offer = await _offer(session, row, _minutes_of(request))
    _check_times(row, request.new_starts_at, request.new_ends_at, now)
    await _require_free(session, row, offer, request.new_starts_at, now)
    if not await _decide(session, request, RequestState.ACCEPTED, now):
        return _settled(request, RequestState.ACCEPTED, now)
    await _move(session, row, request, offer, now)
    record(session, actor, "appointment.reschedule", f"appointment:{row.id}", now=now)
    for person_id in (row.client_id, row.practitioner_id):
        await _tell(session, row, request, NoticeKind.RESCHEDULE_ACCEPTED, person_id, now)
    await plan_reminders(session, await session_facts(session, row), (row.client_id, row.practitioner_id), now=now)
    publish(session, SessionChanged(row.id, row.practitioner_id, row.client_id, State(row.state)))
    return _view(request, now)


async def _move(
    session: AsyncSession, row: Appointment, request: RescheduleRequest, offer: Offer, now: datetime
) -> None:
    """The new time, in one conditional update; price, payment, consents and calendar identity stay."""
    state = next_state(State(row.state), Event.RESCHEDULE)
    busy = offer.rules.busy(request.new_starts_at)
    late_from = row.late_from
    if request.asked_role == Party.CLIENT and request.asked_late:
        late_from = min(counts_from(row), request.new_starts_at)
    facts = replace(facts_of(row), starts_at=request.new_starts_at, ends_at=request.new_ends_at)
    values = {
        "state": state,
        "version": row.version + 1,
        "starts_at": request.new_starts_at,
        "ends_at": request.new_ends_at,
        "busy_from": busy.start,
        "busy_until": busy.end,
        "late_from": late_from,
        "calendar_sequence": row.calendar_sequence + 1,
        "due_at": due_since(replace(facts, state=state or facts.state)),
        "confirmed_at": None,
        "client_waiting_told_at": None,
        "client_admitted_at": None,
        "practitioner_admitted_at": None,
    }
    changed = await session.execute(
        update(Appointment)
        .where(Appointment.id == row.id, Appointment.state == row.state, Appointment.version == row.version)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    if cast(CursorResult[Any], changed).rowcount != 1:
        raise Conflict("changed_meanwhile", "Somebody has just changed this session. Look at it again.")
    await session.refresh(row)


async def reject(db: Database, actor: Actor, request_id: str, *, now: datetime) -> RequestView:
    """The session stays where it is. Rejected already: returned as it is."""
    async with db.transaction() as session:
        request, row = await _theirs(session, actor, request_id)
        _require_other(actor, request)
        if not await _decide(session, request, RequestState.REJECTED, now):
            return _settled(request, RequestState.REJECTED, now)
        record(session, actor, "reschedule.reject", f"appointment:{row.id}", now=now)
        await _tell(session, row, request, NoticeKind.RESCHEDULE_REJECTED, request.asked_by, now)
        return _view(request, now)


async def withdraw(db: Database, actor: Actor, request_id: str, *, now: datetime) -> RequestView:
    async with db.transaction() as session:
        request, row = await _theirs(session, actor, request_id)
        if request.asked_by != actor.person_id:
            raise Forbidden("not_proposer", "Only who proposed it can take it back.")
        if not await _decide(session, request, RequestState.WITHDRAWN, now):
            return _settled(request, RequestState.WITHDRAWN, now)
        record(session, actor, "reschedule.withdraw", f"appointment:{row.id}", now=now)
        publish(session, SessionChanged(row.id, row.practitioner_id, row.client_id, State(row.state)))
        return _view(request, now)


async def expire_due(db: Database, now: datetime) -> int:
    """Proposals nobody answered before the original start; how many. For the scheduler: nothing depends on it."""
    overdue = (RescheduleRequest.state == RequestState.OPEN, RescheduleRequest.old_starts_at <= now)
    async with db.reading() as session:
        if await session.scalar(select(RescheduleRequest.id).where(*overdue).limit(1)) is None:
            return 0
    async with db.transaction() as session:
        done = await session.execute(
            update(RescheduleRequest).where(*overdue).values(state=RequestState.EXPIRED, decided_at=now)
        )
        return cast(CursorResult[Any], done).rowcount


async def _theirs(session: AsyncSession, actor: Actor, request_id: str) -> tuple[RescheduleRequest, Appointment]:
    request = await session.get(RescheduleRequest, request_id, populate_existing=True)
    if request is None:
        raise NotFound
    row = await load(session, request.appointment_id)
    if party_of(actor, row) is Party.ADMIN:
        raise Forbidden("not_in_session", "Only the two who meet can agree on another time.")
    return request, row


def _require_other(actor: Actor, request: RescheduleRequest) -> None:
    if request.asked_by == actor.person_id:
        raise Forbidden("not_the_other", "The other one answers this. You can withdraw it.")


async def _decide(session: AsyncSession, request: RescheduleRequest, state: RequestState, now: datetime) -> bool:
    """False if it is not open any more: `request` then says what became of it."""
    changed = await session.execute(
        update(RescheduleRequest)
        .where(
            RescheduleRequest.id == request.id,
            RescheduleRequest.state == RequestState.OPEN,
            RescheduleRequest.old_starts_at > now,
        )
        .values(state=state, decided_at=now)
        .execution_options(synchronize_session=False)
    )
    await session.refresh(request)
    return cast(CursorResult[Any], changed).rowcount == 1


def _settled(request: RescheduleRequest, wanted: RequestState, now: datetime) -> RequestView:
    """What is wanted has happened already; anything else is said."""
    seen = _view(request, now)
    if seen.state is not wanted:
        raise Conflict("reschedule_settled", "This proposal is not open any more.", status_now=seen.state)
    return seen


# -- the calendar ------------------------------------------------------------------------------------------------


def _minutes(row: Appointment) -> int:
    return round((row.ends_at - row.starts_at).total_seconds() / 60)


def _minutes_of(request: RescheduleRequest) -> int:
    return round((request.new_ends_at - request.new_starts_at).total_seconds() / 60)


async def _offer(session: AsyncSession, row: Appointment, minutes: int | None) -> Offer:
    """The service with the length that is asked for. Raises Invalid("length_not_offered")."""
    offer = await offer_of(session, row.service_id)
    length = minutes or _minutes(row)
    if length not in (offer.service.length_minutes, *offer.service.other_lengths, _minutes(row)):
        raise Invalid(
            "length_not_offered", "This session is not offered that long.", pointer="/proposedDurationMinutes"
        )
    return replace(offer, rules=replace(offer.rules, length=timedelta(minutes=length)))


async def _require_free(session: AsyncSession, row: Appointment, offer: Offer, start: datetime, now: datetime) -> None:
    free = await _free(session, row, offer, Span(start, start + timedelta(minutes=1)), now)
    if not any(slot.start == start for slot in free):
        raise await _taken(session, row, offer, start, now)


async def _free(session: AsyncSession, row: Appointment, offer: Offer, span: Span, now: datetime) -> list[Slot]:
    """Starts inside `span` with room for the session, which does not stand in its own way. Notice and booking window
    bind nobody here: the other one says yes or no."""
    windows = await windows_between(session, row.practitioner_id, span)
    wide = Span(span.start - offer.rules.step, span.end + offer.rules.step)
    taken = (
        await session.execute(
            select(Appointment.busy_from, Appointment.busy_until).where(
                taken_over(row.practitioner_id, wide, now), Appointment.id != row.id
            )
        )
    ).all()
    free = all_slots(windows, offer.rules, merged_times((begin, end) for begin, end in taken), span)
    return [slot for slot in free if now < slot.start < span.end]


async def _taken(session: AsyncSession, row: Appointment, offer: Offer, start: datetime, now: datetime) -> Conflict:
    around = Span(max(now, start - OTHERS_WITHIN), start + OTHERS_WITHIN)
    others = nearest(await _free(session, row, offer, around, now), start, OTHERS)
    listed = [{"start": slot.start.isoformat(), "end": slot.end.isoformat()} for slot in others]
    return Conflict("slot_taken", "This time is not free.", nearest_free_slots=listed)


# -- telling -----------------------------------------------------------------------------------------------------


def _other(row: Appointment, person_id: str) -> str:
    return row.client_id if person_id == row.practitioner_id else row.practitioner_id


async def _tell(
    session: AsyncSession,
    row: Appointment,
    request: RescheduleRequest,
    kind: NoticeKind,
    person_id: str,
    now: datetime,
) -> None:
    asked_by = await session.scalar(select(Person.name).where(Person.id == request.asked_by))
    about: SessionFacts = replace(
        await session_facts(session, row),
        starts_at=request.new_starts_at,
        ends_at=request.new_ends_at,
        old_starts_at=request.old_starts_at,
        asked_by=asked_by or "",
        reason=request.reason,
    )
    await enqueue(session, Notice(kind, person_id, about), now=now)
