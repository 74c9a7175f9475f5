"""A practitioner's day, live, and the list of bookings."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from aiohttp import web

from control import appointments, consents, message_queries, reschedules, waiting_room
from control.accounts import Actor, require_actor
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.database import Database
from control.keys import CLOCK, DATABASE, MESSAGES
from control.language import t, tn
from control.lifecycle import Party
from control.message_queries import ConversationView
from control.models.people import Role
from control.paging import Wanted
from control.slots import day_in
from web import words
from web.lists import list_of
from web.models import Joining, Session, Waiting
from web.render import render, zone_of
from web.thread import day_thread
from web.views.sources import asked_of, readiness_of, sessions_of

routes = web.RouteTableDef()

_SHOWN_NEXT = 8
_SHOWN_UNREAD = 5
_LOOKED_THROUGH = 30  # conversations, the newest first


@routes.get("/therapist/dashboard")
async def dashboard(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    db, now, zone = request.app[DATABASE], request.app[CLOCK](), zone_of(request)
    coming = sessions_of(_led(await appointments.upcoming_for(db, actor, now)))
    here = ZoneInfo(zone)
    today = sessions_of(await appointments.led_between(db, actor, day_in(now.astimezone(here).date(), here)))
    waiting = await _waiting(db, actor, {one.id: one for one in coming})
    above = {one.session.id for one in waiting}
    running = next((one for one in coming if one.state == "in_progress"), None)
    return render(
        request,
        "therapist/dashboard.html",
        lead=_lead(today, now),
        thread=day_thread(now, [one for one in today if one.state not in {"cancelled", "expired"}], zone),
        running=running,
        waiting=waiting,
        next=[one for one in coming if one is not running and one.id not in above][:_SHOWN_NEXT],
        joining=_doors(coming, now),
        unread=await _unread(request, actor),
        asked=asked_of(coming, await reschedules.open_for(db, actor.person_id, now=now), actor.person_id),
    )


@routes.get("/therapist/sessions")
async def sessions(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    now = request.app[CLOCK]()
    found = await list_of(request, actor, Party.PRACTITIONER)
    rows = sessions_of(found.views)
    return render(
        request,
        "therapist/sessions.html",
        list=found,
        states=[str(one) for one in State if one not in (State.PENDING, State.EXPIRED)],
        rows=rows,
        joining=_doors(rows, now),
    )


async def _unread(request: web.Request, actor: Actor) -> list[ConversationView]:
    newest = await message_queries.inbox(request.app[DATABASE], request.app[MESSAGES], actor, Wanted(_LOOKED_THROUGH))
    return [one for one in newest.rows if one.unread][:_SHOWN_UNREAD]


def _led(found: tuple[SessionView, ...]) -> list[SessionView]:
    return [one for one in found if one.party is Party.PRACTITIONER]


def _lead(today: list[Session], now: datetime) -> str:
    count = [one for one in today if one.state != "cancelled"]
    if not count:
        return t("No sessions today.")
    left = sum(one.is_open and one.state != "in_progress" and one.ends_at > now for one in count)
    rest = t("%(number)s still to come", number=words.number(left)) if left else t("none to come")
    return tn(
        "%(number)s session today, %(rest)s.",
        "%(number)s sessions today, %(rest)s.",
        len(count),
        number=words.number(len(count)).capitalize(),
        rest=rest,
    )


def _doors(rows: list[Session], now: datetime) -> dict[str, Joining]:
    """When each room opens for its practitioner."""
    doors = {}
    for one in rows:
        can = one.state in {"confirmed", "in_progress"} or (one.state == "scheduled" and now >= one.opens_at)
        doors[one.id] = Joining(can, (), one.opens_at)
    return doors


async def _waiting(db: Database, actor: Actor, coming: dict[str, Session]) -> list[Waiting]:
    rows = []
    seen: set[tuple[str, str]] = set()
    waiting = await waiting_room.waiting_for(db, actor.person_id)
    given = await consents.standing_of(db, {one.appointment_id for one in waiting})
    for one in waiting:
        session = coming.get(one.appointment_id)
        if session is None or (one.appointment_id, one.client_id) in seen:
            continue
        seen.add((one.appointment_id, one.client_id))
        if session.state == "scheduled":  # asking has confirmed it by now
            session = replace(session, state="confirmed")
        ready = readiness_of(given[session.id], one.client_id)
        rows.append(Waiting(session, one.client_id, one.client_name, one.role, one.since, True, ready, one.guest_id))
    return rows
