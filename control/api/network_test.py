"""The network test of the waiting room: begin, the two ends' offers, the end. control/network_test.py decides."""

from datetime import timedelta
from typing import Annotated

from aiohttp import web
from pydantic import Field, StringConstraints

from control import turn
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.shapes import ID_PATTERN
from control.keys import CLOCK, LIMITS, NETWORK_TESTS, SETTINGS
from control.limits import Rule
from control.network_test import End
from media.types import TrackSource
from signaling.messages import MAX_SDP_BYTES

routes = web.RouteTableDef()
TESTING = Rule("network_tests", 12, timedelta(minutes=5))
Mid = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,16}$")]


class OfferBody(Body):
    end: End
    sdp: Annotated[str, Field(min_length=1, max_length=MAX_SDP_BYTES)]
    sources: Annotated[dict[Mid, TrackSource], Field(max_length=4)]


@routes.post(f"/api/appointments/{{id:{ID_PATTERN}}}/network-test")
async def begin(request: web.Request) -> web.Response:
    actor, now = require_actor(request), request.app[CLOCK]()
    await read(request, EmptyBody)
    request.app[LIMITS].count(TESTING, actor.person_id, now)
    await request.app[NETWORK_TESTS].begin(actor, request.match_info["id"])
    servers = turn.ice_servers(request.app[SETTINGS].turn, actor.person_id, now)
    return web.json_response({"ice_servers": list(servers)}, status=201, headers={"Cache-Control": "no-store"})


@routes.post("/api/network-test/offer")
async def offer(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, OfferBody)
    # The description's last line break counts, and bodies are stripped.
    sdp = body.sdp + "\r\n"
    return web.json_response({"sdp": await request.app[NETWORK_TESTS].answer(actor, body.end, sdp, body.sources)})


@routes.delete("/api/network-test")
async def end(request: web.Request) -> web.Response:
    await request.app[NETWORK_TESTS].end(require_actor(request))
    return web.Response(status=204)
