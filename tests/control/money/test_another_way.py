"""A card whose bank won't hold the money until a later time: the client is asked for another way, and pays once."""

from dataclasses import dataclass
from datetime import time, timedelta

import pytest
from sqlalchemy import select

from control import appointments, reschedules
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.availability_windows import NewWindow, add_window
from control.errors import Conflict, Problem
from control.models.outbox import OutboxRow
from control.money import credits, ledger, purchases
from control.money.payments import Method
from control.notices.kinds import NoticeKind
from control.reschedules import Proposal, RequestState, RequestView
from tests.control.money.card_shop import Shop, shop
from tests.helpers.practice import WALLET_MINOR
from tests.helpers.stripe_server import ASKS, DECLINED, GOOD

__all__ = ["shop"]
LATER = timedelta(days=14)


@dataclass
class Asked:
    """Bob's session of this afternoon, paid by card, and his request to have it two weeks later."""

    shop: Shop
    view: SessionView
    request: RequestView

    async def accept(self) -> RequestView:
        world = self.shop.world
        return await reschedules.accept(
            world.db, world.alice, self.request.id, keep_money=self.shop.cashier.keep_until, now=world.clock()
        )

    async def refused(self) -> None:
        with pytest.raises(Conflict, match="payment_would_lapse"):
            await self.accept()

    async def seen(self) -> SessionView:
        world = self.shop.world
        return await appointments.get_for(world.db, world.bob, self.view.id)

    async def by_wallet(self) -> SessionView:
        world = self.shop.world
        return await appointments.pay(world.db, world.bob, self.view.id, Method.WALLET, now=world.clock())

    async def assert_moved_and_paid_once(self, left_at_stripe: int) -> None:
        shop = self.shop
        assert (await self.accept()).state is RequestState.ACCEPTED
        after = await self.seen()
        assert (after.starts_at, after.needs_another_way) == (self.view.starts_at + LATER, False)
        await shop.poll()
        await shop.deliver(shop.stripe.events)
        await shop.poll()
        assert shop.stripe.net_minor == left_at_stripe
        assert await ledger.discrepancies(shop.world.db) == []
        assert await shop.balance(ledger.transit("EUR")) == 0
        assert [state for state, _ in await shop.payments(self.view.id)].count("held") == 1


@pytest.fixture
async def asked(shop: Shop) -> Asked:
    world = shop.world
    view = await shop.paid()
    later = view.starts_at + LATER
    day = NewWindow(later.date(), time(14), time(18))
    await add_window(world.db, world.alice, day, now=world.clock())
    request = await reschedules.propose(world.db, world.bob, view.id, Proposal(later), now=world.clock())
    return Asked(shop, view, request)


async def test_bank_that_agrees_has_the_money_taken_before_the_session_moves(asked: Asked) -> None:
    await asked.assert_moved_and_paid_once(5_000)
    assert await asked.shop.payments(asked.view.id) == [("held", 5_000)]


async def test_bank_that_does_not_answer_leaves_the_request_open_and_the_client_is_asked_once(asked: Asked) -> None:
    shop = asked.shop
    shop.stripe.down = True
    for _ in range(2):
        await asked.refused()
    shop.stripe.down = False
    seen = await asked.seen()
    assert (seen.state, seen.starts_at, seen.needs_another_way) == (State.SCHEDULED, asked.view.starts_at, True)
    (left,) = await reschedules.requests_of(shop.world.db, shop.world.bob, seen.id, now=shop.world.clock())
    assert left.state is RequestState.OPEN
    async with shop.world.db.reading() as session:
        told = select(OutboxRow.person_id).where(
            OutboxRow.kind == NoticeKind.PAYMENT_FAILED, OutboxRow.channel == "email"
        )
        assert (await session.scalars(told)).all() == [shop.world.bob.person_id]


