"""The cashier: asks the gateway for what the rows say is to be done, and has the answer booked (cards.py).

    pay      1 row and key stored │ 2 gateway asked │ 3 answer booked
    webhook  1 signature │ 2 object fetched │ 3 event id and its work, one transaction
    run_once what is due: calls not done, attempts and refunds nobody has reported on

A crash after 1 leaves a call to be made, after 2 one to be looked up: `run_once` does either, so nothing is charged
twice and nothing is lost. A call made before is never repeated without looking first. No transaction is open while a
gateway is asked.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from control.accounts import Actor
from control.appointment_moves import party_of
from control.appointment_queries import SessionView, view
from control.appointment_states import SLOT_HOLDING, State
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, Invalid, NotFound, Problem, Unavailable
from control.lifecycle import Party
from control.models.appointments import Appointment
from control.models.money import GatewayCall, GatewayEvent, Payment, Refund
from control.money import cards
from control.money.gateway_work import CallKind, finish_calls, insert_once, new_key, plan_call
from control.money.gateways import Gateway, Refused, Seen, SeenRefund, Standing, Unreachable, Wish
from control.money.payments import OPEN, Method, PaymentState

log = logging.getLogger(__name__)

MANUAL_CAPTURE_WITHIN = timedelta(days=6)  # a card's authorisation lasts 7 days; later starts are captured at once
AUTHORISED_FOR = timedelta(days=6, hours=12)  # and half a day to spare
PAYER_ASKS_FOR = timedelta(seconds=40)  # meanwhile the poller leaves a new attempt to the request that made it
SURELY_ANSWERED = timedelta(minutes=2)  # no request of ours is under way for longer; three times its time-out
FIRST_WAIT_S, LONGEST_WAIT_S = 10, 3600
MOST_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Till:
    """Where a payment by card stands, for the page. `client_secret` lets the payer's browser go on with it."""

    session: SessionView
    state: PaymentState | None
    client_secret: str | None = None
    failure_code: str | None = None


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
    first_asked_at: datetime | None
    wish: Wish
    still_wanted: bool


