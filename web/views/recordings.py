"""Recordings: a practitioner's list and player, a client's of what is shared with them, who looked at them.

The files come from control/api/recordings.py, in ranges.
"""

from __future__ import annotations

from aiohttp import web

from control.accounts import require_actor
from control.errors import NotFound
from control.keys import COMPOSER, DATABASE
from control.language import N_, look_up, t
from control.models.people import Role
from control.recording_access import looks_at
from control.recording_queries import FileView, RecordingView, get_recording, list_recordings
from web.models import ChapterMark, Recorded, Recording, RecordingFile, RecordingPart
from web.render import render
from web.views.staff import wanted_page

routes = web.RouteTableDef()

_FAILURES = {
    "disk_full": N_("The disk of the server was full. What was recorded until then is kept."),
    "journal_failed": N_("The server could not write any more. What was recorded until then is kept."),
    "media_gone": N_("The media server stopped. What was recorded until then is kept."),
    "finish_failed": N_("What was stored is safe and encrypted. It is tried again when the server starts."),
    "cut_by_damage": N_("Bytes on the server's disk were changed: it is shown up to there."),
    "damaged": N_("Bytes on the disk were changed. Nothing of it can be trusted, so nothing is shown."),
    "wrong_key": N_("The practice's master key does not open it."),
}
"""Why a recording ended early, or has no files, by the code kept with it."""


@routes.get("/therapist/recordings")
async def recordings(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    rows = [_recording(request, one) for one in await list_recordings(request.app[DATABASE], actor)]
    return render(request, "therapist/recordings.html", rows=rows)


@routes.get("/therapist/recordings/{id:[0-9a-f]{32}}")
async def player(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    found = await get_recording(request.app[DATABASE], actor, request.match_info["id"])
    if not found.is_own:
        raise NotFound
    return render(request, "therapist/recording.html", one=_recording(request, found))


@routes.get("/recordings")
async def shared_with_me(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request)
    found = await list_recordings(request.app[DATABASE], actor, shared=True)
    return render(request, "recordings.html", rows=[_recording(request, one) for one in found])


@routes.get("/recordings/looks")
async def looks(request: web.Request) -> web.StreamResponse:
    page = await looks_at(request.app[DATABASE], require_actor(request), wanted_page(request))
    paged = "cursor" in request.query
    return render(request, "recording_looks.html", rows=page.rows, more=page.next_cursor, paged=paged)


@routes.get("/recordings/{id:[0-9a-f]{32}}")
async def shared_player(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request)
    found = await get_recording(request.app[DATABASE], actor, request.match_info["id"])
    if found.is_own:
        raise NotFound
    return render(request, "recording.html", one=_recording(request, found))


def _recording(request: web.Request, view: RecordingView) -> Recording:
    about, originals = view.session, _parts(view.files)
    film = (
        () if view.composed is None else (RecordingPart(t("Everybody"), view.composed.view, (_file(view.composed),)),)
    )
    return Recording(
        id=view.id,
        state=str(view.state),
        started_at=view.started_at,
        length_s=_length(view),
        session=Recorded(about.id, about.client_name, about.practitioner_name, about.service_name, about.starts_at),
        parts=film or originals,
        originals=originals,
        chapters=tuple(ChapterMark(mark.at_s, mark.title) for mark in view.chapters),
        thumbnail_url="" if view.thumbnail is None else view.thumbnail.url,
        composition=str(view.composition),
        composed_share=request.app[COMPOSER].share_of(view.id),
        expires_at=view.expires_at,
        is_whole=view.complete is not False,
        is_shared=view.shared_at is not None,
        is_held=view.held_at is not None,
        hold_reason=view.hold_reason or "",
        is_recovered=view.recovered_at is not None,
        stopped_at=view.stopped_at,
        erased=view.erased,
        failure="" if view.failure is None else look_up(_FAILURES.get(view.failure, _FAILURES["finish_failed"])),
    )


def _length(view: RecordingView) -> float:
    """As the recorder measured it; after a crash, to the end of the last file."""
    return view.length_s or max((file.offset_s + file.length_s for file in view.files), default=0.0)


def _parts(files: tuple[FileView, ...]) -> tuple[RecordingPart, ...]:
    """One tile for each person's camera and one for each screen, in the order they first appear."""
    together: dict[tuple[str, str], list[FileView]] = {}
    for file in sorted(files, key=lambda one: (one.view == "screen", one.offset_s)):
        together.setdefault((file.participant_id, file.view), []).append(file)
    return tuple(
        RecordingPart(found[0].name, view, tuple(_file(one) for one in found)) for (_, view), found in together.items()
    )


def _file(one: FileView) -> RecordingFile:
    return RecordingFile(one.file_id, one.url, one.kind, one.size_bytes, one.length_s, one.offset_s)
