"""One WebSocket: the upgrade, the first word, a reading loop and a writer. PROTOCOL.md, "Transport" and "Errors".

Everything here is about bytes from a stranger and about the end of sockets; meaning is hub.py's. A socket never
changes a session but through the hub, and never outlives its handler.
"""

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from signaling import messages as say
from signaling.outbox import TOO_SLOW, Closing, Outbox
from signaling.permissions import Refused
from signaling.rates import Newcomer, RateBound
from signaling.session import Session

if TYPE_CHECKING:
    from signaling.hub import Hub

log = logging.getLogger(__name__)

MAX_BAD_MESSAGES = 5
"""A page of ours sends none. A few are told their fault, so that the author of another client can read it."""
MESSAGES_PER_S, MESSAGES_BURST = 20.0, 60
OFFERS_PER_S, OFFERS_BURST = 2.0, 10
"""An offer costs milliseconds, everything else microseconds."""
SEND_TIMEOUT_S = 5.0
"""A peer whose kernel takes nothing for so long does not read; the heartbeat usually notices first."""
CLOSE_TIMEOUT_S = 2.0

_CLOSE_CODES = {
    "bad_message": 4400,
    "bad_version": 4400,
    "too_large": 1009,
    "token_invalid": 4401,
    "token_expired": 4401,
    "token_used": 4401,
    "resume_unknown": 4404,
    "resume_lost": 4404,
    "hello_timeout": 4408,
    "wrong_node": 4421,
    "rate_limited": 4429,
    "server_closing": 1001,
    "internal": 4500,
}
REFUSED_BY_CONTROL = 4403


class Fatal(Exception):
    """This socket ends: the client is told `code`, then it is closed."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


async def serve(hub: "Hub", request: web.Request) -> web.WebSocketResponse:
    if not origin_allowed(request.headers.get("Origin"), request.host, hub.settings.origins):
        raise web.HTTPForbidden(text="This page may not connect here.")
    newcomer = hub.newcomers.enter(hub.settings.network_of(request))
    if newcomer is None:
        raise web.HTTPTooManyRequests(text="Too many connections at once. Please try again in a moment.")
    ws = web.WebSocketResponse(
        compress=False,  # zlib contexts would cost 100 kB per socket
        heartbeat=hub.settings.heartbeat_s,
        timeout=CLOSE_TIMEOUT_S,
        max_msg_size=say.MAX_MESSAGE_BYTES,
    )
    try:
        await ws.prepare(request)
        await _Socket(hub, ws, newcomer).run()
    finally:
        newcomer.leave()
    return ws


def origin_allowed(origin_untrusted: str | None, host: str, allowed: frozenset[str]) -> bool:
    """A browser always says its origin; the token is no cookie, so whoever says none gains nothing by it."""
    if origin_untrusted is None or origin_untrusted in allowed:
        return True
    try:
        origin = urlsplit(origin_untrusted)
    except ValueError:
        return False
    return origin.scheme in ("http", "https") and bool(host) and origin.netloc.lower() == host.lower()


class _Socket:
    def __init__(self, hub: "Hub", ws: web.WebSocketResponse, newcomer: Newcomer) -> None:
        self._hub = hub
        self._ws = ws
        self._newcomer = newcomer
        self._outbox = Outbox()
        self._session: Session | None = None
        self._bad = 0
        now = asyncio.get_running_loop().time()
        self._messages = RateBound(MESSAGES_PER_S, MESSAGES_BURST, now)
        self._offers = RateBound(OFFERS_PER_S, OFFERS_BURST, now)

    async def run(self) -> None:
        writer = asyncio.create_task(self._write())
        try:
            await self._read()
        except Fatal as fatal:
            self._say_error(fatal.code, fatal.detail, fatal=True)
            self._outbox.close(Closing(_CLOSE_CODES.get(fatal.code, REFUSED_BY_CONTROL), fatal.code))
        except Exception:
            log.exception("signaling socket failed")
            self._say_error("internal", "Something went wrong on our side.", fatal=True)
            self._outbox.close(Closing(_CLOSE_CODES["internal"], "internal"))
        finally:
            self._outbox.close(Closing(1000, ""))
            if self._session is not None:
                await self._hub.lost(self._session, self._outbox)
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    # ------------------------------------------------------------ writing

    async def _write(self) -> None:
        closing = TOO_SLOW
        try:
            while not isinstance(item := await self._outbox.next(), Closing):
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._ws.send_str(item)
            closing = item
        except (TimeoutError, ConnectionError):
            self._outbox.close(closing)
        # Without draining: whoever is closed for not reading would not let us.
        await self._ws.close(code=closing.code, message=closing.reason.encode(), drain=False)

    def _say_error(self, code: str, detail: str, *, fatal: bool) -> None:
        self._outbox.push(say.pack(say.ErrorMessage(code, detail, fatal)))

    # ------------------------------------------------------------ reading

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._hub.settings.hello_timeout_s):
                text = await self._receive()
        except TimeoutError as error:
            raise Fatal("hello_timeout", "Nothing was said.") from error
        if text is None:
            return
        session = self._session = await self._first(self._parse(text))
        self._newcomer.leave()
        while (text := await self._receive()) is not None:
            try:
                message = self._parse(text)
            except Fatal as fatal:
                self._forgive(fatal)
                continue
            if not await self._dispatch(session, message):
                return

    async def _receive(self) -> str | None:
        """The next text; None once the socket is closed by either side."""
        frame = await self._ws.receive()
        now = asyncio.get_running_loop().time()
        if frame.type is WSMsgType.TEXT:
            if not self._messages.take(now):
                raise Fatal("rate_limited", "Too many messages.")
            return str(frame.data)
        if frame.type is WSMsgType.BINARY:
            raise Fatal("bad_message", "binary frame")
        return None

    def _parse(self, text: str) -> say.ClientMessage:
        try:
            return say.parse_untrusted(text)
        except say.BadMessage as bad:
            raise Fatal(bad.code, bad.detail) from bad

    def _forgive(self, fatal: Fatal) -> None:
        self._bad += 1
        if fatal.code != "bad_message" or self._bad >= MAX_BAD_MESSAGES:
            raise fatal
        self._say_error(fatal.code, fatal.detail, fatal=False)

    async def _first(self, message: say.ClientMessage) -> Session:
        try:
            match message:
                case say.Hello():
                    return await self._hub.join(message.token, self._outbox)
                case say.Resume():
                    return await self._hub.resume(message.resume, message.received, self._outbox)
                case _:
                    raise Fatal("bad_message", "hello comes first")
        except Refused as refused:
            raise Fatal(refused.code, refused.detail) from refused

    async def _dispatch(self, session: Session, message: say.ClientMessage) -> bool:
        """False: nothing more is to be read."""
        session.heard()
        match message:
            case say.OfferMessage():
                if not self._offers.take(asyncio.get_running_loop().time()):
                    raise Fatal("rate_limited", "Too many offers.")
                self._hub.peers.offer(session, message)
            case say.Mute():
                await self._hub.peers.set_muted(session, message)
            case say.View():
                await self._hub.peers.set_view(session, message)
            case say.Blur():
                await self._hub.peers.set_background(session, message)
            case say.Playback():
                self._hub.peers.note_playback(session, message)
            case say.Ping():
                try:
                    self._hub.ping(session, message.received)
                except ValueError as error:
                    self._forgive(Fatal("bad_message", str(error)))
            case say.Leave():
                await self._hub.leave(session)
                return False
            case say.Hello() | say.Resume():
                self._forgive(Fatal("bad_message", "hello comes once"))
            case _:
                assert_never(message)
        return True
