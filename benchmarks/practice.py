"""A practice with a session ready for two browsers: the server as `holdspace serve --demo` starts it, and Chromium.

What benchmarks and tests with real browsers begin with: signing in, booking and agreeing through the API.
"""

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

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
READY_S: Final = 30
MEDIA_PORTS: Final = os.cpu_count() or 1
"""One for each runtime thread."""


async def book_session(
    url: str, amara: "BrowserContext", mina: "BrowserContext", *, recording: str = "no", start: bool = True
) -> str:
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
    for purpose, answer in (("care", "yes"), ("recording", recording)):
        text = await (await mina.request.get(f"{one}/consents/{purpose}")).json()
        await as_mina(f"{one}/consents/{purpose}", answer=answer, text_id=text["text"]["id"])
    if start:
        await as_amara(f"{one}/start")
    return str(booked["id"])


async def _signed_in(url: str, context: "BrowserContext", email: str, password: str) -> Any:
    """A function that posts as this person, with the CSRF token and a fresh idempotency key."""
    token = (await (await context.request.get("/api/me")).json())["csrf_token"]

    async def post(path: str, **body: object) -> Any:
        headers = {"Origin": url, "X-CSRF-Token": token, "Idempotency-Key": os.urandom(16).hex()}
        answer = await context.request.post(path, data=body, headers=headers)
        if not answer.ok:
            raise RuntimeError(f"POST {path}: {answer.status} {await answer.text()}")
        return await answer.json()

    token = (await post("/api/sign-in", email=email, password=password))["csrf_token"]
    return post


@asynccontextmanager
async def serving(folder: Path, settings: Mapping[str, str] = MappingProxyType({})) -> AsyncIterator[str]:
    """The server's address. `settings` are HOLDSPACE_… variables; without ports among them, free ones are taken."""
    port, media_port = free_ports(1), free_ports(MEDIA_PORTS)
    environment = {
        **os.environ,
        "HOLDSPACE_SERVER__PORT": str(port),
        "HOLDSPACE_SERVER__DATA_DIR": str(folder),
        "HOLDSPACE_MEDIA__UDP_PORT": str(media_port),
        **settings,
    }
    with (folder / "server.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "control", "serve", "--demo", env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://localhost:{environment['HOLDSPACE_SERVER__PORT']}"
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


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody has, for TCP as for UDP.

    Below those that the kernel gives away by itself (ip_local_port_range): else a client could take one before its
    server does, or between its end and its next start.
    """
    while True:
        first = 10_000 + secrets.randbelow(22_000)
        with ExitStack() as taken, suppress(OSError):
            for port in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    taken.enter_context(socket.socket(socket.AF_INET, kind)).bind(("", port))
            return first
