"""Paying by card through the HTTP API: the route, the webhook, strangers, and an install without keys."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from control.config import PaymentSettings, Settings
from control.keys import CASHIER
from control.money.payments import Method
from tests.helpers.practice import Site
from tests.helpers.stand_in import serving
from tests.helpers.stripe_server import ASKS, DECLINED, GOOD, PUBLISHABLE_KEY, SECRET_KEY, WEBHOOK_SECRET, StripeServer


@pytest_asyncio.fixture
async def stripe() -> AsyncIterator[StripeServer]:
    async with serving(StripeServer()) as server:
        yield server


@pytest_asyncio.fixture
async def settings(settings: Settings, stripe: StripeServer) -> Settings:
    payments = {
        "stripe_secret_key": SECRET_KEY,
        "stripe_publishable_key": PUBLISHABLE_KEY,
        "stripe_webhook_secret": WEBHOOK_SECRET,
        "stripe_api_base": stripe.base,
    }
    return settings.model_copy(update={"payments": PaymentSettings.model_validate(payments)})


def by_card(token: str | None) -> dict[str, Any]:
    return {"paymentMethod": "stripe", "paymentMethodToken": token}


async def tell(site: Site, raw: bytes, signature: str) -> int:
    """A webhook as it comes: no cookie, no Origin, no token."""
    url = site.server.make_url("/api/webhooks/stripe")
    hand = await site.hand_of(None)
    async with hand.browser.client.session.post(url, data=raw, headers={"Stripe-Signature": signature}) as answer:
        return answer.status


async def test_card_is_refused_then_another_schedules(site: Site, stripe: StripeServer) -> None:
    bob = await site.hand_of(site.world.bob)
    pay = f"/api/appointments/{(await site.world.book()).id}/payment"
    status, problem = await bob.post(pay, by_card(DECLINED), key="one")
    assert (status, problem["code"]) == (402, "card_refused")
    for _ in range(2):
        status, paid = await bob.post(pay, by_card(GOOD), key="two")
        assert (status, paid["status"], paid["payment"]["status"]) == (200, "scheduled", "held")
    assert paid["payment"]["method"] == "stripe"
    assert "requires_capture" in [one["status"] for one in stripe.intents.values()]


async def test_page_gets_what_it_needs_and_the_webhook_does_the_rest(site: Site, stripe: StripeServer) -> None:
    bob = await site.hand_of(site.world.bob)
    one = f"/api/appointments/{(await site.world.book()).id}"
    status, asked = await bob.post(f"{one}/payment", by_card(ASKS), key="same")
    assert (status, asked["status"], asked["payment"]["status"]) == (202, "pending", "requires_action")
    assert asked["payment"]["client_secret"] == "pi_1_secret"
    assert asked["payment"]["publishable_key"] == PUBLISHABLE_KEY
    stripe.answer_bank("pi_1", yes=True)
    raw, signature = stripe.signed(stripe.events[-1])
    assert await tell(site, raw, signature) == 200
    assert await tell(site, raw, signature) == 200
    assert (await bob.get(one))[1]["status"] == "scheduled"
    status, paid = await bob.post(f"{one}/payment", by_card(ASKS), key="same")
    assert (status, paid["status"]) == (200, "scheduled")


async def test_forged_webhook_is_400_and_changes_nothing(site: Site, stripe: StripeServer) -> None:
    bob = await site.hand_of(site.world.bob)
    one = f"/api/appointments/{(await site.world.book()).id}"
    await bob.post(f"{one}/payment", by_card(ASKS))
    stripe.answer_bank("pi_1", yes=True)
    raw, signature = stripe.signed(stripe.events[-1], secret="whsec_guessed")
    for header in (signature, "", "t=1,v1=0"):
        assert await tell(site, raw, header) == 400
    assert (await bob.get(one))[1]["status"] == "pending"
    stripe.down = True
    assert await tell(site, *stripe.signed(stripe.events[-1])) == 503


async def test_stranger_cannot_pay_nor_see_and_practitioner_cannot_pay(site: Site, stripe: StripeServer) -> None:
    pay = f"/api/appointments/{(await site.world.book()).id}/payment"
    for who, expected in ((site.world.charlie, 404), (site.world.alice, 403), (None, 401)):
        status, _ = await (await site.hand_of(who)).post(pay, by_card(GOOD))
        assert status == expected
    assert stripe.intents == {}


class TestWithoutKeys:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"payments": PaymentSettings()})

    async def test_only_the_test_gateway_takes_payments_and_there_is_no_webhook(self, site: Site) -> None:
        assert site.app[CASHIER].methods == (Method.DEMO,)
        bob = await site.hand_of(site.world.bob)
        one = f"/api/appointments/{(await site.world.book()).id}"
        assert (await bob.get(one))[1]["payment"]["methods"] == ["wallet", "credits", "demo"]
        status, problem = await bob.post(f"{one}/payment", by_card(GOOD))
        assert (status, problem["code"]) == (422, "payment_method_invalid")
        assert await tell(site, b"{}", "t=1,v1=0") == 404
        status, paid = await bob.post(f"{one}/payment", {"paymentMethod": "demo", "paymentMethodToken": "demo_works"})
        assert (status, paid["status"], paid["payment"]["method"]) == (200, "scheduled", "demo")


def test_keys_of_stripe_come_together() -> None:
    with pytest.raises(ValueError, match="come together"):
        PaymentSettings.model_validate({"stripe_secret_key": SECRET_KEY})
