"""Recordings over HTTP: the Record button, the list, files with byte ranges, composing, sharing, holding, deleting.

Thin: the rules are control/recordings.py's and recording_archive.py's. A file is opened chunk by chunk in a thread
while it is sent, so that memory and the loop stay free whatever its length.
"""

import asyncio
import contextlib
import re
from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, PageQuery, Query, read, read_query
from control.api.shapes import ID_PATTERN, iso
from control.keys import ARCHIVE, COMPOSER, DATABASE, RECORDINGS
from control.models.people import Role
from control.paging import Wanted, place_of
from control.recording_access import Look, looks_at
from control.recording_ports import RangedFile
from control.recording_queries import FileView, RecordingView, get_recording, list_recordings
from control.recording_rule import Pressed

routes = web.RouteTableDef()
ONE = f"/api/recordings/{{id:{ID_PATTERN}}}"
SEND_BYTES = 256 << 10
"""Opened and sent at a time; four of the stored chunks."""

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_PRESSES = {"start": Pressed.ON, "pause": Pressed.PAUSED, "stop": Pressed.OFF}


class PressBody(Body):
    action: Literal["start", "pause", "stop"]


class HoldBody(Body):
    reason: Annotated[str, Field(min_length=1, max_length=400)]


class ListQuery(Query):
    shared: bool = False
    """Those shared with the reader as a client, instead of their own."""


class FileQuery(Query):
    download: bool = False
    """To be saved, not played."""


@routes.post(f"/api/appointments/{{id:{ID_PATTERN}}}/recording")
async def press(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, PressBody)
    recordings = request.app[RECORDINGS]
    shown = await recordings.press(actor, request.match_info["id"], _PRESSES[body.action])
    return web.json_response(shown._asdict())


@routes.get("/api/recordings")
async def list_own(request: web.Request) -> web.Response:
    actor = require_actor(request)
    found = await list_recordings(request.app[DATABASE], actor, shared=read_query(request, ListQuery).shared)
    return web.json_response({"recordings": [recording_json(one, _share(request, one)) for one in found]})


@routes.get("/api/recordings/looks")
async def looks(request: web.Request) -> web.Response:
    actor, query = require_actor(request), read_query(request, PageQuery)
    page = await looks_at(request.app[DATABASE], actor, Wanted(query.limit, place_of(query.cursor)))
    return web.json_response({"looks": [_look_json(look) for look in page.rows], "next_cursor": page.next_cursor})


@routes.get(ONE)
async def one(request: web.Request) -> web.Response:
    actor = require_actor(request)
    found = await get_recording(request.app[DATABASE], actor, request.match_info["id"])
    return web.json_response(recording_json(found, _share(request, found)))


