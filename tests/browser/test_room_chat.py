"""The room's chat as two people use it: live, in order, after a lost line, with safe links, and read afterwards."""

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from tests.browser import journey
from tests.browser.rooms import Meeting

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
