"""Booking, the call link, and who waits. PRODUCT.md §6 and §10 fix the paths and names."""

from datetime import timedelta
from typing import Annotated

from aiohttp import web
from pydantic import Field

from control import appointments, turn, waiting_room
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.idempotency import idempotent, key_of
from control.api.shapes import (
    ID_PATTERN,
    Id,
    Moment,
    iso,
    payment_json,
    ways_to_pay,
)
from control.appointment_states import State
from control.booking import Terms, Wanted
from control.config import BookingSettings
from control.keys import CLOCK, DATABASE, SESSION_ID, SETTINGS, WAITING_ROOM
from control.lifecycle import Bounds
from control.models.people import Role
from control.slots import zone_named_untrusted

routes = web.RouteTableDef()


class BookBody(Body):
    serviceId: Id
    start: Moment
    timeZone: Annotated[str, Field(min_length=1, max_length=64)]


def terms_of(booking: BookingSettings) -> Terms:
    return Terms(
        Bounds(
            hold=booking.hold,
            opens_before=booking.opens_before,
            no_show_after=booking.no_show_after,
            present_for=timedelta(seconds=booking.present_after_seconds),
            grace=booking.grace,
            left_for=timedelta(minutes=booking.left_minutes),
        ),
        booking.platform_fee_basis_points,
        booking.require_admin_activation,
    )


@routes.post("/sessions/book")
@idempotent(required=True, claimed=False)
async def book(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, BookBody)
    wanted = Wanted(body.serviceId, body.start, zone_named_untrusted(body.timeZone), key_of(request, required=True))
    view = await appointments.book(
        request.app[DATABASE],
        actor,
        wanted,
        terms=terms_of(request.app[SETTINGS].booking),
        now=request.app[CLOCK](),
    )
    pending = view.state is State.PENDING and view.hold_expires_at is not None
    answer = {
        "id": view.id,
        "status": view.state,
        "hold_expires_at": iso(view.hold_expires_at) if pending and view.hold_expires_at else None,
        "payment": payment_json(view, ways_to_pay(request)),
    }
    return web.json_response(answer, status=201)


@routes.post(f"/sessions/{{id:{ID_PATTERN}}}/generate-call-link")
async def generate_call_link(request: web.Request) -> web.Response:
    """Not kept under an Idempotency-Key: each token is single-use, so a repeat wants a new one."""
    actor = require_actor(request)
    await read(request, EmptyBody)
    link = await request.app[WAITING_ROOM].generate_call_link(
        actor,
        request.match_info["id"],
        login=request[SESSION_ID] or "",
        ice_servers=turn.ice_servers(request.app[SETTINGS].turn, actor.person_id, request.app[CLOCK]()),
    )
    answer = web.json_response(link.as_json())
    answer.headers["Cache-Control"] = "no-store"
    return answer


@routes.get(f"/api/appointments/{{id:{ID_PATTERN}}}/explain")
async def explain(request: web.Request) -> web.Response:
    """Why this session can, or can't yet, be joined."""
    actor = require_actor(request)
    found = await waiting_room.explain(request.app[DATABASE], actor, request.match_info["id"], request.app[CLOCK]())
    return web.json_response(
        {
            "can_join": found.can_join,
            "reasons": [{"code": reason.code, "text": reason.text} for reason in found.reasons],
            "opens_at": iso(found.opens_at),
            "page": found.consent_page,
        }
    )


@routes.get("/api/waiting")
async def waiting(request: web.Request) -> web.Response:
    """Who is waiting for this practitioner, and since when."""
    actor = require_actor(request, Role.PRACTITIONER)
    found = await waiting_room.waiting_for(request.app[DATABASE], actor.person_id)
    people = [
        {
            "appointment_id": one.appointment_id,
            "client": {"id": one.client_id, "name": one.client_name},
            "role": one.role,
            "guest_id": one.guest_id or None,
            "since": iso(one.since),
        }
        for one in found
    ]
    return web.json_response({"waiting": people})
