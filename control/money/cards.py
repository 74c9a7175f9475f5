"""What a gateway has been seen to have done, booked: the one place where an attempt by gateway changes its state.

    Seen ──record──▶ payment row, ledger, appointment (pending → scheduled) or purchase (open → paid),
                     or the way back for money that is too late

Works on the caller's transaction, asks no gateway, and may be told the same, or something older, any number of times
and by anybody: the answer to a call, a webhook, the poller. What is paid for is locked first, then the payment.
"""

import logging
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control import audit
from control.appointment_moves import move, session_facts, tell_paid
from control.appointment_states import SLOT_HOLDING, Event, State
from control.database import new_id
from control.lifecycle import Party
from control.models.appointments import Appointment
from control.models.money import Payment
from control.models.purchases import Purchase
from control.money import ledger, purchases, receipts
from control.money.gateway_work import (
    CallKind,
    RefundReason,
    finish_calls,
    plan_abandonment,
    plan_call,
    plan_refund,
    plan_return,
)
from control.money.gateways import Seen, Standing
from control.money.payments import AUTHORISATION_LOST, OPEN, Method, PaymentState, insecure, let_go
from control.money.policy import share_half_even
from control.notices.outbox import Notice, NoticeKind, enqueue

log = logging.getLogger(__name__)

CHECK_OPEN = timedelta(seconds=30)  # how soon a lost webhook of a payer at the till is noticed
CHECK_SLOW = timedelta(minutes=10)  # a purchase whose payer has walked away
CHECK_HELD = timedelta(hours=6)  # a bank may withdraw an authorisation
AT_THE_TILL = timedelta(minutes=30)
PURCHASE_OPEN_FOR = timedelta(hours=24)  # then the attempt is called off
MAY_STILL_COME = (Method.RAZORPAY,)  # an order can't be called off there: somebody may pay it days later
CHECK_CALLED_OFF, CALLED_OFF_FOR = timedelta(hours=1), timedelta(days=3)

NEVER_BEGUN = "never_begun"
"""The failure of an attempt that no gateway has heard of."""

Payable = Appointment | Purchase


async def locked(session: AsyncSession, payment_id: str) -> tuple[Payable, Payment]:
    ids = await session.execute(select(Payment.appointment_id, Payment.purchase_id).where(Payment.id == payment_id))
    appointment_id, purchase_id = ids.one()
    row: Payable
    if appointment_id is not None:
        row = await session.get_one(Appointment, appointment_id, with_for_update=True, populate_existing=True)
    else:
        row = await purchases.locked(session, purchase_id or "")
    payment = await session.get_one(Payment, payment_id, with_for_update=True, populate_existing=True)
    return row, payment


async def record(session: AsyncSession, payment_id: str, seen: Seen, *, hold: timedelta, now: datetime) -> None:
    """Book what `seen` tells. `hold` is by how much a bank's question to the payer extends the hold, once."""
    row, payment = await locked(session, payment_id)
    if payment.gateway_ref is None:
        payment.gateway_ref = seen.ref
    elif payment.gateway_ref != seen.ref:
        payment = await _stray(session, payment, seen, now)
    await finish_calls(session, payment.id, CallKind.AUTHORISE, now=now)
    match seen.standing:
        case Standing.AUTHORISED if payment.state in OPEN and not payment.manual_capture:
            await plan_call(session, payment, CallKind.CAPTURE, payment.amount_minor, now=now)
        case Standing.AUTHORISED:
            await _arrived(session, row, payment, seen, now)
        case Standing.CAPTURED:
            await _captured(session, row, payment, seen, now)
            await _arrived(session, row, payment, seen, now)
        case Standing.CANCELLED:
            await _cancelled(session, row, payment, now)
        case Standing.NEEDS_METHOD:
            await _needs_method(session, row, payment, seen, now)
        case Standing.NEEDS_ACTION:
            await _needs_action(session, row, payment, hold, now)
        case Standing.WORKING:
            pass
    if isinstance(row, Purchase) and payment.state in OPEN and now - payment.created_at >= PURCHASE_OPEN_FOR:
        await plan_abandonment(session, payment, now=now)
    payment.check_at = _next_look(payment, now)
    await session.flush()


def _next_look(payment: Payment, now: datetime) -> datetime | None:
    if payment.state in OPEN:
        soon = payment.appointment_id is not None or now - payment.created_at < AT_THE_TILL
        return now + (CHECK_OPEN if soon else CHECK_SLOW)
    if payment.state == PaymentState.HELD and payment.captured_minor is None:
        return now + CHECK_HELD
    called_off = payment.state in (PaymentState.CANCELLED, PaymentState.FAILED)
    if called_off and payment.method in MAY_STILL_COME and now - payment.created_at < CALLED_OFF_FOR:
        return now + CHECK_CALLED_OFF
    return None


