"""Real Chromium on a line that turns narrow: pictures adapt or pause, sound goes on, and all of it comes back.

The exact bounds are tested on a manual clock in media/native/engine/tests/rates.rs and measured by
`python -m benchmarks recovery`; here is the whole chain: estimate, shares, caps, encoders that obey.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from playwright.async_api import Page, Playwright

from benchmarks.line import read_sample, within
from benchmarks.practice import free_ports
from benchmarks.recovery import PROBE
from media.config import MediaSettings
from media.types import ParticipantId, SlotsChanged
from tests.helpers.bad_link import BadLink
from tests.media.test_chromium import Stage, open_stage, until

pytestmark = [pytest.mark.browser, pytest.mark.alone, pytest.mark.timeout(120)]


@pytest.fixture
async def stage(playwright: Playwright) -> AsyncIterator[Stage]:
    port = free_ports(1)
    settings = MediaSettings(threads=1, bind=("127.0.0.1",), udp_port=port, advertise={"127.0.0.1": "127.0.0.2"})
    with closing(BadLink(("127.0.0.1", port))) as link:
        link.delay_s = 0.02
        await link.open("127.0.0.2")
        async with open_stage(playwright, settings, link) as stage:
            yield stage


async def enter(stage: Stage, name: str) -> Page:
    page = await stage.new_page()
    await page.add_init_script(path=PROBE)
    await page.goto(f"{stage.url}?name={name}")
    await page.evaluate("person.enter()")
    return page


async def made_up_sound(page: Page, begin: float, end: float) -> list[float]:
    """The share of sound the decoder made up, for each second."""
    taken = await page.evaluate("window.recovery.take()")
    samples = within([read_sample(each) for each in taken["samples"]], begin, end)
    pairs = list(zip(samples, samples[5:], strict=False))
    return [(late.concealed - early.concealed) / max(1, late.heard - early.heard) for early, late in pairs]


async def goes_on(pages: list[Page]) -> bool:
    """Whether sound comes nearly whole to everybody for three seconds, once what stood in the line's queues is out."""
    for _ in range(5):
        begin = time.time()
        await asyncio.sleep(3)
        made_up = [await made_up_sound(page, begin, time.time()) for page in pages]
        if all(each and sum(each) / len(each) < 0.1 for each in made_up):
            return True
    return False


async def test_a_line_too_narrow_for_pictures_pauses_them_says_so_and_brings_them_back(stage: Stage) -> None:
    pages = [await enter(stage, name) for name in ("ann", "bob")]
    for page in pages:
        await until(page, lambda found: found["decoded"].get("3", 0) > 24, seconds=20)

    def paused(name: str) -> bool:
        told = [e for e in stage.events if isinstance(e, SlotsChanged) and e.participant == ParticipantId(name)]
        return any(slot.paused for slot in told[-1].slots)

    async def told(*, is_paused: bool) -> None:
        async with asyncio.timeout(15):
            while paused("ann") != is_paused or paused("bob") != is_paused:  # noqa: ASYNC110  (what a line shows takes time)
                await asyncio.sleep(0.1)

    stage.link.rate_bps = 110_000
    await told(is_paused=True)
    assert await goes_on(pages), "sound is still broken long after its pictures have gone"
    stage.link.rate_bps = None
    await told(is_paused=False)
    before = [(await until(page, lambda _: True, seconds=5))["decoded"]["3"] for page in pages]
    for page, earlier in zip(pages, before, strict=True):
        await until(page, lambda found, earlier=earlier: found["decoded"]["3"] > earlier + 24, seconds=10)
