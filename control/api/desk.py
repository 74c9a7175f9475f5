"""The help desk for staff: the queue, taking and closing, and monitored reads, each of which is logged."""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from control import desk
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, NoQuery, PageQuery, read, read_query
from control.api.idempotency import idempotent
from control.api.messages import message_json
from control.api.shapes import ID_PATTERN, Id, iso, maybe_iso
from control.desk import DeskView
from control.keys import CLOCK, DATABASE, MESSAGES
from control.messages import STAFF
from control.paging import Wanted, place_of

routes = web.RouteTableDef()
ONE = f"/api/help-desk/{{id:{ID_PATTERN}}}"


class QueueQuery(PageQuery):
    show: Literal["open", "mine", "closed"] = "open"


class MonitoredQuery(PageQuery):
    q: Annotated[str, Field(max_length=100)] = ""


class AssignBody(Body):
    to: Id | None


def desk_json(view: DeskView) -> dict[str, Any]:
    return {
        "id": view.id,
        "person": {"id": view.person_id, "name": view.person_name},
        "practitioner": None
        if view.practitioner_id is None
        else {"id": view.practitioner_id, "name": view.practitioner_name},
        "is_enquiry": view.is_enquiry,
        "unanswered": view.unanswered,
        "unanswered_since": maybe_iso(view.unanswered_since),
        "last_at": iso(view.last_at),
        "messages": view.messages,
        "assigned_to": view.assigned_to_id,
        "closed_at": maybe_iso(view.closed_at),
    }


@routes.get("/api/help-desk")
async def queue(request: web.Request) -> web.Response:
    actor = require_actor(request, *STAFF)
    query = read_query(request, QueueQuery)
    wanted = Wanted(query.limit, place_of(query.cursor))
    page = await desk.queue(request.app[DATABASE], actor, wanted, show=query.show)
    return web.json_response({"queue": [desk_json(one) for one in page.rows], "next_cursor": page.next_cursor})


@routes.post(f"{ONE}/assign")
@idempotent()
async def assign(request: web.Request) -> web.Response:
    actor = require_actor(request, *STAFF)
    body = await read(request, AssignBody)
    now = request.app[CLOCK]()
    view = await desk.assign(request.app[DATABASE], actor, request.match_info["id"], body.to, now=now)
    return web.json_response(desk_json(view))


@routes.post(f"{ONE}/close")
@idempotent()
async def close(request: web.Request) -> web.Response:
    actor = require_actor(request, *STAFF)
    await read(request, EmptyBody)
    view = await desk.close(request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.json_response(desk_json(view))


@routes.get("/api/monitoring")
async def monitored(request: web.Request) -> web.Response:
    actor = require_actor(request, *STAFF)
    query = read_query(request, MonitoredQuery)
    wanted = Wanted(query.limit, place_of(query.cursor))
    page = await desk.monitored(request.app[DATABASE], request.app[MESSAGES], actor, wanted, query.q)
    return web.json_response({"conversations": [desk_json(one) for one in page.rows], "next_cursor": page.next_cursor})


@routes.get(f"/api/monitoring/{{id:{ID_PATTERN}}}")
async def read_monitored(request: web.Request) -> web.Response:
    """Both people see that and by whom it was read."""
    actor = require_actor(request, *STAFF)
    read_query(request, NoQuery)
    seen = await desk.read_as_staff(
        request.app[DATABASE], request.app[MESSAGES], actor, request.match_info["id"], now=request.app[CLOCK]()
    )
    answer = web.json_response(
        {**desk_json(seen.view), "said": [message_json(one) for one in seen.messages], "hidden": seen.hidden}
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer
