"""Moving a session: propose, look at the free times, accept, reject, withdraw. Thin: control/reschedules.py decides."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import reschedules
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Moment, Reason, day_of_query, iso, maybe_iso, slot_json
from control.errors import Malformed
from control.keys import CASHIER, CLOCK, DATABASE
from control.language import t
from control.reschedules import Proposal, RequestView
from control.slots import Span, day_in, zone_named_untrusted

routes = web.RouteTableDef()
ONE = f"/api/appointments/{{id:{ID_PATTERN}}}"
REQUEST = f"/api/reschedule-requests/{{id:{ID_PATTERN}}}"
MOST_DAYS = 62


class RescheduleBody(Body):
    proposedDate: Moment
    proposedDurationMinutes: Annotated[int, Field(ge=5, le=480, strict=True)] | None = None
    reason: Reason = ""


def request_json(one: RequestView) -> dict[str, Any]:
    return {
        "id": one.id,
        "appointment_id": one.appointment_id,
        "status": one.state,
        "proposed_by": one.asked_role,
        "start": iso(one.old_starts_at),
        "end": iso(one.old_ends_at),
        "proposed_start": iso(one.new_starts_at),
        "proposed_end": iso(one.new_ends_at),
        "reason": one.reason,
        "created_at": iso(one.created_at),
        "decided_at": maybe_iso(one.decided_at),
    }


@routes.post(f"{ONE}/reschedule-session")
@idempotent()
async def propose(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, RescheduleBody)
    wanted = Proposal(body.proposedDate, body.proposedDurationMinutes, body.reason)
    made = await reschedules.propose(
        request.app[DATABASE], actor, request.match_info["id"], wanted, now=request.app[CLOCK]()
    )
    return web.json_response(request_json(made), status=201)


@routes.get(f"{ONE}/reschedule-session")
async def requests_of(request: web.Request) -> web.Response:
    actor = require_actor(request)
    found = await reschedules.requests_of(
        request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]()
    )
    return web.json_response({"requests": [request_json(one) for one in found]})


@routes.get(f"{ONE}/reschedule-session/slots")
async def slots(request: web.Request) -> web.Response:
    """The times this session could be moved to, from `first` to `last` of a calendar in `timeZone`."""
    actor = require_actor(request)
    zone = zone_named_untrusted(request.query.get("timeZone", "UTC"))
    first, last = day_of_query(request, "first"), day_of_query(request, "last")
    if not 0 <= (last - first).days <= MOST_DAYS:
        raise Malformed(
            "dates_out_of_range", t("Ask for at most %(most_days)s days, the first of them first.", most_days=MOST_DAYS)
        )
    span = Span(day_in(first, zone).start, day_in(last, zone).end)
    minutes = request.query.get("minutes", "")
    if minutes and not (minutes.isascii() and minutes.isdigit() and len(minutes) <= 3):
        raise Malformed("minutes_invalid", "minutes is a number.")
    found = await reschedules.times_for(
        request.app[DATABASE],
        actor,
        request.match_info["id"],
        span,
        int(minutes) if minutes else None,
        now=request.app[CLOCK](),
    )
    return web.json_response({"time_zone": zone.key, "slots": [slot_json(slot) for slot in found]})


@routes.post(f"{REQUEST}/accept")
@idempotent()
async def accept(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await read(request, EmptyBody)
    made = await reschedules.accept(
        request.app[DATABASE],
        actor,
        request.match_info["id"],
        keep_money=request.app[CASHIER].keep_until,
        now=request.app[CLOCK](),
    )
    return web.json_response(request_json(made))


@routes.post(f"{REQUEST}/reject")
@idempotent()
async def reject(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await read(request, EmptyBody)
    made = await reschedules.reject(request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.json_response(request_json(made))


@routes.post(f"{REQUEST}/withdraw")
@idempotent()
async def withdraw(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await read(request, EmptyBody)
    made = await reschedules.withdraw(request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.json_response(request_json(made))
