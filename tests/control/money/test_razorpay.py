"""Razorpay's own library against a server that imitates its API: orders, signatures, webhooks, refunds, faults."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from control import appointments
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.errors import Unavailable
from control.models.money import Payment, Refund
from control.money import ledger
from control.money.cashier import Cashier, Till
from control.money.gateways import Forged
from control.money.gateways.razorpay import RazorpayGateway
from control.money.payments import Method, PaymentState
from tests.helpers.books import books_of
from tests.helpers.practice import World
from tests.helpers.razorpay_server import KEY_ID, KEY_SECRET, WEBHOOK_SECRET, RazorpayServer
from tests.helpers.stand_in import serving
from tests.helpers.stripe_server import Fault


@dataclass
class Shop:
    world: World
    razorpay: RazorpayServer
    cashier: Cashier

    async def pay(self, view: SessionView) -> Till:
        return await self.cashier.pay(self.world.bob, view.id, Method.RAZORPAY, now=self.world.clock())

    async def poll(self, rounds: int = 3) -> None:
        for _ in range(rounds):
            self.world.clock.forward(minutes=3)
            await self.cashier.run_once(self.world.clock())

    async def hear(self, event: dict[str, Any]) -> bool:
        raw, headers = self.razorpay.signed(event)
        return await self.cashier.webhook(Method.RAZORPAY, raw, headers, now=self.world.clock())

    async def state(self, view: SessionView) -> State:
        return (await appointments.get_for(self.world.db, self.world.bob, view.id)).state

    async def payments(self) -> list[str]:
        async with self.world.db.reading() as session:
            return sorted(one.state for one in await session.scalars(select(Payment)))

    async def books_balance(self) -> None:
        assert await ledger.discrepancies(self.world.db) == []
        async with self.world.db.reading() as session:
            assert await ledger.balance_of(session, ledger.gateway("EUR")) == -self.razorpay.net_minor
            assert await ledger.balance_of(session, ledger.transit("EUR")) == 0


@pytest_asyncio.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    async with serving(RazorpayServer()) as razorpay:
        gateway = RazorpayGateway(KEY_ID, KEY_SECRET, WEBHOOK_SECRET, api_base=razorpay.base, timeout_s=0.5)
        yield Shop(world, razorpay, Cashier(world.db, {Method.RAZORPAY: gateway}, world.clock))
        await gateway.close()


async def begun(shop: Shop) -> tuple[SessionView, str]:
    view = await shop.world.book()
    till = await shop.pay(view)
    assert (till.state, till.gateway_ref) == (PaymentState.REQUIRES_ACTION, next(iter(shop.razorpay.orders)))
    return view, till.gateway_ref or ""


@pytest.mark.parametrize("told_by", ["webhook", "page", "poller"])
async def test_paid_order_schedules_whoever_tells_of_it(shop: Shop, told_by: str) -> None:
    view, order = await begun(shop)
    back = shop.razorpay.pay(order)
    match told_by:
        case "webhook":
            assert [await shop.hear(shop.razorpay.events[-1]) for _ in range(2)] == [True, False]
        case "page":
            shop.cashier.verify_razorpay_return(*back.values())
            await shop.cashier.returned(order, now=shop.world.clock())
        case _:
            await shop.poll(1)
    assert await shop.state(view) is State.SCHEDULED
    await shop.books_balance()


async def test_refused_payer_may_pay_the_same_order_again(shop: Shop) -> None:
    view, order = await begun(shop)
    shop.razorpay.pay(order, works=False)
    await shop.hear(shop.razorpay.events[-1])
    assert await shop.state(view) is State.PENDING
    assert (await shop.pay(view)).gateway_ref == order
    shop.razorpay.pay(order)
    await shop.hear(shop.razorpay.events[-1])
    assert await shop.state(view) is State.SCHEDULED
    await shop.books_balance()


async def test_forged_messages_change_nothing(shop: Shop) -> None:
    _, order = await begun(shop)
    back = shop.razorpay.pay(order)
    before = await books_of(shop.world.db)
    raw, headers = shop.razorpay.signed(shop.razorpay.events[-1])
    wrong = shop.razorpay.signed(shop.razorpay.events[-1], secret="another")[1]
    for body, sent in (
        (raw + b" ", headers),
        (raw, wrong),
        (raw, {}),
        (b"", headers),
        (raw, {**headers, "X-Razorpay-Signature": "é"}),
    ):
        with pytest.raises(Forged):
            await shop.cashier.webhook(Method.RAZORPAY, body, sent, now=shop.world.clock())
    for signature in ("", "0" * 64, back["razorpay_signature"][:-1]):
        with pytest.raises(Forged):
            shop.cashier.verify_razorpay_return(order, back["razorpay_payment_id"], signature)
    assert await books_of(shop.world.db) == before


@pytest.mark.parametrize(
    "fault", [Fault.LOST_BEFORE, Fault.LOST_AFTER, Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.SILENT]
)
async def test_fault_while_ordering_makes_one_order_that_is_paid_once(shop: Shop, fault: Fault) -> None:
    view = await shop.world.book()
    shop.razorpay.faults.append(fault)
    with pytest.raises(Unavailable):
        await shop.pay(view)
    shop.world.clock.forward(minutes=1)
    till = await shop.pay(view)
    assert len(shop.razorpay.orders) == 1
    shop.razorpay.pay(till.gateway_ref or "")
    await shop.poll(1)
    assert await shop.state(view) is State.SCHEDULED
    assert await shop.payments() == ["held"]
    await shop.books_balance()


@pytest.mark.parametrize(
    "fault", [Fault.NONE, Fault.LOST_BEFORE, Fault.LOST_AFTER, Fault.ERROR_BEFORE, Fault.ERROR_AFTER]
)
async def test_late_cancelling_refunds_its_part_once(shop: Shop, fault: Fault) -> None:
    view, order = await begun(shop)
    shop.razorpay.pay(order)
    await shop.poll(1)
    shop.razorpay.faults.append(fault)
    await appointments.cancel(shop.world.db, shop.world.bob, view.id, now=shop.world.clock())
    await shop.poll(4)
    assert [one["amount"] for one in shop.razorpay.refunds.values()] == [2_500]
    assert shop.razorpay.net_minor == 2_500
    await shop.books_balance()


async def test_refund_that_fails_later_is_owed_again(shop: Shop) -> None:
    view, order = await begun(shop)
    shop.razorpay.pay(order)
    await shop.poll(1)
    shop.razorpay.refunds_wait = True
    await appointments.cancel(shop.world.db, shop.world.alice, view.id, now=shop.world.clock())
    await shop.poll(2)
    (refund_id,) = shop.razorpay.refunds
    shop.razorpay.settle_refund(refund_id, "failed")
    await shop.hear(shop.razorpay.events[-1])
    async with shop.world.db.reading() as session:
        assert [one.state for one in await session.scalars(select(Refund))] == ["failed"]
        assert await ledger.balance_of(session, ledger.transit("EUR")) == 5_000
    assert await ledger.discrepancies(shop.world.db) == []


async def test_order_paid_after_the_hold_is_given_back(shop: Shop) -> None:
    view, order = await begun(shop)
    shop.world.clock.now += timedelta(minutes=11)
    await appointments.catch_up(shop.world.db, view.id, now=shop.world.clock())
    await shop.poll(1)
    shop.razorpay.pay(order)
    await shop.hear(shop.razorpay.events[-1])
    await shop.poll(2)
    assert await shop.state(view) is State.EXPIRED
    assert (await shop.payments(), shop.razorpay.net_minor) == (["returned"], 0)
    await shop.books_balance()
