"""The public directory and profiles, and the slots of a service by day."""

from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from control import availability, practitioners, ratings
from control.api.shapes import ID_PATTERN, day_of_query, iso, slot_json
from control.errors import Malformed
from control.keys import CLOCK, DATABASE
from control.practitioners import ProfileView, ServiceView
from control.slots import zone_named_untrusted

routes = web.RouteTableDef()


def service_json(service: ServiceView) -> dict[str, Any]:
    return {name: getattr(service, name) for name in ServiceView.__dataclass_fields__}


def profile_json(profile: ProfileView) -> dict[str, Any]:
    return {
        "id": profile.id,
        "name": profile.name,
        "time_zone": profile.time_zone,
        "headline": profile.headline,
        "about": profile.about,
        "modalities": list(profile.modalities),
        "languages": list(profile.languages),
        "rating": {"mean": profile.rating.mean, "count": profile.rating.count},
        "services": [service_json(service) for service in profile.services],
    }


@routes.get("/api/practitioners")
async def directory(request: web.Request) -> web.Response:
    query = request.query.get("query", "")
    if len(query) > 200:
        raise Malformed("query_too_long", "Search with fewer words.")
    found = await practitioners.list_practitioners(request.app[DATABASE], query)
    return web.json_response({"practitioners": [profile_json(profile) for profile in found]})


@routes.get(f"/api/practitioners/{{id:{ID_PATTERN}}}")
async def profile(request: web.Request) -> web.Response:
    db = request.app[DATABASE]
    found = await practitioners.get_profile(db, request.match_info["id"])
    said = await ratings.reviews(db, found.id)
    reviews = [
        {
            "author": review.author_name,
            "rating": review.stars,
            "feedback": review.feedback,
            "created_at": iso(review.created_at),
        }
        for review in said
    ]
    return web.json_response(profile_json(found) | {"reviews": reviews})


@routes.get(f"/api/services/{{id:{ID_PATTERN}}}/slots")
async def slots(request: web.Request) -> web.Response:
    """Free slots by the days of a calendar in `timeZone`, from `first` to `last`."""
    zone: ZoneInfo = zone_named_untrusted(request.query.get("timeZone", "UTC"))
    days = await availability.month_of_slots(
        request.app[DATABASE],
        request.match_info["id"],
        day_of_query(request, "first"),
        day_of_query(request, "last"),
        zone,
        request.app[CLOCK](),
    )
    by_day = {day.isoformat(): [slot_json(slot) for slot in found] for day, found in days.items()}
    return web.json_response({"time_zone": zone.key, "days": by_day})
