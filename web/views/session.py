"""One session's page, for its client, a guest, its practitioner or an admin; a stranger gets "not found"."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlencode

from aiohttp import web

from control import appointments, consents, guests, quality, ratings, reschedules, waiting_room
from control.accounts import Actor, require_actor
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.database import Database
from control.errors import NotFound
from control.keys import CLOCK, DATABASE
from control.lifecycle import Party, can_reschedule, no_show_from
from control.reschedules import RequestState, RequestView
from web.again import again_of, free_after
from web.render import render, zone_of
from web.thread import session_thread
from web.views.sources import joining_of, readiness_of, refund_words, session_of

routes = web.RouteTableDef()

#: Who comes to a session from outside, is asked for consents and waits.
VISITORS = (Party.CLIENT, Party.GUEST)


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
    rating = await ratings.mine(db, actor, view.id) if view.state is State.COMPLETED else None
    may_rate = view.party in (Party.CLIENT, Party.PRACTITIONER) and view.state is State.COMPLETED
    can_move = can_reschedule(view.facts, view.party, now)
    who = actor.person_id if view.party in VISITORS else view.client_id
    return render(
        request,
        "session.html",
        session=shown,
        reader=str(view.party),
        joining=joining_of(explanation),
        ready=readiness_of(await consents.standing(db, view.id), who),
        thread=session_thread(now, explanation.opens_at, shown.starts_at, shown.ends_at, zone_of(request))
        if shown.is_open
        else None,
        rateable=may_rate and rating is None,
        rated=rating is not None,
        refund=refund_words(view, now),
        connections=() if view.party in VISITORS else await quality.of_session(db, actor, view.id),
        can_move=can_move,
        asked=await _open_request(db, actor, view, now) if can_move else None,
        lengths=await reschedules.lengths_for(db, actor, view.id) if can_move else (),
        guests=await guests.guests_of(db, actor, view.id) if view.party is Party.PRACTITIONER else (),
        fee_minor=_fee_that_may_be_waived(view),
        fee_waived_at=None if view.party in VISITORS else view.fee_waived_at,
        may_miss=view.party is Party.PRACTITIONER and _may_be_missed(view, now),
    )


async def _open_request(db: Database, actor: Actor, view: SessionView, now: datetime) -> RequestView | None:
    found = await reschedules.requests_of(db, actor, view.id, now=now)
    return next((one for one in found if one.state is RequestState.OPEN), None)


def _fee_that_may_be_waived(view: SessionView) -> int:
    """What was kept of a session that did not take place, for who may give it back."""
    missed = view.state in (State.CANCELLED, State.NO_SHOW_CLIENT)
    return (view.kept_minor or 0) if missed and view.party not in VISITORS else 0


def _may_be_missed(view: SessionView, now: datetime) -> bool:
    """From when on the practitioner may say that nobody came."""
    since = no_show_from(view.facts)
    return since is not None and now >= since


@routes.get("/sessions/{id:[0-9a-f]{32}}/rebook")
async def rebook(request: web.Request) -> web.StreamResponse:
    """Leads to the booker with everything filled in: the same service, weekday and time where they are free."""
    view = await session_for(request, Party.CLIENT)
    shown = session_of(view)
    again = again_of(shown, await free_after(request, shown))
    if again is None:
        raise web.HTTPSeeOther(f"/practitioners/{view.practitioner_id}?service={view.service_id}")
    raise web.HTTPSeeOther(f"/book/{view.service_id}?{urlencode({'start': again.start.isoformat()})}")
