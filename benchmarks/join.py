"""How long a person waits: from the click on "join" to the first decoded picture of the other, in Chromium.

One server as `holdspace serve --demo` starts it, one Chromium with two people. The practitioner is in the room with
her camera on; the client clicks from the session's page into the room, 20 times, leaving in between. Measured in the
client's page, page load, camera, signaling, ICE, DTLS and the wait for a keyframe included.
"""

import argparse
import asyncio
import re
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import charts
from benchmarks.practice import CHROMIUM, FLAGS, book_session, serving

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from playwright.async_api import Page

PROBE: Final = Path(__file__).with_name("join.js")
GOAL_MS: Final = 600
PICTURE_S: Final = 20
"""A join that shows nothing for this long ends the benchmark: it is a fault, not a number."""


@dataclass(frozen=True)
class Result:
    first_frame_ms: tuple[float, ...]

    @property
    def title(self) -> str:
        return f"join: from the click to the other's first decoded picture, {len(self.first_frame_ms)} times"

    def as_json(self) -> dict[str, Any]:
        ordered = sorted(self.first_frame_ms)
        p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
        return {"first_frame_ms": {"p50": round(statistics.median(ordered), 1), "p95": round(p95, 1)}}

    def rows(self) -> list[tuple[str, str]]:
        numbers = self.as_json()["first_frame_ms"]
        return [
            ("joins", str(len(self.first_frame_ms))),
            ("first picture, p50", f"{numbers['p50']:.0f} ms (goal: under {GOAL_MS})"),
            ("first picture, p95", f"{numbers['p95']:.0f} ms"),
        ]

    def draw(self, figure: "Figure") -> None:
        axes = figure.subplots()
        ordered = sorted(self.first_frame_ms)
        shares = [100 * (index + 1) / len(ordered) for index in range(len(ordered))]
        axes.step(ordered, shares, where="post", color=charts.OURS)
        axes.axvline(
            GOAL_MS, color=charts.GOAL, linewidth=1, linestyle="--", label=f"goal for half of them: {GOAL_MS} ms"
        )
        axes.set(xlabel="ms from the click", ylabel="% of joins", xlim=(0, None), ylim=(0, 100))
        axes.legend(frameon=False, fontsize=8)


SUMMARY = "from the click on join to the first decoded picture, in Chromium"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--joins", type=int, default=20, metavar="N")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    return asyncio.run(measure(options.joins, tell))


async def measure(joins: int, tell: Callable[[str], None]) -> Result:
    """Raises RuntimeError when the server, the session or a picture doesn't come."""
    from playwright.async_api import async_playwright  # a test dependency: the other benchmarks do without it

    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder)) as url, async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            amara = await browser.new_context(base_url=url, permissions=["camera", "microphone"])
            mina = await browser.new_context(base_url=url, permissions=["camera", "microphone"])
            await mina.add_init_script(path=PROBE)
            appointment = await book_session(url, amara, mina)
            stage = await amara.new_page()
            await stage.goto(f"/sessions/{appointment}/room")
            page = await mina.new_page()
            times = []
            for number in range(joins):
                tell(f"join {number + 1} of {joins}")
                times.append(await _join(page, appointment))
            await browser.close()
    return Result(tuple(times))


async def _join(page: "Page", appointment: str) -> float:
    await page.goto(f"/sessions/{appointment}")
    await page.wait_for_load_state("networkidle")
    clicked = await page.locator("main a[href$='/room'], main a[href$='/waiting-room']").first.evaluate(
        "(link) => { const at = performance.timeOrigin + performance.now(); link.click(); return at; }"
    )
    await page.wait_for_url(re.compile("/room$|/waiting-room$"))
    for _ in range(PICTURE_S * 20):
        shown = await page.evaluate("window.firstPictureAt")
        if shown is not None:
            return float(shown) - float(clicked)
        await asyncio.sleep(0.05)
    raise RuntimeError(f"no picture within {PICTURE_S} s of a join")
