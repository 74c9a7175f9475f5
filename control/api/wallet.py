"""What a person has here, topping it up, and paying a purchase; and an admin's goodwill."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control.accounts import require_actor
from control.api.bodies import Body, read
from control.api.idempotency import idempotent, key_of
from control.api.payments import going_on
from control.api.shapes import ID_PATTERN, iso, maybe_iso
from control.errors import Invalid
from control.keys import CASHIER, CLOCK, DATABASE
from control.models.people import Role
from control.money import ledger, payments, purchases
from control.money.payments import GATEWAY_METHODS, Method
from control.money.purchases import PurchaseView

routes = web.RouteTableDef()


class TopUpBody(Body):
    amount_minor: Annotated[int, Field(gt=0, le=payments.MOST_TOP_UP_MINOR, strict=True)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]


class PurchasePaymentBody(Body):
    paymentMethod: Method
    paymentMethodToken: Annotated[str, Field(max_length=255)] | None = None


def purchase_json(request: web.Request, one: PurchaseView) -> dict[str, Any]:
    ways = list(request.app[CASHIER].methods)
    return {
        "id": one.id,
        "kind": one.kind,
        "status": one.state,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "service": {"id": one.service_id, "name": one.service_name} if one.service_id else None,
        "credits": one.credits,
        "credits_left": one.credits_left,
        "created_at": iso(one.created_at),
        "paid_at": maybe_iso(one.paid_at),
        "page": f"/wallet/pay/{one.id}",
        "payment": {"methods": ways if one.kind == "top_up" else ["wallet", *ways]},
    }


@routes.get("/api/wallet")
async def mine(request: web.Request) -> web.Response:
    actor = require_actor(request)
    return await _balances(request, actor.person_id)


@routes.post("/api/wallet/top-up")
@idempotent(required=True, claimed=False)
async def top_up(request: web.Request) -> web.Response:
    """Begins it; it is paid at POST /api/purchases/{id}/payment."""
    actor = require_actor(request)
    body = await read(request, TopUpBody)
    key = key_of(request, required=True) or ""
    begun = await purchases.begin_top_up(
        request.app[DATABASE], actor, body.amount_minor, body.currency, key=key, now=request.app[CLOCK]()
    )
    return web.json_response(purchase_json(request, begun), status=201)


@routes.get(f"/api/purchases/{{id:{ID_PATTERN}}}")
async def purchase(request: web.Request) -> web.Response:
    actor = require_actor(request)
    found = await purchases.get_for(request.app[DATABASE], actor, request.match_info["id"])
    return web.json_response(purchase_json(request, found))


@routes.post(f"/api/purchases/{{id:{ID_PATTERN}}}/payment")
@idempotent(required=True, claimed=False)
async def pay(request: web.Request) -> web.Response:
    """Paid at once, or 202 with what the page needs to let the payer go on."""
    actor = require_actor(request)
    body = await read(request, PurchasePaymentBody)
    db, purchase_id, now = request.app[DATABASE], request.match_info["id"], request.app[CLOCK]()
    if body.paymentMethod is Method.WALLET:
        paid = await purchases.pay_from_wallet(db, actor, purchase_id, now=now)
        return web.json_response(purchase_json(request, paid))
    if body.paymentMethod not in GATEWAY_METHODS:
        raise Invalid("payment_method_invalid", "This can't be paid in this way.")
    till = await request.app[CASHIER].buy(actor, purchase_id, body.paymentMethod, body.paymentMethodToken, now=now)
    answer = purchase_json(request, await purchases.get_for(db, actor, purchase_id))
    if till.state is not None:
        answer["payment"] |= going_on(request, till, body.paymentMethod)
    return web.json_response(answer, status=200 if till.state is None else 202)


@routes.post(f"/api/people/{{id:{ID_PATTERN}}}/wallet")
@idempotent(required=True)
async def give(request: web.Request) -> web.Response:
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
