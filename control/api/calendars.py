"""Calendars outside: the feed of bookings, which its address alone opens, and the calendar busy times come from."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import busy_times, calendar_feed
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.shapes import Text, maybe_iso
from control.busy_times import ImportView
from control.keys import CLOCK, DATABASE, INSTALL_KEYS, SETTINGS
from control.models.people import Role

routes = web.RouteTableDef()


def feed_address(request: web.Request, token: str) -> str:
    return f"{request.app[SETTINGS].server.public_url}/calendar/{token}.ics"


@routes.get("/calendar/{token:[0-9a-f]{64}}.ics")
async def read_feed(request: web.Request) -> web.Response:
    """Whoever has the address reads it: calendar programs have no sign-in."""
    settings = request.app[SETTINGS]
    text = await calendar_feed.feed_text(
        request.app[DATABASE],
        request.match_info["token"],
        request.app[INSTALL_KEYS].session_secret,
        practice_name=settings.practice.name,
        base_url=settings.server.public_url,
        languages=settings.practice.languages,
        now=request.app[CLOCK](),
    )
    headers = {"Cache-Control": "private, no-store", "Content-Disposition": 'attachment; filename="sessions.ics"'}
    return web.Response(body=text, content_type="text/calendar", charset="utf-8", headers=headers)


@routes.get("/api/calendar-feed")
async def my_feed(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    token = await calendar_feed.my_feed(request.app[DATABASE], actor, request.app[INSTALL_KEYS].session_secret)
    return web.json_response({"address": None if token is None else feed_address(request, token)})


@routes.post("/api/calendar-feed")
async def renew_feed(request: web.Request) -> web.Response:
    """Makes the address, or a new one in place of the old. Never answered from memory: an address is a secret."""
    actor = require_actor(request, Role.PRACTITIONER)
    await read(request, EmptyBody)
    token = await calendar_feed.renew_feed(
        request.app[DATABASE], actor, request.app[INSTALL_KEYS].session_secret, now=request.app[CLOCK]()
    )
    return web.json_response({"address": feed_address(request, token)}, status=201)


@routes.delete("/api/calendar-feed")
async def revoke_feed(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await calendar_feed.revoke_feed(request.app[DATABASE], actor, now=request.app[CLOCK]())
    return web.Response(status=204)


class ImportBody(Body):
    address: Annotated[Text, Field(min_length=1, max_length=2_000)]


@routes.get("/api/imported-calendar")
async def my_import(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    return web.json_response(_import_json(await busy_times.my_import(request.app[DATABASE], actor)))


@routes.post("/api/imported-calendar")
async def set_import(request: web.Request) -> web.Response:
    """Names the one calendar busy times are read from; the same address again asks for a reading now."""
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, ImportBody)
    rules = busy_times.rules_from(request.app[SETTINGS])
    made = await busy_times.set_import(
        request.app[DATABASE], actor, body.address, rules=rules, now=request.app[CLOCK]()
    )
    return web.json_response(_import_json(made), status=201)


@routes.delete("/api/imported-calendar")
async def remove_import(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await busy_times.remove_import(request.app[DATABASE], actor, now=request.app[CLOCK]())
    return web.Response(status=204)


def _import_json(one: ImportView | None) -> dict[str, Any]:
    if one is None:
        return {"address": None}
    return {
        "address": one.address,
        "state": one.state,
        "failure": one.failure,
        "tried_at": maybe_iso(one.tried_at),
        "read_at": maybe_iso(one.read_at),
    }
