"""Money that goes back after it was earned or bought: what can go back, what it takes from whom, and doing it.

    request (client) ─┐
                      ├─▶ preview ─▶ refund ─┬─▶ wallet or credit: there at once
    admin ────────────┘                      └─▶ original way: a row for the gateway, failed ones are sent again

The ledger is reversed by the shares it was divided by; a top-up gives back what has not been spent, a package the
credits that are left. Each action is one transaction and does nothing the second time.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import session_facts
from control.audit import record
from control.database import Database
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.models.appointments import Appointment
from control.models.money import Payment, Refund
from control.models.people import Role
from control.models.purchases import Purchase, RefundRequest
from control.money import credits, ledger
from control.money.cards import Payable, locked
from control.money.gateway_work import Destination, RefundReason, RefundState, note_refund, send_refund
from control.money.payments import GATEWAY_METHODS, Method, PaymentState
from control.money.policy import share_half_even
from control.notices.outbox import Notice, NoticeKind, enqueue


@dataclass(frozen=True, slots=True)
class Preview:
    """What a refund would do: the amount, where it goes, and from whom it is taken."""

    payment_id: str
    amount_minor: int
    most_minor: int
    currency: str
    destination: Destination
    by: str
    """The way it goes: "stripe", "wallet", "credits" …"""
    from_practitioner_minor: int = 0
    from_platform_minor: int = 0
    from_wallet_minor: int = 0
    credits: int = 0
    """Credits that go: back to the client for a session paid by one, away for a package."""


async def preview(db: Database, actor: Actor, payment_id: str, amount_minor: int | None, to: Destination) -> Preview:
    """`amount_minor` None: all that can go back. For its payer and for admins. Raises Conflict("not_refundable")."""
    async with db.reading() as session:
        payment = await _payment_for(session, actor, payment_id)
        row = await _paid_for(session, payment)
        return await _plan(session, row, payment, amount_minor, to)


async def refund(
    db: Database,
    actor: Actor,
    payment_id: str,
    amount_minor: int | None,
    to: Destination,
    *,
    key: str,
    now: datetime,
) -> Preview:
    """An admin gives money back; an open request for it is granted by that. The same key does it once."""
    if not actor.is_any(Role.ADMIN):
        raise Forbidden("not_admin", "Refunds are given by an admin.")
    async with db.transaction() as session:
        await _payment_for(session, actor, payment_id)
        row, payment = await locked(session, payment_id)
        done = await session.scalar(select(Refund).where(Refund.refund_key == key))
        if done is not None:
            return _as_done(payment, done)
        plan = await _plan(session, row, payment, amount_minor, to)
        await _carry_out(session, row, payment, plan, RefundReason.GRANTED, key, now)
        await session.execute(
            update(RefundRequest)
            .where(RefundRequest.payment_id == payment_id, RefundRequest.state == "open")
            .values(state="granted", decided_at=now, decided_by=actor.person_id)
        )
        detail = {"amount_minor": plan.amount_minor, "currency": plan.currency, "to": plan.destination}
        record(session, actor, "refund.given", f"payment:{payment_id}", detail, now=now)
        return plan


async def waive(session: AsyncSession, actor: Actor | None, appointment_id: str, *, now: datetime) -> int:
    """All that was kept of this session goes back the way it came; how much that was. In the caller's transaction.

    For a practitioner who does without a fee. Who may do that is for the caller to know; nothing kept, nothing done.
    """
    payment_id = await session.scalar(
        select(Payment.id).where(Payment.appointment_id == appointment_id, Payment.state == PaymentState.EARNED)
    )
    if payment_id is None:
        return 0
    row, payment = await locked(session, payment_id)
    if payment.state != PaymentState.EARNED or not payment.kept_minor:
        return 0
    plan = await _plan(session, row, payment, None, Destination.ORIGINAL)
    await _carry_out(session, row, payment, plan, RefundReason.WAIVED, None, now)
    record(session, actor, "refund.waived", f"payment:{payment_id}", {"amount_minor": plan.amount_minor}, now=now)
    return plan.amount_minor


async def _payment_for(session: AsyncSession, actor: Actor, payment_id: str) -> Payment:
    payment = await session.get(Payment, payment_id)
    if payment is None or (payment.payer_id != actor.person_id and not actor.is_any(Role.ADMIN)):
        raise NotFound
    return payment


async def _paid_for(session: AsyncSession, payment: Payment) -> Payable:
    if payment.appointment_id is not None:
        return await session.get_one(Appointment, payment.appointment_id)
    return await session.get_one(Purchase, payment.purchase_id)


# -- what it would do --------------------------------------------------------------------------------------------


async def _plan(
    session: AsyncSession, row: Payable, payment: Payment, amount_minor: int | None, to: Destination
) -> Preview:
    most = await _most(session, row, payment)
    if most <= 0:
        raise Conflict("not_refundable", "Nothing of this payment can be given back.", most_minor=max(0, most))
    amount = most if amount_minor is None else amount_minor
    if not 0 < amount <= most:
        raise Invalid(
            "amount_invalid", "This is not an amount that can go back.", pointer="/amount_minor", most_minor=most
        )
    plan = Preview(payment.id, amount, most, payment.currency, Destination.ORIGINAL, payment.method)
    if isinstance(row, Purchase):
        return _plan_purchase(row, payment, plan, to)
    return _plan_session(row, payment, plan, to)


async def _most(session: AsyncSession, row: Payable, payment: Payment) -> int:
    if payment.state != PaymentState.EARNED:
        return 0
    if isinstance(row, Appointment):
        return payment.kept_minor or 0
    if row.kind == "credits":
        return row.value_left_minor
    return min(payment.kept_minor or 0, await ledger.wallet_balance(session, row.person_id, payment.currency))


def _plan_session(row: Appointment, payment: Payment, plan: Preview, to: Destination) -> Preview:
    kept = payment.kept_minor or 0
    fee_after = share_half_even(kept - plan.amount_minor, row.platform_fee_bp)
    from_platform = (payment.fee_minor or 0) - fee_after
    plan = replace(plan, from_platform_minor=from_platform, from_practitioner_minor=plan.amount_minor - from_platform)
    if payment.method == Method.CREDITS:
        whole = plan.amount_minor == payment.amount_minor
        if whole and to is not Destination.WALLET:
            return replace(plan, destination=Destination.CREDITS, by=Method.CREDITS, credits=1)
        return replace(plan, destination=Destination.WALLET, by=Method.WALLET)
    # Money that no gateway has taken yet can only be left there.
    taken = payment.method in GATEWAY_METHODS and payment.captured_minor is not None
    if payment.method == Method.WALLET or (to is Destination.WALLET and taken):
        return replace(plan, destination=Destination.WALLET, by=Method.WALLET)
    return plan


def _plan_purchase(row: Purchase, payment: Payment, plan: Preview, to: Destination) -> Preview:
    if row.kind == "top_up":
        if to is Destination.WALLET:
            raise Invalid("destination_invalid", "This money is in the wallet already.", pointer="/to")
        return replace(plan, from_wallet_minor=plan.amount_minor)
    if plan.amount_minor != plan.most_minor:
        raise Invalid(
            "amount_invalid",
            "The credits that are left go back together.",
            pointer="/amount_minor",
            most_minor=plan.most_minor,
        )
    plan = replace(plan, credits=row.credits_left)
    if payment.method == Method.WALLET or to is Destination.WALLET:
        return replace(plan, destination=Destination.WALLET, by=Method.WALLET)
    return plan


# -- doing it ----------------------------------------------------------------------------------------------------


async def _carry_out(
    session: AsyncSession,
    row: Payable,
    payment: Payment,
    plan: Preview,
    reason: RefundReason,
    key: str | None,
    now: datetime,
) -> None:
    payment.kept_minor = (payment.kept_minor or 0) - plan.amount_minor
    payment.refunded_minor = (payment.refunded_minor or 0) + plan.amount_minor
    payment.changed_at = now
    if payment.kept_minor == 0:
        payment.state = PaymentState.RELEASED
    await session.flush()
    sent = plan.destination is Destination.ORIGINAL
    if sent and payment.captured_minor is not None:
        made = await send_refund(session, payment, plan.amount_minor, reason, key=key, now=now)
        refund_id = made.id
    elif sent:  # not taken yet: what is taken beyond what is kept goes back when it is (cards.py)
        refund_id = f"{payment.id}:{payment.kept_minor}"
    else:
        made = await note_refund(session, payment, plan.amount_minor, reason, plan.destination, key=key, now=now)
        refund_id = made.id
    if isinstance(row, Appointment):
        await _reverse_session(session, row, payment, plan, refund_id, now)
    else:
        await _reverse_purchase(session, row, payment, plan, refund_id, now)


async def _reverse_session(
    session: AsyncSession, row: Appointment, payment: Payment, plan: Preview, refund_id: str, now: datetime
) -> None:
    payment.fee_minor = (payment.fee_minor or 0) - plan.from_platform_minor
    payment.earned_minor = (payment.earned_minor or 0) - plan.from_practitioner_minor
    await session.flush()
    lines = {
        ledger.earnings(row.practitioner_id, plan.currency): -plan.from_practitioner_minor,
        ledger.platform(plan.currency): -plan.from_platform_minor,
        _target(plan, payment): plan.amount_minor,
    }
    await ledger.post(session, f"give_back:{refund_id}", lines, appointment_id=row.id, now=now)
    if plan.destination is Destination.CREDITS:
        await credits.give_back(session, payment, spent=True, now=now)
    await session.execute(
        update(Appointment)
        .where(Appointment.id == row.id)
        .values(kept_minor=payment.kept_minor, refund_minor=payment.refunded_minor)
        .execution_options(synchronize_session=False)
    )
    about = await session_facts(session, row, amount_minor=plan.amount_minor)
    await enqueue(session, Notice(NoticeKind.REFUND_CONFIRMED, row.client_id, about, {"to": plan.by}), now=now)


def _target(plan: Preview, payment: Payment) -> ledger.Account:
    match plan.destination:
        case Destination.ORIGINAL:
            return ledger.transit(plan.currency)
        case Destination.WALLET:
            return ledger.wallet(payment.payer_id, plan.currency)
        case Destination.CREDITS:
            return ledger.escrow(plan.currency)


async def _reverse_purchase(
    session: AsyncSession, row: Purchase, payment: Payment, plan: Preview, refund_id: str, now: datetime
) -> None:
    origin = ledger.wallet(row.person_id, plan.currency) if row.kind == "top_up" else ledger.escrow(plan.currency)
    lines = {origin: -plan.amount_minor, _target(plan, payment): plan.amount_minor}
    await ledger.post(session, f"give_back:{refund_id}", lines, appointment_id=None, now=now)
    if row.kind == "credits":
        units = {ledger.credits_of(row.person_id, row.service_id or ""): -plan.credits, ledger.issued(): plan.credits}
        await ledger.post(session, f"credits_back:{refund_id}", units, appointment_id=None, now=now)
        row.credits_left = row.value_left_minor = 0
        await session.flush()
    facts = {"amount_minor": plan.amount_minor, "currency": plan.currency, "to": plan.by}
    await enqueue(session, Notice(NoticeKind.REFUND_CONFIRMED, row.person_id, None, facts), now=now)


def _as_done(payment: Payment, done: Refund) -> Preview:
    by = payment.method if done.destination == Destination.ORIGINAL else done.destination
    return Preview(
        payment.id, done.amount_minor, payment.kept_minor or 0, done.currency, Destination(done.destination), by
    )


async def send_again(db: Database, actor: Actor, refund_id: str, to: Destination, *, now: datetime) -> None:
    """A refund that failed goes out once more, or into the wallet. Sent again already: nothing is done."""
    if not actor.is_any(Role.ADMIN):
        raise Forbidden("not_admin", "Refunds are given by an admin.")
    if to is Destination.CREDITS:
        raise Invalid("destination_invalid", "Send it to the card again, or to the wallet.", pointer="/to")
    async with db.transaction() as session:
        found = await session.get(Refund, refund_id)
        if found is None:
            raise NotFound
        _, payment = await locked(session, found.payment_id)
        old = await session.get_one(Refund, refund_id, populate_existing=True)
        if old.state == RefundState.REPLACED:
            return
        if old.state != RefundState.FAILED:
            raise Conflict("not_failed", "This refund has not failed.", status_now=old.state)
        old.state, old.changed_at = RefundState.REPLACED, now
        await session.flush()
        reason = RefundReason(old.reason)
        if to is Destination.ORIGINAL:
            made = await send_refund(session, payment, old.amount_minor, reason, now=now)
        else:
            made = await note_refund(session, payment, old.amount_minor, reason, to, now=now)
            lines = {
                ledger.transit(old.currency): -old.amount_minor,
                ledger.wallet(payment.payer_id, old.currency): old.amount_minor,
            }
            await ledger.post(session, f"give_back:{made.id}", lines, appointment_id=payment.appointment_id, now=now)
        old.replaced_by = made.id
        record(session, actor, "refund.sent_again", f"payment:{payment.id}", {"refund": refund_id, "to": to}, now=now)
