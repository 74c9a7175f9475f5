"""The test gateway through the cashier: purchases and sessions survive a process killed between any two steps."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from control.models.money import Payment
from control.money import ledger, purchases
from control.money.cashier import Cashier
from control.money.gateways.demo import ASKS, DECLINED, WORKS, DemoGateway
from control.money.payments import Method, PaymentState
from tests.helpers.books import wallet
from tests.helpers.killing import Killed, kill
from tests.helpers.practice import WALLET_MINOR, World

AMOUNT = 7_500


@dataclass
class Shop:
    world: World
    gateway: DemoGateway
    cashier: Cashier

    async def begin(self) -> str:
        now = self.world.clock()
        return (await purchases.begin_top_up(self.world.db, self.world.bob, AMOUNT, "EUR", key="one", now=now)).id

    async def buy(self, purchase_id: str, token: str) -> Any:
        return await self.cashier.buy(self.world.bob, purchase_id, Method.DEMO, token, now=self.world.clock())

    async def poll(self, rounds: int = 4) -> None:
        for _ in range(rounds):
            self.world.clock.forward(minutes=3)
            await self.cashier.run_once(self.world.clock())

    async def states(self) -> list[str]:
        async with self.world.db.reading() as session:
            return sorted(one.state for one in await session.scalars(select(Payment)))


@pytest_asyncio.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    gateway = DemoGateway()
    yield Shop(world, gateway, Cashier(world.db, {Method.DEMO: gateway}, world.clock))
    await gateway.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["do", "authorise", "_record"])
async def test_killed_top_up_arrives_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool
) -> None:
    purchase_id = await shop.begin()
    kill(shop.gateway if step == "authorise" else shop.cashier.calls, step, monkeypatch, after=after)
    with pytest.raises(Killed):
        await shop.buy(purchase_id, WORKS)
    await shop.poll()
    assert await shop.states() == ["earned"]
    assert await wallet(shop.world) == WALLET_MINOR + AMOUNT
    assert (await shop.buy(purchase_id, WORKS)).state is None
    assert await wallet(shop.world) == WALLET_MINOR + AMOUNT
    assert await ledger.discrepancies(shop.world.db) == []


async def test_top_up_whose_payer_walked_away_is_called_off_after_a_day(shop: Shop) -> None:
    purchase_id = await shop.begin()
    assert (await shop.buy(purchase_id, ASKS)).state is PaymentState.REQUIRES_ACTION
    shop.world.clock.forward(hours=25)
    await shop.poll()
    assert await shop.states() == ["cancelled"]
    assert await wallet(shop.world) == WALLET_MINOR


async def test_bank_that_says_yes_is_heard_by_the_poller(shop: Shop) -> None:
    till = await shop.buy(await shop.begin(), ASKS)
    await shop.cashier.answer_test_bank(shop.world.bob, till.payment_id, approve=True)
    await shop.poll(1)
    assert await wallet(shop.world) == WALLET_MINOR + AMOUNT


async def test_declined_card_leaves_nothing_behind(shop: Shop) -> None:
    with pytest.raises(Exception, match="card_refused"):
        await shop.buy(await shop.begin(), DECLINED)
    await shop.poll()
    assert await shop.states() == ["failed"]
    assert await wallet(shop.world) == WALLET_MINOR
