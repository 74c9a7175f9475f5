"""Paying on Razorpay's own page: leaving for it, coming back paid, refused or forged, and what the pages say then."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from control.config import PaymentSettings, Settings
from control.money.history import page_after
from tests.helpers.practice import Site
from tests.helpers.razorpay_server import KEY_ID, KEY_SECRET, WEBHOOK_SECRET, RazorpayServer
from tests.helpers.stand_in import serving
from tests.web.conftest import Open

BACK = "/api/payments/razorpay-return"
REFUSED = "The payment was not accepted. Nothing was charged"


@pytest_asyncio.fixture
async def razorpay() -> AsyncIterator[RazorpayServer]:
    async with serving(RazorpayServer()) as server:
        yield server


@pytest_asyncio.fixture
async def settings(settings: Settings, razorpay: RazorpayServer) -> Settings:
    payments = {
        "razorpay_key_id": KEY_ID,
        "razorpay_key_secret": KEY_SECRET,
        "razorpay_webhook_secret": WEBHOOK_SECRET,
        "razorpay_api_base": razorpay.base,
    }
    return settings.model_copy(update={"payments": PaymentSettings.model_validate(payments)})


async def begun(site: Site) -> dict[str, Any]:
    """Bob has chosen Razorpay for a session of his: what his page goes on with."""
    view = await site.world.book()
    bob = await site.hand_of(site.world.bob)
    status, answer = await bob.post(f"/api/appointments/{view.id}/payment", {"paymentMethod": "razorpay"})
    assert (status, answer["payment"]["key_id"]) == (202, KEY_ID)
    return dict(answer["payment"])


async def come_back(site: Site, brought: dict[str, str], payment: str = "") -> tuple[int, str, str]:
    """As Razorpay's page sends a browser: a form from elsewhere, without our cookie. (status, where to, words)."""
    session = (await site.hand_of(None)).browser.client.session
    url = site.server.make_url(BACK).with_query({"payment": payment} if payment else {})
    headers = {"Origin": "https://api.razorpay.com", "Sec-Fetch-Dest": "document"}
    async with session.post(url, data=brought, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()


async def test_who_pays_there_comes_back_booked(site: Site, razorpay: RazorpayServer, open_page: Open) -> None:
    payment = await begun(site)
    page = await page_after(site.world.db, payment["id"])
    pay_page = await open_page(site.world.bob, page)
    assert f"form-action 'self' {razorpay.base}" in pay_page.headers["Content-Security-Policy"]
    [ways] = pay_page.all("div", id="ways")
    assert ways.attributes["data-razorpay-page"] == f"{razorpay.base}/v1/checkout/embedded"
    assert REFUSED not in pay_page.text
    brought = razorpay.pay(payment["order_id"])
    assert (await come_back(site, brought, payment["id"]))[:2] == (303, page)
    assert "You are booked" in (await open_page(site.world.bob, page)).text


async def test_who_is_refused_there_reads_it_on_the_pay_page_and_may_try_again(
    site: Site, razorpay: RazorpayServer, open_page: Open
) -> None:
    payment = await begun(site)
    page = await page_after(site.world.db, payment["id"])
    razorpay.pay(payment["order_id"], works=False)
    assert (await come_back(site, {"error[code]": "BAD_REQUEST_ERROR"}, payment["id"]))[:2] == (303, page)
    again = await open_page(site.world.bob, page)
    assert REFUSED in again.text
    assert again.all("input", name="paymentMethod", value="razorpay")
    second = razorpay.payments[razorpay.pay(payment["order_id"], works=False)["razorpay_payment_id"]]
    second |= {"status": "created", "created_at": second["created_at"] + 1}  # their bank has not answered yet
    await come_back(site, {}, payment["id"])
    assert REFUSED not in (await open_page(site.world.bob, page)).text
    await come_back(site, razorpay.pay(payment["order_id"]), payment["id"])
    assert "You are booked" in (await open_page(site.world.bob, page)).text


async def test_what_razorpay_did_not_sign_gets_a_page_that_says_so_and_changes_nothing(
    site: Site, razorpay: RazorpayServer, open_page: Open
) -> None:
    payment = await begun(site)
    forged = razorpay.pay(payment["order_id"]) | {"razorpay_signature": "0" * 64}
    status, _, words = await come_back(site, forged, payment["id"])
    assert (status, "This was not signed by the gateway." in words, "<h1" in words) == (400, True, True)
    for unknown in ("", "0" * 32, "../x", "\x00"):
        assert (await come_back(site, {}, unknown))[:2] == (303, "/wallet")
    page = await open_page(site.world.bob, await page_after(site.world.db, payment["id"]))
    assert "Pay for your session" in page.text
