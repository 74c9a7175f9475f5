"""The help desk and message monitoring, for support and admins."""

from __future__ import annotations

from aiohttp import web

from control import desk
from control.accounts import require_actor
from control.keys import CLOCK, DATABASE, MESSAGES
from control.language import N_, t
from control.messages import STAFF
from control.paging import Wanted, place_of
from web.render import render

routes = web.RouteTableDef()

_PAGE = 30
_SHOWS = {"open": N_("Still open"), "mine": N_("Mine"), "closed": N_("Closed")}


@routes.get("/admin/help-desk")
async def queue(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, *STAFF)
    show = request.query.get("show", "open")
    show = show if show in _SHOWS else "open"
    wanted = Wanted(_PAGE, place_of(request.query.get("cursor")))
    page = await desk.queue(request.app[DATABASE], actor, wanted, show=show)
    return render(
        request, "admin/help_desk.html", page=page, show=show, shows={key: t(words) for key, words in _SHOWS.items()}
    )


@routes.get("/admin/monitoring")
async def monitoring(request: web.Request) -> web.StreamResponse:
    actor, rules = require_actor(request, *STAFF), request.app[MESSAGES]
    query = request.query.get("q", "").strip()[:100]
    page = None
    if rules.notice.monitored:
        wanted = Wanted(_PAGE, place_of(request.query.get("cursor")))
        page = await desk.monitored(request.app[DATABASE], rules, actor, wanted, query)
    return render(request, "admin/monitoring.html", page=page, query=query, notice=rules.notice)


@routes.get("/admin/monitoring/{id:[0-9a-f]{32}}")
async def read(request: web.Request) -> web.StreamResponse:
    """Each look is logged and shown to both people."""
    actor = require_actor(request, *STAFF)
    seen = await desk.read_as_staff(
        request.app[DATABASE], request.app[MESSAGES], actor, request.match_info["id"], now=request.app[CLOCK]()
    )
    reads = await desk.staff_reads(request.app[DATABASE], seen.view.id)
    return render(request, "admin/monitored.html", seen=seen, talk=seen.view, reads=reads)
