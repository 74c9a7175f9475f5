"""The cashier: where payers stand. Begins attempts, goes on with them, and hears what gateways tell by themselves.

    pay, buy  1 row and key stored │ 2 gateway asked │ 3 answer booked      (calls.py)
    webhook   1 signature │ 2 object fetched │ 3 event id and its work, one transaction

One attempt at a time: who comes back with another way to pay has the one before called off first.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import party_of, session_facts
from control.appointment_queries import SessionView, view
from control.appointment_states import SLOT_HOLDING, State
from control.database import Database, insert_once, new_id
from control.errors import Conflict, Forbidden, Invalid, NotFound, Problem, Unavailable
from control.language import t
from control.lifecycle import Party
from control.models.appointments import Appointment
from control.models.money import GatewayCall, GatewayEvent, Payment
from control.money import cards, payments, purchases, refund_records
from control.money.calls import Calls
from control.money.gateway_work import CallKind, plan_abandonment, plan_call
from control.money.gateways import Event, Gateway, Refused, Seen, SeenRefund, Unreachable
from control.money.gateways.demo import DemoGateway
from control.money.payments import OPEN, Method, PaymentState
from control.notices.outbox import Notice, NoticeKind, enqueue

log = logging.getLogger(__name__)

MANUAL_CAPTURE_WITHIN = timedelta(days=6)  # a card's authorisation lasts 7 days; later starts are captured at once
AUTHORISED_FOR = timedelta(days=6, hours=12)  # and half a day to spare
PAYER_ASKS_FOR = timedelta(seconds=40)  # meanwhile the poller leaves a new attempt to the request that made it


@dataclass(frozen=True, slots=True)
class Till:
    """Where a payment by gateway stands, for the page. `client_secret` lets the payer's browser go on with it."""

    session: SessionView | None
    state: PaymentState | None
    """None: paid."""
    payment_id: str | None = None
    gateway_ref: str | None = None
    client_secret: str | None = None
    failure_code: str | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """What is being paid, and how."""

    appointment_id: str | None
    purchase_id: str | None
    method: Method
    token: str | None


