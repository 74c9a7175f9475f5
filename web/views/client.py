"""A client's own pages: the day with the next session, and the list of all sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from control import appointments, consents, ratings, reschedules, waiting_room
from control.accounts import Actor, require_actor
from control.appointment_queries import SessionView
from control.database import Database
from control.keys import CLOCK, DATABASE
from control.language import t, tn
from control.lifecycle import Party
from control.models.people import Role
from web import words
from web.lists import list_of
from web.models import Session
from web.render import home_url, reader_of, render, zone_of
from web.thread import session_thread
from web.views.session import VISITORS
from web.views.sources import asked_of, joining_of, readiness_of, refund_words, session_of, sessions_of

routes = web.RouteTableDef()

_SHOWN_PAST = 5


@routes.get("/dashboard")
async def dashboard(request: web.Request) -> web.StreamResponse:
    actor, db, now = require_actor(request), request.app[DATABASE], request.app[CLOCK]()
    home = home_url(reader_of(request))
    if home != request.path and not actor.is_any(Role.CLIENT):
        raise web.HTTPSeeOther(home)
    zone = zone_of(request)
    coming = _as_visitor(await appointments.upcoming_for(db, actor, now))
    past = sessions_of(_as_visitor(await appointments.past_for(db, actor, now))[:_SHOWN_PAST])
    holds = [session_of(one) for one in coming if one.state == "pending"]
    booked = [one for one in coming if one.state != "pending"]
    booked.sort(key=lambda one: (one.state != "in_progress", one.starts_at))
    context = await _next(db, actor, booked[0], zone, now) if booked else _NOTHING
    return render(
        request,
        "dashboard.html",
        lead=_lead(booked, zone, now),
        holds=holds,
        later=sessions_of(booked[1:]),
        past=past,
        unrated=await _unrated(db, actor, past),
        asked=asked_of(sessions_of(booked), await reschedules.open_for(db, actor.person_id, now=now), actor.person_id),
        **context,
    )


_NOTHING: dict[str, Any] = {"next": None, "thread": None, "joining": None, "ready": None, "refund": ""}


async def _next(db: Database, actor: Actor, view: SessionView, zone: str, now: datetime) -> dict[str, Any]:
    explanation = await waiting_room.explain(db, actor, view.id, now)
    view = await appointments.get_for(db, actor, view.id)  # asking may have confirmed it
    session = session_of(view)
    return {
        "next": session,
        "thread": session_thread(now, explanation.opens_at, session.starts_at, session.ends_at, zone),
        "joining": joining_of(explanation),
        "ready": readiness_of(await consents.standing(db, view.id), actor.person_id),
        "refund": refund_words(view, now),
    }


@routes.get("/sessions")
@routes.get("/appointments")
async def sessions(request: web.Request) -> web.StreamResponse:
    actor, db = require_actor(request), request.app[DATABASE]
    if actor.is_any(Role.PRACTITIONER, Role.ADMIN) and not actor.is_any(Role.CLIENT):
        raise web.HTTPSeeOther("/therapist/sessions" if actor.is_any(Role.PRACTITIONER) else "/admin/appointments")
    found = await list_of(request, actor, Party.CLIENT)
    rows = sessions_of(found.views)
    unrated = await _unrated(db, actor, rows) if found.show == "past" else frozenset()
    return render(
        request,
        "sessions.html",
        list=found,
        rows=rows,
        unrated=unrated,
    )


def _as_visitor(found: tuple[SessionView, ...]) -> list[SessionView]:
    return [one for one in found if one.party in VISITORS]


async def _unrated(db: Database, actor: Actor, rows: list[Session]) -> frozenset[str]:
    completed = frozenset(one.id for one in rows if one.state == "completed" and one.client_id == actor.person_id)
    return completed - await ratings.rated_by(db, actor, completed) if completed else completed


def _lead(booked: list[SessionView], zone: str, now: datetime) -> str:
    if not booked:
        return t("Nothing is booked. That is fine too.")
    here = ZoneInfo(zone)
    today = now.astimezone(here).date()
    count = sum(one.starts_at.astimezone(here).date() == today for one in booked)
    if not count:
        return t("Your next session is on %(long_day)s.", long_day=words.long_day(booked[0].starts_at, zone))
    number = words.number(count).capitalize()
    return tn(
        "%(number)s session today. There is nothing you need to prepare.",
        "%(number)s sessions today. There is nothing you need to prepare.",
        count,
        number=number,
    )
