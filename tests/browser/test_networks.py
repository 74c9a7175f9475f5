"""The client's network goes away and comes back, or another one takes its place: the session goes on by itself.

Mina's Chromium lives in a namespace with two ways out, "Wi-Fi" and "mobile"; Amara's beside the server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
import pytest_asyncio
from playwright.async_api import Playwright, expect

from tests.browser import journey
from tests.browser.people import Person, person_in_browser, running_server
from tests.browser.test_session import Session
from tests.helpers.axe import violations
from tests.helpers.fake_media import AMARA, MINA
from tests.helpers.networks import Link, Network, network

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]

BACK_WITHIN_S = 3.0
"""PRODUCT: media flows again so soon after the network's return. Chromium itself takes 2 s to use a new address."""
SLACK_S = 2.5
"""For a machine that runs two browsers and a server at once."""


@dataclass
class Roaming(Session):
    net: Network

    @property
    def wifi(self) -> Link:
        return self.net.links[0]

    @property
    def mobile(self) -> Link:
        return self.net.links[1]


async def make_roaming(playwright: Playwright, media_dir: Path, tmp_path: Path) -> AsyncIterator[Roaming]:
    """Both are in the session and see each other; it is being recorded."""
    async with AsyncExitStack() as stack:
        net = stack.enter_context(network(links=2))
        wifi, mobile = net.links
        mobile.down()
        bind = f"{wifi.server},{mobile.server}"
        server = await stack.enter_async_context(running_server(tmp_path, SERVER__HOST="0.0.0.0", MEDIA__BIND=bind))  # noqa: S104  the namespace
        # The page's own address stays the same whichever way it is reached.
        flags = [f"--host-resolver-rules=MAP localhost {wifi.server}"]
        chromium = net.chromium(tmp_path)
        mina = await stack.enter_async_context(
            person_in_browser(playwright, MINA, media_dir, server.url, chromium=chromium, flags=flags)
        )
        amara = await stack.enter_async_context(person_in_browser(playwright, AMARA, media_dir, server.url))
        appointment = await journey.ready(server.url, mina, amara, recording=True)
        session = Roaming(server, mina, amara, appointment, net)
        await session.start()
        await session.record()
        yield session


roaming = pytest_asyncio.fixture(make_roaming, name="roaming")


async def pictures(person: Person) -> int:
    counted: int = await person.page.evaluate(
        "probe.remoteVideos().reduce((sum, video) => sum + video.getVideoPlaybackQuality().totalVideoFrames, 0)"
    )
    return counted


async def until_pictures_move(person: Person, seconds: float) -> None:
    """A video that stood still shows three new pictures."""
    before = await pictures(person)
    async with asyncio.timeout(seconds):
        while True:
            await asyncio.sleep(0.05)
            now = await pictures(person)
            if now >= before + 3:
                return
            before = min(before, now)  # a new connection's video counts from zero


async def both_are_back(session: Roaming) -> float:
    """Seconds from now until both see each other's pictures move again."""
    began = monotonic()
    await asyncio.gather(*(until_pictures_move(who, 30) for who in (session.mina, session.amara)))
    return monotonic() - began


async def it_is_the_same_session(session: Roaming) -> None:
    assert session.mina.page.url.endswith(f"/sessions/{session.appointment}/room")
    for who in (session.amara, session.mina):
        await expect(who.page.locator("#recording")).to_have_text("Recording")
    await asyncio.sleep(1)
    assert await violations(session.mina.page) == []
    await session.end()
    await session.open_recording()
    await session.amara.page.goto("/therapist/recordings")
    recordings = session.amara.page.locator(
        "main tr", has=session.amara.page.locator("a[href^='/therapist/recordings/']")
    )
    assert await recordings.count() == 1


async def test_a_network_that_returns_brings_the_session_back(roaming: Roaming) -> None:
    for away_s in (1.5, 6.0, 14.0):
        roaming.wifi.down()
        await asyncio.sleep(away_s)
        roaming.wifi.up()
        back_s = await both_are_back(roaming)
        print(f"back {back_s:.2f} s after {away_s} s away")
        assert back_s < BACK_WITHIN_S + SLACK_S
    await it_is_the_same_session(roaming)


@pytest.mark.parametrize("gap_s", [0.0, 3.0])
async def test_from_wifi_to_mobile_the_session_goes_on(roaming: Roaming, gap_s: float) -> None:
    roaming.wifi.down()
    await asyncio.sleep(gap_s)
    roaming.mobile.up()
    back_s = await both_are_back(roaming)
    print(f"back {back_s:.2f} s on another network, {gap_s} s after the first was gone")
    assert back_s < BACK_WITHIN_S + SLACK_S
    await it_is_the_same_session(roaming)
