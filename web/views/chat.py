"""What was written in a session, read by its people afterwards. Shows only; control/chat.py opens the texts."""

from __future__ import annotations

from aiohttp import web

from control.accounts import require_actor
from control.api.bodies import Query, read_query
from control.keys import CHAT
from web.render import render
from web.views.session import session_for
from web.views.sources import session_of

routes = web.RouteTableDef()


class BeforeQuery(Query):
    before: int | None = None


@routes.get("/sessions/{id:[0-9a-f]{32}}/chat")
async def chat(request: web.Request) -> web.StreamResponse:
    view = await session_for(request)
    actor = require_actor(request)
    query = read_query(request, BeforeQuery)
    found = await request.app[CHAT].history(actor, view.id, before=query.before)
    return render(
        request,
        "chat.html",
        session=session_of(view),
        reader=str(view.party),
        lines=found.lines,
        me=actor.person_id,
        earlier=found.lines[0].seq if found.has_earlier else None,
        is_open=found.may_write,
    )
