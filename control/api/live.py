"""The live socket of a signed-in person's pages: first what they missed, then what happens.

`GET /api/live?after=<number of the last notice seen>`; the Origin is checked by the middleware. Server to page only:
anything the page says beyond pings is ignored, and too much of it closes the socket.
"""

import asyncio
import json
from datetime import timedelta

from aiohttp import WSMsgType, web

from control.accounts import require_actor
from control.errors import Invalid
from control.keys import CLOCK, DATABASE, FACTOR_RULES, LIVE, SESSION_ID
from control.models.people import SessionKind
from control.notices.live import LivePage, as_message
from control.notices.outbox import notices_after
from control.security import credential_of
from control.web_sessions import session_of

routes = web.RouteTableDef()

HEARTBEAT_S = 25.0  # under the 60 s after which most proxies drop a silent socket
RECHECK = timedelta(minutes=1)  # how soon a signed-out or revoked session loses its socket
SIGNED_OUT = 4401  # close code by which the page knows that trying again is no use


@routes.get("/api/live")
async def live(request: web.Request) -> web.WebSocketResponse:
    actor = require_actor(request)
    after = _number(request.query.get("after", ""))
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, compress=False, max_msg_size=1024)
    await socket.prepare(request)
    bus = request.app[LIVE]
    with bus.open(actor.person_id) as page:
        # The page is open before the replay is read: what happens in between is in both, and numbers tell it apart.
        sent = after
        if after is not None:
            for notice in await notices_after(request.app[DATABASE], actor.person_id, after):
                await socket.send_str(json.dumps(as_message(notice)))
                sent = notice.seq
        await socket.send_str(json.dumps({"type": "ready"}))
        await _serve(request, socket, page, sent or 0)
    return socket


def _number(text: str) -> int | None:
    """None: the page has seen nothing and wants nothing old."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Invalid("after_invalid", "`after` is the number of the last notice seen.")
    return int(text)


async def _serve(request: web.Request, socket: web.WebSocketResponse, page: LivePage, sent: int) -> None:
    """Until either side goes, the queue overflows, or the session ends."""
    tasks = (
        asyncio.create_task(_listen(socket)),
        asyncio.create_task(_tell(socket, page, sent)),
        asyncio.create_task(page.closed.wait()),
        asyncio.create_task(_watch_session(request)),
    )
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await socket.close(code=SIGNED_OUT if tasks[3].done() and not tasks[3].cancelled() else 1001)


async def _listen(socket: web.WebSocketResponse) -> None:
    budget = 100
    async for message in socket:
        budget -= 1
        if message.type is not WSMsgType.TEXT or budget < 0:
            return


async def _tell(socket: web.WebSocketResponse, page: LivePage, sent: int) -> None:
    while True:
        message = await page.messages.get()
        if message.get("type") == "notice":
            if message["id"] <= sent:
                continue
            sent = message["id"]
        await socket.send_str(json.dumps(message))


async def _watch_session(request: web.Request) -> None:
    """Ends when the session does."""
    app = request.app
    token, kind = credential_of(request) or ("", SessionKind.BROWSER)
    while True:
        await asyncio.sleep(RECHECK.total_seconds())
        found = await session_of(app[DATABASE], token, rules=app[FACTOR_RULES], kind=kind, now=app[CLOCK]())
        if found is None or found.awaits_factor or found.session_id != request[SESSION_ID]:
            return
