"""The chat of one session. Thin: control/chat.py decides.

What is written is never kept as an idempotent answer (that table is not sealed): a line recognises its own repeat.
"""

from datetime import timedelta
from typing import Annotated

from aiohttp import web
from pydantic import Field

from control import chat
from control.accounts import require_actor
from control.api.bodies import Body, Query, read, read_query
from control.api.idempotency import key_of
from control.api.shapes import ID_PATTERN, Text
from control.keys import CHAT, CLOCK, LIMITS
from control.limits import Rule

routes = web.RouteTableDef()
CHAT_PATH = f"/api/appointments/{{id:{ID_PATTERN}}}/chat"
MOST_SEQ = 2**31 - 1
WRITING = Rule("chat", 60, timedelta(minutes=1))


class LineBody(Body):
    text: Annotated[Text, Field(min_length=1, max_length=chat.MOST_CHARACTERS)]


class MarkBody(Body):
    delivered: Annotated[int, Field(ge=0, le=MOST_SEQ)]
    read: Annotated[int, Field(ge=0, le=MOST_SEQ)]


class HistoryQuery(Query):
    after: Annotated[int, Field(ge=0, le=MOST_SEQ)] | None = None
    before: Annotated[int, Field(ge=1, le=MOST_SEQ)] | None = None


@routes.get(CHAT_PATH)
async def history(request: web.Request) -> web.Response:
    actor = require_actor(request)
    query = read_query(request, HistoryQuery)
    found = await request.app[CHAT].history(actor, request.match_info["id"], after=query.after, before=query.before)
    return web.json_response(
        {
            "messages": [line.as_json() for line in found.lines],
            "marks": [mark.as_json() for mark in found.marks],
            "has_earlier": found.has_earlier,
            "may_write": found.may_write,
        },
        headers={"Cache-Control": "no-store"},
    )


@routes.post(CHAT_PATH)
async def say(request: web.Request) -> web.Response:
    actor = require_actor(request)
    key = key_of(request, required=True) or ""
    body = await read(request, LineBody)
    now = request.app[CLOCK]()
    request.app[LIMITS].count(WRITING, actor.person_id, now)
    line = await request.app[CHAT].say(actor, request.match_info["id"], body.text, key=key, now=now)
    return web.json_response(line.as_json(), status=201, headers={"Cache-Control": "no-store"})


@routes.post(f"{CHAT_PATH}/marks")
async def mark(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, MarkBody)
    said = await request.app[CHAT].mark(actor, request.match_info["id"], delivered=body.delivered, read=body.read)
    return web.json_response(said.as_json())
