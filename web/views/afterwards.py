"""After a session: rating it and what follows, and the page for a session the practitioner missed."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

from control import practitioners, ratings, testimonials
from control.accounts import require_actor
from control.errors import NotFound
from control.keys import DATABASE, FILES
from control.language import N_, look_up
from control.lifecycle import Party
from web.again import again_of, free_after
from web.models import Session
from web.render import render, zone_of
from web.views.session import session_for
from web.views.sources import session_of, slot_of

routes = web.RouteTableDef()

#: Words a client may press; control keeps them as they are.
TAGS = (N_("I felt heard"), N_("Good questions"), N_("Unhurried"), N_("Something to try"), N_("Hard, in a good way"))
_OFFERED = 6


@routes.get("/sessions/{id:[0-9a-f]{32}}/afterwards")
async def afterwards(request: web.Request) -> web.StreamResponse:
    view = await session_for(request, Party.CLIENT)
    db, shown = request.app[DATABASE], session_of(view)
    if shown.state == "no_show_practitioner":
        raise web.HTTPSeeOther(f"/sessions/{shown.id}/missed")
    if shown.state not in {"in_progress", "completed"}:
        raise web.HTTPSeeOther(f"/sessions/{shown.id}")
    free = await free_after(request, shown)
    return render(
        request,
        "afterwards.html",
        session=shown,
        rated=await ratings.mine(db, require_actor(request), view.id),
        tags=[(one, look_up(one)) for one in TAGS],
        again=again_of(shown, free),
        aftercare=await _aftercare(request, shown),
        said=await testimonials.mine(db, require_actor(request), shown.practitioner_id),
        most_said=testimonials.MOST_TEXT,
        files=await request.app[FILES].of_session(require_actor(request), view.id),
    )


@routes.get("/sessions/{id:[0-9a-f]{32}}/missed")
async def missed(request: web.Request) -> web.StreamResponse:
    view = await session_for(request, Party.CLIENT)
    if view.state != "no_show_practitioner":
        raise NotFound
    shown, zone = session_of(view), zone_of(request)
    free = await free_after(request, shown)
    slots = [slot_of(slot, zone, shown.practitioner_zone) for slot in free[:_OFFERED]]
    waited = int(view.facts.bounds.no_show_after / timedelta(minutes=1))
    return render(request, "missed.html", session=shown, slots=slots, waited=waited)


async def _aftercare(request: web.Request, shown: Session) -> str:
    try:
        return (await practitioners.get_profile(request.app[DATABASE], shown.practitioner_id)).aftercare
    except NotFound:
        return ""
