"""Who is signed in where: browsers by cookie, apps by bearer token; finding, listing and ending these sessions.

Opening one is control/accounts.py's. A session whose second factor is still due is found, but stands for nobody yet.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from control.accounts import SESSION_TOUCH, Actor, as_actor, token_hash
from control.crowd import crowd_of
from control.database import Database, publish
from control.errors import NotFound
from control.models.people import Person, SessionKind, WebSession
from control.second_factor import FactorRules, tell_and_record
from control.session_events import SignedOut

_WITH_ROLES = joinedload(Person.roles)
APP_LIFETIME = timedelta(days=365)
TOKEN_PREFIX = "hsp_"  # noqa: S105  what a leaked token is recognised by


@dataclass(frozen=True)
class Visit:
    """A valid session. `awaits_factor`: its person may only give the second factor, or set the first one up."""

    session_id: str
    actor: Actor
    awaits_factor: bool
    has_factor: bool


@dataclass(frozen=True)
class Device:
    """One row of "where you are signed in"."""

    id: str
    kind: SessionKind
    name: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


async def session_of(
    db: Database, token: str, *, rules: FactorRules, kind: SessionKind = SessionKind.BROWSER, now: datetime
) -> Visit | None:
    """The session and person behind a cookie or bearer token, if it is valid now."""
    found = await crowd_of(db).gathered(db, _standing, token_hash(token))
    if found is None:
        return None
    row, person = found
    if row.kind != kind or row.expires_at <= now:
        return None
    if now - row.last_seen_at > SESSION_TOUCH:
        await _touch(db, row.id, now=now)
    awaits = row.second_factor_at is None and rules.is_needed(person)
    return Visit(row.id, as_actor(person), awaits, person.second_factor_at is not None)


async def _standing(db: Database, hashes: Sequence[str]) -> dict[str, tuple[WebSession, Person]]:
    """Each request asks this: one statement, for all who ask at the same time."""
    async with db.reading() as session:
        rows = await session.execute(
            select(WebSession, Person)
            .join(Person, Person.id == WebSession.person_id)
            .options(_WITH_ROLES)
            .where(WebSession.token_hash.in_(hashes), WebSession.revoked_at.is_(None))
        )
        return {row.token_hash: (row, person) for row, person in rows.unique()}


async def _touch(db: Database, session_id: str, *, now: datetime) -> None:
    async with db.transaction() as session:
        await session.execute(update(WebSession).where(WebSession.id == session_id).values(last_seen_at=now))


async def devices_of(db: Database, person_id: str, *, now: datetime) -> tuple[Device, ...]:
    """Browsers and apps that are signed in now, the last used first."""
    async with db.reading() as session:
        rows = await session.scalars(
            select(WebSession)
            .where(WebSession.person_id == person_id, WebSession.revoked_at.is_(None), WebSession.expires_at > now)
            .order_by(WebSession.last_seen_at.desc(), WebSession.id)
            .limit(100)
        )
        return tuple(
            Device(row.id, SessionKind(row.kind), row.device, row.created_at, row.last_seen_at, row.expires_at)
            for row in rows
        )


async def revoke_session(db: Database, session_id: str, *, now: datetime) -> None:
    """What this sign-in has open in a session room ends with it."""
    async with db.transaction() as session:
        await _revoke(session, [session_id], now)


async def revoke_device(db: Database, person_id: str, session_id: str, *, now: datetime) -> None:
    """One's own only: NotFound for anybody else's. Safe to repeat."""
    async with db.transaction() as session:
        owner = await session.scalar(select(WebSession.person_id).where(WebSession.id == session_id))
        if owner != person_id:
            raise NotFound
        await _revoke(session, [session_id], now)


async def sign_out_everywhere(db: Database, person_id: str, *, but: str | None = None, now: datetime) -> int:
    """End every session of this person, browsers and apps, except `but`; how many there were."""
    async with db.transaction() as session:
        return await revoke_all(session, person_id, but=but, now=now)


async def revoke_all(session: AsyncSession, person_id: str, *, but: str | None = None, now: datetime) -> int:
    ids = await session.scalars(
        select(WebSession.id).where(
            WebSession.person_id == person_id,
            WebSession.revoked_at.is_(None),
            WebSession.expires_at > now,
            WebSession.id != (but or ""),
        )
    )
    return await _revoke(session, list(ids), now)


async def _revoke(session: AsyncSession, ids: list[str], now: datetime) -> int:
    for session_id in ids:
        publish(session, SignedOut(session_id))
    await session.execute(
        update(WebSession).where(WebSession.id.in_(ids), WebSession.revoked_at.is_(None)).values(revoked_at=now)
    )
    return len(ids)


@dataclass(frozen=True)
class NewToken:
    """`token` is shown once."""

    id: str
    token: str
    expires_at: datetime


async def make_token(db: Database, person_id: str, name: str, *, factor_given: bool, now: datetime) -> NewToken:
    """A bearer token for an app. Its person is told by e-mail, and may revoke it on the account page."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = WebSession(
        id=secrets.token_hex(16),
        person_id=person_id,
        kind=SessionKind.APP,
        token_hash=token_hash(token),
        created_at=now,
        last_seen_at=now,
        expires_at=now + APP_LIFETIME,
        second_factor_at=now if factor_given else None,
        device=name,
    )
    async with db.transaction() as session:
        session.add(row)
        await tell_and_record(session, person_id, "token_made", now=now)
    return NewToken(row.id, token, row.expires_at)
