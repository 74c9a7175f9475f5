"""Paying in Chromium, by keyboard: topping up by the test gateway, a card with 3-D Secure, a refund by an admin."""

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.journey import sign_in
from tests.browser.people import running_server
from tests.helpers.stand_in import serving
from tests.helpers.stripe_server import PUBLISHABLE_KEY, SECRET_KEY, WEBHOOK_SECRET, StripeServer
from tests.web.all_pages import opened
from tests.web.test_in_browser import AXE, _held, _tab_to, loop_is_free

__all__ = ["loop_is_free"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


async def begin_top_up(page: Page, amount: str) -> None:
    await page.goto("/wallet")
    await _tab_to(page, "Amount")
    await page.keyboard.type(amount)
    await page.keyboard.press("Enter")


async def test_top_up_and_its_refund_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, opened(browser, server) as page:
        await sign_in(page, "mina@example.com")
        await begin_top_up(page, "1.00")
        await expect(page.locator("#top-up-error")).to_contain_text("can't be put into a wallet")
        await begin_top_up(page, "20.50")
        await expect(page.get_by_role("heading", name="Pay €20.50")).to_be_visible()
        await expect(page.get_by_text("Test gateway: no real money moves")).to_be_visible()
        await _tab_to(page, "One that works")
        await page.keyboard.press("ArrowDown")
        await expect(page.get_by_role("radio", name="One whose bank asks first")).to_be_checked()
        await _tab_to(page, "Pay €20.50")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog", name="Your test bank asks: is this you?")).to_be_visible()
        await _tab_to(page, "Yes, pay")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="That is paid")).to_be_visible()
        await page.goto("/wallet")
        await expect(page.get_by_text("€420.50")).to_be_visible()
        assert await _violations(page) == []
        await page.get_by_role("link", name=re.compile("^Receipt")).click()
        await expect(page.get_by_role("heading", name=re.compile("Receipt 20"))).to_be_visible()
        assert await _violations(page) == []
        async with opened(browser, server) as staff:
            await _give_back_by_keyboard(staff)
        await page.goto("/wallet")
        await expect(page.get_by_text("€415.50")).to_be_visible()


async def _give_back_by_keyboard(page: Page) -> None:
    await sign_in(page, "clara@lindenrow.example")
    await page.goto("/admin/refunds")
    await _tab_to(page, "Find a payment")
    await page.keyboard.type("mina")
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile("mina"))
    await _tab_to(page, "Give back", most=40)
    await page.keyboard.press("Enter")
    await page.get_by_label("Amount in EUR").wait_for()
    await _tab_to(page, "Amount in EUR", most=40)
    await page.keyboard.type("5")
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Give €5.00 back").wait_for()
    await _tab_to(page, "Give €5.00 back", most=40)
    assert await _violations(page) == []
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Given back. The client is told.")).to_be_visible()
    await page.goto("/admin/payouts")
    assert await _violations(page) == []


async def _violations(page: Page) -> list[str]:
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    result = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [json.dumps([one["id"], one["nodes"][0]["html"][:160]]) for one in result["violations"]]


async def test_card_is_entered_in_stripes_field_and_its_bank_asks(browser: Browser, tmp_path: Path) -> None:
    async with (
        serving(StripeServer()) as stripe,
        running_server(tmp_path, **_taking_cards_by(stripe)) as server,
        opened(browser, server) as page,
    ):
        await sign_in(page, "mina@example.com")
        await _held(page)
        await page.goto(f"{page.url}&step=pay&terms=yes")
        await _tab_to(page, "Demo wallet")
        await expect(page.get_by_label("Card number")).to_have_count(0)  # Stripe's script waits for somebody to want it
        await page.keyboard.press("ArrowDown")
        await expect(page.get_by_role("radio", name=re.compile("^Card"))).to_be_checked()
        await page.get_by_label("Card number").wait_for()
        await _pay_with(page, "4000000000009995")
        await expect(page.get_by_text("Your card was declined.")).to_be_visible(timeout=30_000)
        await _pay_with(page, "4000002500003155")
        await page.get_by_role("button", name="Complete authentication").wait_for()
        await _tab_to(page, "Complete authentication")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="You are booked")).to_be_visible(timeout=30_000)
    (intent,) = stripe.intents.values()
    assert (intent["status"], intent["amount"]) == ("requires_capture", 1_500)


def _taking_cards_by(stripe: StripeServer) -> dict[str, str]:
    return {
        "PAYMENTS__STRIPE_SECRET_KEY": SECRET_KEY,
        "PAYMENTS__STRIPE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
        "PAYMENTS__STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "PAYMENTS__STRIPE_API_BASE": stripe.base,
        "PAYMENTS__STRIPE_SCRIPT": f"{stripe.base}/v3/",
    }


async def _pay_with(page: Page, number: str) -> None:
    await page.get_by_label("Card number").fill(number)
    await _tab_to(page, "Pay €15.00")
    await page.keyboard.press("Enter")
