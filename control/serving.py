"""Runs the composed application until a signal ends it: sockets, TLS, the words a newcomer reads at the start.

Flow: control/__main__.py → serve() → control/app.py. What the words say is decided here, what runs is not.
"""

import asyncio
import gc
import logging
import signal
import ssl
import time
from collections.abc import Sequence

from aiohttp import web

from control import demo
from control.app import create_app
from control.config import Settings
from control.config_reading import SettingsError
from control.keys import CLOCK, DATABASE, SETTINGS
from media.errors import CoreFailed

log = logging.getLogger(__name__)

SHUTDOWN_S = 5.0  # how long requests under way may take after the signal; sockets are told to come back before
DEMO_EVERY_S = 600.0  # demo.SOON is two hours, so slots never run out in between
BACKLOG = 1024  # a server's restart brings everybody back at once


def serve(settings: Settings) -> int:
    """Blocks until SIGTERM or SIGINT. 1 if the address can't be used."""
    if settings.demo:
        settings = demo.dressed(settings)
    try:
        asyncio.run(_serve(settings))
    except OSError as error:
        log.error("can't listen host=%s port=%d reason=%s", settings.server.host, settings.server.port, error.strerror)
        return 1
    except CoreFailed as error:
        log.error("media can't start udp_port=%d reason=%s", settings.media.udp_port, error)
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    began = time.monotonic()
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    app = create_app(settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, handle_signals=False)
    try:
        await runner.setup()
        sign_ins = await demo.load(app[DATABASE], now=app[CLOCK]()) if settings.demo else ()
        _freeze_what_stays()
        server = settings.server
        await web.TCPSite(
            runner, server.host, server.port, ssl_context=tls_context(settings), backlog=BACKLOG, reuse_address=True
        ).start()
        log.info("serving url=%s started_in_s=%.2f", server.public_url, time.monotonic() - began)
        for line in welcome(settings, sign_ins):
            print(line, flush=True)
        await _until(end, app)
        log.info("ending")
    finally:
        await runner.cleanup()


def _freeze_what_stays() -> None:
    """Code, tables and pages live until the end: a full collection that walks them holds up everybody for 0.1 s."""
    gc.collect()
    gc.freeze()


async def _until(end: asyncio.Event, app: web.Application) -> None:
    """Meanwhile a demo practice keeps having free time soon, however long it runs."""
    while not end.is_set():
        try:
            async with asyncio.timeout(DEMO_EVERY_S if app[SETTINGS].demo else None):
                await end.wait()
        except TimeoutError:
            await demo.open_soon(app[DATABASE], now=app[CLOCK]())


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    server = settings.server
    if server.tls_cert is None or server.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError([f"server.tls_cert, server.tls_key: can't be used ({error})"]) from None
    return context


def welcome(settings: Settings, sign_ins: Sequence[demo.SignIn]) -> list[str]:
    """What a newcomer needs to go on."""
    url = settings.server.public_url
    lines = ["", f"  {settings.practice.name} is open:  {url}", f"  Directory:           {url}/practitioners", ""]
    if sign_ins:
        lines.append("  Demo practice. Anyone can read these passwords: never use it with real people.")
        lines.append(f"  Sign in at {url}/sign-in as")
        lines += [f"    {who.role:<13} {who.email:<26} {who.password}" for who in sign_ins]
        lines.append("")
    if settings.mail.host is None:
        lines.append(f"  No mail server is set: e-mails can be read at {url}/admin/outbox (as an admin).")
    if not settings.server.is_https and not settings.server.is_loopback:
        lines.append("  Cameras work over HTTPS only, except on localhost: set tls_cert and tls_key, or use a proxy.")
    lines += ["  Ctrl+C ends it.", ""]
    return lines
