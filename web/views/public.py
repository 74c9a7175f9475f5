"""What anybody may see: home, the directory, a practitioner's profile with free times."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from control import availability, practitioners, ratings
from control.database import Database
from control.keys import CLOCK, DATABASE
from control.practitioners import ProfileView, ServiceView
from web.models import Practitioner, Review, Service
from web.render import reader_of, render
from web.views.booker import choice_of
from web.views.sources import policy_words, practitioner_of, service_of
from web.words import mode_words

routes = web.RouteTableDef()

#: How far ahead "next free" looks in lists.
_NEAR_DAYS = 13
_MOST_QUERY = 100


@routes.get("/")
async def home(request: web.Request) -> web.StreamResponse:
    people = await _listed(request, None)
    services: list[tuple[Service, Practitioner]] = [(one, person) for person in people for one in person.services]
    modes = dict.fromkeys(mode_words(one.mode) for one, _ in services)
    return render(request, "home.html", practitioners=people, services=services[:8], modes=list(modes))


@routes.get("/practitioners")
async def directory(request: web.Request) -> web.StreamResponse:
    query = request.query.get("q", "").strip()[:_MOST_QUERY]
    return render(request, "directory.html", practitioners=await _listed(request, query or None), query=query)


@routes.get("/practitioners/{id}")
async def profile(request: web.Request) -> web.StreamResponse:
    db, now = request.app[DATABASE], request.app[CLOCK]()
    found = await practitioners.get_profile(db, request.match_info["id"])
    said = await ratings.reviews(db, found.id, limit=6)
    reader = reader_of(request)
    context: dict[str, Any] = {}
    wanted = request.query.get("service", "")
    soonest = await _soonest(db, found, now)
    next_free = soonest[1] if soonest else None
    first = soonest[0] if soonest else next(iter(found.services), None)
    chosen = next((one for one in found.services if one.id == wanted), first)
    if chosen is not None:
        choice = await choice_of(request, found, chosen, now)
        context = {"service": service_of(chosen), **choice.context()}
    return render(
        request,
        "profile.html",
        person=practitioner_of(found, next_free),
        own=reader is not None and reader.person_id == found.id,
        reviews=[Review(one.stars, one.feedback, one.author_name, one.created_at) for one in said],
        policy=policy_words(found.late_window_minutes, found.late_fee_bp, found.no_show_fee_bp),
        offers_recording=any(one.recording_offered for one in found.services),
        **context,
    )


async def _listed(request: web.Request, query: str | None) -> list[Practitioner]:
    db, now = request.app[DATABASE], request.app[CLOCK]()
    found = await practitioners.list_practitioners(db, query)
    soonest = await asyncio.gather(*(_soonest(db, one, now) for one in found))
    return [practitioner_of(one, free[1] if free else None) for one, free in zip(found, soonest, strict=True)]


async def _soonest(db: Database, profile: ProfileView, now: datetime) -> tuple[ServiceView, datetime] | None:
    """The service that can be had first in the next two weeks, and when."""
    zone = ZoneInfo(profile.time_zone)
    today = now.astimezone(zone).date()
    starts: list[tuple[ServiceView, datetime]] = []
    for service in profile.services:
        days = await availability.month_of_slots(db, service.id, today, today + timedelta(days=_NEAR_DAYS), zone, now)
        starts.extend((service, slots[0].start) for slots in days.values() if slots)
    return min(starts, key=lambda found: found[1], default=None)
