"""A practitioner's weekly rules and exceptions. Thin: control/availability_rules.py decides."""

from datetime import date, time
from decimal import Decimal
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from control import availability_rules
from control.accounts import Actor, require_actor
from control.api.bodies import Body, read
from control.api.idempotency import idempotent
from control.api.prices import window_price
from control.api.shapes import ID_PATTERN, Clock, Id, Moment, Text, iso
from control.availability_rules import ExceptionView, NewException, NewRule, RuleView
from control.database import Database
from control.errors import Invalid
from control.keys import CLOCK, DATABASE
from control.models.people import Role

routes = web.RouteTableDef()

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


Day = date  # ExceptionBody has a field named `date`


class RuleBody(Body):
    weekdays: Annotated[list[Weekday], Field(min_length=1, max_length=7)]
    startTime: Clock
    endTime: Clock
    price: Annotated[Decimal, Field(ge=0, max_digits=12)] | None = None
    serviceId: Id | None = None
    validFrom: date | None = None
    validUntil: date | None = None


class ExceptionBody(Body):
    """A date, with two times for part of it or the last of several days; or the start and end of one slot."""

    date: Day | None = None
    untilDate: Day | None = None
    startTime: Clock | None = None
    endTime: Clock | None = None
    start: Moment | None = None
    end: Moment | None = None
    reason: Annotated[Text, Field(max_length=120)] = ""


@routes.post("/api/availability-rules")
@idempotent()
async def add_rules(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, RuleBody)
    db = request.app[DATABASE]
    wanted = await _wanted(db, actor, body)
    rules = await availability_rules.add_rules(db, actor, wanted, now=request.app[CLOCK]())
    return web.json_response({"rules": [_rule_json(rule) for rule in rules]}, status=201)


async def _wanted(db: Database, actor: Actor, body: RuleBody) -> NewRule:
    return NewRule(
        weekdays=tuple(WEEKDAYS.index(name) for name in body.weekdays),
        start=time.fromisoformat(body.startTime),
        end=time.fromisoformat(body.endTime),
        service_id=body.serviceId,
        price_minor=await window_price(db, actor, body.price, body.serviceId),
        valid_from=body.validFrom,
        valid_until=body.validUntil,
    )


@routes.put(f"/api/availability-rules/{{id:{ID_PATTERN}}}")
async def change_rule(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, RuleBody)
    db = request.app[DATABASE]
    rule = await availability_rules.change_rule(
        db, actor, request.match_info["id"], await _wanted(db, actor, body), now=request.app[CLOCK]()
    )
    return web.json_response(_rule_json(rule))


@routes.get("/api/availability-rules")
async def my_rules(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    rules = await availability_rules.my_rules(request.app[DATABASE], actor)
    return web.json_response({"rules": [_rule_json(rule) for rule in rules]})


@routes.delete(f"/api/availability-rules/{{id:{ID_PATTERN}}}")
async def delete_rule(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await availability_rules.delete_rule(
        request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]()
    )
    return web.Response(status=204)


@routes.post("/api/availability-exceptions")
@idempotent()
async def add_exception(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, ExceptionBody)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    of_day, of_slot = (body.date, body.startTime, body.endTime), (body.start, body.end)
    if body.date is not None and of_slot == (None, None):
        times = [None if text is None else time.fromisoformat(text) for text in of_day[1:]]
        wanted = NewException(body.date, times[0], times[1], body.reason, body.untilDate)
        made = await availability_rules.add_exception(db, actor, wanted, now=now)
    elif body.start is not None and body.end is not None and (*of_day, body.untilDate) == (None,) * 4:
        made = await availability_rules.delete_slot(db, actor, body.start, body.end, reason=body.reason, now=now)
    else:
        raise Invalid("body_invalid", "Name a date, or the start and end of one slot.")
    return web.json_response(_exception_json(made) | {"booked": made.booked}, status=201)


@routes.get("/api/availability-exceptions")
async def my_exceptions(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    found = await availability_rules.my_exceptions(request.app[DATABASE], actor, now=request.app[CLOCK]())
    return web.json_response({"exceptions": [_exception_json(one) for one in found]})


@routes.delete(f"/api/availability-exceptions/{{id:{ID_PATTERN}}}")
async def delete_exception(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await availability_rules.delete_exception(
        request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]()
    )
    return web.Response(status=204)


def _rule_json(rule: RuleView) -> dict[str, Any]:
    return {
        "id": rule.id,
        "weekday": WEEKDAYS[rule.weekday],
        "startTime": rule.local_start,
        "endTime": rule.local_end,
        "time_zone": rule.time_zone,
        "serviceId": rule.service_id,
        "price_minor": rule.price_minor,
        "validFrom": rule.valid_from,
        "validUntil": rule.valid_until,
    }


def _exception_json(one: ExceptionView) -> dict[str, Any]:
    return {
        "id": one.id,
        "date": one.local_date,
        "untilDate": one.local_until,
        "startTime": one.local_start,
        "endTime": one.local_end,
        "time_zone": one.time_zone,
        "start": iso(one.starts_at),
        "end": iso(one.ends_at),
        "reason": one.reason,
    }
