"""When things break in the middle: each is said plainly on both pages, and each comes back or leads on."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, Playwright, Route, expect

from control import keyfiles
from control.config import Settings
from signaling.tokens import JOIN_LIFETIME, sign_join, verify_join
from tests.browser import journey
from tests.browser.people import person_in_browser, running_server
from tests.browser.rooms import Meeting
from tests.browser.test_networks import until_pictures_move
from tests.helpers.axe import violations
from tests.helpers.fake_media import AMARA, MINA
from tests.helpers.networks import Link, network

pytestmark = [pytest.mark.timeout(300)]


async def seconds_elapsed(page: Page) -> int:
    minutes, seconds = (await page.locator("#elapsed").text_content() or "").split(":")
    return 60 * int(minutes) + int(seconds)


async def until_both_say_the_same_time(meeting: Meeting, *, after: int) -> None:
    """To a second; a page that has just come back may show its old time a moment longer."""
    async with asyncio.timeout(15):
        while True:
            shown = await asyncio.gather(*(seconds_elapsed(who.page) for who in (meeting.mina, meeting.amara)))
            if min(shown) >= after and max(shown) - min(shown) <= 1:
                return
            await asyncio.sleep(0.05)


@dataclass
class Far(Meeting):
    """Mina's browser is behind a cable that can be pulled."""

    cable: Link


@pytest_asyncio.fixture
async def far(playwright: Playwright, media_dir: Path, tmp_path: Path) -> AsyncIterator[Far]:
    async with AsyncExitStack() as stack:
        net = stack.enter_context(network())
        (cable,) = net.links
        server = await stack.enter_async_context(
            running_server(tmp_path, SERVER__HOST="0.0.0.0", MEDIA__BIND=cable.server)  # noqa: S104  for the cable
        )
        flags = [f"--host-resolver-rules=MAP localhost {cable.server}"]
        chromium = net.chromium(tmp_path)
        mina = await stack.enter_async_context(
            person_in_browser(playwright, MINA, media_dir, server.url, chromium=chromium, flags=flags)
        )
        amara = await stack.enter_async_context(person_in_browser(playwright, AMARA, media_dir, server.url))
        appointment = await journey.ready(server.url, mina, amara, recording=False)
        await journey.start_from_dashboard(amara.page)
        await asyncio.gather(journey.wait_for_picture(mina), journey.wait_for_picture(amara))
        yield Far(server, mina, amara, appointment, cable)


@pytest.mark.alone
@pytest.mark.parametrize("away_s", [5, 60])
async def test_network_that_is_gone_is_said_on_both_pages_and_comes_back_by_itself(far: Far, away_s: int) -> None:
    mina, amara = far.mina.page, far.amara.page
    far.cable.down()
    await asyncio.sleep(away_s)
    await expect(mina.locator("#notice-words")).to_contain_text("We are getting")
    await expect(mina.locator("#status")).to_have_text("Reconnecting")
    if away_s < 30:
        await expect(amara.locator(".picture__instead p")).to_have_text("Mina lost the connection and is coming back.")
    else:
        await expect(amara.locator("#status")).to_have_text("Waiting")
        await expect(amara.locator("#lobby-title")).to_contain_text("Mina is not here")
    before = await seconds_elapsed(amara)
    far.cable.up()
    await asyncio.gather(*(until_pictures_move(who, 30) for who in (far.mina, far.amara)))
    await expect(mina.locator("#notice")).to_be_hidden()
    await expect(mina.locator("#status")).to_have_text("Active")
    await until_both_say_the_same_time(far, after=before)


async def test_restarted_server_is_said_and_everything_goes_on_with_the_right_time(meeting: Meeting) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await journey.press(mina, "#chat")
    await mina.locator("#chat-input").fill("before")
    await mina.locator("#chat-input").press("Enter")
    await expect(amara.locator("#chat-count")).to_be_visible()
    await journey.press(amara, "#record")
    await expect(mina.locator("#recording")).to_have_text("Recording")
    before = await seconds_elapsed(mina)
    await meeting.server.stop()
    await expect(mina.locator("#notice-words")).to_contain_text("We are getting it back")
    await expect(mina.locator("#status")).to_have_text("Reconnecting")
    await expect(mina.locator("#recording")).to_have_text("Recording interrupted", timeout=15_000)
    await mina.locator("#chat-input").fill("while it was away")
    await mina.locator("#chat-input").press("Enter")
    await meeting.server.start()
    await asyncio.gather(*(until_pictures_move(who, 30) for who in (meeting.mina, meeting.amara)))
    await expect(mina.locator("#notice")).to_be_hidden()
    for page in (mina, amara):
        await expect(page.locator("#recording")).to_have_text("Recording")
    await until_both_say_the_same_time(meeting, after=before + 1)
    await journey.press(amara, "#chat")
    await expect(amara.locator("#chat-lines .msg__text")).to_have_text(["before", "while it was away"], timeout=10_000)


