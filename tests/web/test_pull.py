"""Pulling a list down on a phone refreshes it; a short pull, a scrolled page or a form does not."""

from playwright.async_api import Browser, CDPSession, Page

from tests.browser.journey import sign_in, until
from tests.browser.people import Server
from tests.web.test_in_browser import browser, loop_is_free, opened, pytestmark, server

__all__ = ["browser", "loop_is_free", "pytestmark", "server"]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


async def pull(devtools: CDPSession, by: int) -> None:
    def touches(y: int) -> list[dict[str, int]]:
        return [{"x": 195, "y": y}]

    await devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": touches(300)})
    for step in range(1, 6):
        await devtools.send(
            "Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": touches(300 + by * step // 5)}
        )
    await devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


async def is_old(page: Page) -> bool:
    return bool(await page.evaluate("window.old === true"))


async def test_list_is_refreshed_by_a_long_pull_only(browser: Browser, server: Server) -> None:
    async with opened(browser, server, **PHONE) as page:
        await sign_in(page, "mina@example.com")
        devtools = await page.context.new_cdp_session(page)
        for path in ("/sessions", "/messages", "/wallet", "/practitioners"):
            await page.goto(path)
            await page.evaluate("window.old = true")
            await pull(devtools, 60)
            assert await page.locator(".pull").is_hidden()
            assert await is_old(page)
            await pull(devtools, 260)
            await until(page, "window.old !== true && document.readyState === 'complete'")


async def test_page_that_is_no_list_stays_as_it_is(browser: Browser, server: Server) -> None:
    async with opened(browser, server, **PHONE) as page:
        await sign_in(page, "mina@example.com")
        await page.goto("/account")
        await page.get_by_label("Name", exact=True).fill("Not yet sent")
        devtools = await page.context.new_cdp_session(page)
        await pull(devtools, 260)
        assert await page.locator(".pull").count() == 0
        assert await page.get_by_label("Name", exact=True).input_value() == "Not yet sent"
