"""Conversations: the inbox, writing, how far somebody has read, the sign that somebody is writing, searching."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import message_queries, messages
from control.accounts import Actor, require_actor
from control.api.bodies import Body, EmptyBody, NoQuery, PageQuery, Query, read, read_query
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Id, Text, iso
from control.files import FileView
from control.keys import CLOCK, DATABASE, FILES, LIMITS, LIVE, MESSAGES
from control.limits import Rule
from control.message_files import MOST_OF_A_MESSAGE
from control.message_queries import ConversationView, Found, MessageView
from control.paging import Wanted, place_of

routes = web.RouteTableDef()
ONE = f"/api/conversations/{{id:{ID_PATTERN}}}"

WRITING = Rule("messages written", 30, timedelta(minutes=5))  # faster than anybody talks; a script is stopped
BEGINNING = Rule("conversations begun", 20, timedelta(days=1))
TYPING = Rule("typing", 40, timedelta(minutes=1))  # the page says so every 3 s at most
SEARCHING = Rule("messages searched", 30, timedelta(minutes=1))  # each opens up to 2,000 sealed texts


class _Words(Body):
    text: Annotated[Text, Field(max_length=messages.MOST_TEXT_LENGTH)]
    """May be empty if files come with it."""
    notice_version: Annotated[str, Field(max_length=16)] | None = None
    files: Annotated[tuple[Id, ...], Field(max_length=MOST_OF_A_MESSAGE)] = ()


class BeginBody(_Words):
    to: Id


class WriteBody(_Words):
    pass


class ReadBody(Body):
    seq: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]


class MessagesQuery(Query):
    before: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class SearchQuery(Query):
    q: Annotated[str, Field(min_length=1, max_length=100)]


def conversation_json(view: ConversationView) -> dict[str, Any]:
    return {
        "id": view.id,
        "with": {"id": view.other_id, "name": view.other_name},
        "last_seq": view.last_seq,
        "last_at": iso(view.last_at),
        "last_text": view.last_text,
        "last_is_mine": view.last_is_mine,
        "unread": view.unread,
        "other_read_seq": view.other_read_seq,
        "path": messages.path_of(view.id),
    }


def message_json(view: MessageView, files: Sequence[FileView] = ()) -> dict[str, Any]:
    return {
        "id": view.id,
        "seq": view.seq,
        "author": {"id": view.author_id, "name": view.author_name},
        "text": view.text,
        "created_at": iso(view.created_at),
        "monitored": view.monitored,
        "file_count": view.files,
        "files": [one.as_json() for one in files],
    }


def found_json(found: Found) -> dict[str, Any]:
    return {
        "conversation_id": found.conversation_id,
        "with": found.other_name,
        "seq": found.seq,
        "excerpt": found.excerpt,
        "created_at": iso(found.created_at),
    }


def written_json(written: messages.Written) -> dict[str, Any]:
    return {
        "id": written.id,
        "conversation_id": written.conversation_id,
        "seq": written.seq,
        "created_at": iso(written.created_at),
        "path": messages.path_of(written.conversation_id),
    }


def _count(request: web.Request, rule: Rule, actor: Actor) -> None:
    request.app[LIMITS].count(rule, actor.person_id, request.app[CLOCK]())


@routes.get("/api/conversations")
async def inbox(request: web.Request) -> web.Response:
    actor = require_actor(request)
    query = read_query(request, PageQuery)
    wanted = Wanted(query.limit, place_of(query.cursor))
    page = await message_queries.inbox(request.app[DATABASE], request.app[MESSAGES], actor, wanted)
    return web.json_response(
        {"conversations": [conversation_json(one) for one in page.rows], "next_cursor": page.next_cursor}
    )


@routes.post("/api/conversations")
@idempotent()
async def begin(request: web.Request) -> web.Response:
    """Write to somebody; the two have one conversation, which is begun or gone on with."""
    actor = require_actor(request)
    body = await read(request, BeginBody)
    _count(request, WRITING, actor)
    _count(request, BEGINNING, actor)
    written = await messages.write_to(
        request.app[DATABASE],
        request.app[MESSAGES],
        actor,
        body.to,
        body.text,
        seen_notice=body.notice_version,
        files=body.files,
        now=request.app[CLOCK](),
    )
    return web.json_response(written_json(written), status=201)


@routes.post("/api/conversations/support")
@idempotent()
async def write_to_support(request: web.Request) -> web.Response:
    """Write to the practice itself."""
    actor = require_actor(request)
    body = await read(request, WriteBody)
    _count(request, WRITING, actor)
    written = await messages.write_to_support(
        request.app[DATABASE],
        request.app[MESSAGES],
        actor,
        body.text,
        seen_notice=body.notice_version,
        files=body.files,
        now=request.app[CLOCK](),
    )
    return web.json_response(written_json(written), status=201)


@routes.get("/api/conversations/unread")
async def unread(request: web.Request) -> web.Response:
    actor = require_actor(request)
    read_query(request, NoQuery)
    count = await message_queries.unread_conversations(request.app[DATABASE], actor)
    return web.json_response({"unread": count})


@routes.get("/api/conversations/search")
async def search(request: web.Request) -> web.Response:
    actor = require_actor(request)
    query = read_query(request, SearchQuery)
    _count(request, SEARCHING, actor)
    found = await message_queries.search(request.app[DATABASE], request.app[MESSAGES], actor, query.q)
    return web.json_response({"found": [found_json(one) for one in found]})


@routes.get(ONE)
async def conversation(request: web.Request) -> web.Response:
    """One conversation with its newest messages, or those before number `before`; oldest first."""
    actor = require_actor(request)
    query = read_query(request, MessagesQuery)
    db, rules, wanted = request.app[DATABASE], request.app[MESSAGES], request.match_info["id"]
    view = await message_queries.conversation(db, rules, actor, wanted)
    shown = await message_queries.messages_of(db, rules, actor, wanted, before=query.before, limit=query.limit)
    files = await request.app[FILES].of_messages([one.id for one in shown if one.files])
    told = [message_json(one, files.get(one.id, ())) for one in shown]
    return web.json_response({**conversation_json(view), "messages": told})


@routes.post(f"{ONE}/messages")
@idempotent()
async def write(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, WriteBody)
    _count(request, WRITING, actor)
    written = await messages.write(
        request.app[DATABASE],
        request.app[MESSAGES],
        actor,
        request.match_info["id"],
        body.text,
        seen_notice=body.notice_version,
        files=body.files,
        now=request.app[CLOCK](),
    )
    return web.json_response(written_json(written), status=201)


@routes.post(f"{ONE}/read")
async def mark_read(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, ReadBody)
    await messages.mark_read(request.app[DATABASE], actor, request.match_info["id"], body.seq)
    return web.Response(status=204)


@routes.post(f"{ONE}/typing")
async def typing(request: web.Request) -> web.Response:
    """Tell the other's open pages; nothing is stored."""
    actor = require_actor(request)
    await read(request, EmptyBody)
    _count(request, TYPING, actor)
    conversation_id = request.match_info["id"]
    for person_id in await messages.other_in(request.app[DATABASE], actor, conversation_id):
        request.app[LIVE].publish(person_id, {"type": "typing", "about": conversation_id})
    return web.Response(status=204)
