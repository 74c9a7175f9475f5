"""The waiting room's network test in Chromium: real media up and down, in words; and a network that lets none in."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Playwright, Route, expect

from tests.browser import journey
from tests.browser.people import Server, person_in_browser
from tests.helpers.axe import violations
from tests.helpers.fake_media import MINA

pytestmark = [pytest.mark.alone, pytest.mark.timeout(200)]


async def test_it_measures_both_ways_and_says_what_it_means(
    playwright: Playwright, media_dir: Path, server: Server
) -> None:
    async with person_in_browser(playwright, MINA, media_dir, server.url) as mina:
        page = mina.page
        appointment = await journey.book_soonest(page, "mina@example.com")
        await journey.agree(page, appointment, recording=False)
        words = page.locator("#check-connection [data-words]")
        await page.locator("#test-network").click()
        await expect(words).to_contain_text(re.compile(r"[\d.]+ [kM]bit/s up, [\d.]+ [kM]bit/s down"), timeout=30_000)
        said = await words.inner_text()
        assert float(re.findall(r"([\d.]+) % lost", said)[0]) < 5
        rates = re.findall(r"([\d.]+) ([kM])bit/s", said)
        assert all(float(rate) * (1000 if unit == "M" else 1) > 200 for rate, unit in rates)

        async def never(route: Route) -> None:
            """The offer gets no answer: no media gets through."""

        await page.route("**/api/network-test/offer", never)
        await page.locator("#test-network").click()
        await expect(words).to_contain_text("can't get through this network", timeout=20_000)
        await expect(page.locator("#test-network")).not_to_have_attribute("aria-busy", "true")
        assert await violations(page) == []
        assert mina.errors == []