async def test_wallet_pays_instead_and_the_card_is_let_go(asked: Asked) -> None:
    shop = asked.shop
    shop.stripe.down = True
    await asked.refused()
    shop.stripe.down = False
    for _ in range(2):
        seen = await asked.by_wallet()
        assert (seen.payment_method, seen.payment_state, seen.needs_another_way) == ("wallet", "held", False)
    assert await shop.balance(ledger.wallet(shop.world.bob.person_id, "EUR")) == WALLET_MINOR - 5_000
    await asked.assert_moved_and_paid_once(0)
    assert shop.stripe.intents["pi_1"]["status"] == "canceled"


async def test_credit_pays_instead(asked: Asked) -> None:
    shop, world = asked.shop, asked.shop.world
    await credits.set_offer(world.db, world.alice, world.service_id, 5, 20_000, now=world.clock())
    (offer,) = await credits.offers(world.db)
    bought = await purchases.begin_credits(world.db, world.bob, offer.id, key="package", now=world.clock())
    await purchases.pay_from_wallet(world.db, world.bob, bought.id, now=world.clock())
    shop.stripe.down = True
    await asked.refused()
    shop.stripe.down = False
    seen = await appointments.pay(world.db, world.bob, asked.view.id, Method.CREDITS, now=world.clock())
    assert (seen.payment_method, seen.payment_state) == ("credits", "held")
    await asked.assert_moved_and_paid_once(0)


@pytest.mark.parametrize("card", [GOOD, ASKS])
async def test_another_card_pays_instead_and_is_charged_at_once(asked: Asked, card: str) -> None:
    shop = asked.shop
    shop.stripe.down = True
    await asked.refused()
    shop.stripe.down = False
    till = await shop.pay(asked.view, card)
    if card == ASKS:
        assert till.state == "requires_action"
        assert (await asked.seen()).needs_another_way
        shop.stripe.answer_bank(list(shop.stripe.intents)[-1], yes=True)
        await shop.deliver(shop.stripe.events)
    await asked.assert_moved_and_paid_once(5_000)
    assert [one["status"] for one in shop.stripe.intents.values()] == ["canceled", "succeeded"]


async def test_declined_second_card_leaves_the_first_as_it_is(asked: Asked) -> None:
    shop = asked.shop
    shop.stripe.down = True
    await asked.refused()
    shop.stripe.down = False
    with pytest.raises(Problem) as refused:
        await shop.pay(asked.view, DECLINED)
    assert (refused.value.code, refused.value.status) == ("card_refused", 402)
    assert (await asked.seen()).needs_another_way
    await asked.by_wallet()
    await asked.assert_moved_and_paid_once(0)


async def test_bank_that_took_its_promise_back_has_the_client_asked_too(asked: Asked) -> None:
    shop = asked.shop
    shop.stripe.lapse("pi_1")
    await asked.refused()
    assert (await asked.seen()).needs_another_way
    await asked.by_wallet()
    await asked.assert_moved_and_paid_once(0)


async def test_bank_that_gives_in_later_needs_no_other_way(asked: Asked) -> None:
    shop = asked.shop
    shop.stripe.down = True
    await asked.refused()
    shop.stripe.down = False
    await shop.poll()
    assert not (await asked.seen()).needs_another_way
    await asked.by_wallet()
    assert await shop.balance(ledger.wallet(shop.world.bob.person_id, "EUR")) == WALLET_MINOR


async def test_money_taken_just_when_another_way_was_chosen_goes_back(asked: Asked) -> None:
    shop = asked.shop
    shop.stripe.down = True
    await asked.refused()
    shop.stripe.down = False
    shop.stripe._capture(shop.stripe.intents["pi_1"], 5_000)  # done there, and nobody has told us yet
    await asked.by_wallet()
    await asked.assert_moved_and_paid_once(0)
    assert sum(one["amount"] for one in shop.stripe.refunds.values()) == 5_000


async def test_well_paid_session_takes_no_second_payment(shop: Shop) -> None:
    view = await shop.paid()
    world = shop.world
    for _ in range(2):
        seen = await appointments.pay(world.db, world.bob, view.id, Method.WALLET, now=world.clock())
    assert (seen.payment_method, await shop.payments(view.id)) == ("stripe", [("held", None)])
    assert (await shop.pay(view)).state is None
    assert list(shop.stripe.intents) == ["pi_1"]
