"""Weekly series: which weeks are free, booking several at once, paying for them. Thin: control/series.py decides."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import series
from control.accounts import require_actor
from control.api.bodies import Body, Query, read, read_query
from control.api.idempotency import idempotent, key_of
from control.api.sessions import terms_of
from control.api.shapes import ID_PATTERN, Id, Moment, iso, session_json, ways_to_pay
from control.appointment_queries import SessionView, series_of
from control.booking import Wanted
from control.errors import NotFound
from control.keys import CLOCK, DATABASE, SETTINGS
from control.money.payments import Method
from control.slots import zone_named_untrusted

routes = web.RouteTableDef()
ONE = f"/api/series/{{id:{ID_PATTERN}}}"


class SeriesQuery(Query):
    start: Moment
    weeks: Annotated[int, Field(ge=1, le=series.MOST_WEEKS)]


class BookSeriesBody(Body):
    serviceId: Id
    starts: Annotated[list[Moment], Field(min_length=2, max_length=series.MOST_WEEKS)]
    timeZone: Annotated[str, Field(min_length=1, max_length=64)]


class SeriesPaymentBody(Body):
    paymentMethod: Method


def series_json(request: web.Request, series_id: str, sessions: tuple[SessionView, ...]) -> dict[str, Any]:
    ways = ways_to_pay(request)
    return {
        "series_id": series_id,
        "next": f"/series/{series_id}",
        "sessions": [session_json(one, ways) for one in sessions],
    }


@routes.get(f"/api/services/{{id:{ID_PATTERN}}}/series")
async def weeks(request: web.Request) -> web.Response:
    """The weeks from `start` on, and why some can't be booked."""
    query = read_query(request, SeriesQuery)
    wanted = Wanted(request.match_info["id"], query.start, zone_named_untrusted("UTC"))
    found = await series.look(request.app[DATABASE], wanted, query.weeks, now=request.app[CLOCK]())
    listed = [{"start": iso(one.start), "end": iso(one.end), "free": not one.code, "code": one.code} for one in found]
    return web.json_response({"weeks": listed})


@routes.post("/sessions/book-series")
@idempotent(required=True, claimed=False)
async def book(request: web.Request) -> web.Response:
    """All of the weeks or none; 409 `slots_taken` names those that went."""
    actor = require_actor(request)
    body = await read(request, BookSeriesBody)
    zone = zone_named_untrusted(body.timeZone)
    wanted = Wanted(body.serviceId, body.starts[0], zone, key_of(request, required=True))
    made = await series.book_series(
        request.app[DATABASE],
        actor,
        wanted,
        body.starts,
        terms=terms_of(request.app[SETTINGS].booking),
        now=request.app[CLOCK](),
    )
    return web.json_response(series_json(request, made[0].series_id or "", made), status=201)


@routes.get(ONE)
async def one(request: web.Request) -> web.Response:
    actor, series_id = require_actor(request), request.match_info["id"]
    found = await series_of(request.app[DATABASE], actor, series_id)
    if not found:
        raise NotFound
    return web.json_response(series_json(request, series_id, found))


@routes.post(f"{ONE}/payment")
@idempotent(required=True, claimed=False)
async def pay(request: web.Request) -> web.Response:
    """Everything that still waits for its money, all or none."""
    actor, series_id = require_actor(request), request.match_info["id"]
    body = await read(request, SeriesPaymentBody)
    paid = await series.pay_series(
        request.app[DATABASE], actor, series_id, body.paymentMethod, now=request.app[CLOCK]()
    )
    return web.json_response(series_json(request, series_id, paid))
