"""A payer's attempts: how they stand, coming back from a gateway's page, the test gateway's bank, and what was paid."""

import re
from typing import Any

from aiohttp import web

from control.accounts import Actor, require_actor
from control.api.bodies import Body, PageQuery, read, read_query
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, iso, maybe_iso
from control.errors import Malformed
from control.keys import CASHIER, CLOCK, DATABASE, SETTINGS
from control.money import history
from control.money.cashier import Till
from control.money.gateways import Forged
from control.money.payments import Method
from control.paging import Wanted, place_of

routes = web.RouteTableDef()
ONE = f"/api/payments/{{id:{ID_PATTERN}}}"
MOST_REF = 64


class BankBody(Body):
    approve: bool


def going_on(request: web.Request, till: Till, method: Method) -> dict[str, Any]:
    """What a payer's browser needs to go on with an attempt that is not decided yet."""
    found: dict[str, Any] = {
        "id": till.payment_id,
        "status": till.state,
        "method": method,
        "failure_code": till.failure_code,
    }
    keys = request.app[SETTINGS].payments
    match method:
        case Method.STRIPE:
            found |= {"client_secret": till.client_secret, "publishable_key": keys.stripe_publishable_key}
        case Method.RAZORPAY:
            found |= {"order_id": till.gateway_ref, "key_id": keys.razorpay_key_id}
        case _:
            found |= {"is_test": True}
    return found


@routes.get("/api/payments")
async def mine(request: web.Request) -> web.Response:
    """What this person has paid, or tried to, the newest first."""
    actor = require_actor(request)
    query = read_query(request, PageQuery)
    wanted = Wanted(query.limit, place_of(query.cursor))
    page = await history.paid_by(request.app[DATABASE], actor.person_id, wanted, **_asking(request))
    return web.json_response({"payments": [_json(row) for row in page.rows], "next_cursor": page.next_cursor})


def _asking(request: web.Request) -> dict[str, Any]:
    return {"within": request.app[SETTINGS].payments.refund_request_span, "now": request.app[CLOCK]()}


def _json(row: history.Paid) -> dict[str, Any]:
    return {
        "id": row.id,
        "status": row.state,
        "method": row.method,
        "what": row.what,
        "appointment_id": row.appointment_id,
        "purchase_id": row.purchase_id,
        "amount_minor": row.amount_minor,
        "kept_minor": row.kept_minor,
        "refunded_minor": row.refunded_minor,
        "currency": row.currency,
        "failure_code": row.failure_code,
        "created_at": iso(row.created_at),
        "receipt": f"/receipts/{row.receipt_id}" if row.receipt_id else None,
        "can_ask_back_until": maybe_iso(row.ask_until),
        "refunds": [
            {
                "id": one.id,
                "status": one.state,
                "amount_minor": one.amount_minor,
                "to": one.destination,
                "created_at": iso(one.created_at),
            }
            for one in row.refunds
        ],
    }


@routes.get(ONE)
async def look(request: web.Request) -> web.Response:
    """How an attempt stands, asked at its gateway. Only its payer sees it."""
    actor = require_actor(request)
    return await _standing(request, actor, request.match_info["id"])


async def _standing(request: web.Request, actor: Actor, payment_id: str) -> web.Response:
    till = await request.app[CASHIER].look(actor, payment_id, now=request.app[CLOCK]())
    answer = {
        "id": payment_id,
        "paid": till.state is None,
        "status": till.state or "paid",
        "failure_code": till.failure_code,
    }
    return web.json_response(answer)


@routes.post(f"{ONE}/test-bank")
@idempotent()
async def test_bank(request: web.Request) -> web.Response:
    """The test gateway only: answers the question its imitated bank asks."""
    actor = require_actor(request)
    body = await read(request, BankBody)
    payment_id = request.match_info["id"]
    await request.app[CASHIER].answer_test_bank(actor, payment_id, approve=body.approve)
    return await _standing(request, actor, payment_id)


@routes.post("/api/payments/razorpay-return")
async def razorpay_return(request: web.Request) -> web.StreamResponse:
    """Razorpay's page sends the payer's browser back with a form: the signature is the proof, then they go on.

    Without an order they were refused, or gave up; `?payment` then says where they came from (pay.js).
    """
    form = await request.post()
    order, paid, signature = (str(form.get(f"razorpay_{name}", "")) for name in ("order_id", "payment_id", "signature"))
    cashier, page = request.app[CASHIER], "/wallet"
    if order:
        try:
            cashier.verify_razorpay_return(order[:MOST_REF], paid[:MOST_REF], signature[:128])
        except Forged:
            raise Malformed("signature_wrong", "This was not signed by the gateway.") from None
    named = request.query.get("payment", "")
    ref = order or (named if re.fullmatch(ID_PATTERN, named) else "")
    payment_id = await cashier.returned(ref, now=request.app[CLOCK]())
    if payment_id is not None:
        page = await history.page_after(request.app[DATABASE], payment_id)
    answer = web.Response(status=303)
    answer.headers["Location"] = page
    return answer
