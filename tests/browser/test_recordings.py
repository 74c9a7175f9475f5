"""The pages of recordings in Chromium, on a server that was killed while it recorded: recovered, composed, played.

Nobody talks here: test_session.py records a session; this begins where the server died (cut_off.py).
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser import journey
from tests.browser.cut_off import AMARA, MINA, PAUSED_S, TALK_S, CutOff, leave_recordings
from tests.browser.people import Server, running_server
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(300)
LONG_MS = 120_000
"""Composing shares the machine with whatever else is tested."""
FILM = "document.querySelector('#player video')"


@dataclass
class Practice:
    server: Server
    browser: Browser
    left: CutOff

    async def page_of(self, email: str) -> Page:
        context = await self.browser.new_context(base_url=self.server.url)
        page = await context.new_page()
        await journey.sign_in(page, email)
        return page


@pytest_asyncio.fixture
async def practice(browser: Browser, tmp_path: Path) -> AsyncIterator[Practice]:
    left = await asyncio.to_thread(leave_recordings, tmp_path)
    async with running_server(tmp_path) as server:
        yield Practice(server, browser, left)


async def test_what_a_crash_left_is_composed_with_progress_stopped_taken_up_again_and_played(
    practice: Practice,
) -> None:
    page = await practice.page_of(AMARA)
    await page.goto("/therapist/recordings")
    listed = page.locator("main tbody tr")
    await expect(listed).to_have_count(2)
    await expect(listed.filter(has_text="recovered after the server stopped")).to_have_count(1)

    await stop_and_take_up_again(page, f"/therapist/recordings/{practice.left.long}")

    await page.goto(f"/therapist/recordings/{practice.left.talk}")
    await expect(page.get_by_text(re.compile("Recovered after the server stopped at "))).to_be_visible()
    # The long one is made first, or last: this one's turn comes when that one is stopped.
    await stop_making(page, f"/therapist/recordings/{practice.left.long}")
    await page.goto(f"/therapist/recordings/{practice.left.talk}")
    await expect(page.locator("#composition .making")).to_have_count(0, timeout=LONG_MS)
    await page.reload()
    await assert_film_plays(page)

    await page.goto("/therapist/recordings")
    picture = listed.filter(has_text="recovered after").locator("img")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
    assert await violations(page) == []


async def stop_making(page: Page, path: str) -> None:
    await page.goto(path)
    stop = page.get_by_role("button", name="Stop making it")
    await expect(stop).to_be_visible(timeout=LONG_MS)
    await stop.click()
    await expect(page.get_by_role("button", name="Go on making it")).to_be_visible()


async def stop_and_take_up_again(page: Page, path: str) -> None:
    await page.goto(path)
    making = page.get_by_text(re.compile(r"Making one film of everybody: \d+ %"))
    await expect(making).to_be_visible(timeout=LONG_MS)
    await stop_making(page, path)
    await expect(page.locator("#making")).to_have_count(0)
    assert await violations(page) == []
    await page.get_by_role("button", name="Go on making it").click()
    await expect(page.locator("#making")).to_be_visible()


async def assert_film_plays(page: Page) -> None:
    """One picture of both: played, sought by slider, key and chapter."""
    await expect(page.locator("#player video")).to_have_count(1)
    assert float(await page.locator("#player").get_attribute("data-length") or 0) == pytest.approx(TALK_S, abs=0.3)
    await journey.until(page, f"{FILM}.videoWidth === 1280 && {FILM}.videoHeight === 720")
    await page.locator("#play").click()
    await journey.until(page, f"{FILM}.currentTime > 1 && {FILM}.getVideoPlaybackQuality().totalVideoFrames > 10")
    await page.keyboard.press("k")
    await journey.until(page, f"{FILM}.paused")
    await page.locator("#seek").fill("9")
    await journey.until(page, f"Math.abs({FILM}.currentTime - 9) < 0.2 && !{FILM}.seeking")

    chapters = page.get_by_role("list", name="Chapters").get_by_role("button")
    words = ["Dr. Amara Okafor is recorded", "Mina Halvorsen is recorded", "Paused", "Recording goes on"]
    assert [re.sub(r"^\d+:\d\d ", "", one) for one in await chapters.all_inner_texts()] == words
    await chapters.filter(has_text="Paused").click()
    await journey.until(page, f"Math.abs({FILM}.currentTime - {PAUSED_S}) < 0.2 && !{FILM}.seeking")
    await expect(page.locator(".chapters [aria-current]")).to_have_text(re.compile("Paused"))
    await page.keyboard.press("]")
    await expect(page.locator(".chapters [aria-current]")).to_have_text(re.compile("goes on"))
    assert await violations(page) == []


async def test_a_shared_recording_is_the_clients_to_watch_to_trace_and_to_take_back(practice: Practice) -> None:
    theirs, path = await practice.page_of(AMARA), f"/therapist/recordings/{practice.left.talk}"
    await theirs.goto(path)
    await expect(theirs.locator("#player")).to_be_visible(timeout=LONG_MS)
    await theirs.get_by_role("button", name="Share with the client").click()
    await theirs.get_by_role("button", name="Share", exact=True).click()
    await expect(theirs.get_by_role("button", name="Shared with the client")).to_be_visible()
    assert await violations(theirs) == []

    page = await practice.page_of(MINA)
    await page.goto("/recordings")
    await page.locator(f"main a[href='/recordings/{practice.left.talk}']").click()
    every_part = "[...document.querySelectorAll('#player video')]"
    await page.locator("#play").click()
    await journey.until(page, f"{every_part}.every((part) => part.currentTime > 0.5)", 40)
    assert await violations(page) == []

    await page.goto("/recordings/looks")
    mine = page.locator("tr", has_text="You").filter(has_text="Watched it")
    await expect(mine.first).to_be_visible()
    assert await violations(page) == []
    await expect(page.locator("tr", has_text="Dr. Amara Okafor").filter(has_text="Shared it").first).to_be_visible()

    await page.goto(f"/sessions/{practice.left.appointment}/recording-consent")
    await page.get_by_role("button", name="Take my consent back").click()
    await page.get_by_role("button", name="Delete what was recorded of me").click()
    await expect(page.get_by_text("What was recorded of you is deleted.")).to_be_visible()
    assert await violations(page) == []
    await theirs.goto(path)
    await expect(theirs.get_by_text("What was recorded of Mina Halvorsen was deleted on their wish.")).to_be_visible()
    await expect(theirs.locator(".chapters")).not_to_contain_text("Mina")
    assert await violations(theirs) == []
