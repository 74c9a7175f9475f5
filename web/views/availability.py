"""A practitioner's week: what rules and windows offer, exceptions, bookings. Changes are made through the API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from aiohttp import web

from control import appointments, availability, availability_rules, busy_times, calendar_feed, practitioners
from control.accounts import Actor, require_actor
from control.api.availability_rules import WEEKDAYS
from control.api.calendars import feed_address
from control.availability_rules import OpenTime, RuleView, WeekView
from control.database import Database
from control.errors import NotFound
from control.keys import CLOCK, DATABASE, INSTALL_KEYS
from control.language import N_, t
from control.models.people import Role
from control.practitioners import ServiceView
from control.slots import Span, day_in
from web import words
from web.calendars import Open, Shut, next_clock_change, week_of
from web.render import render, zone_of
from web.views.sources import service_of, sessions_of

routes = web.RouteTableDef()

_IMPORT_FAILURES = {
    "address_refused": N_("This address leads to a place we may not read."),
    "not_found": N_("There is no calendar at this address, or it may not be read."),
    "too_large": N_("The calendar is too large to be read."),
    "too_slow": N_("The other server took too long to answer."),
    "too_many_redirects": N_("The address leads on and on."),
    "not_a_calendar": N_("What is there is no calendar we can read."),
    "unreachable": N_("The other server can't be reached."),
}


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
    span = Span(day_in(monday, here).start, day_in(monday + timedelta(days=6), here).end)
    services = await _services(db, actor)
    names = {one.id: one.name for one in services}
    shown = await availability_rules.week_of_practitioner(db, actor, span, now=now)
    windows = [
        Open(one.id, one.starts_at, one.ends_at, names.get(one.service_id or "", ""), _own_price(one))
        for one in shown.open
    ]
    secret = request.app[INSTALL_KEYS].session_secret
    token = await calendar_feed.my_feed(db, actor, secret)
    one_off = {one.id for one in shown.open if not one.is_weekly}
    return render(
        request,
        "therapist/availability.html",
        week=week_of(
            monday,
            zone,
            now,
            windows=windows,
            free=_free(shown.open, services, now),
            sessions=sessions_of(await appointments.led_between(db, actor, span)),
            shut=_shut(shown),
        ),
        windows=[one for one in windows if one.id in one_off and one.ends_at > now],
        rules=[_rule(one, names, services, today) for one in shown.rules],
        exceptions=[one for one in shown.exceptions if one.ends_at > now],
        clock_change=next_clock_change(max(monday, today), zone),
        weekdays=[(name, words.long_weekday(number)) for number, name in enumerate(WEEKDAYS)],
        services=[service_of(one) for one in services],
        currency=_only_currency(services),
        feed="" if token is None else feed_address(request, token),
        imported=await busy_times.my_import(db, actor),
        import_failures={code: t(words) for code, words in _IMPORT_FAILURES.items()},
        form=_Form(date=max(monday, today).isoformat(), today=today.isoformat()),
    )


@dataclass(frozen=True)
class _Rule:
    id: str
    day: str
    start: str
    end: str
    note: str  # service, price and validity, where they say something
    values: Mapping[str, str]  # as the form that changes it is filled


def _rule(one: RuleView, names: dict[str, str], services: list[ServiceView], today: date) -> _Rule:
    notes = [names.get(one.service_id, t("A service no longer offered"))] if one.service_id else []
    currency = next((service.currency for service in services if one.service_id in (None, service.id)), "")
    if one.price_minor is not None and currency:
        notes.append(words.price(one.price_minor, currency))
    if one.valid_from > today.isoformat():
        notes.append(t("from %(iso_day)s", iso_day=words.iso_day(one.valid_from, this_year=today.year)))
    if one.valid_until:
        notes.append(t("until %(iso_day)s", iso_day=words.iso_day(one.valid_until, this_year=today.year)))
    values = {
        "weekdays": json.dumps([WEEKDAYS[one.weekday]]),
        "startTime": one.local_start,
        "endTime": one.local_end,
        "serviceId": one.service_id or "",
        "price": words.amount(one.price_minor, currency) if one.price_minor is not None and currency else "",
        "validFrom": one.valid_from,
        "validUntil": one.valid_until or "",
    }
    return _Rule(one.id, words.weekday(one.weekday), one.local_start, one.local_end, ", ".join(notes), values)


def _shut(shown: WeekView) -> list[Shut]:
    off = [Shut(one.starts_at, one.ends_at, one.reason) for one in shown.exceptions]
    return off + [Shut(span.start, span.end, busy=True) for span in shown.busy]


def _only_currency(services: list[ServiceView]) -> str:
    currencies = {one.currency for one in services}
    return currencies.pop() if len(currencies) == 1 else ""


def _monday_untrusted(request: web.Request, today: date) -> date:
    """The Monday of `?week`, within what windows can reach; this week for anything else."""
    try:
        asked = date.fromisoformat(request.query.get("week", ""))
    except ValueError:
        asked = today
    if abs((asked - today).days) > availability.FARTHEST_WINDOW.days:
        asked = today
    return asked - timedelta(days=asked.weekday())


def _free(windows: Sequence[OpenTime], services: list[ServiceView], now: datetime) -> list[tuple[datetime, datetime]]:
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


def _own_price(window: OpenTime) -> str:
    currencies = {slot.currency for slot in window.slots}
    if window.price_minor is None or len(currencies) != 1:
        return ""
    return words.price(window.price_minor, currencies.pop())


async def _services(db: Database, actor: Actor) -> list[ServiceView]:
    try:
        return list((await practitioners.get_profile(db, actor.person_id)).services)
    except NotFound:
        return []
