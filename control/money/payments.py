"""Paying an appointment: one row per attempt, moved by conditional updates, each with its ledger transaction.

    starting ──▶ requires_action ──▶ held ──┬─▶ earned    something was kept: completed, late, no-show
     (gateways)       (gateways)               └─▶ released  everything went back
    failed, cancelled    an attempt that secured nothing
    returned             a payer was charged for a time that was no longer held, or pays in another way after all

Payee, amount, currency and fee come from the appointment, never from a request. Everything works in the caller's
transaction, so a payment and what it pays for happen together or not at all.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_states import State
from control.audit import record
from control.database import Database, new_id
from control.errors import Invalid
from control.models.appointments import Appointment
from control.models.money import Payment
from control.models.people import Person
from control.money import credits, ledger, receipts
from control.money.gateway_work import (
    CallKind,
    Destination,
    RefundReason,
    finish_calls,
    note_refund,
    plan_abandonment,
    plan_return,
    plan_settlement,
)
from control.money.policy import PRICE_LIMITS_MINOR, Outcome, Policy, Settlement
from control.money.policy import settle as shares
from control.money.together import time_together

MOST_TOP_UP_MINOR = 10_000_000  # a slipped key, not a policy


class Method(StrEnum):
    WALLET = "wallet"
    CREDITS = "credits"
    FREE = "free"
    STRIPE = "stripe"
    RAZORPAY = "razorpay"
    DEMO = "demo"


GATEWAY_METHODS = (Method.STRIPE, Method.RAZORPAY, Method.DEMO)


class PaymentState(StrEnum):
    STARTING = "starting"  # stored; whether the gateway has heard of it is not known yet
    REQUIRES_ACTION = "requires_action"  # the payer has something to do: enter a card, answer their bank
    HELD = "held"
    EARNED = "earned"
    RELEASED = "released"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETURNED = "returned"


class Review(StrEnum):
    """Of a session in which both were together for less than half of its length."""

    NEEDED = "needed"
    CLEARED = "cleared"


WOULD_LAPSE = "would_lapse"
"""The failure of a payment that is held, but whose bank would not let it be taken before a new, later time."""

AUTHORISATION_LOST = "authorisation_lost"
"""The failure of a payment whose bank took its promise back."""

OPEN = (PaymentState.STARTING, PaymentState.REQUIRES_ACTION)
"""States that may still turn into money."""

LIVE = (PaymentState.HELD, PaymentState.EARNED, PaymentState.RELEASED)
"""The states of which an appointment has at most one; a partial unique index says the same."""


async def hold(session: AsyncSession, row: Appointment, method: Method, *, now: datetime) -> Payment:
    """Secure the price of `row` by wallet, credit, or because it is free. Raises Conflict("insufficient_funds")."""
    payment = Payment(
        id=new_id(),
        appointment_id=row.id,
        payer_id=row.client_id,
        method=method,
        state=PaymentState.HELD,
        amount_minor=row.price_minor,
        currency=row.currency,
        created_at=now,
        changed_at=now,
    )
    if method is Method.CREDITS:
        taken = await credits.take(session, row.client_id, row.service_id, row.currency, payment.id, now=now)
        payment.credit_of, payment.amount_minor = taken.purchase_id, taken.value_minor
    session.add(payment)
    await session.flush()
    if method is Method.WALLET:
        lines = {
            ledger.wallet(row.client_id, row.currency): -row.price_minor,
            ledger.escrow(row.currency): row.price_minor,
        }
        await ledger.post(session, f"hold:{payment.id}", lines, appointment_id=row.id, now=now)
        receipts.owe(session, payment, now=now)
    return payment


async def note_failure(db: Database, appointment_id: str, method: Method, code: str, *, now: datetime) -> None:
    """Keep that an attempt was made and why it secured nothing."""
    async with db.transaction() as session:
        row = await session.get_one(Appointment, appointment_id)
        session.add(
            Payment(
                appointment_id=row.id,
                payer_id=row.client_id,
                method=method,
                state=PaymentState.FAILED,
                amount_minor=row.price_minor,
                currency=row.currency,
                failure_code=code,
                created_at=now,
                changed_at=now,
            )
        )


async def settle(
    session: AsyncSession,
    row: Appointment,
    outcome: Outcome,
    policy: Policy,
    *,
    refund_to: Destination = Destination.ORIGINAL,
    now: datetime,
) -> None:
    """Divide what `row` holds between client, practitioner and platform; nothing if nothing is held.

    `refund_to` is the client's choice for what goes back and was taken by a gateway: money never taken is let go.
    """
    payment = await session.scalar(
        select(Payment).where(Payment.appointment_id == row.id, Payment.state == PaymentState.HELD)
    )
    if payment is None:
        return
    parts = shares(payment.amount_minor, outcome, policy)
    kept = outcome is Outcome.COMPLETED or parts.kept_minor > 0
    both = await time_together(session, row, now) if outcome is Outcome.COMPLETED else None
    short = both is not None and parts.practitioner_minor > 0 and both * 2 < row.ends_at - row.starts_at
    changed = await session.execute(
        update(Payment)
        .where(Payment.id == payment.id, Payment.state == PaymentState.HELD)
        .values(
            state=PaymentState.EARNED if kept else PaymentState.RELEASED,
            kept_minor=parts.kept_minor,
            refunded_minor=parts.refund_minor,
            fee_minor=parts.platform_minor,
            earned_minor=parts.practitioner_minor,
            review=Review.NEEDED if short else None,
            together_s=None if both is None else int(both.total_seconds()),
            changed_at=now,
        )
    )
    if cast(CursorResult[Any], changed).rowcount != 1:
        return
    await session.refresh(payment)
    await _divide(session, row, payment, parts, refund_to, now)
    await session.execute(
        update(Appointment)
        .where(Appointment.id == row.id)
        .values(kept_minor=parts.kept_minor, refund_minor=parts.refund_minor)
        .execution_options(synchronize_session=False)
    )


async def _divide(
    session: AsyncSession, row: Appointment, payment: Payment, parts: Settlement, refund_to: Destination, now: datetime
) -> None:
    by_gateway = payment.method in GATEWAY_METHODS
    if payment.method == Method.CREDITS:
        if not parts.kept_minor:
            await credits.give_back(session, payment, now=now)
            return
        await credits.spend(session, payment, now=now)
    to_wallet = refund_to is Destination.WALLET and payment.captured_minor is not None
    currency = payment.currency
    back = ledger.wallet(row.client_id, currency) if to_wallet or not by_gateway else ledger.transit(currency)
    lines = {
        ledger.escrow(currency): -payment.amount_minor,
        back: parts.refund_minor,
        ledger.earnings(row.practitioner_id, currency): parts.practitioner_minor,
        ledger.platform(currency): parts.platform_minor,
    }
    await ledger.post(session, f"settle:{payment.id}", lines, appointment_id=row.id, now=now)
    if by_gateway:
        if to_wallet and parts.refund_minor:
            await note_refund(session, payment, parts.refund_minor, RefundReason.POLICY, Destination.WALLET, now=now)
        await plan_settlement(session, payment, now=now)


async def insecure(session: AsyncSession, row: Appointment) -> Payment | None:
    """The payment of a session to come whose bank won't keep the money, or did not: it may be paid in another way."""
    if row.state not in (State.SCHEDULED, State.CONFIRMED):
        return None
    found = await session.scalars(
        select(Payment)
        .where(Payment.appointment_id == row.id)
        .where(Payment.state.in_(LIVE) | (Payment.failure_code == AUTHORISATION_LOST))
        .order_by(Payment.state.in_(LIVE).desc(), Payment.created_at.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )
    payment = found.one_or_none()
    if payment is None or payment.captured_minor is not None:
        return None
    return payment if payment.failure_code in (WOULD_LAPSE, AUTHORISATION_LOST) else None


async def let_go(session: AsyncSession, row: Appointment, payment: Payment, *, now: datetime) -> None:
    """An insecure payment makes room for one by another way, in the same transaction; `row` is locked."""
    if payment.state != PaymentState.HELD:
        return  # written off already
    payment.state, payment.changed_at = PaymentState.RETURNED, now
    payment.kept_minor, payment.refunded_minor = 0, payment.amount_minor
    await session.flush()
    currency = payment.currency
    lines = {ledger.escrow(currency): -payment.amount_minor, ledger.transit(currency): payment.amount_minor}
    await ledger.post(session, f"let_go:{payment.id}", lines, appointment_id=row.id, now=now)
    await finish_calls(session, payment.id, CallKind.CAPTURE, now=now)
    await plan_return(session, payment, now=now)


async def abandon(session: AsyncSession, row: Appointment, *, now: datetime) -> None:
    """The hold of `row` is over or was paid otherwise: attempts that may still turn into money are called off."""
    found = await session.scalars(select(Payment).where(Payment.appointment_id == row.id, Payment.state.in_(OPEN)))
    for payment in found.all():
        await plan_abandonment(session, payment, now=now)


async def top_up(
    session: AsyncSession,
    actor: Actor | None,
    person_id: str,
    amount_minor: int,
    currency: str,
    *,
    key: str,
    now: datetime,
) -> bool:
    """Put demo or goodwill money into a wallet, once per `key`: by the demo loader (actor None) or an admin."""
    if currency not in PRICE_LIMITS_MINOR or not 0 < amount_minor <= MOST_TOP_UP_MINOR:
        raise Invalid("amount_invalid", "This amount can't be put into a wallet.")
    if await session.get(Person, person_id) is None:
        raise Invalid("person_unknown", "There is nobody with this id.")
    lines = {ledger.wallet(person_id, currency): amount_minor, ledger.outside(currency): -amount_minor}
    done = await ledger.post(session, f"top_up:{key}", lines, appointment_id=None, now=now)
    if done:
        detail = {"amount_minor": amount_minor, "currency": currency}
        record(session, actor, "wallet.top_up", f"person:{person_id}", detail, now=now)
    return done
