"""Sessions by sound and in writing: the same room with what they have, and nothing of what they don't."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from playwright.async_api import expect

from tests.browser import journey
from tests.browser.rooms import Meeting
from tests.browser.test_room_chat import write
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(240)

SENDS_NONE = "probe.connections.every((one) => one.getSenders().every(({ track }) => !track))"
SENDS_NO_PICTURE = "probe.connections.every((one) => one.getSenders().every(({ track }) => track?.kind !== 'video'))"


ASKED = """
window.asked = 0;
navigator.mediaDevices.getUserMedia = async () => {
  window.asked += 1;
  throw new DOMException('nothing to open', 'NotFoundError');
};
"""


async def held(meeting: Meeting, mode: str) -> None:
    """The session is one by sound, or in writing, and both come into it anew."""
    with closing(sqlite3.connect(meeting.server.data_dir / "holdspace.db")) as database, database:
        database.execute("UPDATE appointments SET mode = ? WHERE id = ?", (mode, meeting.appointment))
    pages = [meeting.mina.page, meeting.amara.page]
    await asyncio.gather(*(page.reload() for page in pages))
    await asyncio.gather(*(expect(page.locator("#status")).to_have_text("Active") for page in pages))


async def test_room_by_sound_has_no_camera_and_the_one_in_writing_opens_no_device(meeting: Meeting) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await held(meeting, "audio")
    for page in (mina, amara):
        await journey.until(page, "probe.receivedBytes('audio').then((bytes) => bytes > 5_000)")
        for gone in ("#camera", "#blur", "#menu-sound-only"):
            await expect(page.locator(gone)).to_be_hidden()
        await page.keyboard.press("v")
        assert await page.evaluate(SENDS_NO_PICTURE)
        await expect(page.locator("#stage .picture__instead")).to_be_visible()
    assert await violations(mina) == []
    await mina.keyboard.press("m")
    await expect(mina.locator("#mic")).to_have_class("ctl ctl--off")

    await meeting.mina.context.add_init_script(ASKED)
    await held(meeting, "chat")
    for page in (mina, amara):
        await expect(page.locator("#panel-chat")).to_be_visible()
        for gone in ("#camera", "#mic", "#blur", "#share", "#menu-layout"):
            await expect(page.locator(gone)).to_be_hidden()
        assert await page.evaluate(SENDS_NONE)
    await expect_waiting_room_without_devices(meeting)
    await write(mina, "I would rather write today")
    await expect(amara.locator("#chat-lines")).to_contain_text("I would rather write today")
    for page in (mina, amara):
        assert await violations(page) == []
    assert meeting.mina.errors == meeting.amara.errors == []


async def expect_waiting_room_without_devices(meeting: Meeting) -> None:
    """Mina is sent there from a session in writing, and let in again."""
    mina, amara = meeting.mina.page, meeting.amara.page
    assert await mina.evaluate("asked") == 0
    await amara.locator("#panel-chat [data-close]").click()
    await journey.press(amara, "#people")
    row = amara.locator("#people-list li", has_text="Mina Halvorsen")
    await row.get_by_role("button", name="To the waiting room").click()
    await mina.wait_for_url("**/waiting-room")
    await expect(mina.locator("#wait-title")).to_contain_text("is here and will let you in")
    await expect(mina.locator("#own-instead")).to_have_text(
        "A session in writing: it needs neither camera nor microphone"
    )
    await expect(mina.locator("#check-connection")).to_be_visible()
    for gone in ("#mic", "#camera", ".wait__devices", "#check-sound", "#check-camera", "#device-problem"):
        await expect(mina.locator(gone)).to_be_hidden()
    assert await violations(mina) == []
    assert await mina.evaluate("asked") == 0
    await row.get_by_role("button", name="Admit").click()
    await expect(row.get_by_role("button", name="To the waiting room")).to_be_visible()
    await amara.locator("#panel-people [data-close]").click()
    await journey.press(amara, "#chat")
    for page in (mina, amara):
        await expect(page.locator("#panel-chat")).to_be_visible()
        await expect(page.locator("#status")).to_have_text("Active")
