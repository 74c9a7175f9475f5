"""What a person has here, and an admin's top-up of a wallet."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from control.accounts import require_actor
from control.api.bodies import Body, read
from control.api.idempotency import idempotent, key_of
from control.api.shapes import ID_PATTERN
from control.keys import CLOCK, DATABASE
from control.models.people import Role
from control.money import ledger, payments

routes = web.RouteTableDef()


class TopUpBody(Body):
    amount_minor: Annotated[int, Field(gt=0, le=payments.MOST_TOP_UP_MINOR, strict=True)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]


@routes.get("/api/wallet")
async def mine(request: web.Request) -> web.Response:
    actor = require_actor(request)
    return await _balances(request, actor.person_id)


@routes.post(f"/api/people/{{id:{ID_PATTERN}}}/wallet")
@idempotent(required=True)
async def top_up(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.ADMIN)
    body = await read(request, TopUpBody)
    person_id = request.match_info["id"]
    key = f"{actor.person_id[:8]}:{key_of(request, required=True)}"
    async with request.app[DATABASE].transaction() as session:
        await payments.top_up(
            session, actor, person_id, body.amount_minor, body.currency, key=key, now=request.app[CLOCK]()
        )
    return await _balances(request, person_id)


async def _balances(request: web.Request, person_id: str) -> web.Response:
    found = await ledger.balances(request.app[DATABASE], person_id)
    return web.json_response(
        {"balances": [{"kind": one.kind, "currency": one.currency, "amount_minor": one.amount_minor} for one in found]}
    )
