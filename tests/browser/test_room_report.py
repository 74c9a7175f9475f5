"""Reporting a problem from the room and the waiting room: numbers at once, who is told, and that somebody has it."""

import re
import sqlite3
from contextlib import closing

import pytest
from playwright.async_api import Page, expect

from tests.browser import journey
from tests.browser.rooms import Meeting
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(240)


async def test_technical_report_reaches_the_practitioner_and_the_reporter_hears_who_has_it(meeting: Meeting) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await mina.keyboard.press("h")
    await mina.get_by_role("button", name="Something technical").click()
    await mina.locator("#report-text").fill("There is an echo")
    await mina.locator("#report-send").click()
    await expect(mina.locator("#report-done-words")).to_contain_text("Sent.")
    await expect(amara.locator("#reported-words")).to_have_text("Mina Halvorsen reports a technical problem.")
    await amara.locator("#reported-take").click()
    await expect(amara.locator("#reported")).to_be_hidden()
    await expect(mina.locator("#report-done-words")).to_have_text("Somebody has seen it and takes care of it.")
    await mina.locator("#report-close").click()
    await expect_plain_words_where_nobody_can_be_told(meeting)
    assert meeting.mina.errors == meeting.amara.errors == []


async def expect_plain_words_where_nobody_can_be_told(meeting: Meeting) -> None:
    """As where the practitioner is the only one who works at the practice."""
    mina, amara = meeting.mina.page, meeting.amara.page
    with closing(sqlite3.connect(meeting.server.data_dir / "holdspace.db")) as database, database:
        database.execute("UPDATE person_roles SET role = 'client' WHERE role = 'admin'")
    await expect_untold(mina, "I feel uncomfortable or unsafe", "Nobody could be told: only your practitioner works")
    await expect(mina.locator("#report-numbers a").first).to_be_visible()
    await expect_untold(amara, "Something technical", "Kept, but nobody else works at this practice")
    await expect(amara.locator("#report-help")).to_be_hidden()
    await amara.locator("#report-close").click()
    await expect_untold(
        amara, "I need urgent help", "Nobody else works at this practice who could be told. Please call"
    )
    await expect(amara.locator("#reported")).to_be_hidden()
    for page in (mina, amara):
        assert await violations(page) == []


async def expect_untold(page: Page, choice: str, words: str) -> None:
    await journey.press(page, "#report")
    await page.get_by_role("button", name=choice).click()
    if choice != "I need urgent help":
        await page.locator("#report-send").click()
    await expect(page.locator("#report-done-words")).to_contain_text(words)
    await expect(page.locator("#report-done")).to_have_class(re.compile("banner--warn"))


async def test_unsafe_is_not_shown_to_the_practitioner_and_one_can_leave_at_once(meeting: Meeting) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await journey.press(mina, "#report")
    await mina.get_by_role("button", name="I feel uncomfortable or unsafe").click()
    await mina.locator("#report-leave").click()
    await mina.wait_for_url("**/dashboard")
    await expect(amara.locator("#status")).to_have_text("Waiting")
    await expect(amara.locator("#reported")).to_be_hidden()
    await amara.goto("/therapist/dashboard")
    assert "problem" not in (await amara.locator("body").inner_text()).lower()
    assert (await amara.request.get("/admin/problems")).status == 403


async def test_urgent_help_shows_numbers_even_without_a_network(meeting: Meeting) -> None:
    mina = meeting.mina.page
    await journey.press(mina, "#report")
    await meeting.mina.context.set_offline(True)
    await mina.get_by_role("button", name="I need urgent help").click()
    await expect(mina.locator("#report-numbers a").first).to_be_visible()
    await expect(mina.locator("#report-error")).to_contain_text("Please call a number above")
    await meeting.mina.context.set_offline(False)
    await mina.locator("#report-send").click()
    await expect(mina.locator("#report-done-words")).to_contain_text("We have told everybody")
    await mina.locator("#report-country").select_option("JP")
    await expect(mina.locator("#report-numbers")).to_contain_text("119")
    await expect(meeting.amara.page.locator("#reported-words")).to_have_text("Mina Halvorsen needs urgent help.")
    assert await violations(meeting.amara.page) == []
    await mina.locator("#report-close").click()
    # The bars fade; this button and the sign of a recording never do.
    await expect(mina.locator("#room")).to_have_class("room room--live room--quiet", timeout=30_000)
    opacity = "getComputedStyle(document.querySelector('{}')).opacity"
    await journey.until(mina, f"{opacity.format('#mic')} === '0'")
    assert await mina.evaluate(opacity.format("#report")) == "1"
