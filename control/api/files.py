"""Files of a session or for a message: begin, chunks, list, content, thumbnail, withdraw. control/files.py decides.

Contents go out as attachments under a policy that runs nothing, whatever the file claims to be.
"""

from datetime import timedelta
from typing import Annotated
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from control.accounts import require_actor
from control.api.bodies import Body, read
from control.api.idempotency import key_of
from control.api.shapes import ID_PATTERN, Id, Text
from control.files import Wanted
from control.keys import CLOCK, FILES, LIMITS
from control.limits import Rule

routes = web.RouteTableDef()
ALL = f"/api/appointments/{{id:{ID_PATTERN}}}/files"
ONE = f"/api/files/{{id:{ID_PATTERN}}}"
BEGINNING = Rule("files", 60, timedelta(minutes=10))
NEVER_RUNS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


class BeginForMessageBody(Body):
    name: Annotated[Text, Field(min_length=1, max_length=1_000)]
    size: Annotated[int, Field(ge=1, le=2**31 - 1)]


class BeginBody(BeginForMessageBody):
    visible_to: Id | None = None


@routes.get(ALL)
async def of_session(request: web.Request) -> web.Response:
    found = await request.app[FILES].of_session(require_actor(request), request.match_info["id"])
    shown = {"files": [one.as_json() for one in found], "most_bytes": request.app[FILES].most_bytes}
    return web.json_response(shown, headers={"Cache-Control": "no-store"})


@routes.post(ALL)
async def begin_for_session(request: web.Request) -> web.Response:
    """Not kept as an idempotent answer (names are private): an upload is found again by its key."""
    actor = require_actor(request)
    key = key_of(request, required=True) or ""
    body = await read(request, BeginBody)
    now = request.app[CLOCK]()
    request.app[LIMITS].count(BEGINNING, actor.person_id, now)
    wanted = Wanted(body.name, body.size, body.visible_to)
    begun = await request.app[FILES].begin(actor, request.match_info["id"], wanted, key=key, now=now)
    return web.json_response(begun.as_json(), status=201)


@routes.post("/api/files")
async def begin_for_message(request: web.Request) -> web.Response:
    """Its owner's alone, until a message is written that names it; found again by its key, as those of sessions."""
    actor = require_actor(request)
    key = key_of(request, required=True) or ""
    body = await read(request, BeginForMessageBody)
    now = request.app[CLOCK]()
    request.app[LIMITS].count(BEGINNING, actor.person_id, now)
    begun = await request.app[FILES].begin(actor, None, Wanted(body.name, body.size), key=key, now=now)
    return web.json_response(begun.as_json(), status=201)


@routes.put(f"{ONE}/chunks/{{index:[0-9]{{1,5}}}}")
async def add_chunk(request: web.Request) -> web.Response:
    actor = require_actor(request)
    index = int(request.match_info["index"])
    # The size is known before it is read: aiohttp ends a body over server.max_body_bytes.
    data = await request.read()
    view = await request.app[FILES].add_chunk(actor, request.match_info["id"], index, data, now=request.app[CLOCK]())
    return web.json_response(view.as_json())


@routes.get(f"{ONE}/content")
async def content(request: web.Request) -> web.StreamResponse:
    view = await request.app[FILES].get(require_actor(request), request.match_info["id"])
    response = web.StreamResponse(headers=NEVER_RUNS)
    response.content_type = view.mime or "application/octet-stream"
    response.content_length = view.size
    response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(view.name, safe='')}"
    first = await request.app[FILES].read_chunk(view, 0)  # a file that can't be opened is a refusal, not half an answer
    await response.prepare(request)
    await response.write(first)
    for index in range(1, view.chunks):
        await response.write(await request.app[FILES].read_chunk(view, index))
    await response.write_eof()
    return response


@routes.get(f"{ONE}/thumbnail")
async def thumbnail(request: web.Request) -> web.Response:
    picture = await request.app[FILES].thumbnail(require_actor(request), request.match_info["id"])
    return web.Response(body=picture, content_type="image/jpeg", headers=NEVER_RUNS)


@routes.delete(ONE)
async def withdraw(request: web.Request) -> web.Response:
    await request.app[FILES].withdraw(require_actor(request), request.match_info["id"], now=request.app[CLOCK]())
    return web.Response(status=204)
