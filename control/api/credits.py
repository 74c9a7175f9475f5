"""Packages of sessions: what practitioners offer, what a client has left, and buying one."""

from decimal import Decimal
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.idempotency import idempotent, key_of
from control.api.shapes import ID_PATTERN
from control.api.wallet import purchase_json
from control.errors import Invalid, Malformed, NotFound
from control.keys import CLOCK, DATABASE
from control.language import t
from control.models.people import Role
from control.money import credits, purchases
from control.money.policy import minor_from_price
from control.practitioners import get_service

routes = web.RouteTableDef()
SERVICE = f"/api/services/{{id:{ID_PATTERN}}}/credits"


class OfferBody(Body):
    credits: Annotated[int, Field(strict=True)]
    price: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)]
    """Of the whole package, in the service's currency."""


@routes.get("/api/credits")
async def mine(request: web.Request) -> web.Response:
    actor = require_actor(request)
    held = await credits.held_by(request.app[DATABASE], actor.person_id)
    return web.json_response(
        {
            "credits": [
                {
                    "service": {"id": one.service_id, "name": one.service_name},
                    "practitioner": {"id": one.practitioner_id, "name": one.practitioner_name},
                    "left": one.left,
                    "of": one.of,
                }
                for one in held
            ]
        }
    )


@routes.get("/api/credits/offers")
async def offered(request: web.Request) -> web.Response:
    """`?practitioner=<id>` or `?service=<id>` for those only."""
    found = await credits.offers(
        request.app[DATABASE],
        practitioner_id=_id_in(request, "practitioner"),
        service_id=_id_in(request, "service"),
    )
    return web.json_response({"offers": [_offer_json(one) for one in found]})


def _id_in(request: web.Request, name: str) -> str | None:
    text = request.query.get(name)
    if text is not None and (len(text) != 32 or not text.isalnum() or not text.isascii()):
        raise Malformed(f"{name}_invalid", t("%(name)s is an id.", name=name))
    return text


def _offer_json(one: credits.OfferView) -> dict[str, Any]:
    return {
        "id": one.id,
        "service": {"id": one.service_id, "name": one.service_name},
        "practitioner": {"id": one.practitioner_id, "name": one.practitioner_name},
        "credits": one.credits,
        "price_minor": one.price_minor,
        "currency": one.currency,
    }


@routes.post(SERVICE)
@idempotent()
async def offer(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, OfferBody)
    db, service_id = request.app[DATABASE], request.match_info["id"]
    _, service = await get_service(db, service_id)
    price_minor = minor_from_price(f"{body.price:f}", service.currency)
    if price_minor is None:
        raise Invalid(
            "price_invalid", t("This is no amount in %(currency)s.", currency=service.currency), pointer="/price"
        )
    await credits.set_offer(db, actor, service_id, body.credits, price_minor, now=request.app[CLOCK]())
    found = await credits.offers(db, service_id=service_id)
    return web.json_response({"offers": [_offer_json(one) for one in found]})


@routes.delete(f"{SERVICE}/{{credits:5|10}}")
async def withdraw(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    service_id, count = request.match_info["id"], int(request.match_info["credits"])
    await credits.set_offer(request.app[DATABASE], actor, service_id, count, None, now=request.app[CLOCK]())
    return web.Response(status=204)


@routes.post(f"/api/credits/offers/{{id:{ID_PATTERN}}}/buy")
@idempotent(required=True, claimed=False)
async def buy(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await read(request, EmptyBody)
    key = key_of(request, required=True)
    if key is None:
        raise NotFound
    bought = await purchases.begin_credits(
        request.app[DATABASE], actor, request.match_info["id"], key=key, now=request.app[CLOCK]()
    )
    return web.json_response(purchase_json(request, bought), status=201)