class Cashier:
    def __init__(
        self,
        db: Database,
        gateway: Gateway,
        clock: Callable[[], datetime],
        *,
        hold: timedelta = timedelta(minutes=10),
        method: Method = Method.STRIPE,
    ) -> None:
        self._db = db
        self._gateway = gateway
        self._clock = clock
        self._hold = hold
        self._method = method

    async def close(self) -> None:
        await self._gateway.close()

    # -- paying --------------------------------------------------------------------------------------------------

    async def pay(self, actor: Actor, appointment_id: str, token: str | None, *, now: datetime) -> Till:
        """Begin, or go on with, the one open attempt. With `token` the card is tried at once.

        Raises Conflict("hold_expired" | "not_payable"), Problem("card_refused", 402) and Unavailable: then the
        attempt is stored, and paying again finds out what became of it.
        """
        payment_id = await self._begin(actor, appointment_id, token, now)
        if payment_id is None:
            return await self._till(actor, appointment_id, None, None)
        try:
            secret = await self._go_on(payment_id)
        except Unreachable as error:
            log.warning("gateway not reached payment=%s code=%s", payment_id[:8], error.code)
            detail = "The bank has not answered yet. Nothing is lost: try again in a moment."
            raise Unavailable("gateway_unreachable", detail, retry_after_s=5) from None
        return await self._till(actor, appointment_id, payment_id, secret)

    async def _begin(self, actor: Actor, appointment_id: str, token: str | None, now: datetime) -> str | None:
        """The open attempt's id, made if there is none; None if the session is paid."""
        async with self._db.transaction() as session:
            row = await session.get(Appointment, appointment_id, with_for_update=True, populate_existing=True)
            if row is None:
                raise NotFound
            if party_of(actor, row) is not Party.CLIENT:
                raise Forbidden("not_client", "The client pays for this session.")
            if row.state != State.PENDING:
                if row.state in SLOT_HOLDING:
                    return None
                raise Conflict(
                    "not_payable", "There is nothing to pay for this session any more.", status_now=row.state
                )
            if row.hold_expires_at is not None and row.hold_expires_at <= now:
                raise Conflict("hold_expired", "This time is no longer held for you. Choose it once more.")
            if row.price_minor == 0:
                raise Invalid("payment_method_invalid", "This session can't be paid in this way.")
            found: str | None = await session.scalar(
                select(Payment.id).where(Payment.appointment_id == row.id, Payment.state.in_(OPEN))
            )
            return found or await self._new_attempt(session, row, token, now)

    async def _new_attempt(self, session: AsyncSession, row: Appointment, token: str | None, now: datetime) -> str:
        payment = Payment(
            id=new_id(),
            appointment_id=row.id,
            payer_id=row.client_id,
            method=self._method,
            state=PaymentState.STARTING,
            amount_minor=row.price_minor,
            currency=row.currency,
            method_token=token,
            manual_capture=row.starts_at - now <= MANUAL_CAPTURE_WITHIN,
            created_at=now,
            changed_at=now,
        )
        session.add(payment)
        await session.flush()
        await plan_call(session, payment, CallKind.AUTHORISE, row.price_minor, now=now + PAYER_ASKS_FOR)
        return payment.id

    async def _go_on(self, payment_id: str) -> str | None:
        """Make the attempt's first call, or look how it stands. The client secret, where there is one."""
        async with self._db.reading() as session:
            payment = await session.get_one(Payment, payment_id)
            call_id = await session.scalar(
                select(GatewayCall.id).where(
                    GatewayCall.payment_id == payment_id,
                    GatewayCall.kind == CallKind.AUTHORISE,
                    GatewayCall.done_at.is_(None),
                )
            )
        if call_id is not None:
            seen = await self._do(call_id)
            return seen.client_secret if isinstance(seen, Seen) else None
        if payment.gateway_ref is None:
            return None
        found = await self._gateway.fetch(payment.gateway_ref)
        await self._record(payment_id, found)
        return found.client_secret

    async def _till(self, actor: Actor, appointment_id: str, payment_id: str | None, secret: str | None) -> Till:
        async with self._db.reading() as session:
            seen = await view(session, actor, appointment_id)
            payment = await session.get_one(Payment, payment_id) if payment_id else None
        if payment is None or seen.state is not State.PENDING:
            if seen.state in SLOT_HOLDING:
                return Till(seen, None)
            raise Conflict("hold_expired", "This time is no longer held for you. You get your money back.")
        state = PaymentState(payment.state)
        if state is PaymentState.FAILED:
            raise Problem(
                "card_refused",
                "The card was not accepted. Nothing was charged; try again or take another card.",
                title="The payment did not work",
                status=402,
                failure_code=payment.failure_code,
            )
        if state not in OPEN:
            raise Conflict("hold_expired", "This time is no longer held for you. You get your money back.")
        return Till(seen, state, secret, payment.failure_code)

    async def keep_until(self, appointment_id: str, until: datetime) -> None:
        """Before a session moves: an authorisation that would lapse before `until` is captured into escrow now.

        Raises Conflict("payment_would_lapse") if the bank refuses; what it has taken meanwhile is in escrow anyway.
        """
        async with self._db.transaction() as session:
            payment = await session.scalar(
                select(Payment).where(
                    Payment.appointment_id == appointment_id,
                    Payment.state == PaymentState.HELD,
                    Payment.manual_capture.is_(True),
                    Payment.captured_minor.is_(None),
                )
            )
            if payment is None or until <= payment.created_at + AUTHORISED_FOR:
                return
            await plan_call(session, payment, CallKind.CAPTURE, payment.amount_minor, now=self._clock())
            call_id = await session.scalar(
                select(GatewayCall.id).where(GatewayCall.payment_id == payment.id, GatewayCall.kind == CallKind.CAPTURE)
            )
            payment_id = payment.id
        try:
            if call_id is not None:
                await self._do(call_id)
        except Unreachable as error:
            log.warning("capture before a move failed payment=%s code=%s", payment_id[:8], error.code)
        async with self._db.reading() as session:
            if (await session.get_one(Payment, payment_id)).captured_minor is None:
                detail = (
                    "The card's bank has not agreed to hold the money so long. The client is asked to pay another way."
                )
                raise Conflict("payment_would_lapse", detail)

    # -- webhooks ------------------------------------------------------------------------------------------------

    async def webhook(self, raw: bytes, signature: str | None, *, now: datetime) -> bool:
        """True if this event was new. Raises Forged, and Unreachable: then the gateway sends it again."""
        event = self._gateway.verify_webhook(raw, signature)
        async with self._db.reading() as session:
            if await session.get(GatewayEvent, event.id) is not None:
                return False
        seen = await self._gateway.fetch(event.attempt_ref) if event.attempt_ref else None
        refund = await self._gateway.fetch_refund(event.refund_ref) if event.refund_ref else None
        async with self._db.transaction() as session:
            values = {"id": event.id, "kind": event.kind, "received_at": now}
            if not await insert_once(session, GatewayEvent, values):
                return False
            if seen is not None:
                payment_id = await self._payment_of(session, seen)
                if payment_id is not None:
                    await cards.record(session, payment_id, seen, hold=self._hold, now=now)
            if refund is not None and refund.refund_id is not None:
                await cards.record_refund(session, refund.refund_id, refund, now=now)
        return True

    async def _payment_of(self, session: AsyncSession, seen: Seen) -> str | None:
        known: str | None = await session.scalar(select(Payment.id).where(Payment.gateway_ref == seen.ref))
        if known is None and seen.payment_id is not None:
            known = await session.scalar(select(Payment.id).where(Payment.id == seen.payment_id))
        return known

    # -- what is due ---------------------------------------------------------------------------------------------

    async def run_once(self, now: datetime) -> int:
        """One round of the poller; how much was due. One that fails is logged and waits longer; the others go on."""
        async with self._db.reading() as session:
            calls = (await session.scalars(_due(GatewayCall.id, GatewayCall.next_at, now))).all()
            attempts = (await session.scalars(_due(Payment.id, Payment.check_at, now))).all()
            refunds = (await session.scalars(_due(Refund.id, Refund.check_at, now))).all()
        for call_id in calls:
            await self._quietly(self._do(call_id), "call", call_id)
        for payment_id in attempts:
            await self._quietly(self._look(payment_id, now), "payment", payment_id)
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

    async def _look(self, payment_id: str, now: datetime) -> None:
        async with self._db.transaction() as session:
            ref: str | None = await session.scalar(select(Payment.gateway_ref).where(Payment.id == payment_id))
            await session.execute(
                update(Payment).where(Payment.id == payment_id).values(check_at=now + cards.CHECK_OPEN)
            )
        if ref is not None:
            await self._record(payment_id, await self._gateway.fetch(ref))

    async def _look_at_refund(self, refund_id: str, now: datetime) -> None:
        async with self._db.transaction() as session:
            ref: str | None = await session.scalar(select(Refund.gateway_ref).where(Refund.id == refund_id))
            await session.execute(
                update(Refund).where(Refund.id == refund_id).values(check_at=now + cards.CHECK_REFUND)
            )
        if ref is not None:
            await self._record_refund(refund_id, await self._gateway.fetch_refund(ref))

    async def _record(self, payment_id: str, seen: Seen) -> None:
        async with self._db.transaction() as session:
            await cards.record(session, payment_id, seen, hold=self._hold, now=self._clock())

    async def _record_refund(self, refund_id: str, seen: SeenRefund) -> None:
        async with self._db.transaction() as session:
            await cards.record_refund(session, refund_id, seen, now=self._clock())

    # -- one call ------------------------------------------------------------------------------------------------

    async def _do(self, call_id: str) -> Seen | SeenRefund | None:
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
            appointment = await session.get_one(Appointment, payment.appointment_id)
            call = _Call(
                id=row.id,
                kind=CallKind(row.kind),
                payment_id=payment.id,
                refund_id=row.refund_id,
                ref=payment.gateway_ref,
                amount_minor=row.amount_minor,
                key=row.idempotency_key,
                attempts=row.attempts,
                first_asked_at=row.asked_at,
                wish=_wish(payment),
                still_wanted=_still_held(appointment, now) and payment.state in OPEN,
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
            seen = await self._gateway.authorise(call.wish, call.key)
        except Refused as refusal:
            async with self._db.transaction() as session:
                await cards.fail(session, call.payment_id, refusal.code, now=self._clock())
            return None
        await self._record(call.payment_id, seen)
        return seen

    async def _found(self, call: _Call) -> Seen | None:
        """What the gateway has of this attempt although its answer never reached us; the one that lives, if several."""
        found = await self._gateway.find(call.wish)
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
            await cards.fail(session, call.payment_id, "never_begun", now=self._clock())

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
                seen = await self._gateway.fetch(call_ref)
                if seen.standing in (Standing.CAPTURED, Standing.CANCELLED):
                    return await self._finished(call, seen)
            if call.kind is CallKind.CAPTURE:
                seen = await self._gateway.capture(call_ref, call.amount_minor, call.key)
            else:
                seen = await self._gateway.cancel(call_ref, call.key)
        except Refused:
            seen = await self._gateway.fetch(call_ref)
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
        seen = await self._gateway.find_refund(call.ref, call.refund_id) if call.attempts else None
        if seen is None:
            try:
                seen = await self._gateway.refund(call.ref, call.refund_id, call.amount_minor, call.key)
            except Refused as refusal:
                async with self._db.transaction() as session:
                    await cards.fail_refund(session, call.refund_id, refusal.code, now=self._clock())
                return None
        await self._record_refund(call.refund_id, seen)
        return seen


def _due(
    column: InstrumentedAttribute[str], moment: InstrumentedAttribute[datetime | None], now: datetime
) -> Select[str]:
    return select(column).where(moment <= now).order_by(moment).limit(MOST_AT_ONCE)


def _still_held(row: Appointment, now: datetime) -> bool:
    return row.state == State.PENDING and (row.hold_expires_at is None or now < row.hold_expires_at)


def _wish(payment: Payment) -> Wish:
    return Wish(
        payment.id,
        payment.amount_minor,
        payment.currency,
        manual_capture=bool(payment.manual_capture),
        method_token=payment.method_token,
        created_at=payment.created_at,
    )
