"""What anybody may see: home, the directory, a practitioner's profile with free times."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from aiohttp import web

from control import directory, practitioners, ratings, testimonials
from control.directory import Directory, Sought
from control.keys import CLOCK, DATABASE
from control.language import t
from control.practitioners import MODES
from web.models import Practitioner, Review, Service
from web.render import reader_of, render
from web.views.booker import choice_of
from web.views.sources import policy_words, practitioner_of, service_of
from web.words import mode_words

routes = web.RouteTableDef()

_FREE_WITHIN = (2, 7, 14)
_MOST_QUERY = 100
_PRICE = re.compile(r"[0-9]{1,6}([.][0-9]{1,2})?")


@routes.get("/")
async def home(request: web.Request) -> web.StreamResponse:
    listed = await directory.search(request.app[DATABASE], Sought(), now=request.app[CLOCK]())
    people = _people(listed)
    services: list[tuple[Service, Practitioner]] = [(one, person) for person in people for one in person.services]
    modes = dict.fromkeys(mode_words(one.mode) for one, _ in services)
    return render(request, "home.html", practitioners=people, services=services[:8], modes=list(modes))


@routes.get("/practitioners")
async def show_directory(request: web.Request) -> web.StreamResponse:
    sought = _sought(request)
    listed = await directory.search(request.app[DATABASE], sought, now=request.app[CLOCK]())
    return render(
        request,
        "directory.html",
        practitioners=_people(listed),
        sought=sought,
        is_filtered=sought != Sought(),
        topics=[(one, one) for one in listed.topics],
        languages=[(one, one) for one in listed.languages],
        free_within=[(days, t("Free within %(days)s days", days=days)) for days in _FREE_WITHIN],
    )


def _people(listed: Directory) -> list[Practitioner]:
    return [practitioner_of(one.profile, one.free.start if one.free else None) for one in listed.found]


def _sought(request: web.Request) -> Sought:
    """Lenient: what can't be understood in an address is left out."""
    asked = {name: value.strip()[:_MOST_QUERY].replace("\x00", "") for name, value in request.query.items()}
    days = asked.get("free", "")
    return Sought(
        words=asked.get("q", ""),
        topic=asked.get("topic", ""),
        language=asked.get("language", ""),
        mode=asked["mode"] if asked.get("mode") in MODES else "",
        price=Decimal(asked["price"]) if _PRICE.fullmatch(asked.get("price", "")) else None,
        within_days=int(days) if days in {str(one) for one in _FREE_WITHIN} else None,
    )


@routes.get("/practitioners/{id}")
async def profile(request: web.Request) -> web.StreamResponse:
    db, now = request.app[DATABASE], request.app[CLOCK]()
    found = await practitioners.get_profile(db, request.match_info["id"])
    said = await ratings.reviews(db, found.id, limit=6)
    reader = reader_of(request)
    context: dict[str, Any] = {}
    wanted = request.query.get("service", "")
    soonest = (await directory.first_free(db, [found], now=now)).get(found.id)
    next_free = soonest.start if soonest else None
    soonest_id = soonest.service_id if soonest else ""
    first = next((one for one in found.services if one.id == soonest_id), next(iter(found.services), None))
    chosen = next((one for one in found.services if one.id == wanted), first)
    if chosen is not None:
        choice = await choice_of(request, found, chosen, now)
        context = {"service": service_of(chosen), **choice.context()}
    return render(
        request,
        "profile.html",
        person=practitioner_of(found, next_free),
        own=reader is not None and reader.person_id == found.id,
        testimonials=await testimonials.of_practitioner(db, found.id),
        reviews=[Review(one.stars, one.feedback, one.author_name, one.created_at) for one in said],
        policy=policy_words(found.late_window_minutes, found.late_fee_bp, found.no_show_fee_bp),
        offers_recording=any(one.recording_offered for one in found.services),
        **context,
    )
