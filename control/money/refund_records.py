"""What a gateway has been seen to have done with a refund, booked. The twin of cards.py; asks no gateway."""

import logging
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control import audit
from control.models.money import GatewayCall, Refund
from control.money import ledger
from control.money.cards import locked
from control.money.gateway_work import RefundState
from control.money.gateways import RefundStanding, SeenRefund

log = logging.getLogger(__name__)

CHECK_REFUND = timedelta(hours=1)  # banks take days
_BOOKED = (RefundState.SENT, RefundState.SUCCEEDED)


async def record_refund(session: AsyncSession, refund_id: str, seen: SeenRefund, *, now: datetime) -> None:
    payment_id = await session.scalar(select(Refund.payment_id).where(Refund.id == refund_id))
    if payment_id is None:
        return
    _, payment = await locked(session, payment_id)
    refund = await session.get_one(Refund, refund_id, populate_existing=True)
    if refund.state == RefundState.REPLACED:
        if seen.standing is not RefundStanding.FAILED:
            log.error("refund went through after it was replaced refund=%s", refund.id[:8])
        return
    refund.gateway_ref = refund.gateway_ref or seen.ref
    before = RefundState(refund.state)
    after = {
        RefundStanding.WORKING: RefundState.SENT,
        RefundStanding.SUCCEEDED: RefundState.SUCCEEDED,
        RefundStanding.FAILED: RefundState.FAILED,
    }[seen.standing]
    refund.check_at = now + CHECK_REFUND if after is RefundState.SENT else None
    await finish_refund_call(session, refund.id, now=now)
    if after is before:
        return
    refund.state, refund.changed_at, refund.failure_code = after, now, (seen.failure_code or None)
    await session.flush()
    out = {ledger.transit(refund.currency): -refund.amount_minor, ledger.gateway(refund.currency): refund.amount_minor}
    if after in _BOOKED:
        await ledger.post(session, f"refund:{refund.id}", out, appointment_id=payment.appointment_id, now=now)
        return
    if before in _BOOKED:
        back = {account: -amount for account, amount in out.items()}
        await ledger.post(session, f"refund_failed:{refund.id}", back, appointment_id=payment.appointment_id, now=now)
    audit.record(session, None, "refund.failed", f"payment:{payment.id}", {"refund": refund.id}, now=now)
    log.error("refund failed and needs an admin refund=%s payment=%s", refund.id[:8], payment.id[:8])


async def finish_refund_call(session: AsyncSession, refund_id: str, *, now: datetime) -> None:
    await session.execute(
        update(GatewayCall)
        .where(GatewayCall.refund_id == refund_id, GatewayCall.done_at.is_(None))
        .values(done_at=now, next_at=None)
        .execution_options(synchronize_session=False)
    )


async def fail_refund(session: AsyncSession, refund_id: str, code: str, *, now: datetime) -> None:
    """The gateway refused to begin it."""
    refund = await session.get_one(Refund, refund_id, populate_existing=True)
    await finish_refund_call(session, refund_id, now=now)
    if refund.state == RefundState.WAITING:
        refund.state, refund.failure_code, refund.changed_at = RefundState.FAILED, code[:40], now
        audit.record(session, None, "refund.failed", f"payment:{refund.payment_id}", {"refund": refund.id}, now=now)
        log.error("refund refused and needs an admin refund=%s", refund.id[:8])
