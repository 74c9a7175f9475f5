"""The waiting room and the session room. They only show; tokens, places and starts are control's and signaling's.

Flow: read the appointment as its reader may see it, send them where they have to go first (consent, another state's
page), render. Nobody is let in by seeing a page: the socket asks control again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from control import consents, waiting_room
from control.accounts import Actor, require_actor
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.consents import Purpose
from control.database import Database
from control.help_numbers import Country, countries
from control.keys import CLOCK, DATABASE, PROBLEMS, SETTINGS
from control.lifecycle import Party, opens_at, start_missed_at
from web import words
from web.blur_assets import MODEL
from web.render import home_url, reader_of, render, zone_of
from web.thread import session_thread
from web.views.session import VISITORS, session_for

routes = web.RouteTableDef()

JOINABLE = (State.SCHEDULED, State.CONFIRMED, State.IN_PROGRESS)


@dataclass(frozen=True)
class RoomPage:
    """What both templates and their scripts know of an appointment."""

    id: str
    role: str
    mode: str
    blur_path: str
    """Who may hide what is behind a person: `auto`, `browser` or `server`."""
    other_name: str
    other_call: str
    home_url: str
    starts_at: datetime
    ends_at: datetime
    opens_at: datetime
    gives_up_at: datetime
    is_open: bool
    is_running: bool
    price: str
    practitioner_call: str
    help: Country
    """Whom to call for urgent help where the client is."""
    countries: tuple[Country, ...]
    recording_consent_url: str
    """Where the text is read again; empty for whoever is not asked here."""
    recording_text_id: str
    client_id: str
    """Whose file its practitioner opens beside the picture; empty for everybody else."""


@routes.get("/sessions/{id:[0-9a-f]{32}}/waiting-room")
async def show_waiting_room(request: web.Request) -> web.StreamResponse:
    actor, seen = await _entering(request)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    if await waiting_room.is_let_in(db, seen.id, actor.person_id):
        raise web.HTTPSeeOther(f"/sessions/{seen.id}/room")
    zone = zone_of(request)
    room = await _room_page(request, db, seen, now)
    thread = session_thread(now, room.opens_at, room.starts_at, room.ends_at, zone)
    return render(request, "waiting_room.html", room=room, thread=thread)


@routes.get("/sessions/{id:[0-9a-f]{32}}/room")
async def show_session_room(request: web.Request) -> web.StreamResponse:
    actor, seen = await _entering(request)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    room = await _room_page(request, db, seen, now)
    if not await waiting_room.is_let_in(db, seen.id, actor.person_id):
        raise web.HTTPSeeOther(f"/sessions/{seen.id}/waiting-room")
    if not room.is_open:
        raise web.HTTPSeeOther(f"/sessions/{seen.id}")
    return render(request, "session_room.html", room=room)


async def _entering(request: web.Request) -> tuple[Actor, SessionView]:
    """Sends on whom another page is for."""
    actor = require_actor(request)
    seen = await session_for(request, *VISITORS, Party.PRACTITIONER)
    elsewhere = _page_of_state(seen) or await _page_before(request, actor, seen)
    if elsewhere:
        raise web.HTTPSeeOther(elsewhere)
    return actor, seen


def _page_of_state(seen: SessionView) -> str:
    """Where a session that can't be joined is told about; empty for one that can."""
    page = f"/sessions/{seen.id}"
    if seen.state in JOINABLE:
        return ""
    if seen.state is State.COMPLETED and seen.party is Party.CLIENT:
        return f"{page}/afterwards"
    if seen.state is State.NO_SHOW_PRACTITIONER and seen.party is Party.CLIENT:
        return f"{page}/missed"
    return page


async def _page_before(request: web.Request, actor: Actor, seen: SessionView) -> str:
    """The consent still to be given: without `care` nobody reaches the waiting room, recording has to be answered."""
    if seen.party not in VISITORS:
        return ""
    db = request.app[DATABASE]
    explanation = await waiting_room.explain(db, actor, seen.id, request.app[CLOCK]())
    if explanation.consent_page is not None:
        return explanation.consent_page
    given = await consents.standing(db, seen.id)
    if seen.recording_offered and consents.answer_of(given, actor.person_id, Purpose.RECORDING) is None:
        return f"/sessions/{seen.id}/recording-consent"
    return ""


def _blur_path(request: web.Request) -> str:
    path = request.app[SETTINGS].media.blur_path
    return path if path == "server" or MODEL.is_file() else "browser"


async def _room_page(request: web.Request, db: Database, seen: SessionView, now: datetime) -> RoomPage:
    is_practitioner, is_guest = seen.party is Party.PRACTITIONER, seen.party is Party.GUEST
    other = seen.client_name if is_practitioner else seen.practitioner_name
    asks = seen.recording_offered and not is_practitioner
    text_id = (await consents.current_text(db, Purpose.RECORDING, seen.practitioner_id)).id if asks else ""
    return RoomPage(
        id=seen.id,
        role=str(seen.party),
        mode=seen.mode,
        blur_path=_blur_path(request),
        other_name=other,
        other_call=words.first_name(other),
        home_url=home_url(reader_of(request)),
        starts_at=seen.starts_at,
        ends_at=seen.ends_at,
        opens_at=opens_at(seen.facts),
        gives_up_at=start_missed_at(seen.facts),
        is_running=seen.state is State.IN_PROGRESS,
        is_open=now >= opens_at(seen.facts) or seen.state is not State.SCHEDULED,
        practitioner_call=words.first_name(seen.practitioner_name),
        help=await request.app[PROBLEMS].help_now(require_actor(request), seen.id),
        countries=countries(),
        price=words.money(seen.price_minor, seen.currency) if seen.price_minor and not is_guest else "",
        recording_consent_url=f"/sessions/{seen.id}/recording-consent" if asks else "",
        recording_text_id=text_id,
        client_id=seen.client_id if is_practitioner else "",
    )
