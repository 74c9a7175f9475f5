"""The actions on one appointment: pay, start, end, cancel. Thin: body in, action, the appointment as it is now out."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from control import appointments
from control.accounts import Actor, require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Reason, session_json
from control.appointment_queries import SessionView
from control.errors import Invalid
from control.keys import CASHIER, CLOCK, DATABASE, SETTINGS
from control.models.people import Role
from control.money.payments import Method

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
    """With isNoShow: the client gets everything back."""


class CancelBody(Body):
    reason: Reason | None = None


def _answer(view: SessionView) -> web.Response:
    return web.json_response(session_json(view))


def _which(request: web.Request) -> tuple[Actor, str]:
    return require_actor(request), request.match_info["id"]


@routes.get(ONE)
async def one(request: web.Request) -> web.Response:
    actor, appointment_id = _which(request)
    return _answer(await appointments.get_for(request.app[DATABASE], actor, appointment_id))


@routes.post(f"{ONE}/payment")
@idempotent(required=True, claimed=False)
async def pay(request: web.Request) -> web.Response:
    actor, appointment_id = _which(request)
    body = await read(request, PaymentBody)
    if body.paymentMethod is Method.STRIPE:
        return await _pay_by_card(request, actor, appointment_id, body.paymentMethodToken)
    return _answer(
        await appointments.pay(
            request.app[DATABASE], actor, appointment_id, body.paymentMethod, now=request.app[CLOCK]()
        )
    )


async def _pay_by_card(request: web.Request, actor: Actor, appointment_id: str, token: str | None) -> web.Response:
    """Scheduled at once, or what the page needs to let the payer go on with Stripe's element."""
    cashier = request.app[CASHIER]
    if cashier is None:
        raise Invalid("payment_method_invalid", "This session can't be paid in this way.")
    till = await cashier.pay(actor, appointment_id, token, now=request.app[CLOCK]())
    answer = session_json(till.session)
    if till.state is not None:
        answer["payment"] |= {
            "status": till.state,
            "method": Method.STRIPE,
            "client_secret": till.client_secret,
            "publishable_key": request.app[SETTINGS].payments.stripe_publishable_key,
            "failure_code": till.failure_code,
        }
    # 202: what is still to change is not kept as the answer to a repeat (api/idempotency.py).
    return web.json_response(answer, status=200 if till.state is None else 202)


@routes.post(f"{ONE}/start")
@idempotent()
async def start(request: web.Request) -> web.Response:
    actor, appointment_id = _which(request)
    body = await read(request, StartBody)
    return _answer(
        await appointments.start(
            request.app[DATABASE], actor, appointment_id, end_earlier=body.endEarlier, now=request.app[CLOCK]()
        )
    )


@routes.post(f"{ONE}/complete-session")
@idempotent()
async def complete(request: web.Request) -> web.Response:
    actor, appointment_id = _which(request)
    body = await read(request, CompleteBody)
    return _answer(
        await appointments.complete(
            request.app[DATABASE],
            actor,
            appointment_id,
            is_no_show=body.isNoShow,
            waive_fee=body.waiveFee,
            reason=body.noShowReason,
            now=request.app[CLOCK](),
        )
    )


@routes.post(f"{ONE}/cancel-session")
@idempotent()
async def cancel(request: web.Request) -> web.Response:
    actor, appointment_id = _which(request)
    body = await read(request, CancelBody)
    return _answer(
        await appointments.cancel(
            request.app[DATABASE], actor, appointment_id, reason=body.reason, now=request.app[CLOCK]()
        )
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
    return _answer(await appointments.get_for(db, actor, appointment_id))
