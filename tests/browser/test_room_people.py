"""What the practitioner decides inside the room, as both sides see it: mute, waiting room, sharing; and the layouts."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, Playwright, expect

from tests.browser import journey
from tests.browser.people import Person
from tests.browser.rooms import Meeting, guest_by_link
from tests.browser.test_room_files import fetched
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(240)

LIVE = "probe.remoteVideos().filter((video) => video.videoWidth > 0 && !video.paused && !video.hidden).length"


async def test_practitioner_mutes_sends_out_lets_in_again_and_invites(
    meeting: Meeting, playwright: Playwright, media_dir: Path, tmp_path: Path
) -> None:
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
    await expect(mina.locator("#wait-lead")).to_have_text("The session is running already. You needn't do anything.")
    await expect(mina.locator("#next-running")).to_be_visible()
    await expect(mina.locator("#next-early")).to_be_hidden()
    await row.get_by_role("button", name="Admit").click()
    await expect(amara.locator("#said")).to_have_text("Mina joined")
    await journey.wait_for_picture(meeting.mina)
    await journey.wait_for_picture(meeting.amara)
    await expect(mina.locator("#panel-people")).to_be_hidden()
    await mina.keyboard.press("p")
    await expect(mina.locator("#people-list li")).to_have_count(2)
    await expect(mina.locator("#people-list button")).to_have_count(0)
    await expect(mina.locator("#menu-guest, #guest-dialog")).to_have_count(0)

    async with guest_by_link(meeting, playwright, media_dir) as gwen:
        await expect(gwen.page.locator("#wait-title")).to_contain_text("is here and will let you in")
        await amara.locator("#people-list li", has_text="Gwen Guest").get_by_role("button", name="Admit").click()
        await expect_three_with_pictures_and_sound(
            {"Mina Halvorsen": meeting.mina, "Dr. Amara Okafor": meeting.amara, "Gwen Guest": gwen}
        )
        await expect_the_speaker_to_be_large(mina)
        await expect_file_for_one(meeting, gwen, tmp_path)
        for page in (mina, amara, gwen.page):
            assert await violations(page) == []
        assert meeting.mina.errors == meeting.amara.errors == gwen.errors == []


async def expect_three_with_pictures_and_sound(people: dict[str, Person]) -> None:
    """Each sees and hears the other two, each picture under its own name, and can send its camera in three sizes."""

    async def expect_the_others(name: str, who: Person) -> None:
        others = {other: one.person for other, one in people.items() if other != name}
        await expect(who.page.locator("#stage")).to_have_attribute("data-layout", "grid")
        await journey.until(who.page, f"{LIVE} === 2")
        await journey.until(who.page, "probe.cameraSizes() === 3")
        blue = {f"{other}'s picture": 1.772 * (one.tint - 128) for other, one in others.items()}
        same = f"Object.entries({blue}).every(([name, blue]) => Math.abs(blue - seen[name]) < 30)"
        await journey.until(who.page, f"(() => {{ const seen = probe.tints(); return {same}; }})()")
        levels = await who.probe("listenToBoth(2, {}, {})".format(*(other.pitch_hz for other in others.values())))
        assert min(levels) > -40, (name, levels)

    await asyncio.gather(*(expect_the_others(name, who) for name, who in people.items()))


async def expect_the_speaker_to_be_large(page: Page) -> None:
    await page.keyboard.press("g")
    await expect(page.locator("#stage")).to_have_attribute("data-layout", "speaker")
    large, small = [
        await page.locator(f".picture{which}").bounding_box() for which in ("--large", ":not(.picture--large)")
    ]
    assert large is not None
    assert small is not None
    assert large["width"] > 700
    assert large["height"] > 300
    assert small["y"] + small["height"] <= large["y"]
    assert small["width"] < 200


async def expect_file_for_one(meeting: Meeting, gwen: Person, folder: Path) -> None:
    """From Mina for Gwen: Dr. Amara's page never hears of it, and asking for it finds nothing."""
    mina, amara = meeting.mina.page, meeting.amara.page
    await mina.keyboard.press("i")
    await mina.locator("#file-to").select_option(label="Only Gwen Guest")
    await mina.locator("#file-input").set_input_files(
        {"name": "for gwen.txt", "mimeType": "text/plain", "buffer": b"Dear Gwen"}
    )
    own = mina.locator("#file-list li[data-file]")
    await expect(own).to_contain_text("from you, for one person")
    await expect(gwen.page.locator("#said")).to_have_text("Mina has shared a file")
    await journey.press(gwen.page, "#files")
    await expect(gwen.page.locator("#file-list li")).to_contain_text("from Mina, only for you")
    assert await fetched(gwen.page, "for gwen.txt", folder) == b"Dear Gwen"
    await mina.locator("#file-to").select_option(label="Everybody in the session")
    await mina.locator("#file-input").set_input_files(
        {"name": "for all.txt", "mimeType": "text/plain", "buffer": b"Dear all"}
    )
    await amara.keyboard.press("i")
    await expect(amara.locator("#file-list li")).to_contain_text("for all.txt")
    await expect(amara.locator("#file-list li")).to_have_count(1)
    hidden = await own.filter(has_text="for gwen.txt").get_attribute("data-file")
    assert (await amara.request.get(f"/api/files/{hidden}/content")).status == 404
    listed = await (await amara.request.get(f"/api/appointments/{meeting.appointment}/files")).json()
    assert [one["name"] for one in listed["files"]] == ["for all.txt"]


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
    for page in (mina, amara):
        assert await violations(page) == []
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


