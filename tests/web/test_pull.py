"""Pulling a list down on a phone refreshes it; a short pull, a scrolled page or a form does not."""

from playwright.async_api import Browser, CDPSession, Page

from tests.browser.journey import sign_in
from tests.browser.people import Server
from tests.web.test_in_browser import loop_is_free, opened, pytestmark, server

__all__ = ["loop_is_free", "pytestmark", "server"]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


async def pull(page: Page, devtools: CDPSession, by: int) -> None:
    """Begins on the page's title: a finger near a field is about the field."""
    title = await page.locator("main h1").first.bounding_box()
    assert title is not None

    async def touch(what: str, *down: int) -> None:
        points = [{"x": title["x"] + 8, "y": title["y"] + 8 + one} for one in down]
        await devtools.send("Input.dispatchTouchEvent", {"type": what, "touchPoints": points})

    await touch("touchStart", 0)
    for step in range(1, 6):
        await touch("touchMove", by * step // 5)
    await touch("touchEnd")


async def is_old(page: Page) -> bool:
    return bool(await page.evaluate("window.old === true"))


async def test_list_is_refreshed_by_a_long_pull_only_and_a_form_by_none(browser: Browser, server: Server) -> None:
    async with opened(browser, server, **PHONE) as page:
        await sign_in(page, "mina@example.com")
        devtools = await page.context.new_cdp_session(page)
        for path in ("/sessions", "/messages", "/wallet", "/practitioners"):
            await page.goto(path)
            await page.evaluate("window.old = true")
            await pull(page, devtools, 60)
            assert await page.locator(".pull").is_hidden()
            assert await is_old(page)
            async with page.expect_event("load"):
                await pull(page, devtools, 260)
            assert not await is_old(page)
        await page.goto("/account")
        await page.get_by_label("Name", exact=True).fill("Not yet sent")
        await pull(page, devtools, 260)
        assert await page.locator(".pull").count() == 0
        assert await page.get_by_label("Name", exact=True).input_value() == "Not yet sent"
