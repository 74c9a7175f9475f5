"""The room for everybody: axe finds nothing with anything open, no button is cut off, all is done by keyboard alone."""

import pytest
from playwright.async_api import expect

from tests.browser.rooms import Meeting
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("width", [1440, 390])
async def test_axe_finds_nothing_with_anything_open(meeting: Meeting, width: int) -> None:
    for who in (meeting.amara, meeting.mina):
        page = who.page
        await page.set_viewport_size({"width": width, "height": 844})
        assert await violations(page) == []
        for key, panel in (("c", "chat"), ("i", "files"), ("p", "people")):
            await page.keyboard.press(key)
            await expect(page.locator(f"#panel-{panel}")).to_be_visible()
            assert await violations(page) == [], panel
            await page.keyboard.press("Escape")
        if who is meeting.amara:
            await page.keyboard.press("n")
            await expect(page.locator("#client-words")).to_contain_text("session")
            assert await violations(page) == []
            await page.keyboard.press("Escape")
        for key, dialog in (("h", "report"), ("d", "devices"), ("Shift+?", "keys")):
            await page.keyboard.press(key)
            await expect(page.locator(f"#{dialog}-dialog")).to_be_visible()
            assert await violations(page) == [], dialog
            await page.keyboard.press("Escape")
            await expect(page.locator(f"#{dialog}-dialog")).to_be_hidden()


async def test_writing_reporting_and_leaving_need_no_pointer(meeting: Meeting) -> None:
    page = meeting.mina.page
    await page.keyboard.press("c")
    await page.keyboard.type("m v c l are letters here, not commands")
    await page.keyboard.press("Enter")
    await expect(page.locator("#chat-lines .msg__text")).to_have_text("m v c l are letters here, not commands")
    await expect(page.locator("#mic")).to_have_class("ctl")
    await page.keyboard.press("Escape")
    await expect(page.locator("#chat")).to_be_focused()
    await page.keyboard.press("h")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Something technical")).to_be_focused()
    await page.keyboard.press("Escape")
    await page.keyboard.press("Shift+?")
    await page.locator("#keys-on").press("Space")
    await page.keyboard.press("Escape")
    await page.keyboard.press("m")
    await expect(page.locator("#mic")).to_have_class("ctl")
    await meeting.amara.page.keyboard.press("r")
    await expect(page.locator("#said")).to_have_text("Recording")
    await page.locator("#leave").press("Enter")
    await page.wait_for_url("**/dashboard")


# Buttons of the bar that reach beyond it, or whose words reach beyond them.
CUT_OFF = """
  () => [...document.querySelectorAll('.room__bar .ctl')].filter((one) => one.offsetParent)
    .filter((one) => one.scrollWidth > one.clientWidth
      || one.getBoundingClientRect().right > one.closest('.room__bar').getBoundingClientRect().right)
    .map((one) => one.id)
"""


async def test_every_button_of_the_bar_is_whole_at_every_width(meeting: Meeting) -> None:
    for who in (meeting.amara, meeting.mina):
        page = who.page
        for key in ("", "c"):
            if key:
                await page.keyboard.press(key)
                await expect(page.locator("#panel-chat")).to_be_visible()
            for width in (1440, 1401, 1400, 1280, 1061, 1060, 1024, 1001, 1000, 820, 768, 390, 320):
                await page.set_viewport_size({"width": width, "height": 844})
                assert await page.evaluate(CUT_OFF) == [], (width, key)