async def expect_no_show_to_be_offered_in_its_time(page: Page) -> None:
    """As if the client had never come. The server knows better, and its refusal is read where it was asked."""
    heard = await page.evaluate("[probe.people, probe.snapshot]")
    item, dialog = page.locator("#menu-no-show"), page.locator("#no-show-dialog")
    hear = "(heard) => ['people', 'snapshot'].forEach((type, at) => probe.hear({ type, [type]: heard[at] }))"
    alone = [one for one in heard[0] if one["role"] == "practitioner"]
    await page.evaluate(hear, [alone, heard[1] | {"no_show_from": "2199-03-03T16:15:00Z"}])
    await journey.press(page, "#more")
    await expect(item).to_have_text(re.compile(r"^Mark as no-show, from \d\d:\d\d$"))
    await item.click(force=True)
    await expect(dialog).to_be_hidden()
    await page.evaluate(hear, [alone, heard[1] | {"no_show_from": "2026-03-03T16:15:00Z"}])
    await journey.press(page, "#more")
    await expect(item).to_have_text("Mark as no-show")
    await page.keyboard.press("x")
    await expect(dialog.get_by_role("heading")).to_have_text("Mina did not come?")
    await dialog.get_by_role("button", name="Mark as no-show").click()
    await expect(page.locator("#no-show-error")).to_have_text("Your client was in this session.")
    await dialog.get_by_role("button", name="Wait on").click()
    await expect(page.locator("#more")).to_be_focused()
    await page.evaluate(hear, heard)
    await journey.press(page, "#more")
    await expect(page.locator("#menu-guest")).to_be_visible()
    await expect(item).to_be_hidden()
    await page.keyboard.press("Escape")


async def expect_paused_pictures_to_be_said(page: Page) -> None:
    """As on a line too slow for them. That the server tells of such a line: tests/media/test_narrow_lines.py."""
    # Heard anew at each look: what the server says in between takes its place.
    hear = "probe.hear({ type: 'slots', slots: probe.slots.map((one) => ({ ...one, paused: %s })) })"
    said = "document.body.innerText.includes({!r})".format
    both = said("Mina's picture is paused.") + " && " + said("Your connection is slow just now. Sound goes on")
    await journey.until(page, f"({hear % 'true'}, {both})")
    await journey.until(page, f"({hear % 'false'}, !{said('is paused.')} && !{said('is slow just now')})")
    await journey.until(page, f"{LIVE} === 1")


async def expect_full_screen_and_small_window(page: Page) -> None:
    """By key and from the menu. In full screen Escape is the browser's own: here it is left as Escape leaves it."""
    for element, key, item, words, back in (
        ("document.fullscreenElement", "f", "#menu-full", "#full-words", "Leave full screen"),
        ("document.pictureInPictureElement", "w", "#menu-pip", "#pip-words", "Back into the page"),
    ):
        named = await page.locator(words).text_content()
        await page.keyboard.press(key)
        await journey.until(page, f"{element} !== null")
        await expect(page.locator(words)).to_have_text(back)
        await journey.press(page, "#more")
        await page.locator(item).click()
        await journey.until(page, f"{element} === null")
        await expect(page.locator(words)).to_have_text(named or "")
    await page.keyboard.press("f")
    await journey.until(page, "document.fullscreenElement !== null")
    await page.keyboard.press("c")
    await page.keyboard.press("Escape")
    await expect(page.locator("#panel-chat")).to_be_hidden()
    await page.evaluate("document.exitFullscreen()")
    await expect(page.locator("#full-words")).to_have_text("Full screen")
    await journey.until(page, f"{LIVE} === 1")


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
    await expect(room).to_have_class(re.compile("room--swapped"))
    await journey.until(amara, "!document.querySelector('#self-video').paused")
    own, other = [await stage.locator(part).bounding_box() for part in ("#self", ".picture")]
    assert own is not None
    assert other is not None
    assert (own["width"], own["height"]) == (1280, 720)
    assert other["width"] < 250
    await amara.locator("#self").press("Enter")
    await expect(room).not_to_have_class(re.compile("room--(even|swapped)"))
    await expect(amara.locator("#main > #self")).to_be_focused()
    await amara.locator("#self").dblclick()
    await expect(room).to_have_class(re.compile("room--swapped"))
    await amara.locator("#self").press("Enter")

    await expect_full_screen_and_small_window(amara)
    await expect_room_for_25(amara)
    await expect_no_show_to_be_offered_in_its_time(amara)
    await expect_paused_pictures_to_be_said(amara)

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
    unexpected = [error for error in meeting.amara.errors if "409" not in error]  # what the server refused above
    assert meeting.mina.errors == unexpected == []


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
    assert await violations(amara) == []
    assert await mina.locator("#client, #panel-client").count() == 0
    assert "Client file" not in await mina.content()
