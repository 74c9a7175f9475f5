"""One's own data: a copy of everything, notes given out or refused, and being erased. Thin: control decides."""

from datetime import timedelta
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import note_requests
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, NoQuery, read, read_query
from control.api.files import NEVER_RUNS
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, iso, maybe_iso
from control.errors import NotFound
from control.exports import ExportView
from control.keys import CLOCK, DATABASE, ERASING, EXPORTS, LIMITS
from control.limits import Rule
from control.models.people import Role

routes = web.RouteTableDef()

EXPORTING = Rule("copies of data", 5, timedelta(days=1))  # each reads and packs everything of a person
ERASING_TRIES = Rule("erasing", 10, timedelta(hours=1))


class EraseBody(Body):
    email: Annotated[str, Field(min_length=3, max_length=254)]
    gives_up_money: bool = False


class NotesAnswerBody(Body):
    give: bool


def export_json(view: ExportView) -> dict[str, Any]:
    return {
        "id": view.id,
        "state": view.state,
        "parts_done": view.parts_done,
        "parts": view.parts,
        "size": view.size,
        "created_at": iso(view.created_at),
        "expires_at": maybe_iso(view.expires_at),
    }


@routes.post("/api/account/export")
@idempotent()
async def ask(request: web.Request) -> web.Response:
    """Begins a copy of everything, or finds the one under way; it is made in the background."""
    actor, now = require_actor(request), request.app[CLOCK]()
    await read(request, EmptyBody)
    request.app[LIMITS].count(EXPORTING, actor.person_id, now)
    return web.json_response(export_json(await request.app[EXPORTS].ask(actor, now=now)), status=202)


@routes.get("/api/account/export")
async def newest(request: web.Request) -> web.Response:
    """How far the newest copy is."""
    actor = require_actor(request)
    read_query(request, NoQuery)
    found = await request.app[EXPORTS].newest(actor)
    if found is None:
        raise NotFound
    return web.json_response(export_json(found))


@routes.get(f"/api/account/export/{{id:{ID_PATTERN}}}/content")
async def content(request: web.Request) -> web.StreamResponse:
    exports = request.app[EXPORTS]
    view = await exports.get(require_actor(request), request.match_info["id"], now=request.app[CLOCK]())
    response = web.StreamResponse(headers=NEVER_RUNS)
    response.content_type = "application/zip"
    response.content_length = view.size
    response.headers["Content-Disposition"] = f'attachment; filename="my-data-{view.created_at:%Y-%m-%d}.zip"'
    first = await exports.read_chunk(view, 0)  # a copy that can't be opened is a refusal, not half an answer
    await response.prepare(request)
    await response.write(first)
    for index in range(1, view.chunks):
        await response.write(await exports.read_chunk(view, index))
    await response.write_eof()
    return response


@routes.post(f"/api/clients/{{id:{ID_PATTERN}}}/notes-request")
@idempotent()
async def answer_notes(request: web.Request) -> web.Response:
    """The practitioner gives their notes out to the client who asked, or does not."""
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, NotesAnswerBody)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    await note_requests.answer(db, actor, request.match_info["id"], give=body.give, now=now)
    return web.Response(status=204)


@routes.post("/api/account/erase")
async def erase(request: web.Request) -> web.Response:
    """For good: the session ends with it. What is kept and why stands on the page /account/erase."""
    actor, now = require_actor(request), request.app[CLOCK]()
    body = await read(request, EraseBody)
    request.app[LIMITS].count(ERASING_TRIES, actor.person_id, now)
    await request.app[ERASING].erase(actor, body.email, gives_up_money=body.gives_up_money, now=now)
    return web.Response(status=204)
