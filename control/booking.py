"""Booking: a free slot becomes a pending appointment that holds it while the client pays; paying schedules it.

    book ──▶ pending ──pay──▶ scheduled         free services: book ──▶ scheduled
               └─ hold runs out ─▶ expired      (sweep, or the next booker of that time)

Two people never hold overlapping time, whatever the load: bookings of one practitioner take turns, and the
database refuses an overlap besides (migration 0002). Each action is one transaction.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import advance, load, move, party_of, tell_paid
from control.appointment_queries import SessionView, view
from control.appointment_states import SLOT_HOLDING, Event, State
from control.audit import record
from control.availability import (
    Offer,
    lock_calendar,
    nearest_free,
    offer_of,
    taken_over,
    windows_between,
)
from control.crowd import SlotTaken, crowd_of
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, Invalid, Problem
from control.language import N_
from control.lifecycle import BOUNDS, Bounds, Party
from control.models.appointments import Appointment
from control.models.people import Role
from control.money import payments
from control.money.payments import GATEWAY_METHODS, Method
from control.money.policy import PLATFORM_FEE_BP
from control.slots import Slot, Span, all_slots


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for; `key` is their Idempotency-Key, under which the same booking is found again."""

    service_id: str
    start: datetime
    zone: ZoneInfo
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What this install says about every booking; from its settings."""

    bounds: Bounds = BOUNDS
    platform_fee_bp: int = PLATFORM_FEE_BP
    needs_activation: bool = False


TERMS = Terms()


Holders = frozenset[tuple[str, str | None]]
"""Client and Idempotency-Key of each booking over a time."""


async def book(db: Database, actor: Actor, wanted: Wanted, *, terms: Terms = TERMS, now: datetime) -> SessionView:
    """Hold a slot for the client. Raises Conflict("slot_taken" | "slot_not_offered") with the nearest free slots.

    The first look is without any lock and shared by all who look at the same time, so that a crowd on one slot is
    answered without queueing at the database.
    """
    if not actor.is_any(Role.CLIENT):
        raise Forbidden("not_client", "Book with a client's account.")
    crowd = crowd_of(db)
    offer, holders = await crowd.shared(("look", wanted.service_id, wanted.start), partial(_look, db, wanted, now))
    practitioner_id = offer.service.practitioner_id
    if practitioner_id == actor.person_id:
        raise Forbidden("own_service", "This is your own service.")
    if holders:
        return await _earlier_or_taken(db, actor, offer, wanted, now)
    try:
        async with crowd.turn(practitioner_id, offer.rules.busy(wanted.start)), db.transaction() as session:
            return await _hold(session, actor, offer, wanted, terms, now)
    except SlotTaken:
        return await _earlier_or_taken(db, actor, offer, wanted, now)
    except IntegrityError as error:
        async with db.reading() as session:
            earlier = await _booked_under(session, actor, wanted)
        if earlier is not None:
            return earlier
        if not is_overlap(error):
            raise
        return await _earlier_or_taken(db, actor, offer, wanted, now)


async def _look(db: Database, wanted: Wanted, now: datetime) -> tuple[Offer, Holders]:
    async with db.reading() as session:
        offer = await offer_of(session, wanted.service_id)
        slot = await offered_slot(session, offer, wanted, now)
        holders = await holders_of(session, offer, offer.rules.busy(slot.start), now)
        return offer, holders


async def holders_of(session: AsyncSession, offer: Offer, busy: Span, now: datetime) -> Holders:
    found = await session.execute(
        select(Appointment.client_id, Appointment.booking_key).where(
            taken_over(offer.service.practitioner_id, busy, now)
        )
    )
    return frozenset((row.client_id, row.booking_key) for row in found)


async def _earlier_or_taken(db: Database, actor: Actor, offer: Offer, wanted: Wanted, now: datetime) -> SessionView:
    """The same request arriving a second time finds its booking; for anybody else the time is taken."""
    holders, nearest = await crowd_of(db).shared(
        ("lost", wanted.service_id, wanted.start), partial(_loss, db, offer, wanted, now)
    )
    if (actor.person_id, wanted.key) in holders:
        async with db.reading() as session:
            earlier = await _booked_under(session, actor, wanted)
        if earlier is not None:
            return earlier
    raise Conflict("slot_taken", "Somebody has just taken this time.", nearest_free_slots=nearest)


async def _loss(db: Database, offer: Offer, wanted: Wanted, now: datetime) -> tuple[Holders, list[dict[str, str]]]:
    async with db.reading() as session:
        holders = await holders_of(session, offer, offer.rules.busy(wanted.start), now)
        return holders, await _nearest(session, offer, wanted, now)


async def _booked_under(session: AsyncSession, actor: Actor, wanted: Wanted) -> SessionView | None:
    """What this key has booked before. Raises Invalid if that was something else."""
    if wanted.key is None:
        return None
    found = await session.scalar(
        select(Appointment.id).where(Appointment.client_id == actor.person_id, Appointment.booking_key == wanted.key)
    )
    if found is None:
        return None
    earlier = await view(session, actor, found)
    if (earlier.service_id, earlier.starts_at) != (wanted.service_id, wanted.start):
        raise Invalid("idempotency_key_reused", "This key was used for another booking.")
    return earlier


async def offered_slot(session: AsyncSession, offer: Offer, wanted: Wanted, now: datetime) -> Slot:
    if wanted.start <= now:
        raise Invalid("start_past", "This time has passed.", pointer="/start")
    span = Span(wanted.start, wanted.start + offer.rules.length)
    windows = await windows_between(session, offer.service.practitioner_id, span)
    slot = next((one for one in all_slots(windows, offer.rules) if one.start == wanted.start), None)
    if slot is None:
        raise await _refused(session, offer, wanted, now, "slot_not_offered", N_("This time is not offered."))
    if not offer.rules.allows(slot.start, now):
        code, words = (
            ("too_soon", N_("This time is too soon to be booked."))
            if slot.start < offer.rules.bookable(now).start
            else ("too_far", N_("This time can't be booked yet."))
        )
        raise await _refused(session, offer, wanted, now, code, words)
    return slot


async def _refused(
    session: AsyncSession, offer: Offer, wanted: Wanted, now: datetime, code: str, words: str
) -> Problem:
    return Conflict(code, words, nearest_free_slots=await _nearest(session, offer, wanted, now))


async def _nearest(session: AsyncSession, offer: Offer, wanted: Wanted, now: datetime) -> list[dict[str, str]]:
    free = await nearest_free(session, offer, wanted.start, now)
    return [{"start": slot.start.isoformat(), "end": slot.end.isoformat()} for slot in free]


async def _hold(
    session: AsyncSession, actor: Actor, offer: Offer, wanted: Wanted, terms: Terms, now: datetime
) -> SessionView:
    """Turn, overlap, stale holds, offer again, row. Any of it failing undoes all of it."""
    practitioner_id = offer.service.practitioner_id
    await lock_calendar(session, practitioner_id)
    busy = offer.rules.busy(wanted.start)
    if await holders_of(session, offer, busy, now):
        raise SlotTaken
    offer = await offer_of(session, wanted.service_id)
    slot = await offered_slot(session, offer, wanted, now)
    await expire_stale(session, practitioner_id, offer.rules.busy(slot.start), now)
    row = new_row(actor, offer, slot, wanted, terms, now)
    session.add(row)
    await session.flush()
    record(session, actor, "appointment.book", f"appointment:{row.id}", {"to": State.PENDING}, now=now)
    if row.price_minor == 0:
        await payments.hold(session, row, Method.FREE, now=now)
        await move(session, row, Event.SECURE, actor=actor, party=Party.CLIENT, now=now)
    return await view(session, actor, row.id)


def new_row(
    actor: Actor, offer: Offer, slot: Slot, wanted: Wanted, terms: Terms, now: datetime, *, series_id: str | None = None
) -> Appointment:
    service, profile = offer.service, offer.profile
    busy = offer.rules.busy(slot.start)
    return Appointment(
        id=new_id(),
        series_id=series_id,
        practitioner_id=service.practitioner_id,
        client_id=actor.person_id,
        service_id=service.id,
        state=State.PENDING,
        version=1,
        starts_at=slot.start,
        ends_at=slot.end,
        busy_from=busy.start,
        busy_until=busy.end,
        client_time_zone=wanted.zone.key,
        service_name=service.name,
        mode=service.mode,
        recording_offered=service.recording_offered,
        price_minor=slot.price_minor,
        currency=service.currency,
        platform_fee_bp=terms.platform_fee_bp,
        late_window_minutes=profile.late_window_minutes,
        late_fee_bp=profile.late_fee_bp,
        no_show_fee_bp=profile.no_show_fee_bp,
        opens_before_s=_seconds(terms.bounds.opens_before),
        no_show_after_s=_seconds(terms.bounds.no_show_after),
        present_for_s=_seconds(terms.bounds.present_for),
        grace_s=_seconds(terms.bounds.grace),
        left_for_s=_seconds(terms.bounds.left_for),
        needs_activation=terms.needs_activation,
        due_at=now + terms.bounds.hold,
        hold_expires_at=now + terms.bounds.hold,
        booking_key=wanted.key,
        created_at=now,
    )


def _seconds(span: timedelta) -> int:
    return round(span.total_seconds())


async def expire_stale(session: AsyncSession, practitioner_id: str, busy: Span, now: datetime) -> None:
    """Holds that ran out still stand in the way of the database's overlap rule."""
    stale = await session.scalars(
        select(Appointment).where(
            Appointment.practitioner_id == practitioner_id,
            Appointment.state == State.PENDING,
            Appointment.hold_expires_at <= now,
            Appointment.busy_from < busy.end,
            Appointment.busy_until > busy.start,
        )
    )
    for row in stale.all():
        await advance(session, row, now=now)


