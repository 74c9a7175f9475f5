"""Recordings over HTTP: the Record button, the list, the files with byte ranges, deleting.

Thin: the rules are control/recordings.py's. A file is opened chunk by chunk in a thread while it is sent, so that
memory and the loop stay free whatever its length.
"""

import asyncio
import re
from typing import Any, Literal

from aiohttp import web

from control.accounts import require_actor
from control.api.bodies import Body, read
from control.api.shapes import ID_PATTERN, iso
from control.keys import DATABASE, RECORDINGS
from control.models.people import Role
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


@routes.post(f"/api/appointments/{{id:{ID_PATTERN}}}/recording")
async def press(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, PressBody)
    recordings = request.app[RECORDINGS]
    state, reason = await recordings.press(actor, request.match_info["id"], _PRESSES[body.action])
    return web.json_response({"state": state, "reason": reason})


@routes.get("/api/recordings")
async def list_own(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    found = await list_recordings(request.app[DATABASE], actor)
    return web.json_response({"recordings": [recording_json(one) for one in found]})


@routes.get(ONE)
async def one(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    found = await get_recording(request.app[DATABASE], actor, request.match_info["id"])
    return web.json_response(recording_json(found))


@routes.delete(ONE)
async def delete(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await request.app[RECORDINGS].delete(actor, request.match_info["id"])
    return web.Response(status=204)


@routes.get(f"{ONE}/files/{{file_id:[0-9a-z-]{{1,64}}}}")
async def file(request: web.Request) -> web.StreamResponse:
    """The media with one byte range if asked for (RFC 9110 §14); several ranges are answered whole."""
    actor = require_actor(request, Role.PRACTITIONER)
    opened, mime = await request.app[RECORDINGS].open_file(
        actor, request.match_info["id"], request.match_info["file_id"]
    )
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, no-store", "Content-Type": mime}
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


def recording_json(view: RecordingView) -> dict[str, Any]:
    return {
        "id": view.id,
        "state": view.state,
        "appointment_id": view.session.id,
        "client_name": view.session.client_name,
        "service_name": view.session.service_name,
        "started_at": iso(view.started_at),
        "length_s": view.length_s,
        "expires_at": None if view.expires_at is None else iso(view.expires_at),
        "complete": view.complete,
        "failure": view.failure,
        "files": [_file_json(file) for file in view.files],
    }


def _file_json(file: FileView) -> dict[str, Any]:
    return {name: getattr(file, name) for name in FileView.__dataclass_fields__}
