"""A page one of whose modules does not arrive: it is loaded anew, twice at most, and then says so."""

import asyncio

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.browser.people import Server
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(120)

WORDS = "A part of this page did not arrive"


async def page_without(
    browser: Browser, server: Server, *, lost: int, kinds: tuple[str, ...] = ("script",)
) -> tuple[Page, list[str], asyncio.Event]:
    """The first `lost` times that the page asks for its module nothing comes; what was loaded; when it was thrice."""
    page = await browser.new_page(base_url=server.url)
    loaded: list[str] = []
    third = asyncio.Event()

    def note(one: Page) -> None:
        loaded.append(one.url)
        if len(loaded) == 3:
            third.set()

    page.on("domcontentloaded", note)
    asked = 0

    async def lose(route: Route) -> None:
        nonlocal asked
        counts = route.request.resource_type in kinds
        asked += counts
        await (route.abort() if counts and asked <= lost else route.continue_())

    await page.route("**/js/base.js", lose)
    await page.goto("/")
    return page, loaded, third


async def test_page_whose_module_never_arrives_is_loaded_anew_twice_and_says_so(
    browser: Browser, server: Server
) -> None:
    page, loaded, _ = await page_without(browser, server, lost=100)
    await expect(page.locator("#toasts")).to_contain_text(WORDS, timeout=40_000)
    await page.wait_for_timeout(2_000)
    assert len(loaded) == 3
    assert await violations(page) == []


async def test_page_whose_module_is_blocked_whoever_asks_says_so(browser: Browser, server: Server) -> None:
    page, loaded, _ = await page_without(browser, server, lost=100, kinds=("script", "fetch"))
    await expect(page.locator("#toasts")).to_contain_text(WORDS, timeout=40_000)
    assert len(loaded) == 1


async def test_page_whose_module_arrives_at_last_says_nothing_and_may_be_loaded_anew_again(
    browser: Browser, server: Server
) -> None:
    page, _, third = await page_without(browser, server, lost=2)
    await asyncio.wait_for(third.wait(), 40)
    await page.wait_for_load_state("load")
    await expect(page.locator("#toasts")).to_be_empty()
    assert await page.evaluate("history.state") is None
