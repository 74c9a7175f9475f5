"""A real server and real browsers: what every browser test starts from.

`Server` runs `holdspace serve --demo`, on free ports and a data folder of its own. `Person` is somebody's own context
in the Chromium of their fake camera and microphone (tests/helpers/fake_media.py).
"""

import asyncio
import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Browser, BrowserContext, Page, Playwright, expect

from benchmarks.practice import MEDIA_PORTS, free_ports
from tests.helpers.chromium import CHROMIUM, QUIET, close_pages, launched
from tests.helpers.fake_media import FakePerson
from tests.helpers.forking import Fork, serve_demo

__all__ = ["CHROMIUM", "QUIET", "Person", "Server", "demo_practice", "person_in_browser", "running_server"]

READY_S = 120  # on a busy machine it starts slowly
STOPPED_S = 20
PROBE = Path(__file__).with_name("probe.js")

expect.set_options(timeout=15_000)  # a server and two browsers on two cores are slow now and then


@dataclass
class Server:
    """One running Holdspace. `restart` and `kill` are for tests that pull the plug."""

    data_dir: Path
    port: int
    media_port: int
    process: Fork | None = None
    settings: dict[str, str] = field(default_factory=dict)
    """More of the environment."""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    async def start(self) -> None:
        environment = os.environ | {
            "HOLDSPACE_SERVER__PORT": str(self.port),
            "HOLDSPACE_SERVER__DATA_DIR": str(self.data_dir),
            "HOLDSPACE_MEDIA__UDP_PORT": str(self.media_port),
            **self.settings,
        }
        self.process = await asyncio.to_thread(serve_demo, environment, self.data_dir / "server.log")
        try:
            async with asyncio.timeout(READY_S):
                await self._until_ready(self.process)
        except TimeoutError:
            raise AssertionError(f"the server is not ready yet:\n{self.log()[-4000:]}") from None

    async def _until_ready(self, process: Fork) -> None:
        async with aiohttp.ClientSession() as client:
            while True:
                if process.ended:
                    raise AssertionError(f"the server ended:\n{self.log()[-4000:]}")
                with suppress(aiohttp.ClientConnectionError):
                    async with client.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.03)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            await asyncio.wait_for(self.process.wait(), STOPPED_S)

    def log(self) -> str:
        return (self.data_dir / "server.log").read_text(encoding="utf-8")


@cache
def demo_practice() -> Path:
    """The demo practice's database, made once: a server that finds it starts three times as fast."""
    folder = tempfile.mkdtemp(prefix="holdspace-demo-")
    atexit.register(shutil.rmtree, folder)
    environment = os.environ | {"HOLDSPACE_SERVER__DATA_DIR": folder}
    subprocess.run([sys.executable, "-m", "control", "demo"], env=environment, check=True, capture_output=True)
    return Path(folder) / "holdspace.db"


@asynccontextmanager
async def running_server(data_dir: Path, **settings: str) -> AsyncIterator[Server]:
    """`settings` as HOLDSPACE_… variables, the prefix left out."""
    if not (data_dir / "holdspace.db").exists():
        shutil.copy(demo_practice(), data_dir / "holdspace.db")
    environment = {f"HOLDSPACE_{name}": value for name, value in settings.items()}
    server = Server(data_dir, free_ports(1), free_ports(MEDIA_PORTS), settings=environment)
    try:
        await server.start()
        yield server
    finally:
        await close_pages()  # a server lets what pages have open end in peace, which takes its time
        await server.stop()


@dataclass
class Person:
    person: FakePerson
    browser: Browser
    context: BrowserContext
    page: Page
    errors: list[str]

    async def probe(self, call: str) -> Any:
        """Evaluate `probe.<call>` in the page (tests/browser/probe.js)."""
        return await self.page.evaluate(f"probe.{call}")


@asynccontextmanager
async def person_in_browser(
    playwright: Playwright,
    person: FakePerson,
    media_dir: Path,
    base_url: str,
    *,
    chromium: str | None = None,
    flags: Sequence[str] = (),
    **context_options: Any,
) -> AsyncIterator[Person]:
    """`chromium`: a program of the person's own; without it, the one all tests share."""
    flags = (
        *flags,
        "--use-fake-device-for-media-stream=fps=24",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={media_dir / person.name}.y4m",
        f"--use-file-for-fake-audio-capture={media_dir / person.name}.wav",
        "--autoplay-policy=no-user-gesture-required",
        "--allow-loopback-in-peer-connection",
    )
    async with AsyncExitStack() as stack:
        if chromium is None:
            browser = await launched(playwright, *flags)
        else:
            browser = await playwright.chromium.launch(executable_path=chromium, args=[*QUIET, *flags])
            stack.push_async_callback(browser.close)
        context = await browser.new_context(base_url=base_url, permissions=["camera", "microphone"], **context_options)
        stack.push_async_callback(context.close)
        await context.add_init_script(path=PROBE)
        page = await context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        yield Person(person, browser, context, page, errors)
