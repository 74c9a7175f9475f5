"""The calls to gateways: what is to be done is claimed, asked and its answer booked; what is open is looked at.

    1 row and key stored │ 2 gateway asked │ 3 answer booked

A crash after 1 leaves a call to be made, after 2 one to be looked up: `run_once` does either, so nothing is charged
twice and nothing is lost. A call made before is never repeated without looking first. No transaction is open while a
gateway is asked.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from control.appointment_states import State
from control.database import Database
from control.models.appointments import Appointment
from control.models.money import GatewayCall, Payment, Refund
from control.models.purchases import Purchase
from control.money import cards, refund_records
from control.money.gateway_work import CallKind, finish_calls, new_key
from control.money.gateways import Gateway, Refused, Seen, SeenRefund, Standing, Unreachable, Wish
from control.money.payments import OPEN, Method, insecure

log = logging.getLogger(__name__)

SURELY_ANSWERED = timedelta(minutes=2)  # no request of ours is under way for longer; three times its time-out
FIRST_WAIT_S, LONGEST_WAIT_S = 10, 3600
MOST_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class _Call:
    """A call with what it needs, read in one look."""

    id: str
    kind: CallKind
    payment_id: str
    refund_id: str | None
    ref: str | None
    amount_minor: int
    key: str
    attempts: int
    wish: Wish
    still_wanted: bool
    method: str


class Calls:
    def __init__(
        self, db: Database, gateways: Mapping[Method, Gateway], clock: Callable[[], datetime], *, hold: timedelta
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._clock = clock
        self._hold = hold

    def _gateway(self, method: str) -> Gateway:
        """Raises Unreachable for one whose keys were taken away while it still has work."""
        found = self._gateways.get(Method(method))
        if found is None:
            raise Unreachable("not_configured", answered=False)
        return found

    # -- what is due ---------------------------------------------------------------------------------------------

    async def run_once(self, now: datetime) -> int:
        """One round of the poller; how much was due. One that fails is logged and waits longer; the others go on."""
        async with self._db.reading() as session:
            calls = (await session.scalars(_due(GatewayCall.id, GatewayCall.next_at, now))).all()
            attempts = (await session.scalars(_due(Payment.id, Payment.check_at, now))).all()
            refunds = (await session.scalars(_due(Refund.id, Refund.check_at, now))).all()
        for call_id in calls:
            await self._quietly(self.do(call_id), "call", call_id)
        for payment_id in attempts:
            await self._quietly(self.look(payment_id, now), "payment", payment_id)
        for refund_id in refunds:
            await self._quietly(self._look_at_refund(refund_id, now), "refund", refund_id)
        return len(calls) + len(attempts) + len(refunds)

    async def _quietly(self, work: Awaitable[object], noun: str, row_id: str) -> None:
        try:
            await work
        except Unreachable as error:
            log.warning("gateway not reached %s=%s code=%s", noun, row_id[:8], error.code)
        except Exception:
            log.exception("gateway work failed %s=%s", noun, row_id[:8])

    async def look(self, payment_id: str, now: datetime) -> Seen | None:
        """How an attempt stands at its gateway, booked; None if the gateway has not named it yet."""
        async with self._db.transaction() as session:
            payment = await session.get_one(Payment, payment_id)
            if payment.check_at is not None:
                payment.check_at = now + cards.CHECK_OPEN
        if payment.gateway_ref is None:
            return None
        seen = await self._gateway(payment.method).fetch(payment.gateway_ref)
        await self._record(payment_id, seen)
        return seen

    async def _look_at_refund(self, refund_id: str, now: datetime) -> None:
        async with self._db.transaction() as session:
            refund = await session.get_one(Refund, refund_id)
            refund.check_at = now + refund_records.CHECK_REFUND
            method = await session.scalar(select(Payment.method).where(Payment.id == refund.payment_id)) or ""
        if refund.gateway_ref is not None:
            await self._record_refund(refund_id, await self._gateway(method).fetch_refund(refund.gateway_ref))

    async def _record(self, payment_id: str, seen: Seen) -> None:
        async with self._db.transaction() as session:
            await cards.record(session, payment_id, seen, hold=self._hold, now=self._clock())

    async def _record_refund(self, refund_id: str, seen: SeenRefund) -> None:
        async with self._db.transaction() as session:
            await refund_records.record_refund(session, refund_id, seen, now=self._clock())

    # -- one call ------------------------------------------------------------------------------------------------

    async def do(self, call_id: str) -> Seen | SeenRefund | None:
        """Claim, ask, book. Raises Unreachable; the call then stays due, later and later."""
        call = await self._claim(call_id)
        if call is None:
            return None
        try:
            return await self._ask(call)
        except Unreachable as error:
            values: dict[str, str] = {"last_error": error.code[:80]}
            if error.answered:
                values["idempotency_key"] = new_key()  # under the old one it would only repeat its error
            async with self._db.transaction() as session:
                await session.execute(update(GatewayCall).where(GatewayCall.id == call_id).values(values))
            raise

    async def _claim(self, call_id: str) -> _Call | None:
        now = self._clock()
        async with self._db.transaction() as session:
            row = await session.get_one(GatewayCall, call_id, with_for_update=True)
            if row.done_at is not None:
                return None
            payment = await session.get_one(Payment, row.payment_id)
            wanted = await _is_wanted(session, payment, now)
            call = _Call(
                id=row.id,
                kind=CallKind(row.kind),
                payment_id=payment.id,
                refund_id=row.refund_id,
                ref=payment.gateway_ref,
                amount_minor=row.amount_minor,
                key=row.idempotency_key,
                attempts=row.attempts,
                wish=_wish(payment),
                still_wanted=wanted and payment.state in OPEN,
                method=payment.method,
            )
            row.attempts += 1
            row.asked_at = row.asked_at or now
            row.next_at = now + timedelta(seconds=min(FIRST_WAIT_S * 2 ** min(call.attempts, 12), LONGEST_WAIT_S))
            return call

    async def _ask(self, call: _Call) -> Seen | SeenRefund | None:
        match call.kind:
            case CallKind.AUTHORISE:
                return await self._authorise(call)
            case CallKind.CAPTURE | CallKind.CANCEL:
                return await self._finish(call)
            case CallKind.REFUND:
                return await self._refund(call)

    async def _authorise(self, call: _Call) -> Seen | None:
        if call.attempts or not call.still_wanted:
            found = await self._found(call)
            if found is not None:
                return found
        if not call.still_wanted:
            await self._nothing_came(call)
            return None
        try:
            seen = await self._gateway(call.method).authorise(call.wish, call.key)
        except Refused as refusal:
            async with self._db.transaction() as session:
                await cards.fail(session, call.payment_id, refusal.code, now=self._clock())
            return None
        await self._record(call.payment_id, seen)
        return seen

    async def _found(self, call: _Call) -> Seen | None:
        """What the gateway has of this attempt although its answer never reached us; the one that lives, if several."""
        found = await self._gateway(call.method).find(call.wish)
        for seen in sorted(found, key=lambda one: one.standing is Standing.CANCELLED):
            await self._record(call.payment_id, seen)
        return min(found, key=lambda one: one.standing is Standing.CANCELLED, default=None)

    async def _nothing_came(self, call: _Call) -> None:
        """The gateway knows nothing of the attempt. While a request of ours may be under way that proves nothing."""
        async with self._db.transaction() as session:
            asked_at = await session.scalar(
                select(GatewayCall.asked_at).where(
                    GatewayCall.payment_id == call.payment_id, GatewayCall.kind == CallKind.AUTHORISE
                )
            )
            own = call.kind is CallKind.AUTHORISE and call.attempts == 0
            if asked_at is not None and not own and self._clock() - asked_at < SURELY_ANSWERED:
                raise Unreachable("may_be_under_way", answered=False)
            await cards.fail(session, call.payment_id, cards.NEVER_BEGUN, now=self._clock())

    async def _finish(self, call: _Call) -> Seen | None:
        """Capture or cancel. A repeat looks first; a refusal is cleared up by looking."""
        if call.ref is None:
            found = await self._found(call)
            if found is None:
                await self._nothing_came(call)
                return None
            call_ref = found.ref
        else:
            call_ref = call.ref
        try:
            if call.attempts:
                seen = await self._gateway(call.method).fetch(call_ref)
                if seen.standing in (Standing.CAPTURED, Standing.CANCELLED):
                    return await self._finished(call, seen)
            if call.kind is CallKind.CAPTURE:
                seen = await self._gateway(call.method).capture(call_ref, call.amount_minor, call.key)
            else:
                seen = await self._gateway(call.method).cancel(call_ref, call.key)
        except Refused:
            seen = await self._gateway(call.method).fetch(call_ref)
            if seen.standing not in (Standing.CAPTURED, Standing.CANCELLED):
                await self._record(call.payment_id, seen)
                raise Unreachable("refused", answered=True) from None
        return await self._finished(call, seen)

    async def _finished(self, call: _Call, seen: Seen) -> Seen:
        async with self._db.transaction() as session:
            await cards.record(session, call.payment_id, seen, hold=self._hold, now=self._clock())
            if seen.standing in (Standing.CAPTURED, Standing.CANCELLED):
                await finish_calls(session, call.payment_id, call.kind, now=self._clock())
        return seen

    async def _refund(self, call: _Call) -> SeenRefund | None:
        if call.ref is None or call.refund_id is None:
            raise RuntimeError(f"a refund without a charge: call={call.id[:8]}")
        seen = await self._gateway(call.method).find_refund(call.ref, call.refund_id) if call.attempts else None
        if seen is None:
            try:
                seen = await self._gateway(call.method).refund(call.ref, call.refund_id, call.amount_minor, call.key)
            except Refused as refusal:
                async with self._db.transaction() as session:
                    await refund_records.fail_refund(session, call.refund_id, refusal.code, now=self._clock())
                return None
        await self._record_refund(call.refund_id, seen)
        return seen


def _due(
    column: InstrumentedAttribute[str], moment: InstrumentedAttribute[datetime | None], now: datetime
) -> Select[str]:
    return select(column).where(moment <= now).order_by(moment).limit(MOST_AT_ONCE)


async def _is_wanted(session: AsyncSession, payment: Payment, now: datetime) -> bool:
    """What the attempt is to pay is still to be had, or is to be paid in another way."""
    if payment.purchase_id is not None:
        return (await session.get_one(Purchase, payment.purchase_id)).state == "open"
    row = await session.get_one(Appointment, payment.appointment_id)
    if row.state != State.PENDING:
        return await insecure(session, row) is not None
    return row.hold_expires_at is None or now < row.hold_expires_at


def _wish(payment: Payment) -> Wish:
    return Wish(
        payment.id,
        payment.amount_minor,
        payment.currency,
        manual_capture=bool(payment.manual_capture),
        method_token=payment.method_token,
        created_at=payment.created_at,
    )
