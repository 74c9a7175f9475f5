"""Messages in Chromium: two people with a browser each, and what one writes stands on the other's page by itself."""

import re

from playwright.async_api import Browser, Page, expect

from tests.browser.journey import sign_in
from tests.browser.people import Server
from tests.web.test_in_browser import AXE, browser, loop_is_free, opened, pytestmark, server

__all__ = ["browser", "loop_is_free", "pytestmark", "server"]

NOTICE = "Please note these messages are monitored for training purposes"


async def begin(page: Page, text: str) -> None:
    """Mina writes to Dr. Amara from her profile."""
    await sign_in(page, "mina@example.com")
    await page.goto("/practitioners?q=amara")
    await page.get_by_role("link", name="Dr. Amara Okafor").click()
    await page.get_by_role("link", name="Message practitioner").click()
    await expect(page.get_by_text(NOTICE)).to_be_visible()
    await page.get_by_label("Message to Dr. Amara Okafor").fill(text)
    await page.get_by_role("button", name="Send").click()
    await page.wait_for_url(re.compile("/messages/[0-9a-f]{32}$"))


async def test_message_arrives_live_and_is_answered(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as mina, opened(browser, server) as amara:
        await sign_in(amara, "amara@lindenrow.example")
        await expect(amara.locator("#live-sign")).to_have_text("Live")
        await begin(mina, "Good morning, shall I bring my notes?")
        rail = amara.get_by_role("link", name=re.compile("Messages.*unread: 1"))
        await expect(rail).to_be_visible()
        await rail.click()
        await amara.get_by_role("link", name=re.compile("Mina Halvorsen")).click()
        await expect(amara.locator("#thread")).to_contain_text("shall I bring my notes?")
        await expect(mina.locator("#thread .msg__state")).to_have_text("Read")
        await amara.get_by_label("Message to Mina Halvorsen").press_sequentially("Yes", delay=20)
        await expect(mina.locator("#typing")).to_have_text("Dr. Amara is writing…")
        await amara.keyboard.press("Control+Enter")
        await expect(mina.locator("#thread")).to_contain_text("Yes")
        await expect(mina.locator("#typing")).to_be_empty()
        await expect(amara.get_by_label("Message to Mina Halvorsen")).to_be_empty()
        await expect(amara.locator("#thread .msg__state")).to_have_text("Read")
        await expect(amara.locator("[data-unread-messages]").first).to_be_hidden()


async def test_conversation_is_read_by_axe_and_fits_a_narrow_phone(browser: Browser, server: Server) -> None:
    async with opened(browser, server, viewport={"width": 320, "height": 640}, color_scheme="dark") as mina:
        await begin(mina, "A" * 300 + " https://example.org/" + "b" * 200)
        for path in (mina.url, "/messages", "/messages?q=aaa", "/messages?q=nothing"):
            await mina.goto(path)
            await mina.evaluate(AXE.read_text(encoding="utf-8"))
            result = await mina.evaluate("axe.run(document, {resultTypes: ['violations']})")
            assert [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in result["violations"]] == [], path
            assert await mina.evaluate("document.documentElement.scrollWidth") == 320, path


async def test_refused_message_stays_in_its_field(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as mina:
        await begin(mina, "First")
        await mina.route("**/messages", lambda route: route.abort("connectionfailed"))
        await mina.get_by_label("Message to Dr. Amara Okafor").fill("Second")
        await mina.get_by_role("button", name="Send").click()
        await expect(mina.locator("#write-error")).to_contain_text("We can't reach the server")
        await expect(mina.get_by_label("Message to Dr. Amara Okafor")).to_have_value("Second")
        await mina.unroute("**/messages")
        await mina.get_by_role("button", name="Send").click()
        await expect(mina.locator("#thread .msg__text")).to_have_text(["First", "Second"])
