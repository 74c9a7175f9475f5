"""Devices in the room: refused, missing, taken, unplugged, changed. Each is said plainly, and each has a way on."""

import pytest
from playwright.async_api import Page, expect

from tests.browser import journey
from tests.browser.rooms import Meeting
from tests.helpers.axe import violations

pytestmark = [pytest.mark.timeout(300)]

FAILING = """
(() => {
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const fail = JSON.parse(localStorage.getItem('test.fail') || '{}');
    for (const kind of ['audio', 'video']) {
      if (wanted[kind] && fail[kind]) throw new DOMException('as told', fail[kind]);
    }
    return real(wanted);
  };
  window.awake = 0;
  navigator.wakeLock.request = async (what) => { window.awake += what === 'screen' ? 1 : 0; return { release() {} }; };
})();
"""
"""`getUserMedia` fails as a browser's does, with the names the specification gives; the rest is Chromium's own."""

CAMERA = "document.getElementById('self-video').srcObject.getVideoTracks()[0]"


async def fail(page: Page, **kinds: str) -> None:
    await page.evaluate("(kinds) => localStorage.setItem('test.fail', JSON.stringify(kinds))", kinds)


async def come_in_again(page: Page, **kinds: str) -> None:
    await fail(page, **kinds)
    await page.reload()
    await expect(page.locator("#status")).to_have_text("Active", timeout=15_000)


async def test_each_failure_of_a_device_is_said_and_has_a_way_on(meeting: Meeting) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await meeting.mina.context.add_init_script(FAILING)
    notice, again = mina.locator("#notice-words"), mina.locator("#notice-retry")
    tile = amara.locator(".picture__instead p")

    await come_in_again(mina, audio="NotAllowedError", video="NotAllowedError")
    await expect(notice).to_have_text(
        "Your browser does not let this page use your camera and microphone. "
        "Allow it beside the address, then try again."
    )
    await journey.wait_for_picture(meeting.mina)
    await expect(tile).to_have_text("Mina's camera is off.")
    for page in (mina, amara):
        assert await violations(page) == []
    await fail(mina)
    await again.click()
    await expect(mina.locator("#notice")).to_be_hidden()
    await journey.wait_for_picture(meeting.amara)

    await come_in_again(mina, video="NotFoundError")
    await expect(mina.locator("#self-instead")).to_have_text("No camera")
    await expect(mina.locator("#notice")).to_be_hidden()
    await expect(mina.locator("#mic")).to_have_class("ctl")
    await expect(tile).to_have_text("Mina's camera is off.")
    await fail(mina)
    await mina.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    await journey.wait_for_picture(meeting.amara)

    await come_in_again(mina, video="NotReadableError")
    await expect(notice).to_contain_text("another program may have taken it")
    await fail(mina)
    await again.click()
    await journey.wait_for_picture(meeting.amara)
    assert await mina.evaluate("awake") >= 1
    assert meeting.mina.errors == meeting.amara.errors == []


async def test_unplugged_camera_is_replaced_or_comes_back_by_itself(meeting: Meeting) -> None:
    mina = meeting.mina.page
    await meeting.mina.context.add_init_script(FAILING)
    await come_in_again(mina)
    await journey.until(mina, f"{CAMERA}.readyState === 'live'")
    await mina.evaluate(f"{CAMERA}.dispatchEvent(new Event('ended'))")
    await expect(mina.locator("#toasts")).to_contain_text("Your camera is no longer there. Another one goes on.")
    await journey.until(mina, f"{CAMERA}.readyState === 'live'")
    await journey.wait_for_picture(meeting.amara)

    await fail(mina, video="NotFoundError")
    await mina.evaluate(f"{CAMERA}.dispatchEvent(new Event('ended'))")
    await expect(mina.locator("#notice-words")).to_contain_text("Plug it in again and it goes on by itself")
    await expect(meeting.amara.page.locator(".picture__instead p")).to_have_text("Mina's camera is off.")
    await fail(mina)
    await mina.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    await expect(mina.locator("#notice")).to_be_hidden()
    await journey.wait_for_picture(meeting.amara)


async def test_microphone_and_speaker_are_changed_in_the_middle(meeting: Meeting) -> None:
    mina = meeting.mina.page
    await mina.keyboard.press("d")
    for kind in ("microphone", "speaker"):
        options = mina.locator(f"#pick-{kind} option")
        await journey.until(mina, f"document.querySelectorAll('#pick-{kind} option').length > 1")
        value = await options.last.get_attribute("value")
        await mina.locator(f"#pick-{kind}").select_option(value)
    chosen = await mina.evaluate("JSON.parse(localStorage.getItem('holdspace.devices'))")
    await journey.until(mina, f"document.querySelector('.picture video').sinkId === '{chosen['speaker']}'")
    await mina.get_by_role("button", name="Done").click()
    heard = await meeting.amara.probe(f"listenRemote(4, {meeting.mina.person.pitch_hz}, 100)")
    assert heard["pitch"] > -40
    await mina.reload()
    await journey.wait_for_picture(meeting.mina)
    await journey.until(mina, f"document.querySelector('.picture video').sinkId === '{chosen['speaker']}'")
    sending = (
        "probe.connections.flatMap((pc) => pc.getSenders()).map((one) => one.track).find((t) => t?.kind === 'audio')"
    )
    settings = await mina.evaluate(f"{sending}.getSettings()")
    assert settings["deviceId"] == chosen["microphone"]
    assert settings["echoCancellation"] is not False
    assert settings["noiseSuppression"] is not False


async def test_browser_without_what_is_needed_says_so_instead_of_hanging(meeting: Meeting) -> None:
    page = await meeting.mina.context.new_page()
    await page.add_init_script("delete window.RTCPeerConnection;")
    await page.goto(f"/sessions/{meeting.appointment}/room")
    await expect(page.locator("#over-title")).to_have_text("This browser can't carry the session")
    await expect(page.locator("#over-words")).to_contain_text("Chrome, Edge, Firefox or Safari")
    await expect(page.locator("#over-link")).to_be_visible()
    assert await violations(page) == []
    # The first page is not pushed out by one that can do nothing.
    await expect(meeting.mina.page.locator("#over")).to_be_hidden()
