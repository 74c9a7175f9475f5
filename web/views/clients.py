"""A practitioner's clients, and the file of one, which only they open: notes, sessions, consents, recordings."""

from __future__ import annotations

from aiohttp import web

from control import appointments, note_requests
from control.accounts import require_actor
from control.appointment_queries import Chosen
from control.errors import Malformed
from control.keys import CLIENT_FILES, CLOCK, DATABASE
from control.lifecycle import Party
from control.models.people import Role
from control.paging import Wanted, place_of
from control.recording_queries import list_recordings
from web.render import render
from web.views.sources import sessions_of

routes = web.RouteTableDef()

_PAGE = 25
_SHOWN_SESSIONS = 50
_MOST_QUERY = 100


@routes.get("/therapist/clients")
async def clients(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    query = request.query.get("q", "").strip()[:_MOST_QUERY].replace("\x00", "")
    try:
        place = place_of(request.query.get("cursor"), str)
    except Malformed:
        place = None
    page = await request.app[CLIENT_FILES].clients_of(actor, query, Wanted(_PAGE, place), now=request.app[CLOCK]())
    return render(
        request,
        "therapist/clients.html",
        rows=page.rows,
        query=query,
        is_first=place is None,
        next_cursor=page.next_cursor or "",
    )


@routes.get("/therapist/clients/{id:[0-9a-f]{32}}")
async def client(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    db, now, client_id = request.app[DATABASE], request.app[CLOCK](), request.match_info["id"]
    files = request.app[CLIENT_FILES]
    one = await files.client(actor, client_id, now=now)
    chosen = Chosen(client_id=client_id)
    page = await appointments.page_for(db, actor, Party.PRACTITIONER, chosen, Wanted(_SHOWN_SESSIONS), now=now)
    sessions = sessions_of(page.rows)
    known = {session.id for session in sessions}
    recordings = [found for found in await list_recordings(db, actor) if found.session.id in known]
    return render(
        request,
        "therapist/client.html",
        client=one,
        notes=await files.notes(actor, client_id),
        consents=await files.consents(actor, client_id),
        rows=sessions,
        recordings=recordings,
        asked=await note_requests.asked_of(db, actor, client_id),
    )
