"""Background blur in real browsers: what others see of a room with writing on its wall, from the first picture on.

Mina's camera shows a person (matplotlib's sample portrait, public domain) before lines of text. `edges` is the mean
step between neighbouring pixels of the strip beside the person: over ten with the writing there, about nothing without.
"""

import asyncio
import math
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import matplotlib as mpl
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image, ImageDraw, ImageFont
from playwright.async_api import Page, Playwright, Route, expect

from benchmarks.practice import book_session
from tests.browser import journey
from tests.browser.people import Person, Server, person_in_browser, running_server
from tests.helpers.axe import violations
from tests.helpers.fake_media import AMARA, FPS, HEIGHT, MINA, WIDTH, FakePerson

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]

WRITER = FakePerson("writer", MINA.pitch_hz, MINA.tint)
WRITTEN, BLURRED = 8, 3
"""Edges above which the writing is there, and below which it is gone."""

EDGES = """(video) => {
  const [w, h] = [640, 480];
  const context = Object.assign(document.createElement('canvas'), { width: w, height: h }).getContext('2d');
  context.drawImage(video, 0, 0, w, h);
  const { data } = context.getImageData(4, 0, 96, h);
  let sum = 0;
  for (let at = 4; at < data.length; at += 4) if ((at / 4) % 96) sum += Math.abs(data[at] - data[at - 4]);
  return sum / (95 * h);
}"""
WATCH = f"""() => {{
  const edges = {EDGES};
  window.seenEdges = [];
  window.seenAt = [];
  const look = () => {{
    const video = probe.remoteVideos().find((one) => one.videoWidth > 0);
    if (!video) return setTimeout(look, 5);
    seenEdges.push(edges(video));
    seenAt.push(performance.now());
    video.requestVideoFrameCallback(look);
  }};
  look();
}}"""


LOOK_OUT = """() => {
  const words = "picture is being prepared";
  const look = () => { if (document.body.innerText.includes(words)) window.sawPlaceholder = true; };
  const everything = { subtree: true, childList: true, attributes: true, characterData: true };
  new MutationObserver(look).observe(document.body, everything);
}"""
"""Notices a placeholder however short it is."""


@pytest.fixture(scope="session")
def writers_room(whole_media: Path) -> Path:
    """The folder of cameras, with Writer's among them."""
    data = Path(mpl.get_data_path())
    font = ImageFont.truetype(str(data / "fonts" / "ttf" / "DejaVuSans.ttf"), 28)
    wall = Image.new("RGB", (WIDTH, HEIGHT), (235, 230, 220))
    for line in range(12):
        ImageDraw.Draw(wall).text((8, 10 + 40 * line), "nobody else may read this", font=font, fill=(20, 20, 40))
    portrait = Image.open(data / "sample_data" / "grace_hopper.jpg").convert("RGB").resize((360, 422))
    with (whole_media / f"{WRITER.name}.y4m").open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420jpeg\n" % (WIDTH, HEIGHT, FPS))
        for number in range(2 * FPS):
            wall_with_person = wall.copy()
            wall_with_person.paste(portrait, (180 + min(number, 2 * FPS - number), 58))
            planes = np.asarray(wall_with_person.convert("YCbCr"))
            file.write(b"FRAME\n" + planes[..., 0].tobytes())
            file.write(planes[::2, ::2, 1].tobytes() + planes[::2, ::2, 2].tobytes())
    shutil.copy(whole_media / f"{MINA.name}.wav", whole_media / f"{WRITER.name}.wav")
    return whole_media


