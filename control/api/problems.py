"""Problems in a session: reporting one, whom to call, taking and closing. control/problems.py decides."""

from datetime import timedelta
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import problems
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, Query, read, read_query
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Text, iso, maybe_iso
from control.help_numbers import Country, countries, help_for
from control.keys import CLOCK, LIMITS, PROBLEMS
from control.limits import Rule
from control.models.problems import ProblemKind
from control.problems import ProblemView

routes = web.RouteTableDef()
ONE = f"/api/problems/{{id:{ID_PATTERN}}}"
REPORTING = Rule("problems", 20, timedelta(minutes=10))

CountryCode = Annotated[str, Field(pattern="^[A-Z]{2}$")]


class ReportBody(Body):
    kind: ProblemKind
    text: Annotated[Text, Field(max_length=problems.MOST_CHARACTERS)] = ""
    country: CountryCode | None = None


class CountryBody(Body):
    country: CountryCode


class CountryQuery(Query):
    country: Annotated[str, Field(pattern="^([A-Z]{2})?$")] = ""


def country_json(country: Country) -> dict[str, Any]:
    return {"code": country.code, "name": country.name, "numbers": [one.as_json() for one in country.numbers]}


def problem_json(view: ProblemView) -> dict[str, Any]:
    return {
        "id": view.id,
        "appointment_id": view.appointment_id,
        "kind": view.kind,
        "reporter": {"name": view.reporter_name, "role": view.reporter_role},
        "text": view.text,
        "country": view.country,
        "created_at": iso(view.created_at),
        "alerts": view.alerts,
        "taken_by": view.taken_by,
        "taken_at": maybe_iso(view.taken_at),
        "closed_at": maybe_iso(view.closed_at),
    }


@routes.get("/api/help-numbers")
async def help_numbers(request: web.Request) -> web.Response:
    """For everybody: whoever needs a number needs no account."""
    query = read_query(request, CountryQuery)
    known = [{"code": one.code, "name": one.name} for one in countries()]
    return web.json_response({**country_json(help_for(query.country)), "countries": known})


@routes.post(f"/api/appointments/{{id:{ID_PATTERN}}}/problems")
@idempotent()
async def report(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, ReportBody)
    now = request.app[CLOCK]()
    request.app[LIMITS].count(REPORTING, actor.person_id, now)
    made = await request.app[PROBLEMS].report(
        actor, request.match_info["id"], body.kind, body.text, body.country, now=now
    )
    help_ = None if made.help is None else country_json(made.help)
    return web.json_response({"id": made.id, "kind": made.kind, "help": help_, "told": made.is_told}, status=201)


@routes.post(f"/api/appointments/{{id:{ID_PATTERN}}}/country")
@idempotent()
async def state_country(request: web.Request) -> web.Response:
    """ "Which country are you in today?" in the waiting room."""
    actor = require_actor(request)
    body = await read(request, CountryBody)
    await request.app[PROBLEMS].state_country(actor, request.match_info["id"], body.country)
    return web.json_response(country_json(help_for(body.country)))


@routes.get("/api/problems")
async def listed(request: web.Request) -> web.Response:
    found = await request.app[PROBLEMS].listed(require_actor(request))
    return web.json_response({"problems": [problem_json(one) for one in found]})


@routes.get(ONE)
async def one(request: web.Request) -> web.Response:
    return web.json_response(
        problem_json(await request.app[PROBLEMS].get(require_actor(request), request.match_info["id"]))
    )


@routes.post(f"{ONE}/take")
@idempotent()
async def take(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await read(request, EmptyBody)
    view = await request.app[PROBLEMS].take(actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.json_response({"id": view.id, "taken_by": view.taken_by, "taken_at": maybe_iso(view.taken_at)})


@routes.post(f"{ONE}/close")
@idempotent()
async def close(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await read(request, EmptyBody)
    view = await request.app[PROBLEMS].close(actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.json_response({"id": view.id, "closed_at": maybe_iso(view.closed_at)})
