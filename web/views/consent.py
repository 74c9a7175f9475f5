"""Informed consent and recording consent: the text, the answer, and the receipt of an earlier answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web

from control import consents, waiting_room
from control.accounts import require_actor
from control.consents import Purpose
from control.errors import NotFound
from control.keys import CLOCK, DATABASE, SETTINGS
from control.language import t
from control.lifecycle import opens_at
from web.models import Readiness, Session
from web.render import render, zone_of
from web.thread import session_thread
from web.views.session import VISITORS, session_for
from web.views.sources import readiness_of, session_of, text_of

routes = web.RouteTableDef()

_FILM_TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}
_KEPT_A_WHILE = {"Cache-Control": "private, max-age=3600"}


@routes.get("/sessions/{id:[0-9a-f]{32}}/consent")
async def consent(request: web.Request) -> web.StreamResponse:
    view = await session_for(request, *VISITORS)
    db = request.app[DATABASE]
    text = text_of(await consents.current_text(db, Purpose.CARE, view.practitioner_id))
    ready = readiness_of(await consents.standing(db, view.id), require_actor(request).person_id)
    shown = session_of(view)
    after, words = await _after(request, shown, ready)
    return render(
        request,
        "consent.html",
        session=shown,
        text=text,
        ready=ready,
        film=await asyncio.to_thread(_film, request),
        next=after,
        next_words=words,
    )


@dataclass(frozen=True)
class Film:
    """The practice's own film about consent, as its page shows it."""

    mime: str
    language: str
    transcript: tuple[str, ...]


def _film(request: web.Request) -> Film | None:
    settings = request.app[SETTINGS].consent
    if settings.video is None or settings.transcript is None:
        return None
    text = settings.transcript.read_text(encoding="utf-8")
    parts = tuple(part.strip() for part in text.split("\n\n") if part.strip())
    return Film(_FILM_TYPES[settings.video.suffix.lower()], settings.captions_language, parts)


@routes.get("/consent/film")
async def show_film(request: web.Request) -> web.StreamResponse:
    """In parts, as players ask for it."""
    require_actor(request)
    film = request.app[SETTINGS].consent.video
    if film is None:
        raise NotFound
    return web.FileResponse(film, headers={**_KEPT_A_WHILE, "Content-Type": _FILM_TYPES[film.suffix.lower()]})


@routes.get("/consent/film.vtt")
async def show_captions(request: web.Request) -> web.StreamResponse:
    require_actor(request)
    captions = request.app[SETTINGS].consent.captions
    if captions is None:
        raise NotFound
    return web.FileResponse(captions, headers={**_KEPT_A_WHILE, "Content-Type": "text/vtt; charset=utf-8"})


@routes.get("/sessions/{id:[0-9a-f]{32}}/recording-consent")
async def recording_consent(request: web.Request) -> web.StreamResponse:
    view = await session_for(request, *VISITORS)
    if not view.recording_offered:
        raise NotFound("recording_not_offered", "This session is not recorded.")
    db, now, settings = request.app[DATABASE], request.app[CLOCK](), request.app[SETTINGS]
    text = text_of(await consents.current_text(db, Purpose.RECORDING, view.practitioner_id))
    ready = readiness_of(await consents.standing(db, view.id), require_actor(request).person_id)
    shown = session_of(view)
    opens = opens_at(view.facts)
    kept = settings.recording.retention_days
    return render(
        request,
        "recording_consent.html",
        session=shown,
        text=text,
        ready=ready,
        next=await _door(request, shown),
        kept_days=kept,
        kept_until=shown.starts_at + timedelta(days=kept),
        opens_at=opens,
        thread=session_thread(now, opens, shown.starts_at, shown.ends_at, zone_of(request)) if shown.is_open else None,
    )


async def _after(request: web.Request, shown: Session, ready: Readiness) -> tuple[str, str]:
    """Where agreeing leads: the next question if one is left, else the door."""
    if shown.recording_offered and ready.recording_answer is None:
        return f"/sessions/{shown.id}/recording-consent", t("I agree, go on")
    door = await _door(request, shown)
    return door, t("I agree, to the waiting room") if door.endswith("/waiting-room") else t("I agree")


async def _door(request: web.Request, shown: Session) -> str:
    """The waiting room if only this consent was missing, else the session's page."""
    explanation = await waiting_room.explain(
        request.app[DATABASE], require_actor(request), shown.id, request.app[CLOCK]()
    )
    blocking = [reason for reason in explanation.reasons if reason.code != "consent_required"]
    return f"/sessions/{shown.id}" if blocking else f"/sessions/{shown.id}/waiting-room"
