"""A person's files of all their sessions: to fetch again, and to withdraw their own. control/files.py decides."""

from __future__ import annotations

from aiohttp import web

from control.accounts import require_actor
from control.keys import FILES
from web.render import render

routes = web.RouteTableDef()


@routes.get("/files")
async def files(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request)
    found = await request.app[FILES].of_person(actor)
    return render(request, "files.html", rows=found, me=actor.person_id)
