"""A practitioner's windows, and the slots of one practitioner's day. PRODUCT.md §10 fixes the paths and names."""

from datetime import date, time
from decimal import Decimal
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import availability, availability_windows
from control.accounts import require_actor
from control.api.bodies import Body, read
from control.api.idempotency import idempotent
from control.api.prices import window_price
from control.api.shapes import ID_PATTERN, Clock, Id, iso, slot_json
from control.availability_windows import NewWindow, WindowView
from control.errors import Malformed
from control.keys import CLOCK, DATABASE
from control.models.people import Role

routes = web.RouteTableDef()


class WindowBody(Body):
    date: date
    startTime: Clock
    endTime: Clock
    price: Annotated[Decimal, Field(ge=0, max_digits=12)] | None = None
    serviceId: Id | None = None


@routes.post("/professional/sessions/availability")
@idempotent()
async def add_window(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, WindowBody)
    db = request.app[DATABASE]
    wanted = NewWindow(
        day=body.date,
        start=time.fromisoformat(body.startTime),
        end=time.fromisoformat(body.endTime),
        service_id=body.serviceId,
        price_minor=await window_price(db, actor, body.price, body.serviceId),
    )
    window = await availability_windows.add_window(db, actor, wanted, now=request.app[CLOCK]())
    return web.json_response(_window_json(window), status=201)


@routes.get("/professional/sessions/availability")
async def my_windows(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    windows = await availability_windows.my_windows(request.app[DATABASE], actor, now=request.app[CLOCK]())
    return web.json_response({"windows": [_window_json(window) for window in windows]})


@routes.delete(f"/professional/sessions/availability/{{id:{ID_PATTERN}}}")
async def delete_window(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await availability_windows.delete_window(
        request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]()
    )
    return web.Response(status=204)


@routes.get(f"/professional/{{id:{ID_PATTERN}}}/availability")
async def day_of_practitioner(request: web.Request) -> web.Response:
    """Public: the free slots of a day of the practitioner's calendar, per service."""
    day = _day(request)
    zone, offered = await availability.day_of_practitioner(
        request.app[DATABASE], request.match_info["id"], day, request.app[CLOCK]()
    )
    services = [
        {
            "serviceId": service.id,
            "name": service.name,
            "mode": service.mode,
            "length_minutes": service.length_minutes,
            "slots": [slot_json(slot) for slot in slots],
        }
        for service, slots in offered
    ]
    return web.json_response({"date": day.isoformat(), "time_zone": zone, "services": services})


def _day(request: web.Request) -> date:
    text = request.query.get("date", "")
    try:
        if len(text) != 10:
            raise ValueError("length")
        day = date.fromisoformat(text)
    except ValueError as error:
        raise Malformed("date_invalid", "Ask with ?date=YYYY-MM-DD.") from error
    if not 2000 <= day.year <= 9000:
        raise Malformed("date_invalid", "This date is out of range.")
    return day


def _window_json(window: WindowView) -> dict[str, Any]:
    return {
        "id": window.id,
        "date": window.local_date,
        "startTime": window.local_start,
        "endTime": window.local_end,
        "time_zone": window.time_zone,
        "serviceId": window.service_id,
        "price_minor": window.price_minor,
        "start": iso(window.starts_at),
        "end": iso(window.ends_at),
        "slots": [
            {
                "serviceId": slot.service_id,
                "start": iso(slot.start),
                "end": iso(slot.end),
                "price_minor": slot.price_minor,
                "currency": slot.currency,
                "free": slot.free,
            }
            for slot in window.slots
        ],
    }
