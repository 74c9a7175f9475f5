"""One's own data: consents, who looked at it, a copy of everything, being erased; and the help centre."""

from __future__ import annotations

from aiohttp import web

from control import erasing, my_data, note_requests, people
from control.accounts import require_actor
from control.keys import DATABASE, ERASING, EXPORTS, MESSAGES, SETTINGS
from control.language import t
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
        export=await request.app[EXPORTS].newest(actor),
        asked=await note_requests.asked_by(db, actor),
    )


@routes.get("/account/erase")
async def erase(request: web.Request) -> web.StreamResponse:
    """What goes, what is kept and why, and what stands in the way: before anybody is asked to confirm."""
    actor = require_actor(request)
    return render(
        request,
        "erase.html",
        goes=[(t(what), t(why)) for what, why in erasing.GOES],
        kept=[(t(what), t(why)) for what, why in erasing.KEPT],
        standing=await request.app[ERASING].standing(actor),
        me=await people.get_person(request.app[DATABASE], actor.person_id),
        in_zendesk=request.app[SETTINGS].zendesk.url is not None,
    )


@routes.get("/erased")
async def erased(request: web.Request) -> web.StreamResponse:
    return render(request, "erased.html")


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