@routes.delete(ONE)
async def delete(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await request.app[ARCHIVE].delete(actor, request.match_info["id"])
    return web.Response(status=204)


@routes.post(f"{ONE}/composition")
async def compose(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await read(request, EmptyBody)
    await request.app[COMPOSER].ask(actor, request.match_info["id"])
    return web.Response(status=204)


@routes.delete(f"{ONE}/composition")
async def cancel_composition(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await request.app[COMPOSER].cancel(actor, request.match_info["id"])
    return web.Response(status=204)


@routes.post(f"{ONE}/share")
async def share(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await read(request, EmptyBody)
    await request.app[ARCHIVE].share(actor, request.match_info["id"], shared=True)
    return web.Response(status=204)


@routes.delete(f"{ONE}/share")
async def unshare(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await request.app[ARCHIVE].share(actor, request.match_info["id"], shared=False)
    return web.Response(status=204)


@routes.post(f"{ONE}/hold")
async def hold(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER, Role.ADMIN)
    body = await read(request, HoldBody)
    await request.app[ARCHIVE].hold(actor, request.match_info["id"], body.reason)
    return web.Response(status=204)


@routes.delete(f"{ONE}/hold")
async def release(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER, Role.ADMIN)
    await request.app[ARCHIVE].hold(actor, request.match_info["id"], None)
    return web.Response(status=204)


@routes.delete(f"/api/appointments/{{id:{ID_PATTERN}}}/recordings/mine")
async def forget_me(request: web.Request) -> web.Response:
    """What was recorded of the reader in this session is erased; what others said and showed stays."""
    await request.app[ARCHIVE].forget_me(require_actor(request), request.match_info["id"])
    return web.Response(status=204)


@routes.get(f"{ONE}/files/{{file_id:[0-9a-z-]{{1,64}}}}")
async def file(request: web.Request) -> web.StreamResponse:
    """The media with one byte range if asked for (RFC 9110 §14), several are answered whole; `?download=true` saves."""
    download = read_query(request, FileQuery).download
    asked_for = request.match_info["id"], request.match_info["file_id"]
    found = await request.app[ARCHIVE].open_file(require_actor(request), *asked_for, download=download)
    opened = found.file
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, no-store", "Content-Type": found.mime}
    if download:
        headers["Content-Disposition"] = f'attachment; filename="{found.name}"'
    asked = parse_range(request.headers.get("Range"), opened.size)
    if asked is None:
        response = web.StreamResponse(status=200, headers=headers)
        asked = (0, opened.size)
    elif asked[0] >= asked[1]:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{opened.size}"})
    else:
        headers["Content-Range"] = f"bytes {asked[0]}-{asked[1] - 1}/{opened.size}"
        response = web.StreamResponse(status=206, headers=headers)
    response.content_length = asked[1] - asked[0]
    await response.prepare(request)
    if request.method != "HEAD":
        with contextlib.suppress(ConnectionResetError):  # a player that seeks or leaves breaks off
            await _send(response, opened, *asked)
    return response


async def _send(response: web.StreamResponse, opened: RangedFile, start: int, end: int) -> None:
    at = start
    while at < end:
        part = await asyncio.to_thread(opened.read, at, min(SEND_BYTES, end - at))
        await response.write(part)
        at += len(part)
    await response.write_eof()


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the byte after the last; None where the whole file is to be sent; empty if it can't be met."""
    match = _RANGE.fullmatch(header or "")
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1 if last else size)


def _look_json(look: Look) -> dict[str, Any]:
    return {
        "at": iso(look.at),
        "who": look.who,
        "is_you": look.is_you,
        "what": look.what,
        "recording_id": look.recording_id,
        "session_starts_at": iso(look.starts_at),
    }


def _share(request: web.Request, view: RecordingView) -> float | None:
    return request.app[COMPOSER].share_of(view.id)


def recording_json(view: RecordingView, share: float | None) -> dict[str, Any]:
    """`share`: how much of the composed file is made, while it is being made."""
    return {
        "id": view.id,
        "state": view.state,
        "appointment_id": view.session.id,
        "client_name": view.session.client_name,
        "practitioner_name": view.session.practitioner_name,
        "service_name": view.session.service_name,
        "started_at": iso(view.started_at),
        "length_s": view.length_s,
        "expires_at": _iso(view.expires_at),
        "complete": view.complete,
        "failure": view.failure,
        "files": [_file_json(file) for file in view.files],
        "composition": {"state": view.composition, "share": share},
        "composed": None if view.composed is None else _file_json(view.composed),
        "thumbnail": None if view.thumbnail is None else _file_json(view.thumbnail),
        "chapters": [{"at_s": mark.at_s, "title": mark.title} for mark in view.chapters],
        "shared_at": _iso(view.shared_at),
        "held_at": _iso(view.held_at),
        "recovered_at": _iso(view.recovered_at),
        "stopped_at": _iso(view.stopped_at),
        "erased": list(view.erased),
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else iso(at)


def _file_json(file: FileView) -> dict[str, Any]:
    return {name: getattr(file, name) for name in FileView.__dataclass_fields__}
