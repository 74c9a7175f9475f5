"""What gateways owe us or we them, written down before anybody is asked: calls and refunds as rows.

Part of the transaction that decides it (an end of an appointment, a hold that ran out). Asks no gateway itself: that
is cashier.py, afterwards, as often as it takes. Each function may run again and adds nothing the second time.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.database import insert_once, new_id
from control.models.money import GatewayCall, Payment, Refund


class CallKind(StrEnum):
    AUTHORISE = "authorise"
    CAPTURE = "capture"
    CANCEL = "cancel"
    REFUND = "refund"


class RefundState(StrEnum):
    WAITING = "waiting"  # stored; the gateway may not have heard of it
    SENT = "sent"  # taken on by the gateway, not yet with the payer
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the payer's bank refused it: an admin has to find another way
    REPLACED = "replaced"  # that other way was found: another row


class RefundReason(StrEnum):
    POLICY = "policy"  # what the end of the appointment gives back
    TOO_LATE = "too_late"  # paid for a time that was no longer held
    GRANTED = "granted"  # an admin gave it
    WAIVED = "waived"  # the practitioner did without a fee


class Destination(StrEnum):
    ORIGINAL = "original"  # the way it came
    WALLET = "wallet"
    CREDITS = "credits"  # as the credit it was paid with


async def plan_call(
    session: AsyncSession, payment: Payment, kind: CallKind, amount_minor: int, *, now: datetime
) -> None:
    """`kind` is to be done for `payment`, once."""
    await _insert_call(session, payment.id, kind, amount_minor, None, now)


async def plan_settlement(session: AsyncSession, payment: Payment, *, now: datetime) -> None:
    """After the shares are known: capture what is kept, or give back what was taken beyond it."""
    kept = payment.kept_minor or 0
    if payment.captured_minor is not None:
        await plan_refund(session, payment, payment.captured_minor - kept, RefundReason.POLICY, now=now)
    elif kept:
        await plan_call(session, payment, CallKind.CAPTURE, kept, now=now)
    else:
        await plan_call(session, payment, CallKind.CANCEL, 0, now=now)


async def plan_return(session: AsyncSession, payment: Payment, *, now: datetime) -> None:
    """Nothing of this attempt is ours: call it off, or give back whatever it has taken."""
    if payment.captured_minor is not None:
        await plan_refund(session, payment, payment.captured_minor, RefundReason.TOO_LATE, now=now)
        return
    await plan_call(session, payment, CallKind.CANCEL, 0, now=now)
    # An earlier cancellation may have found nothing to call off, because the attempt arrived after it.
    await session.execute(
        update(GatewayCall)
        .where(
            GatewayCall.payment_id == payment.id, GatewayCall.kind == CallKind.CANCEL, GatewayCall.done_at.is_not(None)
        )
        .values(done_at=None, next_at=now, attempts=0, idempotency_key=new_key())
        .execution_options(synchronize_session=False)
    )


async def plan_abandonment(session: AsyncSession, payment: Payment, *, now: datetime) -> None:
    """The attempt stays open until the gateway has said that nothing will come of it."""
    await plan_call(session, payment, CallKind.CANCEL, 0, now=now)


async def plan_refund(
    session: AsyncSession, payment: Payment, owed_minor: int, reason: RefundReason, *, now: datetime
) -> None:
    """Give back what is owed of `payment` in all and is not on its way already."""
    planned = await session.scalar(
        select(func.coalesce(func.sum(Refund.amount_minor), 0)).where(
            Refund.payment_id == payment.id, Refund.state != RefundState.REPLACED
        )
    )
    missing = owed_minor - int(planned or 0)
    if missing > 0:
        await send_refund(session, payment, missing, reason, now=now)


async def send_refund(
    session: AsyncSession,
    payment: Payment,
    amount_minor: int,
    reason: RefundReason,
    *,
    key: str | None = None,
    now: datetime,
) -> Refund:
    """The gateway is to give `amount_minor` back."""
    refund = await note_refund(session, payment, amount_minor, reason, Destination.ORIGINAL, key=key, now=now)
    await _insert_call(session, payment.id, CallKind.REFUND, amount_minor, refund.id, now)
    return refund


async def note_refund(
    session: AsyncSession,
    payment: Payment,
    amount_minor: int,
    reason: RefundReason,
    destination: Destination,
    *,
    key: str | None = None,
    now: datetime,
) -> Refund:
    """The row of a refund; one that no gateway carries has succeeded with it. `key`: asked for once under it."""
    sent = destination is Destination.ORIGINAL
    refund = Refund(
        id=new_id(),
        payment_id=payment.id,
        state=RefundState.WAITING if sent else RefundState.SUCCEEDED,
        amount_minor=amount_minor,
        currency=payment.currency,
        reason=reason,
        destination=destination,
        refund_key=key,
        created_at=now,
        changed_at=now,
    )
    session.add(refund)
    await session.flush()
    return refund


async def finish_calls(session: AsyncSession, payment_id: str, *kinds: CallKind, now: datetime) -> None:
    """The gateway has done these, whoever learned of it."""
    await session.execute(
        update(GatewayCall)
        .where(GatewayCall.payment_id == payment_id, GatewayCall.kind.in_(kinds), GatewayCall.done_at.is_(None))
        .values(done_at=now, next_at=None)
        .execution_options(synchronize_session=False)
    )


async def _insert_call(
    session: AsyncSession, payment_id: str, kind: CallKind, amount_minor: int, refund_id: str | None, now: datetime
) -> None:
    values: Mapping[str, Any] = {
        "id": new_id(),
        "payment_id": payment_id,
        "refund_id": refund_id,
        "kind": kind,
        "amount_minor": amount_minor,
        "idempotency_key": new_key(),
        "attempts": 0,
        "created_at": now,
        "next_at": now,
    }
    await insert_once(session, GatewayCall, values)


def new_key() -> str:
    return f"holdspace-{new_id()}"