def is_overlap(error: IntegrityError) -> bool:
    """The exclusion constraint (SQLSTATE 23P01) or SQLite's trigger."""
    return getattr(error.orig, "sqlstate", None) == "23P01" or "appointments_no_overlap" in str(error.orig)


async def pay(db: Database, actor: Actor, appointment_id: str, method: Method, *, now: datetime) -> SessionView:
    """Secure the price and schedule the appointment; paying again returns it as it is.

    Raises Conflict("hold_expired" | "not_payable" | "insufficient_funds"). A failed attempt is kept as a row.
    """
    try:
        async with db.transaction() as session:
            row = await load(session, appointment_id)
            if party_of(actor, row) is not Party.CLIENT:
                raise Forbidden("not_client", "The client pays for this session.")
            return await pay_in(session, actor, row, method, now)
    except Conflict as refusal:
        if refusal.code == "insufficient_funds":
            await payments.note_failure(db, appointment_id, method, refusal.code, now=now)
        raise


async def _pay_instead(session: AsyncSession, row: Appointment, method: Method, now: datetime) -> None:
    """By wallet or credit what a bank would not keep secured; nothing if the session is paid well."""
    await session.refresh(row, with_for_update=True)
    insecure = await payments.insecure(session, row)
    if insecure is None:
        return
    await payments.let_go(session, row, insecure, now=now)
    payment = await payments.hold(session, row, method, now=now)
    await payments.abandon(session, row, now=now)
    if method is Method.WALLET:
        await tell_paid(session, row, payment.amount_minor, now)


async def pay_in(session: AsyncSession, actor: Actor, row: Appointment, method: Method, now: datetime) -> SessionView:
    """`pay` inside the caller's transaction, for the client."""
    if row.state == State.PENDING:
        if row.hold_expires_at is not None and row.hold_expires_at <= now:
            raise Conflict("hold_expired", "This time is no longer held for you. Choose it once more.")
        if (method is Method.FREE) != (row.price_minor == 0) or method in GATEWAY_METHODS:
            raise Invalid("payment_method_invalid", "This session can't be paid in this way.")
        if await move(session, row, Event.SECURE, actor=actor, party=Party.CLIENT, now=now):
            payment = await payments.hold(session, row, method, now=now)
            if method is Method.WALLET:
                await tell_paid(session, row, payment.amount_minor, now)
    elif method not in (*GATEWAY_METHODS, Method.FREE):
        await _pay_instead(session, row, method, now)
    if row.state in SLOT_HOLDING and row.state != State.PENDING:
        return await view(session, actor, row.id)
    raise Conflict("not_payable", "There is nothing to pay for this session any more.", status_now=row.state)
