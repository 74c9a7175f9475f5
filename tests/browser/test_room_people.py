"""What the practitioner decides inside the room, as both sides see it: mute, waiting room, sharing; and the layouts."""

import pytest
from playwright.async_api import Page, expect

from tests.browser import journey
from tests.browser.rooms import Meeting

pytestmark = pytest.mark.timeout(240)

LIVE = "probe.remoteVideos().filter((video) => video.videoWidth > 0 && !video.paused && !video.hidden).length"


async def test_practitioner_mutes_sends_out_and_lets_in_again(meeting: Meeting) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await journey.press(amara, "#people")
    row = amara.locator("#people-list li", has_text="Mina Halvorsen")
    await row.get_by_role("button", name="Mute").click()
    await expect(mina.locator("#mic")).to_have_class("ctl ctl--off")
    await expect(mina.locator("#toasts")).to_contain_text("switched your microphone off")
    await expect(row).to_contain_text("microphone off")
    await expect(row.get_by_role("button", name="Mute")).to_have_count(0)
    await journey.press(mina, "#mic")
    await expect(row).not_to_contain_text("microphone off")

    await row.get_by_role("button", name="To the waiting room").click()
    await mina.wait_for_url("**/waiting-room")
    await expect(row).to_contain_text("in the waiting room")
    await expect(mina.locator("#wait-title")).to_contain_text("is here and will let you in")
    await row.get_by_role("button", name="Admit").click()
    await expect(amara.locator("#said")).to_have_text("Mina joined")
    await journey.wait_for_picture(meeting.mina)
    await journey.wait_for_picture(meeting.amara)
    await expect(mina.locator("#panel-people")).to_be_hidden()
    await mina.keyboard.press("p")
    await expect(mina.locator("#people-list li")).to_have_count(2)
    await expect(mina.locator("#people-list button")).to_have_count(0)
    assert meeting.mina.errors == meeting.amara.errors == []


async def test_client_shares_the_screen_only_while_the_practitioner_allows_it(meeting: Meeting) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await mina.mouse.move(300, 300)
    await expect(mina.locator("#share")).to_be_hidden()
    await journey.press(amara, "#people")
    await amara.locator("#may-share").check(force=True)
    await journey.press(mina, "#share")
    screen = amara.locator(".picture--screen")
    await expect(screen).to_be_visible()
    await expect(amara.locator("#stage")).to_have_attribute("data-layout", "screen")
    await journey.until(amara, "document.querySelector('.picture--screen video').videoWidth > 640")
    await amara.locator("#may-share").uncheck(force=True)
    await expect(screen).to_have_count(0)
    await expect(mina.locator("#share")).to_be_hidden()
    await expect(amara.locator("#stage")).to_have_attribute("data-layout", "one")
    assert meeting.mina.errors == meeting.amara.errors == []


async def expect_room_for_25(page: Page) -> None:
    """Everybody's tile is on the screen whole, none over another. They are made up: there is no media."""
    here = await page.evaluate("probe.people")
    told = {"place": "admitted", "role": "guest", "connected": True, "media": "connected", "since": here[0]["since"]}
    crowd = [{"id": f"{n:032x}", "name": f"Guest Number {n} of a Long Name", **told} for n in range(25 - len(here))]
    await page.evaluate("(people) => probe.hear({ type: 'people', people })", [*here, *crowd])
    tiles = page.locator("#stage > .picture")
    await expect(tiles).to_have_count(24)
    for width, height in ((1440, 900), (820, 1180), (390, 844)):
        await page.set_viewport_size({"width": width, "height": height})
        boxes = [box for tile in await tiles.all() if (box := await tile.bounding_box())]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width + 1 for box in boxes)
        assert all(box["y"] >= 0 and box["y"] + box["height"] <= height + 1 for box in boxes)
        assert min(box["width"] for box in boxes) >= 64
        assert len({(round(box["x"]), round(box["y"])) for box in boxes}) == 24
    await page.set_viewport_size({"width": 1280, "height": 720})
    await page.evaluate("(people) => probe.hear({ type: 'people', people })", here)
    await expect(tiles).to_have_count(1)


async def test_layouts_sound_only_and_keys(meeting: Meeting) -> None:
    amara = meeting.amara.page
    stage, room = amara.locator("#stage"), amara.locator("#room")
    await expect(stage).to_have_attribute("data-layout", "one")
    for _ in range(2):
        await amara.keyboard.press("g")
    await expect(stage).to_have_attribute("data-layout", "grid")
    await expect(stage.locator("#self")).to_be_visible()
    await journey.until(amara, "!document.querySelector('#self-video').paused")
    boxes = [await stage.locator(part).bounding_box() for part in (".picture", "#self")]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert abs(boxes[0]["width"] - boxes[1]["width"]) < 2
    for _ in range(2):
        await amara.keyboard.press("g")
    await expect(room).not_to_have_class("room--even")
    await expect(amara.locator("#main > #self")).to_be_visible()

    await expect_room_for_25(amara)

    await amara.keyboard.press("a")
    await expect(amara.locator(".picture__instead")).to_contain_text("Sound only")
    await expect(amara.locator("#camera")).to_have_class("ctl ctl--off")
    await journey.until(amara, f"{LIVE} === 0")
    before = await amara.evaluate("probe.receivedBytes('video')")
    await amara.wait_for_timeout(2000)
    assert await amara.evaluate("probe.receivedBytes('video')") - before < 2_000
    await amara.keyboard.press("a")
    await journey.wait_for_picture(meeting.amara)
    await amara.keyboard.press("Shift+?")
    await expect(amara.locator("#keys-list")).to_contain_text("Chat")
    assert meeting.mina.errors == meeting.amara.errors == []


async def test_practitioner_reads_and_writes_the_clients_file_beside_the_picture(meeting: Meeting) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await journey.press(amara, "#client")
    await expect(amara.locator("#client-words")).to_contain_text("No notes yet")
    await amara.keyboard.type("n is a letter here: sleeps better")
    await amara.locator("#client-keep").press("Enter")
    note = amara.locator("#client-notes .note__text")
    await expect(note).to_have_text("n is a letter here: sleeps better")
    await expect(amara.locator("#client-note")).to_have_value("")
    await amara.keyboard.press("Escape")
    await expect(note).to_have_count(0)
    await amara.keyboard.press("n")
    await expect(note).to_have_count(1)
    await amara.route("**/api/clients/*/notes", lambda route: route.abort())
    await amara.locator("#client-note").fill("a second one")
    await amara.locator("#client-keep").click()
    await expect(amara.locator("#client-error")).to_contain_text("can't reach the server")
    await expect(amara.locator("#client-note")).to_have_value("a second one")
    await amara.unroute("**/api/clients/*/notes")
    await amara.locator("#client-keep").click()
    await expect(note).to_have_text(["a second one", "n is a letter here: sleeps better"])
    assert await mina.locator("#client, #panel-client").count() == 0
    assert "Client file" not in await mina.content()
