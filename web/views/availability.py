"""A practitioner's week: open windows, the slots they leave, bookings; windows are opened and closed by the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from aiohttp import web

from control import appointments, availability, practitioners
from control.accounts import Actor, require_actor
from control.availability import WindowView
from control.database import Database
from control.errors import NotFound
from control.keys import CLOCK, DATABASE
from control.lifecycle import Party
from control.models.people import Role
from control.practitioners import ServiceView
from web import words
from web.calendars import Open, week_of
from web.models import Session
from web.render import render, zone_of
from web.views.sources import service_of, sessions_of

routes = web.RouteTableDef()

_LONGEST_SHOWN = timedelta(days=8)


@dataclass(frozen=True)
class _Form:
    date: str
    today: str
    start: str = ""
    end: str = ""


@routes.get("/therapist/availability")
async def week(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    db, now, zone = request.app[DATABASE], request.app[CLOCK](), zone_of(request)
    here = ZoneInfo(zone)
    today = now.astimezone(here).date()
    monday = _monday_untrusted(request, today)
    services = await _services(db, actor)
    names = {one.id: one.name for one in services}
    shown = [one for one in await availability.my_windows(db, actor, now=now) if _touches(one, monday, here)]
    windows = [
        Open(one.id, one.starts_at, one.ends_at, names.get(one.service_id or "", ""), _own_price(one)) for one in shown
    ]
    return render(
        request,
        "therapist/availability.html",
        week=week_of(
            monday,
            zone,
            now,
            windows=windows,
            free=_free(shown, services, now),
            sessions=await _sessions(db, actor, now, monday, here),
        ),
        windows=windows,
        services=[service_of(one) for one in services],
        form=_Form(date=max(monday, today).isoformat(), today=today.isoformat()),
    )


def _monday_untrusted(request: web.Request, today: date) -> date:
    """The Monday of `?week`, within what windows can reach; this week for anything else."""
    try:
        asked = date.fromisoformat(request.query.get("week", ""))
    except ValueError:
        asked = today
    if abs((asked - today).days) > availability.FARTHEST_WINDOW.days:
        asked = today
    return asked - timedelta(days=asked.weekday())


def _touches(window: WindowView, monday: date, here: ZoneInfo) -> bool:
    first = window.starts_at.astimezone(here).date()
    last = (window.ends_at - timedelta(microseconds=1)).astimezone(here).date()
    return first < monday + timedelta(days=7) and last >= monday


def _free(windows: list[WindowView], services: list[ServiceView], now: datetime) -> list[tuple[datetime, datetime]]:
    """One set of free slots per window, of its longest service: the others' would lie on top of them."""
    longest = sorted(services, key=lambda one: -one.length_minutes)
    free: set[tuple[datetime, datetime]] = set()
    for window in windows:
        of_service = next((one.id for one in longest if any(slot.service_id == one.id for slot in window.slots)), None)
        free.update(
            (slot.start, slot.end)
            for slot in window.slots
            if slot.service_id == of_service and slot.free and slot.start > now
        )
    return sorted(free)


def _own_price(window: WindowView) -> str:
    currencies = {slot.currency for slot in window.slots}
    if window.price_minor is None or len(currencies) != 1:
        return ""
    return words.price(window.price_minor, currencies.pop())


async def _sessions(db: Database, actor: Actor, now: datetime, monday: date, here: ZoneInfo) -> list[Session]:
    found = (*await appointments.upcoming_for(db, actor, now), *await appointments.past_for(db, actor, now))
    led = [one for one in found if one.party is Party.PRACTITIONER]
    middle = datetime(monday.year, monday.month, monday.day, 12, tzinfo=here) + timedelta(days=3)
    return sessions_of(one for one in led if abs(one.starts_at - middle) < _LONGEST_SHOWN)


async def _services(db: Database, actor: Actor) -> list[ServiceView]:
    try:
        return list((await practitioners.get_profile(db, actor.person_id)).services)
    except NotFound:
        return []
