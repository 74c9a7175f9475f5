"""The public directory and profiles, and the slots of a service by day."""

from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from aiohttp import web
from pydantic import Field

from control import availability, directory, practitioners, ratings
from control.api.bodies import Query, read_query
from control.api.shapes import ID_PATTERN, Text, day_of_query, iso, slot_json
from control.directory import Found, Sought
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


class DirectoryQuery(Query):
    """What is looked for; `price` is at most that much, `freeWithin` a number of days."""

    query: Annotated[Text, Field(max_length=200)] = ""
    topic: Annotated[Text, Field(max_length=60)] = ""
    language: Annotated[Text, Field(max_length=60)] = ""
    mode: Literal["video", "audio", "chat", ""] = ""
    price: Annotated[Decimal, Field(ge=0, max_digits=9)] | None = None
    freeWithin: Annotated[int, Field(ge=1, le=60)] | None = None

    def sought(self) -> Sought:
        return Sought(self.query, self.topic, self.language, self.mode, self.price, self.freeWithin)


@routes.get("/api/practitioners")
async def search(request: web.Request) -> web.Response:
    sought = read_query(request, DirectoryQuery).sought()
    found = await directory.search(request.app[DATABASE], sought, now=request.app[CLOCK]())
    people = [profile_json(one.profile) | {"next_free": _free_json(one)} for one in found.found]
    return web.json_response(
        {"practitioners": people, "topics": list(found.topics), "languages": list(found.languages)}
    )


def _free_json(one: Found) -> dict[str, str] | None:
    return None if one.free is None else {"service_id": one.free.service_id, "start": iso(one.free.start)}


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
