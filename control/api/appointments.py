"""The actions on one appointment: pay, start, end, cancel. Thin: body in, action, the appointment as it is now out."""

from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from control import appointments
from control.accounts import Actor, require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.idempotency import idempotent
from control.api.payments import going_on
from control.api.shapes import ID_PATTERN, Reason, session_json, ways_to_pay
from control.appointment_queries import SessionView
from control.errors import NotFound
from control.keys import CASHIER, CLOCK, DATABASE
from control.models.people import Role
from control.money.gateway_work import Destination
from control.money.payments import GATEWAY_METHODS, Method

routes = web.RouteTableDef()
ONE = f"/api/appointments/{{id:{ID_PATTERN}}}"


class PaymentBody(Body):
    paymentMethod: Method
    paymentMethodToken: Annotated[str, Field(max_length=255)] | None = None
    """A gateway's token for a card; the wallet needs none."""


class StartBody(Body):
    endEarlier: bool = False
    """End the session that still runs first."""


class CompleteBody(Body):
    isNoShow: bool = False
    noShowReason: Reason | None = None
    waiveFee: bool = False
    """With isNoShow: the client gets everything back, also of a session that ended as missed by itself before."""


class CancelBody(Body):
    reason: Reason | None = None
    refund_to: Literal["original", "wallet"] = "original"
    """Where money that was taken goes back to, for the client to choose."""


def _answer(request: web.Request, view: SessionView) -> web.Response:
    return web.json_response(session_json(view, ways_to_pay(request)))


def _which(request: web.Request) -> tuple[Actor, str]:
    return require_actor(request), request.match_info["id"]


@routes.get(ONE)
async def one(request: web.Request) -> web.Response:
    actor, appointment_id = _which(request)
    return _answer(request, await appointments.get_for(request.app[DATABASE], actor, appointment_id))


@routes.post(f"{ONE}/payment")
@idempotent(required=True, claimed=False)
async def pay(request: web.Request) -> web.Response:
    actor, appointment_id = _which(request)
    body = await read(request, PaymentBody)
    if body.paymentMethod in GATEWAY_METHODS:
        return await _pay_by_gateway(request, actor, appointment_id, body)
    return _answer(
        request,
        await appointments.pay(
            request.app[DATABASE], actor, appointment_id, body.paymentMethod, now=request.app[CLOCK]()
        ),
    )


async def _pay_by_gateway(request: web.Request, actor: Actor, appointment_id: str, body: PaymentBody) -> web.Response:
    """Scheduled at once, or what the page needs to let the payer go on."""
    till = await request.app[CASHIER].pay(
        actor, appointment_id, body.paymentMethod, body.paymentMethodToken, now=request.app[CLOCK]()
    )
    if till.session is None:
        raise NotFound
    answer = session_json(till.session, ways_to_pay(request))
    if till.state is not None:
        answer["payment"] |= going_on(request, till, body.paymentMethod)
    # 202: what is still to change is not kept as the answer to a repeat (api/idempotency.py).
    return web.json_response(answer, status=200 if till.state is None else 202)


@routes.post(f"{ONE}/start")
@idempotent()
async def start(request: web.Request) -> web.Response:
    actor, appointment_id = _which(request)
    body = await read(request, StartBody)
    return _answer(
        request,
        await appointments.start(
            request.app[DATABASE], actor, appointment_id, end_earlier=body.endEarlier, now=request.app[CLOCK]()
        ),
    )


@routes.post(f"{ONE}/complete-session")
@idempotent()
async def complete(request: web.Request) -> web.Response:
    actor, appointment_id = _which(request)
    body = await read(request, CompleteBody)
    return _answer(
        request,
        await appointments.complete(
            request.app[DATABASE],
            actor,
            appointment_id,
            is_no_show=body.isNoShow,
            waive_fee=body.waiveFee,
            reason=body.noShowReason,
            now=request.app[CLOCK](),
        ),
    )


@routes.post(f"{ONE}/waive-fee")
@idempotent()
async def waive_fee(request: web.Request) -> web.Response:
    """The practitioner does without what a late cancellation or a missed session has kept."""
    actor, appointment_id = _which(request)
    await read(request, EmptyBody)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    return _answer(request, await appointments.waive_fee(db, actor, appointment_id, now=now))


@routes.post(f"{ONE}/cancel-session")
@idempotent()
async def cancel(request: web.Request) -> web.Response:
    actor, appointment_id = _which(request)
    body = await read(request, CancelBody)
    return _answer(
        request,
        await appointments.cancel(
            request.app[DATABASE],
            actor,
            appointment_id,
            reason=body.reason,
            refund_to=Destination(body.refund_to),
            now=request.app[CLOCK](),
        ),
    )


@routes.post(f"{ONE}/activate")
@idempotent()
async def activate(request: web.Request) -> web.Response:
    """An admin confirms a paid session that is due."""
    actor = require_actor(request, Role.ADMIN)
    await read(request, EmptyBody)
    appointment_id = request.match_info["id"]
    db = request.app[DATABASE]
    await appointments.activate(db, actor, appointment_id, now=request.app[CLOCK]())
    return _answer(request, await appointments.get_for(db, actor, appointment_id))
