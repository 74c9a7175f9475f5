"""One's own data: consents with taking them back, and who looked at it; and the help centre, for everybody."""

from __future__ import annotations

from aiohttp import web

from control import my_data
from control.accounts import require_actor
from control.keys import DATABASE, MESSAGES, SETTINGS
from web.render import render

routes = web.RouteTableDef()


@routes.get("/account/data")
async def data(request: web.Request) -> web.StreamResponse:
    actor, db = require_actor(request), request.app[DATABASE]
    return render(
        request,
        "my_data.html",
        consents=await my_data.consent_lines(db, actor),
        looks=await my_data.staff_looks(db, actor),
    )


@routes.get("/help")
async def help_centre(request: web.Request) -> web.StreamResponse:
    settings = request.app[SETTINGS]
    return render(
        request,
        "help.html",
        opens_before=settings.booking.opens_before_minutes,
        no_show_after=settings.booking.no_show_after_minutes,
        kept_days=settings.recording.retention_days,
        notice=request.app[MESSAGES].notice,
    )
