"""An admin's page of refunds: requests of clients, what failed, and giving a payment back after seeing what it does."""

from __future__ import annotations

from aiohttp import web

from control.accounts import Actor, require_actor
from control.errors import Problem
from control.keys import DATABASE
from control.models.people import Role
from control.money import history, refund_requests, refunds
from control.money.gateway_work import Destination
from control.money.policy import MINOR_DIGITS, minor_from_price
from control.money.refunds import Preview
from web.render import render

routes = web.RouteTableDef()
_MOST_QUERY = 100


@routes.get("/admin/refunds")
async def admin_refunds(request: web.Request) -> web.StreamResponse:
    """`?q` searches; `?payment=&amount=&to=` previews: amounts as people write them, empty for all of it."""
    actor, db = require_actor(request, Role.ADMIN), request.app[DATABASE]
    query = request.query.get("q", "").strip()[:_MOST_QUERY].replace("\x00", "")
    plan, refusal = await _preview(request, actor)
    return render(
        request,
        "admin/refunds.html",
        requests=await refund_requests.requests(db),
        failed=await refund_requests.failed(db),
        query=query,
        found=await history.find(db, query) if query else (),
        payment=request.query.get("payment", ""),
        plan=plan,
        refusal=refusal,
        digits=MINOR_DIGITS,
    )


async def _preview(request: web.Request, actor: Actor) -> tuple[Preview | None, str]:
    payment_id = request.query.get("payment", "")
    if not payment_id:
        return None, ""
    db = request.app[DATABASE]
    to = Destination.WALLET if request.query.get("to") == "wallet" else Destination.ORIGINAL
    try:
        plan = await refunds.preview(db, actor, payment_id, None, to)
        text = request.query.get("amount", "").strip().replace(",", ".")
        if text:
            amount = minor_from_price(text, plan.currency)
            plan = await refunds.preview(db, actor, payment_id, 0 if amount is None else amount, to)
    except Problem as problem:
        return None, problem.detail or problem.title
    return plan, ""