def _set(payment: Payment, state: PaymentState, now: datetime) -> None:
    payment.state, payment.changed_at = state, now


async def _stray(session: AsyncSession, payment: Payment, seen: Seen, now: datetime) -> Payment:
    """A second attempt at the gateway for one row of ours (a call repeated after an error of the gateway's own)."""
    known = await session.scalar(select(Payment).where(Payment.gateway_ref == seen.ref))
    if known is not None:
        return known
    stray = Payment(
        id=new_id(),
        appointment_id=payment.appointment_id,
        purchase_id=payment.purchase_id,
        payer_id=payment.payer_id,
        method=payment.method,
        state=PaymentState.FAILED,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        failure_code="double",
        manual_capture=payment.manual_capture,
        gateway_ref=seen.ref,
        created_at=now,
        changed_at=now,
    )
    session.add(stray)
    await session.flush()
    if seen.standing is not Standing.CANCELLED:
        await plan_call(session, stray, CallKind.CANCEL, 0, now=now)
    return stray


async def _captured(session: AsyncSession, row: Payable, payment: Payment, seen: Seen, now: datetime) -> None:
    """Money has moved: it is ours to keep or owed back, never forgotten."""
    if payment.captured_minor is not None:
        return
    payment.captured_minor, payment.failure_code = seen.captured_minor, None
    lines = {
        ledger.gateway(payment.currency): -seen.captured_minor,
        ledger.transit(payment.currency): seen.captured_minor,
    }
    await session.flush()
    await ledger.post(session, f"capture:{payment.id}", lines, appointment_id=payment.appointment_id, now=now)
    await finish_calls(session, payment.id, CallKind.CAPTURE, CallKind.CANCEL, now=now)
    if payment.state in (PaymentState.EARNED, PaymentState.RELEASED):
        owed = seen.captured_minor - (payment.kept_minor or 0)
        await plan_refund(session, payment, owed, RefundReason.POLICY, now=now)


async def _arrived(session: AsyncSession, row: Payable, payment: Payment, seen: Seen, now: datetime) -> None:
    """The price is secured, or came for what is not to be had any more."""
    if payment.state in OPEN and isinstance(row, Appointment) and _payable(row, payment, seen, now):
        await _held(session, row, payment, now)
        if not await move(session, row, Event.SECURE, actor=None, party=Party.CLIENT, now=now):
            raise RuntimeError(f"a locked hold moved away: appointment={row.id[:8]}")
        await tell_paid(session, row, payment.amount_minor, now)
    elif (
        payment.state in OPEN
        and isinstance(row, Appointment)
        and _fits(payment, seen)
        and (other := await insecure(session, row)) is not None
    ):
        await let_go(session, row, other, now=now)
        await _held(session, row, payment, now)
        await tell_paid(session, row, payment.amount_minor, now)
    elif payment.state in (*OPEN, PaymentState.FAILED, PaymentState.CANCELLED):
        if isinstance(row, Purchase) and row.state == "open" and _fits(payment, seen):
            await purchases.deliver(session, row, payment, now=now)
            return
        _set(payment, PaymentState.RETURNED, now)
        payment.kept_minor, payment.refunded_minor = 0, payment.amount_minor
        await session.flush()
        await plan_return(session, payment, now=now)
        await _apologise(session, row, payment, now)
    elif payment.state == PaymentState.RETURNED and payment.captured_minor is not None:
        await plan_return(session, payment, now=now)


async def _held(session: AsyncSession, row: Appointment, payment: Payment, now: datetime) -> None:
    _set(payment, PaymentState.HELD, now)
    payment.failure_code = None
    await session.flush()
    currency = payment.currency
    lines = {ledger.transit(currency): -payment.amount_minor, ledger.escrow(currency): payment.amount_minor}
    await ledger.post(session, f"hold:{payment.id}", lines, appointment_id=row.id, now=now)
    receipts.owe(session, payment, now=now)


def _payable(row: Appointment, payment: Payment, seen: Seen, now: datetime) -> bool:
    if row.state != State.PENDING or (row.hold_expires_at is not None and row.hold_expires_at <= now):
        return False
    return _fits(payment, seen)


def _fits(payment: Payment, seen: Seen) -> bool:
    fits = (seen.amount_minor, seen.currency) == (payment.amount_minor, payment.currency)
    if not fits:
        log.error("gateway secured another amount payment=%s", payment.id[:8])
    return fits


async def _apologise(session: AsyncSession, row: Payable, payment: Payment, now: datetime) -> None:
    audit.record(session, None, "payment.returned", f"payment:{payment.id}", {"state": row.state}, now=now)
    if isinstance(row, Purchase):
        facts = {"amount_minor": payment.amount_minor, "currency": payment.currency}
        await enqueue(session, Notice(NoticeKind.REFUND_CONFIRMED, row.person_id, None, facts), now=now)
        return
    about = await session_facts(session, row, amount_minor=payment.amount_minor)
    booked = row.state in SLOT_HOLDING and row.state != State.PENDING
    extra = {"service_id": row.service_id, "booked": booked}
    await enqueue(session, Notice(NoticeKind.PAYMENT_TOO_LATE, row.client_id, about, extra), now=now)


