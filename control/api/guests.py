"""Guests of one session: who is invited, inviting, letting in, removing. Thin: control/guests.py decides."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import guests
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Text, iso, maybe_iso
from control.guests import GuestView
from control.keys import CLOCK, DATABASE, SETTINGS

routes = web.RouteTableDef()
ALL = f"/api/appointments/{{id:{ID_PATTERN}}}/guests"
ONE = f"{ALL}/{{guest:{ID_PATTERN}}}"


class GuestBody(Body):
    email: Annotated[str, Field(min_length=3, max_length=254)]
    name: Annotated[Text, Field(min_length=1, max_length=120)]


def guest_json(one: GuestView) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": one.id,
        "person_id": one.person_id,
        "name": one.name,
        "invited_at": iso(one.created_at),
        "admitted_at": maybe_iso(one.admitted_at),
    }
    return shown | {"email": one.email} if one.email else shown


@routes.get(ALL)
async def guests_of(request: web.Request) -> web.Response:
    actor = require_actor(request)
    found = await guests.guests_of(request.app[DATABASE], actor, request.match_info["id"])
    return web.json_response({"guests": [guest_json(one) for one in found]})


@routes.post(ALL)
@idempotent()
async def invite(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, GuestBody)
    made = await guests.invite(
        request.app[DATABASE],
        actor,
        request.match_info["id"],
        email=body.email,
        name=body.name,
        most_people=request.app[SETTINGS].booking.most_people,
        now=request.app[CLOCK](),
    )
    return web.json_response(guest_json(made), status=201)


@routes.post(f"{ONE}/admit")
@idempotent()
async def admit(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await read(request, EmptyBody)
    ids = request.match_info
    await guests.admit(request.app[DATABASE], actor, ids["id"], ids["guest"], now=request.app[CLOCK]())
    return web.json_response({"id": ids["guest"], "admitted": True})


@routes.delete(ONE)
async def remove(request: web.Request) -> web.Response:
    actor = require_actor(request)
    ids = request.match_info
    await guests.remove(request.app[DATABASE], actor, ids["id"], ids["guest"], now=request.app[CLOCK]())
    return web.Response(status=204)
