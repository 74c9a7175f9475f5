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
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, cast

from aiohttp import web
from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from control.accounts import require_actor
from control.database import Database
from control.errors import Conflict, Invalid, Malformed
from control.keys import CLOCK, DATABASE
from control.models.idempotency import KeptAnswer

HEADER = "Idempotency-Key"
MOST_KEY_LENGTH = 200
KEPT_FOR = timedelta(hours=24)
CLAIM_FOR = timedelta(seconds=30)  # a claim older than this belongs to a process that was killed
WAIT_S, WAIT_STEP_S = 5.0, 0.05  # how long the second of two simultaneous requests waits for the first

Handler = Callable[[web.Request], Awaitable[web.Response]]


def key_of(request: web.Request, *, required: bool) -> str | None:
    key = request.headers.get(HEADER)
    if key is None:
        if required:
            raise Malformed("idempotency_key_required", f"Send an {HEADER} header, so that a repeat does no harm.")
        return None
    if not 1 <= len(key) <= MOST_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise Malformed("idempotency_key_invalid", f"An {HEADER} has 1 to {MOST_KEY_LENGTH} visible characters.")
    return key


def idempotent(*, required: bool = False) -> Callable[[Handler], Handler]:
    def wrap(handler: Handler) -> Handler:
        @wraps(handler)
        async def answer_once(request: web.Request) -> web.Response:
            actor = require_actor(request)
            key = key_of(request, required=required)
            if key is None:
                return await handler(request)
            return await _once(request, handler, actor.person_id, key)

        return answer_once

    return wrap


async def _once(request: web.Request, handler: Handler, person_id: str, key: str) -> web.Response:
    db = request.app[DATABASE]
    now = request.app[CLOCK]()
    what = await _hash(request)
    kept = await _claim(db, person_id, key, what, now)
    if kept is not None:
        return kept
    try:
        response = await handler(request)
    except BaseException:
        await _give_back(db, person_id, key)
        raise
    if response.status >= 300 or not isinstance(response.body, bytes):
        await _give_back(db, person_id, key)
        return response
    async with db.transaction() as session:
        await session.execute(
            update(KeptAnswer)
            .where(KeptAnswer.person_id == person_id, KeptAnswer.key == key)
            .values(status=response.status, body=response.body.decode())
        )
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
    while True:
        async with db.transaction() as session:
            insert = sqlite.insert if db.is_sqlite else postgresql.insert
            stale = (KeptAnswer.created_at <= now - KEPT_FOR) | (
                KeptAnswer.status.is_(None) & (KeptAnswer.created_at <= now - CLAIM_FOR)
            )
            fresh: dict[str, Any] = {"request_hash": what, "status": None, "body": None, "created_at": now}
            claimed = await session.execute(
                insert(KeptAnswer)
                .values(person_id=person_id, key=key, **fresh)
                .on_conflict_do_update(
                    index_elements=[KeptAnswer.person_id, KeptAnswer.key], set_=fresh, where=stale
                )
            )
            if cast(CursorResult[Any], claimed).rowcount == 1:
                return None
            kept = await session.scalar(
                select(KeptAnswer).where(KeptAnswer.person_id == person_id, KeptAnswer.key == key)
            )
        if kept is None:
            continue  # given back in between: try to claim it again
        if kept.request_hash != what:
            raise Invalid("idempotency_key_reused", "This key was used for another request.")
        if kept.status is not None:
            return _repeated(kept.status, kept.body or "")
        if asyncio.get_running_loop().time() >= deadline:
            raise Conflict("request_in_progress", "The same request is still at work.", retry_after_s=1)
        await asyncio.sleep(WAIT_STEP_S)


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
