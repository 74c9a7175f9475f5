"""The booker: choosing service, day and time; then details, pay and done for one held appointment.

The page reads; booking and paying go through the JSON API (control/api). `choice_of` also fills the booker's card on
a practitioner's profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from control import appointments, availability, practitioners
from control.accounts import Actor, require_actor
from control.database import Database
from control.errors import NotFound
from control.keys import CLOCK, DATABASE
from control.lifecycle import Party
from control.money import credits, history, ledger
from control.practitioners import ProfileView, ServiceView
from web.calendars import Month, last_day, month_json, month_of
from web.models import Session, Slot, Wallet
from web.paying import let_gateways_in, ways_of
from web.render import known_zones, render, zone_of
from web.views.sources import policy_words, practitioner_of, service_of, session_of, slot_of

routes = web.RouteTableDef()


@dataclass(frozen=True)
class Choice:
    """What the booker's card shows first."""

    month: Month
    slots: tuple[Slot, ...]  # of the chosen day
    start: datetime | None
    data: Mapping[str, Any]  # the month once more, for booker.js

    def context(self) -> dict[str, Any]:
        return {"month": self.month, "slots": self.slots, "chosen": self.start, "month_data": self.data}


@routes.get("/book/{service_id}")
async def book(request: web.Request) -> web.StreamResponse:
    now = request.app[CLOCK]()
    held = request.query.get("appointment")
    if held:
        return await _booked(request, held, now)
    found, service = await practitioners.get_service(request.app[DATABASE], request.match_info["service_id"])
    choice = await choice_of(request, found, service, now)
    return render(
        request,
        "book.html",
        step="choose",
        person=practitioner_of(found),
        service=service_of(service),
        **choice.context(),
    )


@routes.get("/book/{service_id}/slots")
async def slots(request: web.Request) -> web.StreamResponse:
    """One month of free times as booker.js shows it; `?month=YYYY-MM&zone=IANA`."""
    now = request.app[CLOCK]()
    found, service = await practitioners.get_service(request.app[DATABASE], request.match_info["service_id"])
    zone = request.query.get("zone", "")
    zone = zone if zone in known_zones() else zone_of(request)
    month = await _month(request.app[DATABASE], found, service, zone, _first_untrusted(request), None, now)
    answer = web.json_response(month_json(month, zone, now, found.time_zone))
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def choice_of(request: web.Request, found: ProfileView, service: ServiceView, now: datetime) -> Choice:
    """The month of `?start`, else of `?month`, else the first with a free time (this one or the next)."""
    db, zone = request.app[DATABASE], zone_of(request)
    start = start_untrusted(request)
    wanted = start.astimezone(ZoneInfo(zone)).date() if start is not None else None
    first = wanted.replace(day=1) if wanted is not None else _first_untrusted(request)
    month = await _month(db, found, service, zone, first, wanted, now)
    if first is None and not month.any_free and month.after:
        following = date.fromisoformat(f"{month.after}-01")
        month = await _month(db, found, service, zone, following, None, now)
    shown = month.chosen.slots if month.chosen is not None else ()
    free = start is not None and any(slot.start == start for slot in shown)
    return Choice(month, shown, start if free else None, month_json(month, zone, now, found.time_zone))


async def _month(
    db: Database,
    found: ProfileView,
    service: ServiceView,
    zone: str,
    first: date | None,
    chosen: date | None,
    now: datetime,
) -> Month:
    here = ZoneInfo(zone)
    today = now.astimezone(here).date()
    last_bookable = today + timedelta(days=service.booking_window_days)
    first = min(max(first or today, today), last_bookable).replace(day=1)
    days = await availability.month_of_slots(db, service.id, first, last_day(first), here, now)
    listed = [slot_of(slot, zone, found.time_zone) for of_day in days.values() for slot in of_day]
    return month_of(first, listed, today=today, last_bookable=last_bookable, chosen=chosen)


def _first_untrusted(request: web.Request) -> date | None:
    try:
        return date.fromisoformat(f"{request.query.get('month', '')}-01")
    except ValueError:
        return None


def start_untrusted(request: web.Request) -> datetime | None:
    """A moment with a zone, between years that the calendar can show."""
    try:
        start = datetime.fromisoformat(request.query.get("start", "").replace(" ", "+"))
    except ValueError:
        return None
    if start.tzinfo is None or not 2000 <= start.year <= 2200:
        return None
    return start.astimezone(UTC)


async def _booked(request: web.Request, appointment_id: str, now: datetime) -> web.StreamResponse:
    """Steps 4 to 6, and 5 once more where the first payment did not stay secure; only the client who holds the time
    sees them. Where one stands is the appointment's state.
    """
    actor, db = require_actor(request), request.app[DATABASE]
    view = await appointments.get_for(db, actor, appointment_id)
    if view.party is not Party.CLIENT or view.service_id != request.match_info["service_id"]:
        raise NotFound
    await appointments.catch_up(db, appointment_id, now=now)
    view = await appointments.get_for(db, actor, appointment_id)
    session = session_of(view)
    if session.state in {"expired", "cancelled"}:
        step = "gone"
    elif session.needs_another_way:
        step = "pay"
    elif session.state != "pending":
        step = "done"
    else:
        step = "pay" if request.query.get("step") == "pay" and request.query.get("terms") == "yes" else "details"
    context = await _paying(request, actor, session) if step == "pay" else {}
    page = render(
        request,
        "book.html",
        step=step,
        session=session,
        policy=policy_words(view.late_window_minutes, view.late_fee_bp, view.no_show_fee_bp),
        opens_at=session.opens_at,
        **context,
    )
    return let_gateways_in(request, page) if step == "pay" else page


async def _paying(request: web.Request, actor: Actor, session: Session) -> dict[str, Any]:
    db = request.app[DATABASE]
    left = sum(one.left for one in await credits.held_by(db, actor.person_id, session.service_id))
    return {
        "ways": ways_of(request, await wallet_of(db, actor, session.currency), left),
        "offers": await credits.offers(db, service_id=session.service_id),
        "refused": await history.was_refused(db, appointment_id=session.id),
    }


async def wallet_of(db: Database, actor: Actor, currency: str) -> Wallet:
    held = await ledger.balances(db, actor.person_id)
    amount = sum(one.amount_minor for one in held if one.kind is ledger.Kind.WALLET and one.currency == currency)
    return Wallet(amount, currency)
