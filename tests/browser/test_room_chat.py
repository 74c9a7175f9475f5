"""The room's chat as two people use it: live, in order, after a lost line, with safe links, and read afterwards."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, Playwright, expect

from tests.browser import journey
from tests.browser.people import Server, person_in_browser
from tests.browser.rooms import Meeting
from tests.helpers.axe import violations
from tests.helpers.fake_media import AMARA, MINA

pytestmark = pytest.mark.timeout(240)


async def write(page: Page, text: str) -> None:
    await page.locator("#chat-input").fill(text)
    await page.locator("#chat-input").press("Enter")


async def lines(page: Page) -> list[str]:
    return await page.locator("#chat-lines .msg__text").all_inner_texts()


async def test_two_people_write_to_each_other_and_read_it_afterwards(meeting: Meeting) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await journey.press(amara, "#chat")
    await expect(amara.locator("#chat-input")).to_be_focused()
    await write(amara, "Hello Mina")
    await expect(amara.locator(".msg__state")).to_have_text("Delivered")
    await expect(mina.locator("#chat-count")).to_have_text(re.compile("^1"))
    await expect(mina.locator("#said")).to_have_text("New message from Dr. Amara")
    await mina.keyboard.press("c")
    await expect(mina.locator("#chat-count")).to_be_hidden()
    await expect(amara.locator(".msg__state")).to_have_text("Read")
    await write(mina, "See https://example.org/a, <b>not</b> javascript:alert(1)")
    link = amara.locator("#chat-lines a")
    await expect(link).to_have_attribute("href", "https://example.org/a")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    assert (await lines(amara))[-1] == "See https://example.org/a, <b>not</b> javascript:alert(1)"
    assert await lines(amara) == await lines(mina)
    await mina.keyboard.press("Escape")
    await expect(mina.locator("#panel-chat")).to_be_hidden()
    await expect(mina.locator("#chat")).to_be_focused()
    await mina.reload()
    await journey.press(mina, "#chat")
    await expect(mina.locator("#chat-lines .msg")).to_have_count(2)
    for page in (mina, amara):
        assert await violations(page) == []
    await meeting.end()
    await amara.goto(f"/sessions/{meeting.appointment}/chat")
    await expect(amara.locator(".msg__text").first).to_have_text("Hello Mina")
    assert meeting.mina.errors == meeting.amara.errors == []


async def test_what_is_written_without_a_network_arrives_once_it_is_back_and_in_order(meeting: Meeting) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await journey.press(mina, "#chat")
    await meeting.mina.context.set_offline(True)
    await write(mina, "first")
    await write(mina, "second")
    await expect(mina.locator("[data-unsent]")).to_have_count(2)
    await expect(mina.locator("[data-unsent] .msg__state").first).to_have_text("Not sent yet. We keep trying.")
    await journey.press(amara, "#chat")
    await write(amara, "from the other side")
    await asyncio.sleep(1)
    await meeting.mina.context.set_offline(False)
    await expect(mina.locator("[data-unsent]")).to_have_count(0, timeout=15_000)
    await expect(mina.locator("#chat-lines .msg")).to_have_count(3)
    assert await lines(mina) == await lines(amara) == ["from the other side", "first", "second"]


async def test_client_writes_from_the_waiting_room_and_the_room_goes_on_with_it(
    playwright: Playwright, media_dir: Path, server: Server
) -> None:
    async with (
        person_in_browser(playwright, MINA, media_dir, server.url) as mina,
        person_in_browser(playwright, AMARA, media_dir, server.url) as amara,
    ):
        appointment = await journey.book_soonest(mina.page, "mina@example.com")
        await journey.agree(mina.page, appointment, recording=False)
        await mina.page.get_by_role("button", name="Write to Dr. Amara").click()
        await write(mina.page, "I am here, take your time")
        await expect(mina.page.locator(".msg__state")).to_have_text("Sent")
        await journey.sign_in(amara.page, "amara@lindenrow.example")
        await journey.start_from_dashboard(amara.page)
        await journey.wait_for_picture(mina)
        await expect(amara.page.locator("#chat-count")).to_be_visible()
        for who in (mina, amara):
            await journey.press(who.page, "#chat")
            assert await lines(who.page) == ["I am here, take your time"]
        await write(amara.page, "Good to see you")
        await expect(mina.page.locator("#chat-lines .msg")).to_have_count(2)
        assert mina.errors == amara.errors == []