@asynccontextmanager
async def expired_token_at_first(page: Page, meeting: Meeting) -> AsyncIterator[None]:
    """What the page gets to come in with has run out, until the server has said so to it."""
    secret = keyfiles.load(Settings.model_validate({"server": {"data_dir": meeting.server.data_dir}})).session_secret
    heard: list[str] = []

    async def outdate(route: Route) -> None:
        reply = await route.fetch()
        link = await reply.json()
        if not any("token_expired" in message for message in heard):
            claims = verify_join(secret, link["access_token"], datetime.now(UTC))
            over = replace(claims, expires_at=claims.expires_at - int(JOIN_LIFETIME.total_seconds()))
            link["access_token"] = sign_join(secret, over)
        await route.fulfill(response=reply, json=link)

    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: heard.append(str(data))))
    await page.route("**/generate-call-link", outdate)
    try:
        yield
    finally:
        await page.unroute_all(behavior="ignoreErrors")
    assert any("token_expired" in message for message in heard)


async def test_second_page_takes_over_and_the_first_may_take_it_back(meeting: Meeting) -> None:
    first = meeting.mina.page
    second = await meeting.mina.context.new_page()
    async with expired_token_at_first(second, meeting):
        await second.goto(f"/sessions/{meeting.appointment}/room")
        await expect(second.locator("#status")).to_have_text("Active", timeout=45_000)
    await expect(first.locator("#over-title")).to_have_text("You are here on another device")
    assert await violations(first) == []
    await first.get_by_role("button", name="Go on here").click()
    await expect(first.locator("#status")).to_have_text("Active", timeout=45_000)
    await expect(second.locator("#over-title")).to_have_text("You are here on another device")
    await expect(meeting.amara.page.locator("#people-list li")).to_have_count(2)


async def test_whoever_was_signed_out_meanwhile_signs_in_and_is_back(meeting: Meeting) -> None:
    """The server has forgotten the socket, and the page's own sign-in is over: a new token can't be had."""
    mina = meeting.mina.page
    await meeting.mina.context.clear_cookies()
    await meeting.server.stop()
    await meeting.server.start()
    await expect(mina.locator("#over-title")).to_have_text("Please sign in again", timeout=20_000)
    assert await violations(mina) == []
    await mina.get_by_role("button", name="Sign in").click()
    await mina.wait_for_url(re.compile("/sign-in"))
    await journey.sign_in(mina, "mina@example.com")
    await expect(mina.locator("#status")).to_have_text("Active", timeout=15_000)
    await journey.wait_for_picture(meeting.mina)


async def test_session_that_ended_meanwhile_leads_on(meeting: Meeting) -> None:
    """Mina's page lost the server, and the session ended before it was back."""
    mina, amara = meeting.mina.page, meeting.amara.page
    await mina.route("**/generate-call-link", lambda route: route.abort())
    await meeting.server.stop()
    await meeting.server.start()
    await expect(amara.locator("#status")).to_have_text("Waiting", timeout=20_000)
    await journey.press(amara, "#end")
    await amara.locator("#end-yes").click()
    await amara.wait_for_url(re.compile(f"/sessions/{meeting.appointment}$"))
    await expect(mina.locator("#status")).to_have_text("Reconnecting")
    await mina.unroute("**/generate-call-link")
    await mina.wait_for_url(re.compile("/afterwards"), timeout=20_000)


async def test_killed_tab_is_noticed_and_coming_back_asks_for_no_consent(meeting: Meeting) -> None:
    """Its page says no goodbye. How soon a silent one is noticed: tests/signaling, by a clock of their own."""
    amara = meeting.amara.page
    crash = await meeting.mina.context.new_cdp_session(meeting.mina.page)
    crashing = asyncio.create_task(crash.send("Page.crash"))
    await expect(amara.locator("#status")).to_have_text("Reconnecting", timeout=20_000)
    await expect(amara.locator(".picture__instead p")).to_have_text("Mina lost the connection and is coming back.")
    back = await meeting.mina.context.new_page()
    await back.goto(f"/sessions/{meeting.appointment}/room")
    await expect(back.locator("#status")).to_have_text("Active", timeout=20_000)
    await journey.wait_for_picture(meeting.amara)
    crashing.cancel()
    await asyncio.gather(crashing, return_exceptions=True)
