"""Messages: the inbox with one conversation beside it, a first message to somebody, and what a search finds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from control import desk, message_queries, messages
from control.accounts import Actor, actor_of, require_actor
from control.api.messages import SEARCHING
from control.errors import NotFound
from control.keys import CLOCK, DATABASE, FILES, LIMITS, MESSAGES
from control.language import t
from control.message_files import MOST_OF_A_MESSAGE
from control.message_queries import MessageView
from control.models.people import Role
from control.paging import Wanted
from web.render import render, zone_of

routes = web.RouteTableDef()


@dataclass(frozen=True)
class Addressee:
    """Whom a first message is for; without a person, the practice."""

    person_id: str | None
    name: str


_MOST_LISTED = 60
_SHOWN = 50
_MOST_QUERY = 100


@routes.get("/messages")
async def inbox(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request)
    return render(request, "messages.html", **await _list(request, actor), talk=None, to=None)


@routes.get("/messages/{id:[0-9a-f]{32}}")
async def conversation(request: web.Request) -> web.StreamResponse:
    actor, db, rules = require_actor(request), request.app[DATABASE], request.app[MESSAGES]
    talk = await message_queries.conversation(db, rules, actor, request.match_info["id"])
    shown = _shown(request)
    said = await message_queries.messages_of(db, rules, actor, talk.id, limit=shown)
    return render(
        request,
        "messages.html",
        **await _list(request, actor),
        talk=talk,
        to=None,
        days=_by_day(said, zone_of(request)),
        files=await request.app[FILES].of_messages([one.id for one in said if one.files]),
        more=min(shown + 100, message_queries.MOST_SHOWN) if said and said[0].seq > 1 else None,
        reads=await desk.staff_reads(db, talk.id),
        is_practitioner=talk.practitioner_id == actor.person_id,
        **_writing(request, by_mail=talk.is_enquiry),
    )


@routes.get("/messages/support")
async def to_support(request: web.Request) -> web.StreamResponse:
    """To the practice itself; leads to the conversation if there is one."""
    actor, db = require_actor(request), request.app[DATABASE]
    async with db.reading() as session:
        known = await messages.find(session, messages.Pair(None, actor.person_id))
    if known is not None:
        raise web.HTTPSeeOther(messages.path_of(known))
    to = Addressee(None, t(message_queries.SUPPORT_NAME))
    return render(request, "messages.html", **await _list(request, actor), talk=None, to=to, **_writing(request))


@routes.get("/messages/to/{id:[0-9a-f]{32}}")
async def first_message(request: web.Request) -> web.StreamResponse:
    """To somebody one has not written with yet; leads to the conversation if there is one."""
    actor, db = require_actor(request), request.app[DATABASE]
    other = await actor_of(db, request.match_info["id"])
    if other is None:
        raise NotFound
    async with db.reading() as session:
        pair = await messages.pair_with(session, actor, other.person_id)
        known = await messages.find(session, pair)
    if known is not None:
        raise web.HTTPSeeOther(messages.path_of(known))
    return render(
        request,
        "messages.html",
        **await _list(request, actor),
        talk=None,
        to=Addressee(other.person_id, other.name),
        **_writing(request),
    )


def _shown(request: web.Request) -> int:
    """How many messages of a conversation, by `?show`: whole hundreds are links on the page."""
    asked = request.query.get("show", "")
    wanted = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 5 else _SHOWN
    return min(max(wanted, _SHOWN), message_queries.MOST_SHOWN)


def _writing(request: web.Request, *, by_mail: bool = False) -> dict[str, Any]:
    """`by_mail`: what is written goes out by e-mail, which carries no files."""
    attaches = None if by_mail else {"most_bytes": request.app[FILES].most_bytes, "most_files": MOST_OF_A_MESSAGE}
    return {"notice": request.app[MESSAGES].notice, "most": messages.MOST_TEXT_LENGTH, "attaches": attaches}


async def _list(request: web.Request, actor: Actor) -> dict[str, Any]:
    db, rules = request.app[DATABASE], request.app[MESSAGES]
    query = request.query.get("q", "").strip()[:_MOST_QUERY]
    if query:
        request.app[LIMITS].count(SEARCHING, actor.person_id, request.app[CLOCK]())
    found = await message_queries.search(db, rules, actor, query) if query else ()
    page = await message_queries.inbox(db, rules, actor, Wanted(_MOST_LISTED))
    return {
        "talks": page.rows,
        "query": query,
        "found": found,
        "works": actor.is_any(Role.PRACTITIONER),
    }


def _by_day(said: tuple[MessageView, ...], zone: str) -> list[tuple[Any, list[MessageView]]]:
    """Under the date they were written on, in the reader's zone."""
    here = ZoneInfo(zone)
    return [(day, list(group)) for day, group in groupby(said, lambda one: one.created_at.astimezone(here).date())]
