"""Idempotency-Key: a POST repeated under the same key is answered as the first was, and not done again.

    @routes.post("/sessions/book")
    @idempotent(required=True)
    async def book(request): …

The first request claims the key by inserting a row; its 2xx answer is kept there for 24 h. Another body under the
same key is 422. A request that fails changes nothing, so its claim is given back. A process killed between the
action's commit and keeping the answer leaves a claim that runs out; the repeated action is safe by itself (a booking
is found again by its key, every other action returns the present state).
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, cast

from aiohttp import web
from sqlalchemy import CursorResult, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from control.accounts import require_actor
from control.crowd import crowd_of
from control.database import Database
from control.errors import Conflict, Invalid, Malformed
from control.keys import CLOCK, DATABASE
from control.language import t
from control.models.idempotency import KeptAnswer

HEADER = "Idempotency-Key"
MOST_KEY_LENGTH = 200
KEPT_FOR = timedelta(hours=24)
KEPT_STATUSES = (200, 201, 204)  # not 202: what is accepted and goes on is asked for again
CLAIM_FOR = timedelta(seconds=30)  # a claim older than this belongs to a process that was killed
WAIT_S, WAIT_STEP_S = 5.0, 0.05  # how long the second of two simultaneous requests waits for the first

Handler = Callable[[web.Request], Awaitable[web.Response]]


def key_of(request: web.Request, *, required: bool) -> str | None:
    key = request.headers.get(HEADER)
    if key is None:
        if required:
            raise Malformed(
                "idempotency_key_required",
                t("Send an %(header)s header, so that a repeat does no harm.", header=HEADER),
            )
        return None
    if not 1 <= len(key) <= MOST_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise Malformed(
            "idempotency_key_invalid",
            t(
                "An %(header)s has 1 to %(most_key_length)s visible characters.",
                header=HEADER,
                most_key_length=MOST_KEY_LENGTH,
            ),
        )
    return key


def idempotent(*, required: bool = False, claimed: bool = True) -> Callable[[Handler], Handler]:
    """`claimed` off: the action recognises its own repeat, so nothing is written before it succeeds."""

    def wrap(handler: Handler) -> Handler:
        @wraps(handler)
        async def answer_once(request: web.Request) -> web.Response:
            actor = require_actor(request)
            key = key_of(request, required=required)
            if key is None:
                return await handler(request)
            return await _once(request, handler, actor.person_id, key, claimed=claimed)

        return answer_once

    return wrap


async def _once(request: web.Request, handler: Handler, person_id: str, key: str, *, claimed: bool) -> web.Response:
    db = request.app[DATABASE]
    now = request.app[CLOCK]()
    what = await _hash(request)
    if claimed:
        kept = await _claim(db, person_id, key, what, now)
    else:
        kept = await _kept(db, person_id, key, what, now)
    if kept is not None:
        return kept
    try:
        response = await handler(request)
    except BaseException:
        if claimed:
            await _give_back(db, person_id, key)
        raise
    if response.status in KEPT_STATUSES and isinstance(response.body, bytes):
        await _keep(db, person_id, key, what, response.status, response.body.decode(), now)
    elif claimed:
        await _give_back(db, person_id, key)
    return response


async def _hash(request: web.Request) -> str:
    """Method, path and body; JSON that means the same counts as the same."""
    raw = await request.read()
    try:
        body = json.dumps(json.loads(raw or b"{}"), sort_keys=True).encode()
    except (ValueError, RecursionError):
        body = raw
    return hashlib.sha256(b"\n".join((request.method.encode(), request.path.encode(), body))).hexdigest()


async def _claim(db: Database, person_id: str, key: str, what: str, now: datetime) -> web.Response | None:
    """None: the key is ours now and the work is to be done. Else the answer to repeat."""
    deadline = asyncio.get_running_loop().time() + WAIT_S
    stale = (KeptAnswer.created_at <= now - KEPT_FOR) | (
        KeptAnswer.status.is_(None) & (KeptAnswer.created_at <= now - CLAIM_FOR)
    )
    while True:
        async with db.transaction() as session:
            fresh: dict[str, Any] = {"request_hash": what, "status": None, "body": None, "created_at": now}
            if await _upsert(session, person_id, key, fresh, replacing=stale):
                return None
        try:
            kept = await _kept(db, person_id, key, what, now)
        except _AtWork:
            if asyncio.get_running_loop().time() >= deadline:
                raise Conflict("request_in_progress", "The same request is still at work.", retry_after_s=1) from None
            await asyncio.sleep(WAIT_STEP_S)
            continue
        if kept is not None:
            return kept


class _AtWork(Exception):
    """The first request under this key has not been answered yet."""


async def _kept(db: Database, person_id: str, key: str, what: str, now: datetime) -> web.Response | None:
    kept = await crowd_of(db).gathered(db, _answers, (person_id, key))
    if kept is None or kept.created_at <= now - KEPT_FOR:
        return None
    if kept.request_hash != what:
        raise Invalid("idempotency_key_reused", "This key was used for another request.")
    if kept.status is None:
        raise _AtWork
    return _repeated(kept.status, kept.body or "")


async def _answers(db: Database, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KeptAnswer]:
    async with db.reading() as session:
        rows = await session.scalars(select(KeptAnswer).where(tuple_(KeptAnswer.person_id, KeptAnswer.key).in_(keys)))
        return {(row.person_id, row.key): row for row in rows}


async def _keep(db: Database, person_id: str, key: str, what: str, status: int, body: str, now: datetime) -> None:
    async with db.transaction() as session:
        answer = {"request_hash": what, "status": status, "body": body, "created_at": now}
        await _upsert(session, person_id, key, answer, replacing=KeptAnswer.request_hash == what)


async def _upsert(
    session: AsyncSession, person_id: str, key: str, values: dict[str, Any], *, replacing: ColumnElement[bool]
) -> bool:
    """Insert, or replace a row of which `replacing` holds; False if there is another."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    done = await session.execute(
        insert(KeptAnswer)
        .values(person_id=person_id, key=key, **values)
        .on_conflict_do_update(index_elements=[KeptAnswer.person_id, KeptAnswer.key], set_=values, where=replacing)
    )
    return cast(CursorResult[Any], done).rowcount == 1


def _repeated(status: int, body: str) -> web.Response:
    response = web.Response(status=status, text=body, content_type="application/json")
    response.headers["Idempotent-Replayed"] = "true"
    return response


async def _give_back(db: Database, person_id: str, key: str) -> None:
    async with db.transaction() as session:
        await session.execute(
            delete(KeptAnswer).where(
                KeptAnswer.person_id == person_id, KeptAnswer.key == key, KeptAnswer.status.is_(None)
            )
        )
