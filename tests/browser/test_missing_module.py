"""A page one of whose modules does not arrive: it is loaded anew, twice at most, and then says so."""

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.browser.people import Server
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(120)

WORDS = "A part of this page did not arrive"


async def page_without(browser: Browser, server: Server, *, lost: int) -> tuple[Page, list[str]]:
    """The first `lost` times that the page asks for its module nothing comes; and the pages that were loaded."""
    page = await browser.new_page(base_url=server.url)
    loaded: list[str] = []
    page.on("domcontentloaded", lambda one: loaded.append(one.url))
    asked = 0

    async def lose(route: Route) -> None:
        nonlocal asked
        asked += route.request.resource_type == "script"
        await (route.abort() if route.request.resource_type == "script" and asked <= lost else route.continue_())

    await page.route("**/js/base.js", lose)
    await page.goto("/")
    return page, loaded


async def test_page_whose_module_never_arrives_is_loaded_anew_twice_and_says_so(
    browser: Browser, server: Server
) -> None:
    page, loaded = await page_without(browser, server, lost=100)
    await expect(page.locator("#toasts")).to_contain_text(WORDS, timeout=40_000)
    await page.wait_for_timeout(2_000)
    assert len(loaded) == 3
    assert await violations(page) == []


async def test_page_whose_module_arrives_at_last_says_nothing_and_may_be_loaded_anew_again(
    browser: Browser, server: Server
) -> None:
    page, loaded = await page_without(browser, server, lost=2)
    async with page.expect_event("domcontentloaded", lambda _: len(loaded) == 3, timeout=20_000):
        pass
    await page.wait_for_load_state("load")
    await expect(page.locator("#toasts")).to_be_empty()
    assert await page.evaluate("history.state") is None
