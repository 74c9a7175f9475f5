"""Booking week by week: which weeks are free before anything is held, then all of them together until they are paid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from aiohttp import web

from control import appointments, practitioners, series
from control.accounts import require_actor
from control.appointment_queries import series_of
from control.booking import Wanted
from control.errors import NotFound
from control.keys import CLOCK, DATABASE
from control.language import N_, look_up
from web.models import Session
from web.render import render, zone_of
from web.views.booker import start_untrusted, wallet_of
from web.views.sources import policy_words, practitioner_of, service_of, sessions_of

routes = web.RouteTableDef()

_WHY = {
    "slot_taken": N_("Somebody has this time"),
    "slot_not_offered": N_("Not offered that week"),
    "too_far": N_("Can't be booked yet"),
    "too_soon": N_("Too soon to be booked"),
    "start_past": N_("Has passed"),
}
_FIRST_LOOK = 4


@dataclass(frozen=True)
class Week:
    start: datetime
    why: str  # empty for a free one


@routes.get("/book/{service_id}/series")
async def weeks(request: web.Request) -> web.StreamResponse:
    require_actor(request)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    found, service = await practitioners.get_service(db, request.match_info["service_id"])
    start = start_untrusted(request)
    if start is None:
        raise web.HTTPSeeOther(f"/book/{service.id}")
    asked = request.query.get("weeks", "")
    count = int(asked) if asked in {str(n) for n in range(2, series.MOST_WEEKS + 1)} else _FIRST_LOOK
    listed = await series.look(db, Wanted(service.id, start, ZoneInfo(zone_of(request))), count, now=now)
    shown = [Week(one.start, look_up(_WHY.get(one.code, N_("Not free"))) if one.code else "") for one in listed]
    free = sum(not one.why for one in shown)
    return render(
        request,
        "book_series.html",
        person=practitioner_of(found),
        service=service_of(service),
        weeks=shown,
        free=free,
        count_asked=count,
        counts=range(2, series.MOST_WEEKS + 1),
        start=start,
        policy=policy_words(found.late_window_minutes, found.late_fee_bp, found.no_show_fee_bp),
    )


@routes.get("/series/{id:[0-9a-f]{32}}")
async def one(request: web.Request) -> web.StreamResponse:
    """The sessions booked together, with what is left to pay. Only their client sees it."""
    actor, db, now = require_actor(request), request.app[DATABASE], request.app[CLOCK]()
    series_id = request.match_info["id"]
    for view in await series_of(db, actor, series_id):
        await appointments.catch_up(db, view.id, now=now)
    found = sessions_of(await series_of(db, actor, series_id))
    if not found:
        raise NotFound
    held = [session for session in found if session.state == "pending"]
    return render(
        request,
        "series.html",
        series_id=series_id,
        sessions=found,
        held=held,
        due_minor=sum(session.amount_minor for session in held),
        until=_soonest(held),
        wallet=await wallet_of(db, actor, found[0].currency) if held else None,
        first=found[0],
    )


def _soonest(held: list[Session]) -> datetime | None:
    return min((one.hold_expires_at for one in held if one.hold_expires_at), default=None)
