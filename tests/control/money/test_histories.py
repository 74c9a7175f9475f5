"""Random histories of money: many sessions secured, ended, waived in many ways, with a bank that repeats itself.

Below the lifecycle and above the ledger: the functions that book (payments, cards, refund_records, refunds, credits)
are told what happens in random order and number, fifty histories per transaction of one SQLite file. The gateways'
own wire is test_cards.py's and test_razorpay.py's.
"""

import os
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control.appointment_moves import policy_of
from control.appointment_states import State
from control.database import Database, new_id
from control.models.appointments import Appointment
from control.models.money import GatewayCall, LedgerTransaction, Payment
from control.models.purchases import Purchase
from control.money import cards, credits, ledger, payments, purchases, refund_records, refunds
from control.money.gateway_work import CallKind, Destination
from control.money.gateways import RefundStanding, Seen, SeenRefund, Standing
from control.money.payments import Method, PaymentState
from control.money.policy import Outcome
from tests.helpers.practice import World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

HISTORIES = int(os.environ.get("HOLDSPACE_TEST_MONEY_HISTORIES", "200"))
PER_TRANSACTION = 50
HOLD = timedelta(minutes=10)
WAYS = (Method.WALLET, Method.CREDITS, Method.STRIPE, Method.STRIPE, Method.RAZORPAY)


@dataclass
class Bank:
    """What a gateway has done for each payment of ours; it tells each thing once or more often."""

    taken: dict[str, int] = field(default_factory=dict)
    given_back: dict[str, dict[str, int]] = field(default_factory=dict)

    def net(self, payment_id: str) -> int:
        return self.taken.get(payment_id, 0) - sum(self.given_back.get(payment_id, {}).values())

    def seen(self, payment: Payment, standing: Standing) -> Seen:
        if standing is Standing.CAPTURED:
            self.taken.setdefault(payment.id, payment.amount_minor)
        taken = self.taken.get(payment.id, 0)
        return Seen(f"at_{payment.id}", payment.id, standing, payment.amount_minor, taken, payment.currency)


@dataclass
class Story:
    world: World
    random: Random
    bank: Bank
    template: dict[str, Any]

    async def tell(self, session: AsyncSession, number: int) -> None:
        row = self._booked(number)
        session.add(row)
        await session.flush()
        method = self.random.choice(WAYS)
        secured = await self._secure(session, row, method)
        if secured is None:
            return
        outcome = self.random.choice(tuple(Outcome))
        to = self.random.choice((Destination.ORIGINAL, Destination.WALLET))
        for _ in range(self.random.randint(1, 2)):
            await payments.settle(session, row, outcome, policy_of(row), refund_to=to, now=self.world.clock())
        if self.random.random() < 0.5:
            await self._work(session, secured)
        waived = self.random.random() < 0.3
        for _ in range(2 if waived else 0):
            await refunds.waive(session, None, row.id, now=self.world.clock())
        await self._work(session, secured)
        await self._check(session, secured, row, waived=waived, outcome=outcome)

    def _booked(self, number: int) -> Appointment:
        start = self.world.clock() + timedelta(days=10, hours=2 * number)
        price = self.random.choice((100, 333, 4_999, 5_000, 25_000, self.random.randint(100, 25_000)))
        return Appointment(
            **self.template
            | {
                "id": new_id(),
                "starts_at": start,
                "ends_at": start + timedelta(minutes=50),
                "busy_from": start,
                "busy_until": start + timedelta(minutes=60),
                "hold_expires_at": self.world.clock() + HOLD,
                "price_minor": price,
                "platform_fee_bp": self.random.choice((0, 1_000, 1_234, 10_000)),
                "late_fee_bp": self.random.choice((0, 3_333, 5_000, 10_000)),
                "no_show_fee_bp": self.random.choice((0, 7_777, 10_000)),
                "booking_key": new_id(),
            }
        )

    async def _secure(self, session: AsyncSession, row: Appointment, method: Method) -> str | None:
        """The payment's id, if the session is paid."""
        now = self.world.clock()
        if method in (Method.WALLET, Method.CREDITS):
            row.state = State.SCHEDULED
            return (await payments.hold(session, row, method, now=now)).id
        payment = Payment(
            id=new_id(),
            appointment_id=row.id,
            payer_id=row.client_id,
            method=method,
            state=PaymentState.STARTING,
            amount_minor=row.price_minor,
            currency=row.currency,
            manual_capture=method is Method.STRIPE and self.random.random() < 0.7,
            created_at=now,
            changed_at=now,
        )
        session.add(payment)
        await session.flush()
        charged = Standing.AUTHORISED if payment.manual_capture else Standing.CAPTURED
        road = self.random.choice(
            ((charged,), (Standing.NEEDS_ACTION, charged), (Standing.WORKING, charged, charged), (Standing.CANCELLED,))
        )
        late = self.random.random() < 0.15
        if late:
            row.state = State.EXPIRED
            await session.flush()
        for standing in road:
            await cards.record(session, payment.id, self.bank.seen(payment, standing), hold=HOLD, now=now)
        await session.refresh(payment)
        if payment.state == PaymentState.HELD:
            return payment.id
        await self._work(session, payment.id)
        assert self.bank.net(payment.id) == 0, "money that came too late stayed here"
        return None

    async def _work(self, session: AsyncSession, payment_id: str) -> None:
        """The bank does what is due, and says so once or twice."""
        for _ in range(4):
            due = select(GatewayCall).where(GatewayCall.payment_id == payment_id, GatewayCall.done_at.is_(None))
            calls = (await session.scalars(due.execution_options(populate_existing=True))).all()
            if not calls:
                return
            for call in calls:
                for _ in range(self.random.randint(1, 2)):
                    await self._do(session, payment_id, call.kind, call.refund_id, call.amount_minor)

    async def _do(
        self, session: AsyncSession, payment_id: str, kind: str, refund_id: str | None, amount_minor: int
    ) -> None:
        payment = await session.get_one(Payment, payment_id, populate_existing=True)
        now = self.world.clock()
        if kind == CallKind.REFUND and refund_id is not None:
            self.bank.given_back.setdefault(payment_id, {})[refund_id] = amount_minor
            seen = SeenRefund(f"re_{refund_id}", refund_id, RefundStanding.SUCCEEDED, amount_minor)
            await refund_records.record_refund(session, refund_id, seen, now=now)
            return
        if kind == CallKind.CAPTURE:
            self.bank.taken.setdefault(payment_id, amount_minor)
        standing = Standing.CAPTURED if payment_id in self.bank.taken else Standing.CANCELLED
        await cards.record(session, payment_id, self.bank.seen(payment, standing), hold=HOLD, now=now)

    async def _check(
        self, session: AsyncSession, payment_id: str, row: Appointment, *, waived: bool, outcome: Outcome
    ) -> None:
        payment = await session.get_one(Payment, payment_id, populate_existing=True)
        kept = payment.kept_minor or 0
        assert kept + (payment.refunded_minor or 0) == payment.amount_minor
        assert (payment.fee_minor or 0) + (payment.earned_minor or 0) == kept
        if waived or outcome is Outcome.RELEASED:
            assert kept == 0, "a missed session, or one without its fee, costs nothing"
        if payment.method in (Method.STRIPE, Method.RAZORPAY):
            to_wallet = self.bank.net(payment_id) - kept  # what the client chose to have in the wallet instead
            assert to_wallet >= 0
            assert self.bank.taken.get(payment_id, 0) <= payment.amount_minor, "charged twice"


