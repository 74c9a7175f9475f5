"""One session's page, for its client, its practitioner or an admin; a stranger gets "not found"."""

from __future__ import annotations

from aiohttp import web

from control import appointments, consents, quality, ratings, waiting_room
from control.accounts import require_actor
from control.appointment_queries import SessionView
from control.errors import NotFound
from control.keys import CLOCK, DATABASE
from control.lifecycle import Party
from web.render import render, zone_of
from web.thread import session_thread
from web.views.sources import joining_of, readiness_of, refund_words, session_of

routes = web.RouteTableDef()


async def session_for(request: web.Request, *parties: Party) -> SessionView:
    """The session of `{id}` as time has left it, if the reader is one of `parties` (anyone concerned if none named)."""
    actor, db = require_actor(request), request.app[DATABASE]
    appointment_id = request.match_info["id"]
    view = await appointments.get_for(db, actor, appointment_id)
    if parties and view.party not in parties:
        raise NotFound
    await appointments.catch_up(db, appointment_id, now=request.app[CLOCK]())
    return await appointments.get_for(db, actor, appointment_id)


@routes.get("/sessions/{id:[0-9a-f]{32}}")
async def session(request: web.Request) -> web.StreamResponse:
    view = await session_for(request)
    actor, db, now = require_actor(request), request.app[DATABASE], request.app[CLOCK]()
    explanation = await waiting_room.explain(db, actor, view.id, now)
    shown = session_of(view)
    rateable = view.party is Party.CLIENT and shown.state == "completed"
    return render(
        request,
        "session.html",
        session=shown,
        reader=str(view.party),
        joining=joining_of(explanation),
        ready=readiness_of(await consents.standing(db, view.id), view.client_id),
        thread=session_thread(now, explanation.opens_at, shown.starts_at, shown.ends_at, zone_of(request))
        if shown.is_open
        else None,
        rateable=rateable and await ratings.mine(db, actor, view.id) is None,
        refund=refund_words(view, now),
        connections=() if view.party is Party.CLIENT else await quality.of_session(db, actor, view.id),
    )
