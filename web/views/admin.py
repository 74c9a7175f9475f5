"""Staff pages: everybody's appointments with the explanation of one, and the readable outbox."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from control import appointments, audit, consents, waiting_room
from control.accounts import Actor, require_actor
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.database import Database
from control.errors import Malformed, NotFound
from control.keys import CLOCK, DATABASE, SETTINGS
from control.language import t
from control.lifecycle import Party
from control.models.outbox import OutboxChannel, OutboxState
from control.models.people import Role
from control.notices import sent
from control.notices.kinds import NoticeKind
from control.notices.sent import SentMail
from control.paging import Wanted, place_of
from control.security import content_security_policy
from web.lists import list_of
from web.log_words import done
from web.models import Letter
from web.render import render
from web.setting_words import kind_words
from web.views.sources import joining_of, readiness_of, refund_words, session_of, sessions_of

routes = web.RouteTableDef()

_PAGE = 20
_ID = re.compile("[0-9a-f]{32}")
_MOST_LOG = 30

#: The letter is shown in a frame of its own without scripts, forms or anything from elsewhere.
_LETTER_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation"
)


@routes.get("/admin/appointments")
async def admin_appointments(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.ADMIN)
    found = await list_of(request, actor, Party.ADMIN, "all")
    chosen_id = request.query.get("id", "")
    context = await _explained(request, actor, chosen_id) if chosen_id else _NOT_CHOSEN
    return render(
        request,
        "admin/appointments.html",
        rows=sessions_of(found.views),
        list=found,
        states=[str(one) for one in State],
        **context,
    )


_NOT_CHOSEN: dict[str, Any] = {
    "chosen": None,
    "joining": None,
    "ready": None,
    "refund": "",
    "log": (),
    "awaits_activation": False,
}


async def _explained(request: web.Request, actor: Actor, appointment_id: str) -> dict[str, Any]:
    db, now = request.app[DATABASE], request.app[CLOCK]()
    explanation = await waiting_room.explain(db, actor, appointment_id, now)
    view = await appointments.get_for(db, actor, appointment_id)
    return {
        "chosen": session_of(view),
        "joining": joining_of(explanation),
        "ready": readiness_of(await consents.standing(db, view.id), view.client_id),
        "refund": refund_words(view, now),
        "awaits_activation": view.needs_activation and view.activated_at is None and view.state is State.SCHEDULED,
        "log": await _log(db, view),
    }


@dataclass(frozen=True)
class LogLine:
    at: datetime
    text: str


async def _log(db: Database, view: SessionView) -> list[LogLine]:
    """What happened, oldest first, in words. Ratings are named without their stars."""
    names = {view.client_id: view.client_name, view.practitioner_id: view.practitioner_name}
    lines = []
    for entry in await audit.entries_about(db, f"appointment:{view.id}", limit=_MOST_LOG):
        who = t("by itself") if entry.actor_id is None else t("by %(name)s", name=names.get(entry.actor_id, t("staff")))
        lines.append(LogLine(entry.at, f"{done(entry)}, {who}"))
    return lines[::-1]


@routes.get("/admin/outbox")
async def outbox(request: web.Request) -> web.StreamResponse:
    """The letters, the newest first; `?state=dead` those that were given up. Each look is in the audit log."""
    actor = require_actor(request, Role.ADMIN)
    db = request.app[DATABASE]
    await _note_look(request, actor)
    state = request.query.get("state", "")
    wanted_state = OutboxState(state) if state in set(OutboxState) else None
    try:
        wanted = Wanted(_PAGE, place_of(request.query.get("cursor")))
    except Malformed:
        wanted = Wanted(_PAGE)
    page = await sent.page_of_outbox(db, actor, wanted, state=wanted_state)
    answer = render(
        request,
        "admin/outbox.html",
        rows=[_letter(one) for one in page.rows],
        letter=await _chosen(request, actor),
        more=page.next_cursor,
        paged="cursor" in request.query,
        state=wanted_state or "",
        dead=await sent.dead_letters(db),
        mail_leaves=request.app[SETTINGS].mail.host is not None,
    )
    policy = content_security_policy(request.app[SETTINGS].server)
    answer.headers["Content-Security-Policy"] = f"{policy}; frame-src 'self'"
    return answer


async def _chosen(request: web.Request, actor: Actor) -> Letter | None:
    wanted = request.query.get("id", "")
    try:
        return _letter(await sent.one(request.app[DATABASE], actor, wanted)) if _ID.fullmatch(wanted) else None
    except NotFound:
        return None


@routes.get("/admin/outbox/{id:[0-9a-f]{32}}/html")
async def letter_html(request: web.Request) -> web.StreamResponse:
    """One letter's HTML, for the frame on the outbox page only."""
    actor = require_actor(request, Role.ADMIN)
    await _note_look(request, actor)
    letter = _letter(await sent.one(request.app[DATABASE], actor, request.match_info["id"]))
    if not letter.html:
        raise NotFound
    answer = web.Response(text=letter.html, content_type="text/html", charset="utf-8")
    answer.headers["Content-Security-Policy"] = _LETTER_POLICY
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def _note_look(request: web.Request, actor: Actor) -> None:
    """Letters hold names and may hold sign-in links."""
    async with request.app[DATABASE].transaction() as session:
        audit.record(session, actor, "outbox.viewed", "outbox:all", now=request.app[CLOCK]())


def _letter(row: SentMail) -> Letter:
    said = kind_words(NoticeKind(row.kind))
    return Letter(
        id=row.id,
        to=row.to_address or t("somebody"),
        subject=f"SMS: {said}" if row.channel is OutboxChannel.SMS else row.subject_line or said,
        state=str(row.state),
        created_at=row.created_at,
        text=row.body_text or "",
        html=row.body_html or "",
        error=row.last_error or "",
    )