async def test_books_close_after_any_number_of_histories(world: World, db: Database) -> None:
    template, random, bank = await _prepared(world), Random(7), Bank()  # noqa: S311  to replay, not a secret
    story = Story(world, random, bank, template)
    for first in range(0, HISTORIES, PER_TRANSACTION):
        async with db.transaction() as session:
            for number in range(first, min(first + PER_TRANSACTION, HISTORIES)):
                await story.tell(session, number)
    assert await ledger.discrepancies(db) == []
    async with db.reading() as session:
        left = sum(one.value_left_minor for one in await session.scalars(select(Purchase)))
        assert await ledger.balance_of(session, ledger.escrow("EUR")) == left, "a hold was not released"
        assert await ledger.balance_of(session, ledger.escrow(ledger.CREDIT_UNIT)) == 0
        assert await ledger.balance_of(session, ledger.transit("EUR")) == 0
        at_bank = sum(bank.net(payment_id) for payment_id in bank.taken)
        assert await ledger.balance_of(session, ledger.gateway("EUR")) == -at_bank
        keys = [one.key for one in await session.scalars(select(LedgerTransaction))]
        assert len(keys) == len(set(keys))


async def _prepared(world: World) -> dict[str, Any]:
    """Bob has enough of everything; the columns of one booked session are the pattern of all."""
    now = world.clock()
    view = await world.book()
    await credits.set_offer(world.db, world.alice, world.service_id, 10, 33_337, now=now)
    (offer,) = await credits.offers(world.db)
    async with world.db.transaction() as session:
        for number in range(HISTORIES // 100 + 2):
            key = f"rich {number}"
            await payments.top_up(session, None, world.bob.person_id, 10_000_000, "EUR", key=key, now=now)
    for number in range(HISTORIES // 20 + 2):  # a fifth of the histories takes one of ten credits
        bought = await purchases.begin_credits(world.db, world.bob, offer.id, key=f"package {number}", now=now)
        await purchases.pay_from_wallet(world.db, world.bob, bought.id, now=now)
    async with world.db.reading() as session:
        row = await session.get_one(Appointment, view.id)
        return {column.key: getattr(row, column.key) for column in Appointment.__mapper__.column_attrs}
