"""The practitioner leads a running session: let in, send out, mute, allow sharing. control/room_control.py decides."""

from aiohttp import web

from control import room_control
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN
from control.errors import Conflict
from control.keys import CLOCK, DATABASE, HUB, WAITING_ROOM
from signaling.permissions import Place, Refused

routes = web.RouteTableDef()
ROOM = f"/api/appointments/{{id:{ID_PATTERN}}}/room"
ONE = f"{ROOM}/people/{{person:{ID_PATTERN}}}"


class SharingBody(Body):
    allowed: bool


@routes.post(f"{ONE}/admit")
@idempotent()
async def admit(request: web.Request) -> web.Response:
    actor, ids = require_actor(request), request.match_info
    await read(request, EmptyBody)
    await room_control.let_in(request.app[DATABASE], actor, ids["id"], ids["person"], now=request.app[CLOCK]())
    # Somebody let in may still have a question to answer first: then they go on waiting, and the page says so.
    try:
        place = await request.app[WAITING_ROOM].place(ids["id"], ids["person"])
    except Refused:
        place = Place.waiting
    return web.json_response({"person": ids["person"], "place": place})


@routes.post(f"{ONE}/remove")
@idempotent()
async def remove(request: web.Request) -> web.Response:
    actor, ids = require_actor(request), request.match_info
    await read(request, EmptyBody)
    await room_control.send_out(request.app[DATABASE], actor, ids["id"], ids["person"], now=request.app[CLOCK]())
    return web.json_response({"person": ids["person"], "place": "waiting"})


@routes.post(f"{ONE}/mute")
@idempotent()
async def mute(request: web.Request) -> web.Response:
    actor, ids = require_actor(request), request.match_info
    await read(request, EmptyBody)
    await room_control.require_lead(request.app[DATABASE], actor, ids["id"])
    if ids["person"] == actor.person_id or not await request.app[HUB].silence(ids["id"], ids["person"]):
        raise Conflict("nothing_to_mute", "Nothing is heard of this person just now.")
    return web.json_response({"person": ids["person"], "muted": True})


@routes.post(f"{ROOM}/sharing")
@idempotent()
async def sharing(request: web.Request) -> web.Response:
    actor, appointment_id = require_actor(request), request.match_info["id"]
    body = await read(request, SharingBody)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    await room_control.allow_sharing(db, actor, appointment_id, allowed=body.allowed, now=now)
    return web.json_response({"visitors_may_share": body.allowed})
