"""A practitioner's clients and the notes on each. Thin: control/client_files.py decides and seals."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control.accounts import require_actor
from control.api.bodies import Body, PageQuery, read, read_query
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Text, iso, maybe_iso
from control.client_files import ClientView, NoteView
from control.keys import CLIENT_FILES, CLOCK
from control.models.people import Role
from control.paging import Wanted, place_of

routes = web.RouteTableDef()
ONE = f"/api/clients/{{id:{ID_PATTERN}}}"
NOTE = f"/api/client-notes/{{id:{ID_PATTERN}}}"

NoteText = Annotated[Text, Field(min_length=1, max_length=20_000)]


class ClientsQuery(PageQuery):
    q: Annotated[Text, Field(max_length=100)] = ""


class NoteBody(Body):
    text: NoteText


class ChangedNoteBody(Body):
    text: NoteText
    version: Annotated[int, Field(ge=1, strict=True)]


def client_json(one: ClientView) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "time_zone": one.time_zone,
        "sessions": one.sessions,
        "missed": one.missed,
        "last_at": maybe_iso(one.last_at),
        "next_at": maybe_iso(one.next_at),
    }


def note_json(one: NoteView) -> dict[str, Any]:
    moments = {"created_at": iso(one.created_at), "changed_at": iso(one.changed_at)}
    return {"id": one.id, "text": one.text, "version": one.version, **moments}


@routes.get("/api/clients")
async def clients(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    query = read_query(request, ClientsQuery)
    wanted = Wanted(query.limit, place_of(query.cursor, str))
    page = await request.app[CLIENT_FILES].clients_of(actor, query.q, wanted, now=request.app[CLOCK]())
    return web.json_response({"clients": [client_json(one) for one in page.rows], "next_cursor": page.next_cursor})


@routes.get(ONE)
async def client_file(request: web.Request) -> web.Response:
    """The client and the notes on them; the look is written down."""
    actor = require_actor(request, Role.PRACTITIONER)
    files, client_id = request.app[CLIENT_FILES], request.match_info["id"]
    one = await files.client(actor, client_id, now=request.app[CLOCK]())
    notes = await files.notes(actor, client_id)
    answer = web.json_response(client_json(one) | {"notes": [note_json(note) for note in notes]})
    answer.headers["Cache-Control"] = "no-store"
    return answer


@routes.post(f"{ONE}/notes")
@idempotent()
async def add_note(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, NoteBody)
    note = await request.app[CLIENT_FILES].add_note(
        actor, request.match_info["id"], body.text, now=request.app[CLOCK]()
    )
    return web.json_response({"id": note.id, "version": note.version}, status=201)


@routes.put(NOTE)
async def change_note(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, ChangedNoteBody)
    note = await request.app[CLIENT_FILES].change_note(
        actor, request.match_info["id"], body.text, body.version, now=request.app[CLOCK]()
    )
    return web.json_response({"id": note.id, "version": note.version})


@routes.delete(NOTE)
async def delete_note(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    await request.app[CLIENT_FILES].delete_note(actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.Response(status=204)
