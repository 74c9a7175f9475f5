"""Giving money back: the preview before it, a client's request, an admin's decision, and refunds that failed."""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from control.accounts import require_actor
from control.api.bodies import Body, read
from control.api.idempotency import idempotent, key_of
from control.api.shapes import ID_PATTERN, Reason, iso
from control.errors import Malformed
from control.keys import CLOCK, DATABASE, SETTINGS
from control.models.people import Role
from control.money import refund_requests, refunds
from control.money.gateway_work import Destination
from control.money.refunds import Preview

routes = web.RouteTableDef()
PAYMENT = f"/api/payments/{{id:{ID_PATTERN}}}"

To = Literal["original", "wallet"]
Amount = Annotated[int, Field(gt=0, le=10**12, strict=True)]


class RefundBody(Body):
    amount_minor: Amount | None = None
    """Nothing for all of it."""
    to: To = "original"


class RequestBody(RefundBody):
    reason: Annotated[Reason, Field(min_length=1)]


class DeclineBody(Body):
    answer: Annotated[Reason, Field(min_length=1)]


class AgainBody(Body):
    to: To = "original"


def _preview_json(plan: Preview) -> dict[str, Any]:
    return {
        "payment_id": plan.payment_id,
        "amount_minor": plan.amount_minor,
        "most_minor": plan.most_minor,
        "currency": plan.currency,
        "to": plan.destination,
        "by": plan.by,
        "from_practitioner_minor": plan.from_practitioner_minor,
        "from_platform_minor": plan.from_platform_minor,
        "from_wallet_minor": plan.from_wallet_minor,
        "credits": plan.credits,
    }


@routes.get(f"{PAYMENT}/refund-preview")
async def preview(request: web.Request) -> web.Response:
    """`?amount_minor=&to=original|wallet`: what a refund would do. Changes nothing."""
    actor = require_actor(request)
    text, to = request.query.get("amount_minor"), request.query.get("to", "original")
    if text is not None and (not text.isascii() or not text.isdigit() or len(text) > 12):
        raise Malformed("amount_invalid", "amount_minor is a whole number of the smallest unit.")
    if to not in ("original", "wallet"):
        raise Malformed("destination_invalid", "to is original or wallet.")
    amount = int(text) if text is not None else None
    plan = await refunds.preview(request.app[DATABASE], actor, request.match_info["id"], amount, Destination(to))
    shown = _preview_json(plan)
    if not actor.is_any(Role.ADMIN):  # whose share it comes from is not the client's to know
        shown = {name: value for name, value in shown.items() if not name.startswith("from_p")}
    return web.json_response(shown)


@routes.post(f"{PAYMENT}/refund")
@idempotent(required=True)
async def refund(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.ADMIN)
    body = await read(request, RefundBody)
    plan = await refunds.refund(
        request.app[DATABASE],
        actor,
        request.match_info["id"],
        body.amount_minor,
        Destination(body.to),
        key=f"{actor.person_id}:{key_of(request, required=True)}"[:200],
        now=request.app[CLOCK](),
    )
    return web.json_response(_preview_json(plan))


@routes.post(f"{PAYMENT}/refund-request")
@idempotent(required=True)
async def ask(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, RequestBody)
    request_id = await refund_requests.ask(
        request.app[DATABASE],
        actor,
        request.match_info["id"],
        body.amount_minor,
        Destination(body.to),
        body.reason,
        within=request.app[SETTINGS].payments.refund_request_span,
        now=request.app[CLOCK](),
    )
    return web.json_response({"id": request_id, "status": "open"}, status=201)


@routes.get("/api/refund-requests")
async def requests(request: web.Request) -> web.Response:
    require_actor(request, Role.ADMIN)
    rows = await refund_requests.requests(request.app[DATABASE])
    return web.json_response(
        {
            "requests": [
                {
                    "id": row.id,
                    "payment_id": row.payment_id,
                    "what": row.what,
                    "person": row.person_name,
                    "amount_minor": row.amount_minor,
                    "currency": row.currency,
                    "to": row.destination,
                    "reason": row.reason,
                    "status": row.state,
                    "answer": row.answer,
                    "created_at": iso(row.created_at),
                }
                for row in rows
            ]
        }
    )


@routes.post(f"/api/refund-requests/{{id:{ID_PATTERN}}}/decline")
@idempotent()
async def decline(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.ADMIN)
    body = await read(request, DeclineBody)
    await refund_requests.decline(
        request.app[DATABASE], actor, request.match_info["id"], body.answer, now=request.app[CLOCK]()
    )
    return web.json_response({"status": "declined"})


@routes.get("/api/refunds/failed")
async def failed(request: web.Request) -> web.Response:
    require_actor(request, Role.ADMIN)
    rows = await refund_requests.failed(request.app[DATABASE])
    return web.json_response(
        {
            "refunds": [
                {
                    "id": row.id,
                    "payment_id": row.payment_id,
                    "what": row.what,
                    "person": row.person_name,
                    "method": row.method,
                    "amount_minor": row.amount_minor,
                    "currency": row.currency,
                    "failure_code": row.failure_code,
                    "changed_at": iso(row.changed_at),
                }
                for row in rows
            ]
        }
    )


@routes.post(f"/api/refunds/{{id:{ID_PATTERN}}}/send-again")
@idempotent()
async def send_again(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.ADMIN)
    body = await read(request, AgainBody)
    await refunds.send_again(
        request.app[DATABASE], actor, request.match_info["id"], Destination(body.to), now=request.app[CLOCK]()
    )
    return web.json_response({"status": "sent_again", "to": body.to})