@dataclass
class Pair:
    server: Server
    mina: Person
    amara: Person
    appointment: str

    async def waiting(self) -> Page:
        await self.mina.page.goto(f"/sessions/{self.appointment}/waiting-room")
        await expect(self.mina.page.locator("#pick-background")).to_be_visible()
        return self.mina.page

    async def start(self) -> None:
        await journey.start_from_dashboard(self.amara.page)
        await self.amara.page.evaluate(WATCH)

    async def edges(self) -> list[float]:
        found: list[float] = await self.amara.page.evaluate("seenEdges.splice(0)")
        return found

    async def switch_off_and_on(self, *, hidden_after_s: float = math.inf) -> None:
        """In the middle of the session, without a gap, and with nothing to be read once it is on again.

        A machine that is busy with something else shows pictures late without any switching, too; and where the blur
        takes longer than `hidden_after_s` to begin, the person is rightly not seen until it does.
        """
        for until in (f"> {WRITTEN}", f"< {BLURRED}"):
            usual_s = await self.longest_gap_s("true", press=False)
            began = monotonic()
            gap_s = await self.longest_gap_s(f"seenEdges.at(-1) {until}", press=True)
            assert gap_s < 0.5 + usual_s or monotonic() - began > hidden_after_s, f"edges {until}"
        await self.edges()
        await journey.until(self.amara.page, "seenEdges.length > 20")
        assert max(await self.edges()) < BLURRED

    async def longest_gap_s(self, until: str, *, press: bool) -> float:
        """Between two pictures from the press of the room's blur button until `until` holds and twelve more came."""
        await self.amara.page.evaluate("seenAt.splice(0, seenAt.length - 1)")
        if press:
            await journey.press(self.mina.page, "#blur")
        await journey.until(self.amara.page, until)
        count = await self.amara.page.evaluate("seenAt.length")
        await journey.until(self.amara.page, f"seenAt.length > {count + 12}")
        gap_ms: float = await self.amara.page.evaluate("Math.max(...seenAt.slice(1).map((at, i) => at - seenAt[i]))")
        return gap_ms / 1000

    def blur_workers(self) -> list[int]:
        """Process ids of the server's."""
        assert self.server.process is not None
        pid = self.server.process.pid
        children = {
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        }
        return [child for child in children if b"media.blur" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest_asyncio.fixture
async def pair(
    request: pytest.FixtureRequest, playwright: Playwright, writers_room: Path, tmp_path: Path
) -> AsyncIterator[Pair]:
    """The parameter: settings of the server."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(tmp_path, **getattr(request, "param", {})))
        mina = await stack.enter_async_context(person_in_browser(playwright, WRITER, writers_room, server.url))
        amara = await stack.enter_async_context(person_in_browser(playwright, AMARA, writers_room, server.url))
        appointment = await book_session(server.url, amara.context, mina.context, recording="no", start=False)
        yield Pair(server, mina, amara, appointment)


async def own_picture(page: Page, video: str, wanted: str) -> float:
    await journey.until(page, f"document.querySelector('{video}').videoWidth > 0 && ({wanted})", 30)
    found: float = await page.evaluate(f"({EDGES})(document.querySelector('{video}'))")
    return found


async def test_others_see_no_picture_without_the_blur_that_was_asked_for(pair: Pair) -> None:
    asked: list[str] = []
    pair.mina.context.on("request", lambda request: asked.append(request.url))
    page = await pair.waiting()
    assert await own_picture(page, "#own", "true") > WRITTEN
    await page.get_by_label("Background").select_option("strong")
    preview = f"({EDGES})(document.querySelector('#own')) < {BLURRED}"
    await own_picture(page, "#own", preview)
    await expect(page.locator("#background-words")).to_have_text("Your background never leaves this device.")

    await pair.start()
    await journey.wait_for_picture(pair.amara)
    await journey.until(pair.amara.page, "seenEdges.length > 40", 60)
    assert max(await pair.edges()) < BLURRED, "from the first picture on"

    await pair.switch_off_and_on(hidden_after_s=2)

    server = pair.server.url.replace("http", "(http|ws)")
    assert any("/blur/" in url for url in asked)
    assert [url for url in asked if not re.match(rf"{server}/|data:|blob:", url)] == []
    # MediaPipe tells its news as errors: "INFO: …", "W1121 …".
    assert [words for words in pair.mina.errors if not re.match(r"INFO: |[IW]\d{4} ", words)] == []
    assert await violations(page) == []


async def test_without_its_files_blur_says_so_and_until_they_come_the_camera_is_off(pair: Pair) -> None:
    await pair.mina.context.route("**/blur/**", lambda route: route.abort())
    page = await pair.waiting()
    await page.get_by_label("Background").select_option("light")
    await expect(page.locator("#device-words")).to_contain_text("your camera stays off")
    await expect(page.locator("#own")).to_be_hidden()
    assert await violations(page) == []
    await pair.start()
    await pair.amara.page.wait_for_timeout(3000)
    assert await pair.edges() == []

    await page.keyboard.press("d")
    await page.get_by_label("Background").select_option("off")
    await journey.until(pair.amara.page, f"seenEdges.at(-1) > {WRITTEN}")

    arrive = await hold_back(pair.mina, "**/blur/**")
    await page.get_by_label("Background").select_option("light")
    await expect(pair.amara.page.get_by_text("camera is off")).to_be_visible(timeout=20_000)
    await expect(page.locator("#background-words")).to_contain_text("Nobody sees you before it works")
    await journey.until(pair.amara.page, "performance.now() - seenAt.at(-1) > 1000")
    await pair.edges()
    assert await violations(pair.amara.page) == []
    arrive.set()
    await journey.until(pair.amara.page, "seenEdges.length > 20", 60)
    assert max(await pair.edges()) < BLURRED


async def hold_back(person: Person, what: str) -> asyncio.Event:
    """A line so slow that nothing of it comes before the event is set."""
    arrive = asyncio.Event()

    async def late(route: Route) -> None:
        await arrive.wait()
        await route.continue_()

    await person.context.unroute(what)
    await person.context.route(what, late)
    return arrive


async def test_a_blur_that_dies_takes_the_picture_with_it(pair: Pair) -> None:
    page = await pair.waiting()
    await page.get_by_label("Background").select_option("strong")
    await own_picture(page, "#own", f"({EDGES})(document.querySelector('#own')) < {BLURRED}")
    await pair.start()
    await journey.wait_for_picture(pair.amara)
    (worker,) = page.workers
    await worker.evaluate("close()")
    await expect(page.locator("#notice-words")).to_contain_text("your camera stays off", timeout=15_000)
    await pair.amara.page.wait_for_timeout(1500)
    assert max(await pair.edges()) < BLURRED
    assert await violations(page) == []


SLOW = """() => {
  const context = OffscreenCanvasRenderingContext2D.prototype;
  const draw = context.drawImage;
  context.drawImage = function (...what) {
    for (const until = performance.now() + 150; performance.now() < until;);
    draw.apply(this, what);
  };
}"""
"""For a blur's worker: each mask takes as long as on an old device."""


async def test_browsers_without_track_streams_blur_through_a_canvas_and_slow_ones_are_offered_the_server(
    pair: Pair,
) -> None:
    await pair.mina.context.add_init_script("delete window.MediaStreamTrackGenerator")
    page = await pair.waiting()
    await page.get_by_label("Background").select_option("picture")
    await own_picture(page, "#own", f"({EDGES})(document.querySelector('#own')) < {BLURRED}")
    await pair.start()
    await journey.wait_for_picture(pair.amara)
    await journey.until(pair.amara.page, "seenEdges.length > 20", 60)

    (worker,) = page.workers
    await worker.evaluate(SLOW)
    await page.keyboard.press("d")
    await expect(page.locator("#background-words")).to_contain_text("manages only", timeout=60_000)
    await page.get_by_role("button", name="Let this server do it").click()
    await expect(page.locator("#background-words")).to_contain_text("before anybody sees you", timeout=60_000)
    count = await pair.amara.page.evaluate("seenEdges.length")
    await journey.until(pair.amara.page, f"seenEdges.length > {count} + 40", 60)
    assert max(await pair.edges()) < BLURRED
    assert await violations(page) == []


SERVER = pytest.mark.parametrize("pair", [{"MEDIA__BLUR_PATH": "server"}], indirect=True)


@SERVER
async def test_by_the_server_others_see_no_picture_without_the_blur_and_no_gap_when_it_is_switched(pair: Pair) -> None:
    page = await pair.waiting()
    await page.get_by_label("Background").select_option("strong")
    await own_picture(page, "#own", f"({EDGES})(document.querySelector('#own')) > {WRITTEN}")
    await pair.start()
    await journey.wait_for_picture(pair.amara, 60)
    await journey.until(pair.amara.page, "seenEdges.length > 40", 60)
    assert max(await pair.edges()) < BLURRED, "from the first picture on"
    await journey.until(pair.amara.page, "probe.playoutGapMs().then((ms) => Math.abs(ms) < 40)", 60)

    for _ in range(3):
        await pair.switch_off_and_on()
    assert await violations(pair.amara.page) == []


@SERVER
async def test_a_worker_that_dies_leaves_a_placeholder_and_never_the_camera(pair: Pair) -> None:
    page = await pair.waiting()
    await page.get_by_label("Background").select_option("strong")
    await pair.start()
    await journey.wait_for_picture(pair.amara, 60)
    await pair.amara.page.evaluate(LOOK_OUT)
    for pid in pair.blur_workers():
        os.kill(pid, signal.SIGKILL)
    await journey.until(pair.amara.page, "window.sawPlaceholder === true", 60)
    await expect(pair.amara.page.get_by_text("picture is being prepared")).to_be_hidden(timeout=60_000)
    count = await pair.amara.page.evaluate("seenEdges.length")
    await journey.until(pair.amara.page, f"seenEdges.length > {count} + 20", 60)
    assert max(await pair.edges()) < BLURRED
    assert await violations(pair.amara.page) == []


async def test_where_the_browser_cannot_blur_the_server_is_offered(pair: Pair) -> None:
    await pair.mina.context.route("**/blur/**", lambda route: route.abort())
    page = await pair.waiting()
    offer = page.get_by_role("button", name="Let this server do it")
    await expect(offer).to_be_hidden()
    await page.get_by_label("Background").select_option("light")
    await expect(offer).to_be_visible()
    assert await violations(page) == []
    await offer.click()
    await expect(page.locator("#background-words")).to_contain_text("before anybody sees you")
    await pair.start()
    await journey.wait_for_picture(pair.amara, 60)
    await journey.until(pair.amara.page, "seenEdges.length > 20", 60)
    assert max(await pair.edges()) < BLURRED
