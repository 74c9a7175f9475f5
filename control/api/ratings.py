"""Rating a completed session, and the second yes that publishes a low rating."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import ratings
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Text, iso
from control.keys import CLOCK, DATABASE
from control.ratings import NewRating, RatingView

routes = web.RouteTableDef()
ONE = f"/api/appointments/{{id:{ID_PATTERN}}}"


Tag = Annotated[Text, Field(min_length=1, max_length=40)]


class RatingBody(Body):
    rating: Annotated[int, Field(ge=1, le=5, strict=True)]
    feedback: Annotated[Text, Field(max_length=2000)] = ""
    isPublic: bool = False
    wouldRecommend: bool | None = None
    tags: Annotated[tuple[Tag, ...], Field(max_length=10)] = ()


def rating_json(rating: RatingView) -> dict[str, Any]:
    return {
        "id": rating.id,
        "rating": rating.stars,
        "feedback": rating.feedback,
        "isPublic": rating.is_public,
        "awaits_confirmation": rating.awaits_confirmation,
        "wouldRecommend": rating.would_recommend,
        "tags": list(rating.tags),
        "created_at": iso(rating.created_at),
    }


@routes.post(f"{ONE}/rate-session")
@idempotent()
async def rate(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, RatingBody)
    given = NewRating(body.rating, body.feedback, body.isPublic, body.wouldRecommend, body.tags)
    rating = await ratings.rate(request.app[DATABASE], actor, request.match_info["id"], given, now=request.app[CLOCK]())
    return web.json_response(rating_json(rating), status=201)


@routes.post(f"{ONE}/rate-session/publish")
@idempotent()
async def confirm_publication(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await read(request, EmptyBody)
    rating = await ratings.confirm_publication(
        request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]()
    )
    return web.json_response(rating_json(rating))
