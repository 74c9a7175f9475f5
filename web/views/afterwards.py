"""After a session: rating it and what follows, and the page for a session the practitioner missed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from aiohttp import web

from control import availability, practitioners, ratings
from control.accounts import require_actor
from control.errors import NotFound
from control.keys import CLOCK, DATABASE
from control.lifecycle import Party
from control.slots import Slot
from web.models import Session
from web.render import render, zone_of
from web.views.session import session_for
from web.views.sources import session_of, slot_of

routes = web.RouteTableDef()

#: Words a client may press; control keeps them as they are.
TAGS = ("I felt heard", "Good questions", "Unhurried", "Something to try", "Hard, in a good way")
_WEEK = timedelta(days=7)
_LOOK_AHEAD_DAYS = 21
_OFFERED = 6


@dataclass(frozen=True)
class Again:
    start: datetime
    same: bool  # same weekday and time


@routes.get("/sessions/{id:[0-9a-f]{32}}/afterwards")
async def afterwards(request: web.Request) -> web.StreamResponse:
    view = await session_for(request, Party.CLIENT)
    db, shown = request.app[DATABASE], session_of(view)
    if shown.state in {"pending", "scheduled", "confirmed"}:
        raise web.HTTPSeeOther(f"/sessions/{shown.id}")
    if shown.state == "no_show_practitioner":
        raise web.HTTPSeeOther(f"/sessions/{shown.id}/missed")
    free = await _free_after(request, shown)
    return render(
        request,
        "afterwards.html",
        session=shown,
        rated=await ratings.mine(db, require_actor(request), view.id),
        tags=TAGS,
        again=_again(shown, free),
        aftercare=await _aftercare(request, shown),
    )


@routes.get("/sessions/{id:[0-9a-f]{32}}/missed")
async def missed(request: web.Request) -> web.StreamResponse:
    view = await session_for(request, Party.CLIENT)
    if view.state != "no_show_practitioner":
        raise NotFound
    shown, zone = session_of(view), zone_of(request)
    free = await _free_after(request, shown)
    slots = [slot_of(slot, zone, shown.practitioner_zone) for slot in free[:_OFFERED]]
    return render(request, "missed.html", session=shown, slots=slots)


async def _free_after(request: web.Request, shown: Session) -> list[Slot]:
    """Free times of the same service in the next weeks; none if it is not offered any more."""
    now, zone = request.app[CLOCK](), ZoneInfo(zone_of(request))
    today = now.astimezone(zone).date()
    last = today + timedelta(days=_LOOK_AHEAD_DAYS)
    try:
        days = await availability.month_of_slots(request.app[DATABASE], shown.service_id, today, last, zone, now)
    except NotFound:
        return []
    return [slot for slots in days.values() for slot in slots]


def _again(shown: Session, free: list[Slot]) -> Again | None:
    """The same weekday and time of the practitioner's clock, else the next free time a week or more later."""
    if not free:
        return None
    here = ZoneInfo(shown.practitioner_zone)
    wanted = shown.starts_at.astimezone(here).replace(tzinfo=None) + _WEEK
    for slot in free:
        if slot.start.astimezone(here).replace(tzinfo=None) == wanted:
            return Again(slot.start, same=True)
    later = [slot for slot in free if slot.start >= shown.starts_at + timedelta(days=1)] or free
    return Again(later[0].start, same=False)


async def _aftercare(request: web.Request, shown: Session) -> str:
    try:
        return (await practitioners.get_profile(request.app[DATABASE], shown.practitioner_id)).aftercare
    except NotFound:
        return ""