async def _cancelled(session: AsyncSession, row: Payable, payment: Payment, now: datetime) -> None:
    await finish_calls(session, payment.id, CallKind.CANCEL, CallKind.CAPTURE, now=now)
    if payment.state in OPEN:
        _set(payment, PaymentState.CANCELLED, now)
    elif (
        isinstance(row, Appointment)
        and payment.state in (PaymentState.HELD, PaymentState.EARNED)
        and payment.captured_minor is None
    ):
        await _write_off(session, row, payment, now)


async def _write_off(session: AsyncSession, row: Appointment, payment: Payment, now: datetime) -> None:
    """The bank took its promise back before we took the money: what was booked on it is reversed, and said loudly."""
    transit = ledger.transit(payment.currency)
    if payment.state == PaymentState.HELD:
        lines = {ledger.escrow(payment.currency): -payment.amount_minor, transit: payment.amount_minor}
    else:
        kept = payment.kept_minor or 0
        fee = share_half_even(kept, row.platform_fee_bp)
        lines = {
            ledger.earnings(row.practitioner_id, payment.currency): fee - kept,
            ledger.platform(payment.currency): -fee,
            transit: kept,
        }
    _set(payment, PaymentState.FAILED, now)
    payment.failure_code, payment.fee_minor, payment.earned_minor = AUTHORISATION_LOST, None, None
    await session.flush()
    await ledger.post(session, f"write_off:{payment.id}", lines, appointment_id=row.id, now=now)
    audit.record(session, None, "payment.lost", f"payment:{payment.id}", {"state": row.state}, now=now)
    log.error("authorisation lost before it was captured payment=%s", payment.id[:8])


async def _needs_method(session: AsyncSession, row: Payable, payment: Payment, seen: Seen, now: datetime) -> None:
    """An attempt with a card of its own ends with that card's refusal; one without waits for the next card."""
    if payment.state not in OPEN:
        return
    if seen.failure_code is not None:
        await _tell_of_failure(session, row, payment, now)
    payment.failure_code = seen.failure_code
    if payment.method_token is None:
        _set(payment, PaymentState.REQUIRES_ACTION, now)
        return
    _set(payment, PaymentState.FAILED, now)
    payment.failure_code = seen.failure_code or "refused"
    await session.flush()
    await plan_call(session, payment, CallKind.CANCEL, 0, now=now)


async def _tell_of_failure(session: AsyncSession, row: Payable, payment: Payment, now: datetime) -> None:
    """Once per session that is being paid, however many cards are tried."""
    if isinstance(row, Purchase) or row.state != State.PENDING or payment.failure_code is not None:
        return
    before = select(func.count()).where(Payment.appointment_id == row.id, Payment.failure_code.is_not(None))
    if not await session.scalar(before):
        about = await session_facts(session, row, amount_minor=payment.amount_minor)
        extra = {"service_id": row.service_id}
        await enqueue(session, Notice(NoticeKind.PAYMENT_FAILED, row.client_id, about, extra), now=now)


async def _needs_action(session: AsyncSession, row: Payable, payment: Payment, hold: timedelta, now: datetime) -> None:
    if payment.state not in OPEN:
        return
    _set(payment, PaymentState.REQUIRES_ACTION, now)
    payment.failure_code = None  # another card is being asked: it may yet be paid
    if payment.action_at is not None:
        return
    payment.action_at = now
    await session.flush()
    if isinstance(row, Purchase):
        return
    asked_before = await session.scalar(
        select(func.count()).where(
            Payment.appointment_id == row.id, Payment.action_at.is_not(None), Payment.id != payment.id
        )
    )
    until = now + hold
    if asked_before or row.hold_expires_at is None or not now < row.hold_expires_at < until:
        return
    await session.execute(
        update(Appointment)
        .where(Appointment.id == row.id, Appointment.state == State.PENDING)
        .values(hold_expires_at=until, due_at=until)
    )


async def fail(session: AsyncSession, payment_id: str, code: str, *, now: datetime) -> None:
    """The gateway refused to begin this attempt, or never heard of it: nothing can come of it."""
    row, payment = await locked(session, payment_id)
    await finish_calls(session, payment.id, CallKind.AUTHORISE, CallKind.CANCEL, now=now)
    if payment.state in OPEN:
        if code != NEVER_BEGUN:
            await _tell_of_failure(session, row, payment, now)
        _set(payment, PaymentState.FAILED, now)
        payment.failure_code, payment.check_at = code[:40], None
        await session.flush()