class Cashier:
    def __init__(
        self,
        db: Database,
        gateways: Mapping[Method, Gateway],
        clock: Callable[[], datetime],
        *,
        hold: timedelta = timedelta(minutes=10),
    ) -> None:
        self._db = db
        self._gateways = dict(gateways)
        self._clock = clock
        self._hold = hold
        self.calls = Calls(db, self._gateways, clock, hold=hold)

    @property
    def methods(self) -> tuple[Method, ...]:
        """The gateways that are configured, in the order pages offer them."""
        return tuple(self._gateways)

    async def close(self) -> None:
        for gateway in self._gateways.values():
            await gateway.close()

    async def run_once(self, now: datetime) -> int:
        """One round of the poller, see calls.py."""
        return await self.calls.run_once(now)

    # -- paying --------------------------------------------------------------------------------------------------

    async def pay(
        self, actor: Actor, appointment_id: str, method: Method, token: str | None = None, *, now: datetime
    ) -> Till:
        """Begin, or go on with, the one open attempt at a session. With `token` the card is tried at once.

        Raises Conflict("hold_expired" | "not_payable"), Problem("card_refused", 402) and Unavailable: then the
        attempt is stored, and paying again finds out what became of it.
        """
        return await self._pay(actor, _Order(appointment_id, None, method, token), now)

    async def buy(
        self, actor: Actor, purchase_id: str, method: Method, token: str | None = None, *, now: datetime
    ) -> Till:
        """The same for a purchase."""
        return await self._pay(actor, _Order(None, purchase_id, method, token), now)

    async def _pay(self, actor: Actor, order: _Order, now: datetime) -> Till:
        if order.method not in self._gateways:
            raise Invalid("payment_method_invalid", "This can't be paid in this way.")
        try:
            payment_id, in_the_way = await self._begin(actor, order, now)
            if in_the_way is not None:
                await self._call_off(in_the_way)
                payment_id, in_the_way = await self._begin(actor, order, now)
                if in_the_way is not None:
                    raise Unreachable("still_open", answered=False)
            if payment_id is None:
                return await self._till(actor, order, None, None)
            secret = await self._go_on(payment_id)
        except Unreachable as error:
            log.warning("gateway not reached method=%s code=%s", order.method, error.code)
            detail = t("The bank has not answered yet. Nothing is lost: try again in a moment.")
            raise Unavailable("gateway_unreachable", detail, retry_after_s=5) from None
        return await self._till(actor, order, payment_id, secret)

    async def look(self, actor: Actor, payment_id: str, *, now: datetime) -> Till:
        """How the payer's attempt stands now, asked at its gateway. Raises NotFound for anybody else's."""
        async with self._db.reading() as session:
            payment = await session.get(Payment, payment_id)
            if payment is None or payment.payer_id != actor.person_id:
                raise NotFound
        try:
            if payment.method in self._gateways:
                await self.calls.look(payment_id, now)
        except Unreachable:
            raise Unavailable("gateway_unreachable", "Try again in a moment.", retry_after_s=5) from None
        order = _Order(payment.appointment_id, payment.purchase_id, Method(payment.method), None)
        return await self._till(actor, order, payment_id, None)

    async def _begin(self, actor: Actor, order: _Order, now: datetime) -> tuple[str | None, str | None]:
        """The attempt to go on with, made if there is none, or one of another way that is in the way. Neither: paid."""
        async with self._db.transaction() as session:
            fresh = (
                await self._for_session(session, actor, order, now)
                if order.appointment_id is not None
                else await self._for_purchase(session, actor, order, now)
            )
            if fresh is None:
                return None, None
            found = await session.scalar(
                select(Payment).where(
                    Payment.appointment_id == order.appointment_id
                    if order.appointment_id is not None
                    else Payment.purchase_id == order.purchase_id,
                    Payment.state.in_(OPEN),
                )
            )
            if found is not None and found.method != order.method:
                await plan_abandonment(session, found, now=now)
                return None, found.id
            if found is not None:
                return found.id, None
            session.add(fresh)
            await session.flush()
            await plan_call(session, fresh, CallKind.AUTHORISE, fresh.amount_minor, now=now + PAYER_ASKS_FOR)
            return fresh.id, None

    async def _for_session(self, session: AsyncSession, actor: Actor, order: _Order, now: datetime) -> Payment | None:
        row = await session.get(Appointment, order.appointment_id, with_for_update=True, populate_existing=True)
        if row is None:
            raise NotFound
        if party_of(actor, row) is not Party.CLIENT:
            raise Forbidden("not_client", "The client pays for this session.")
        if row.state != State.PENDING:
            if await payments.insecure(session, row) is not None:
                return _attempt(order, row.client_id, row.price_minor, row.currency, now)  # taken at once
            if row.state in SLOT_HOLDING:
                return None
            raise Conflict("not_payable", "There is nothing to pay for this session any more.", status_now=row.state)
        if row.hold_expires_at is not None and row.hold_expires_at <= now:
            raise Conflict("hold_expired", "This time is no longer held for you. Choose it once more.")
        if row.price_minor == 0:
            raise Invalid("payment_method_invalid", "This session can't be paid in this way.")
        fresh = _attempt(order, row.client_id, row.price_minor, row.currency, now)
        fresh.manual_capture = order.method is not Method.RAZORPAY and row.starts_at - now <= MANUAL_CAPTURE_WITHIN
        return fresh

    async def _for_purchase(self, session: AsyncSession, actor: Actor, order: _Order, now: datetime) -> Payment | None:
        purchase = await purchases.locked(session, order.purchase_id or "")
        if purchase.person_id != actor.person_id:
            raise NotFound
        if purchase.state != "open":
            return None
        return _attempt(order, purchase.person_id, purchase.amount_minor, purchase.currency, now)

    async def _call_off(self, payment_id: str) -> None:
        """The attempt of another way, at once; if it was paid meanwhile, that counts."""
        async with self._db.reading() as session:
            call_id = await session.scalar(
                select(GatewayCall.id).where(
                    GatewayCall.payment_id == payment_id,
                    GatewayCall.kind == CallKind.CANCEL,
                    GatewayCall.done_at.is_(None),
                )
            )
        if call_id is not None:
            await self.calls.do(call_id)

    async def _go_on(self, payment_id: str) -> str | None:
        """Make the attempt's first call, or look how it stands. The client secret, where there is one."""
        async with self._db.reading() as session:
            call_id = await session.scalar(
                select(GatewayCall.id).where(
                    GatewayCall.payment_id == payment_id,
                    GatewayCall.kind == CallKind.AUTHORISE,
                    GatewayCall.done_at.is_(None),
                )
            )
        seen = await self.calls.do(call_id) if call_id else await self.calls.look(payment_id, self._clock())
        capture_id = await self._capture_to_make(payment_id)
        if capture_id is not None:
            await self.calls.do(capture_id)
        return seen.client_secret if isinstance(seen, Seen) else None

    async def _capture_to_make(self, payment_id: str) -> str | None:
        """What was promised only, although it is to be taken at once."""
        async with self._db.reading() as session:
            found: str | None = await session.scalar(
                select(GatewayCall.id)
                .join(Payment, Payment.id == GatewayCall.payment_id)
                .where(
                    GatewayCall.payment_id == payment_id,
                    GatewayCall.kind == CallKind.CAPTURE,
                    GatewayCall.done_at.is_(None),
                    Payment.state.in_(OPEN),
                )
            )
            return found

    async def _till(self, actor: Actor, order: _Order, payment_id: str | None, secret: str | None) -> Till:
        async with self._db.reading() as session:
            seen = await view(session, actor, order.appointment_id) if order.appointment_id is not None else None
            payment = await session.get_one(Payment, payment_id) if payment_id else None
            again = await _paid_again(session, payment)
        bought = await purchases.get_for(self._db, actor, order.purchase_id) if order.purchase_id is not None else None
        if bought is not None and bought.state == "paid":
            return Till(None, None, payment_id)
        if seen is not None and not again and (payment is None or seen.state is not State.PENDING):
            if seen.state in SLOT_HOLDING:
                return Till(seen, None, payment_id)
            raise Conflict("hold_expired", "This time is no longer held for you. You get your money back.")
        if payment is None:
            raise Conflict("not_payable", "There is nothing to pay here any more.")
        state = PaymentState(payment.state)
        if state is PaymentState.FAILED:
            raise Problem(
                "card_refused",
                "The payment was not accepted. Nothing was charged; try again or pay in another way.",
                title="The payment did not work",
                status=402,
                failure_code=payment.failure_code,
            )
        if state not in OPEN:
            raise Conflict("hold_expired", "This time is no longer held for you. You get your money back.")
        return Till(seen, state, payment.id, payment.gateway_ref, secret, payment.failure_code)

    async def answer_test_bank(self, actor: Actor, payment_id: str, *, approve: bool) -> None:
        """The imitated bank of the test gateway asks its payer. Raises NotFound where there is none."""
        gateway = self._gateways.get(Method.DEMO)
        async with self._db.reading() as session:
            payment = await session.get(Payment, payment_id)
        if (
            not isinstance(gateway, DemoGateway)
            or payment is None
            or payment.payer_id != actor.person_id
            or payment.method != Method.DEMO
            or payment.gateway_ref is None
        ):
            raise NotFound
        await gateway.answer(payment.gateway_ref, approve=approve)

    def verify_razorpay_return(self, order_ref: str, payment_ref: str, signature: str) -> None:
        """Raises NotFound without Razorpay, Forged."""
        gateway: Any = self._gateways.get(Method.RAZORPAY)
        if gateway is None:
            raise NotFound
        gateway.verify_return(order_ref, payment_ref, signature)

    async def keep_until(self, appointment_id: str, until: datetime) -> None:
        """Before a session moves: an authorisation that would lapse before `until` is captured into escrow now.

        Raises Conflict("payment_would_lapse") if the bank refuses: the client is told, and may pay in another way.
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
                await self.calls.do(call_id)
        except Unreachable as error:
            log.warning("capture before a move failed payment=%s code=%s", payment_id[:8], error.code)
        if await self._ask_for_another_way(payment_id):
            detail = t(
                "The card's bank won't hold the money until then, so the session stays where it is and the request"
                " open. The client has been asked for another way to pay; after that it can be accepted."
            )
            raise Conflict("payment_would_lapse", detail)

    async def _ask_for_another_way(self, payment_id: str) -> bool:
        """False: what the bank was asked for is in escrow after all. Told once, however often somebody accepts."""
        now = self._clock()
        async with self._db.transaction() as session:
            row, payment = await cards.locked(session, payment_id)
            if payment.captured_minor is not None or not isinstance(row, Appointment):
                return False
            told = payment.failure_code == payments.WOULD_LAPSE
            if payment.state == PaymentState.HELD:
                payment.failure_code, payment.changed_at = payments.WOULD_LAPSE, now
                await session.flush()
            if not told:
                about = await session_facts(session, row, amount_minor=payment.amount_minor)
                extra = {"service_id": row.service_id, "would_lapse": True}
                await enqueue(session, Notice(NoticeKind.PAYMENT_FAILED, row.client_id, about, extra), now=now)
        return True

    # -- webhooks ------------------------------------------------------------------------------------------------

    async def webhook(self, method: Method, raw: bytes, headers: Mapping[str, str], *, now: datetime) -> bool:
        """True if this event was new. Raises NotFound, Forged, and Unreachable: then the gateway sends it again."""
        gateway = self._gateways.get(method)
        if gateway is None:
            raise NotFound
        event = gateway.verify_webhook(raw, headers)
        event_id = f"{method}:{event.id}"
        async with self._db.reading() as session:
            if await session.get(GatewayEvent, event_id) is not None:
                return False
        seen, refund = await _fetched(gateway, event)
        async with self._db.transaction() as session:
            values = {"id": event_id, "kind": event.kind, "received_at": now}
            if not await insert_once(session, GatewayEvent, values):
                return False
            if seen is not None:
                payment_id = await _payment_of(session, seen.ref, seen.payment_id, method)
                if payment_id is not None:
                    await cards.record(session, payment_id, seen, hold=self._hold, now=now)
            if refund is not None and refund.refund_id is not None:
                await refund_records.record_refund(session, refund.refund_id, refund, now=now)
        return True

    async def returned(self, ref: str, *, now: datetime) -> str | None:
        """The payer has come back from a gateway's own page: look at once. The payment's id, if it is one of ours.

        `ref` is the gateway's, or that id itself: who was refused brings no word of the gateway's.
        """
        ours = or_(Payment.gateway_ref == ref, Payment.id == ref)
        async with self._db.reading() as session:
            payment_id: str | None = await session.scalar(select(Payment.id).where(ours))
        if payment_id is not None:
            try:
                await self.calls.look(payment_id, now)
            except Unreachable as error:
                log.warning("gateway not reached payment=%s code=%s", payment_id[:8], error.code)
        return payment_id


async def _fetched(gateway: Gateway, event: Event) -> tuple[Seen | None, SeenRefund | None]:
    """What the event is about, as it is now; nothing for what the gateway doesn't know."""
    try:
        seen = await gateway.fetch(event.attempt_ref) if event.attempt_ref else None
        refund = await gateway.fetch_refund(event.refund_ref) if event.refund_ref else None
    except Refused as refusal:
        log.warning("webhook about something unknown kind=%s code=%s", event.kind, refusal.code)
        return None, None
    return seen, refund


async def _payment_of(session: AsyncSession, ref: str, payment_id: str | None, method: Method) -> str | None:
    known: str | None = await session.scalar(select(Payment.id).where(Payment.gateway_ref == ref))
    if known is None and payment_id is not None:
        known = await session.scalar(select(Payment.id).where(Payment.id == payment_id, Payment.method == method))
    return known


def _attempt(order: _Order, payer_id: str, amount_minor: int, currency: str, now: datetime) -> Payment:
    return Payment(
        id=new_id(),
        appointment_id=order.appointment_id,
        purchase_id=order.purchase_id,
        payer_id=payer_id,
        method=order.method,
        state=PaymentState.STARTING,
        amount_minor=amount_minor,
        currency=currency,
        method_token=order.token,
        manual_capture=False,
        created_at=now,
        changed_at=now,
    )


async def _paid_again(session: AsyncSession, payment: Payment | None) -> bool:
    """An attempt at a session whose first payment did not stay secure."""
    if payment is None or payment.appointment_id is None or payment.state not in (*OPEN, PaymentState.FAILED):
        return False
    other = await payments.insecure(session, await session.get_one(Appointment, payment.appointment_id))
    return other is not None and other.id != payment.id
