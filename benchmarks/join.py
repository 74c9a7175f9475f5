"""How long a person waits: from the click on "join" to the first decoded picture of the other, in Chromium.

One server as `holdspace serve --demo` starts it, one Chromium with two people. The practitioner is in the room with
her camera on; the client clicks from the session's page into the room, 20 times, leaving in between. Measured in the
client's page, page load, camera, signaling, ICE, DTLS and the wait for a keyframe included.
"""

import asyncio
import os
import re
import signal
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream=fps=24",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
)
PROBE: Final = Path(__file__).with_name("join.js")
READY_S: Final = 30
PICTURE_S: Final = 20
"""A join that shows nothing for this long ends the benchmark: it is a fault, not a number."""


@dataclass(frozen=True)
class Result:
    first_frame_ms: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        ordered = sorted(self.first_frame_ms)
        p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
        return {"first_frame_ms": {"p50": round(statistics.median(ordered), 1), "p95": round(p95, 1)}}

    def rows(self) -> list[tuple[str, str]]:
        numbers = self.as_json()["first_frame_ms"]
        return [
            ("joins", str(len(self.first_frame_ms))),
            ("first picture, p50", f"{numbers['p50']:.0f} ms (goal: under 600)"),
            ("first picture, p95", f"{numbers['p95']:.0f} ms"),
        ]


async def measure(joins: int, tell: Callable[[str], None]) -> Result:
    """Raises RuntimeError when the server, the session or a picture doesn't come."""
    from playwright.async_api import async_playwright  # a test dependency: the other benchmarks do without it

    with tempfile.TemporaryDirectory() as folder:
        async with _server(Path(folder)) as url, async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            amara = await browser.new_context(base_url=url, permissions=["camera", "microphone"])
            mina = await browser.new_context(base_url=url, permissions=["camera", "microphone"])
            await mina.add_init_script(path=PROBE)
            appointment = await _session(url, amara, mina)
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


async def _session(url: str, amara: "BrowserContext", mina: "BrowserContext") -> str:
    """Book, agree and start the demo's short session through the API; answers the appointment's id."""
    as_mina = await _signed_in(url, mina, "mina@example.com", "demo-mina-halvorsen")
    as_amara = await _signed_in(url, amara, "amara@lindenrow.example", "demo-amara-okafor")
    listed = await (await mina.request.get("/api/practitioners")).json()
    amara_id = next(each["id"] for each in listed["practitioners"] if "Amara" in each["name"])
    profile = await (await mina.request.get(f"/api/practitioners/{amara_id}")).json()
    service = next(each["id"] for each in profile["services"] if each["name"] == "Short check-in")
    today = datetime.now(UTC).date()
    days = f"first={today}&last={today + timedelta(days=1)}"
    free = await (await mina.request.get(f"/api/services/{service}/slots?{days}")).json()
    soonest = next(slot for slots in free["days"].values() for slot in slots)
    booked = await as_mina("/sessions/book", serviceId=service, start=soonest["start"], timeZone="UTC")
    one = f"/api/appointments/{booked['id']}"
    await as_mina(f"{one}/payment", paymentMethod="wallet")
    for purpose, answer in (("care", "yes"), ("recording", "no")):
        text = await (await mina.request.get(f"{one}/consents/{purpose}")).json()
        await as_mina(f"{one}/consents/{purpose}", answer=answer, text_id=text["text"]["id"])
    await as_amara(f"{one}/start")
    return str(booked["id"])


async def _signed_in(url: str, context: "BrowserContext", email: str, password: str) -> Any:
    """A function that posts as this person, with the CSRF token and a fresh idempotency key."""
    page = await context.new_page()
    await page.goto("/sign-in")
    await page.locator("#email").fill(email)
    await page.locator("#password").fill(password)
    await page.locator("#sign-in button[type=submit]").click()
    await page.wait_for_url(lambda url: "/sign-in" not in url)
    token = await page.locator("meta[name=csrf-token]").get_attribute("content")
    await page.close()

    async def post(path: str, **body: object) -> Any:
        headers = {"Origin": url, "X-CSRF-Token": token or "", "Idempotency-Key": os.urandom(16).hex()}
        answer = await context.request.post(path, data=body, headers=headers)
        if not answer.ok:
            raise RuntimeError(f"POST {path}: {answer.status} {await answer.text()}")
        return await answer.json()

    return post


@asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[str]:
    port, media_port = _free_port(socket.SOCK_STREAM), _free_port(socket.SOCK_DGRAM)
    environment = os.environ | {
        "HOLDSPACE_SERVER__PORT": str(port),
        "HOLDSPACE_SERVER__DATA_DIR": str(folder),
        "HOLDSPACE_MEDIA__UDP_PORT": str(media_port),
    }
    with (folder / "server.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "control", "serve", "--demo", env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://localhost:{port}"
        await _ready(url, process, folder / "server.log")
        yield url
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def _ready(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    async with aiohttp.ClientSession() as client:
        for _ in range(READY_S * 10):
            if process.returncode is not None:
                break
            try:
                async with client.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass  # not listening yet
            await asyncio.sleep(0.1)
    said = await asyncio.to_thread(log.read_text, encoding="utf-8")
    raise RuntimeError(f"the server did not start:\n{said[-2000:]}")


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
