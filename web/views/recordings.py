"""A practitioner's recordings, and the player of one. The files come from control/api/recordings.py, in ranges."""

from __future__ import annotations

from aiohttp import web

from control.accounts import require_actor
from control.keys import DATABASE
from control.models.people import Role
from control.recording_queries import FileView, RecordingView, get_recording, list_recordings
from web.models import Recorded, Recording, RecordingFile, RecordingPart
from web.render import render

routes = web.RouteTableDef()


@routes.get("/therapist/recordings")
async def recordings(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    rows = [_recording(one) for one in await list_recordings(request.app[DATABASE], actor)]
    return render(request, "therapist/recordings.html", rows=rows)


@routes.get("/therapist/recordings/{id:[0-9a-f]{32}}")
async def player(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    found = await get_recording(request.app[DATABASE], actor, request.match_info["id"])
    return render(request, "therapist/recording.html", one=_recording(found))


def _recording(view: RecordingView) -> Recording:
    about = view.session
    return Recording(
        id=view.id,
        state=str(view.state),
        started_at=view.started_at,
        length_s=_length(view),
        session=Recorded(about.id, about.client_name, about.service_name, about.starts_at),
        parts=_parts(view.files),
        expires_at=view.expires_at,
        is_whole=view.complete is not False,
        failure=view.failure or "",
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
        RecordingPart(
            found[0].name,
            view,
            tuple(
                RecordingFile(one.file_id, one.url, one.kind, one.size_bytes, one.length_s, one.offset_s)
                for one in found
            ),
        )
        for (_, view), found in together.items()
    )
