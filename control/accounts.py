"""People and how they sign in: by password, by one-time link; their web sessions; who is asking.

Answers never reveal whether an e-mail has an account: the callers answer alike, and a missing account costs the
same hashing as a present one. Tokens leave this file once, in clear, for the cookie or the e-mail; only hashes stay.
"""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import available_timezones

from aiohttp import web
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.database import Database
from control.errors import Conflict, Forbidden, Invalid, NotSignedIn
from control.keys import ACTOR, HALF
from control.language import ENGLISH, spoken, t
from control.models.people import Credential, LinkPurpose, OneTimeLink, Person, PersonRole, Role, WebSession
from control.notices.outbox import Notice, NoticeKind, enqueue

LINK_LIFETIME = timedelta(minutes=30)  # long enough for slow mail, short enough for a mailbox left open
SESSION_LIFETIME = timedelta(days=14)
SESSION_TOUCH = timedelta(minutes=10)  # last_seen_at is written at most this often: a read must not cost a write
LEAST_PASSWORD_LENGTH = 10
MOST_PASSWORD_LENGTH = 200  # characters; Argon2 itself has no limit, the hashing thread has

_HASHER = PasswordHasher()  # Argon2id with the library's present defaults (RFC 9106, low-memory profile)
_HASHING = ThreadPoolExecutor(2, thread_name_prefix="hashing")  # each hash holds 64 MiB and a core for about 50 ms
_EMAIL = re.compile(r"[^@\s<>\"']{1,64}@[^@\s<>\"']{1,180}\.[^@\s<>\"'.]{2,}")
_WEB_ADDRESS = re.compile(r"://|\bwww\.", re.IGNORECASE)  # not every one: "Dr.med." is a name


@dataclass(frozen=True)
class Actor:
    """Who is asking. Made from a valid session of a browser or app, or by the command line for an operator."""

    person_id: str
    roles: frozenset[Role]
    name: str
    time_zone: str
    language: str = ENGLISH

    def is_any(self, *roles: Role) -> bool:
        return bool(self.roles & set(roles))


OPERATOR = Actor("operator", frozenset({Role.ADMIN}), "Operator", "UTC")
"""Whoever has the command line of this machine: may what an admin may, and is nobody in the table of people."""


def optional_actor(request: web.Request) -> Actor | None:
    actor: Actor | None = request.get(ACTOR)
    return actor


def require_actor(request: web.Request, *roles: Role) -> Actor:
    """The signed-in person, having at least one of `roles` if any are named. NotSignedIn or Forbidden else."""
    actor = optional_actor(request)
    if actor is None and request.get(HALF) is not None:
        raise NotSignedIn("second_factor_required", "Take the second step of signing in to go on.")
    if actor is None:
        raise NotSignedIn
    if roles and not actor.is_any(*roles):
        raise Forbidden("role_missing", "Your account has no access to this page.")
    return actor


def home_path(actor: Actor) -> str:
    """Where a person's day starts."""
    if actor.is_any(Role.PRACTITIONER):
        return "/therapist/dashboard"
    if actor.is_any(Role.ADMIN):
        return "/admin/appointments"
    return "/admin/help-desk" if actor.is_any(Role.SUPPORT) else "/dashboard"


@dataclass(frozen=True)
class SignedIn:
    """A new web session. `token` is the cookie's value and exists nowhere else."""

    person_id: str
    session_id: str
    token: str
    expires_at: datetime
    return_path: str | None = None


# -- what people type --------------------------------------------------------------------------------------------


def normalised_email(text: str) -> str:
    """How an address is stored and looked up. Invalid if it can't be one; proof is the link sent to it."""
    email = text.strip().lower()
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise Invalid("email_invalid", "This does not look like an e-mail address.", pointer="/email")
    return email


def checked_name(text: str) -> str:
    name = " ".join(text.split())
    if not 1 <= len(name) <= 120 or any(not character.isprintable() for character in name):
        raise Invalid("name_invalid", "A name has 1 to 120 letters.", pointer="/name")
    if _WEB_ADDRESS.search(name):  # letters greet by name, and a stranger may have them sent to anybody
        raise Invalid("name_invalid", "A name has no web address in it.", pointer="/name")
    return name


def checked_zone(text: str) -> str:
    if text not in _zones():
        raise Invalid("time_zone_unknown", "This time zone is not known here.", pointer="/time_zone")
    return text


def local_path(text: str | None) -> str | None:
    """`text` if it is a path on this site, else None: a sign-in must not lead people elsewhere."""
    if not text or len(text) > 400 or not text.startswith("/") or text.startswith("//"):
        return None
    if "\\" in text or any(not character.isprintable() for character in text):
        return None
    return text


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


# -- hashing -----------------------------------------------------------------------------------------------------


async def hash_password(password: str) -> str:
    if not LEAST_PASSWORD_LENGTH <= len(password) <= MOST_PASSWORD_LENGTH:
        raise Invalid(
            "password_length",
            t(
                "A password has at least %(least_password_length)s characters.",
                least_password_length=LEAST_PASSWORD_LENGTH,
            ),
        )
    return await asyncio.get_running_loop().run_in_executor(_HASHING, _HASHER.hash, password)


async def verify_password(secret_hash: str | None, password: str) -> bool:
    """Costs the same with and without an account: without one, a hash of nobody's password is checked."""
    return await asyncio.get_running_loop().run_in_executor(_HASHING, _verify, secret_hash, password)


def _verify(secret_hash: str | None, password: str) -> bool:
    try:
        fits = _HASHER.verify(secret_hash or _nobodys_hash(), password[:MOST_PASSWORD_LENGTH])
    except (VerificationError, InvalidHashError):
        return False
    return fits and secret_hash is not None


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _HASHER.hash(secrets.token_urlsafe(32))


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# -- people ------------------------------------------------------------------------------------------------------


async def find_person(session: AsyncSession, email: str) -> Person | None:
    """Who has this address; until the commit nobody else looks, so of two at once the second finds the first's."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(email, 0))))
    found: Person | None = await session.scalar(select(Person).where(Person.email == email))
    return found


async def add_person(
    session: AsyncSession,
    *,
    email: str,
    name: str,
    roles: Iterable[Role],
    time_zone: str = "UTC",
    password_hash: str | None = None,
    proven: bool = False,
    person_id: str | None = None,
    is_demo: bool = False,
    now: datetime,
) -> Person:
    """A new person inside the caller's transaction. Conflict if the address is taken: for operators only."""
    email = normalised_email(email)
    if await find_person(session, email) is not None:
        raise Conflict("email_taken", "Somebody with this e-mail address is here already.")
    person = Person(
        email=email,
        name=checked_name(name),
        time_zone=checked_zone(time_zone),
        language=spoken(),
        email_proven_at=now if proven else None,
        created_at=now,
        is_demo=is_demo,
        roles=[PersonRole(role=role) for role in sorted(set(roles))],
    )
    if person_id is not None:
        person.id = person_id
    session.add(person)
    await session.flush()
    if password_hash is not None:
        await set_password_hash(session, person.id, password_hash, now=now)
    return person


async def set_password_hash(session: AsyncSession, person_id: str, password_hash: str, *, now: datetime) -> None:
    await session.execute(delete(Credential).where(Credential.person_id == person_id, Credential.kind == "password"))
    session.add(Credential(person_id=person_id, kind="password", secret_hash=password_hash, created_at=now))
    await session.flush()


async def actor_of(db: Database, person_id: str) -> Actor | None:
    async with db.reading() as session:
        person = await session.get(Person, person_id)
        return None if person is None else as_actor(person)


def as_actor(person: Person) -> Actor:
    return Actor(person.id, person.role_names, person.name, person.time_zone, person.language)


# -- signing in --------------------------------------------------------------------------------------------------


async def sign_in_by_password(
    db: Database, email: str, password: str, *, device: str = "", now: datetime
) -> SignedIn | None:
    """None whether the address, its password or the proof of the address is missing."""
    async with db.reading() as session:
        found = (
            await session.execute(
                select(Person.id, Person.email_proven_at, Credential.secret_hash)
                .join(Credential, (Credential.person_id == Person.id) & (Credential.kind == "password"))
                .where(Person.email == normalised_email(email))
            )
        ).one_or_none()
    fits = await verify_password(None if found is None else found.secret_hash, password)
    if found is None or not fits or found.email_proven_at is None:
        return None
    async with db.transaction() as session:
        return _open_session(session, found.id, device=device, now=now)


async def send_sign_in_link(db: Database, email: str, *, return_path: str | None, now: datetime) -> None:
    """Owe a link to the account of `email`, if there is one. The caller answers the same either way."""
    async with db.transaction() as session:
        person_id = await session.scalar(select(Person.id).where(Person.email == normalised_email(email)))
        if person_id is not None:
            await _owe_link(session, person_id, LinkPurpose.SIGN_IN, return_path=return_path, now=now)


async def sign_up(
    db: Database, *, email: str, name: str, time_zone: str, return_path: str | None, now: datetime
) -> None:
    """A new client, unproven until the link is used; for a known address just another link, and nothing changes."""
    email, name, time_zone = normalised_email(email), checked_name(name), checked_zone(time_zone)
    async with db.transaction() as session:
        person, purpose = await find_person(session, email), LinkPurpose.SIGN_IN
        if person is None:
            purpose = LinkPurpose.SIGN_UP
            person = await add_person(
                session, email=email, name=name, roles=[Role.CLIENT], time_zone=time_zone, now=now
            )
        elif await session.scalar(select(PersonRole.role).where(PersonRole.person_id == person.id).limit(1)) is None:
            session.add(PersonRole(person_id=person.id, role=Role.CLIENT))  # known as a guest, or by an enquiry
        await _owe_link(session, person.id, purpose, return_path=return_path, now=now)


async def issue_link(
    session: AsyncSession,
    person_id: str,
    purpose: LinkPurpose,
    *,
    return_path: str | None = None,
    lifetime: timedelta = LINK_LIFETIME,
    now: datetime,
) -> str:
    """A one-time token for `/sign-in/link/{token}`; only its hash is stored."""
    token = secrets.token_urlsafe(32)
    session.add(
        OneTimeLink(
            person_id=person_id,
            purpose=purpose,
            token_hash=token_hash(token),
            return_path=local_path(return_path),
            created_at=now,
            expires_at=now + lifetime,
        )
    )
    return token


async def _owe_link(
    session: AsyncSession, person_id: str, purpose: LinkPurpose, *, return_path: str | None, now: datetime
) -> None:
    token = await issue_link(session, person_id, purpose, return_path=return_path, now=now)
    notice = Notice(
        NoticeKind.SIGN_IN_LINK,
        person_id,
        extra={"minutes": int(LINK_LIFETIME.total_seconds() // 60), "first": purpose == LinkPurpose.SIGN_UP},
        secrets={"path": f"/sign-in/link/{token}"},
    )
    await enqueue(session, notice, now=now)


async def consume_link(db: Database, token: str, *, device: str = "", now: datetime) -> SignedIn:
    """Use a link: once, before it expires. Conflict `link_used_or_expired` for every other token, known or not."""
    async with db.transaction() as session:
        used = (
            await session.execute(
                update(OneTimeLink)
                .where(
                    OneTimeLink.token_hash == token_hash(token),
                    OneTimeLink.used_at.is_(None),
                    OneTimeLink.expires_at > now,
                )
                .values(used_at=now)
                .returning(OneTimeLink.person_id, OneTimeLink.return_path)
            )
        ).one_or_none()
        if used is None:
            raise Conflict(
                "link_used_or_expired", "This link has been used or has expired. Ask for a new one, it takes a minute."
            )
        proven = await session.scalar(
            update(Person)
            .where(Person.id == used.person_id, Person.email_proven_at.is_(None))
            .values(email_proven_at=now)
            .returning(Person.id)
        )
        if proven is not None:
            await enqueue(session, Notice(NoticeKind.WELCOME, used.person_id), now=now)
        return _open_session(session, used.person_id, device=device, now=now, return_path=used.return_path)


def _open_session(
    session: AsyncSession, person_id: str, *, device: str, now: datetime, return_path: str | None = None
) -> SignedIn:
    token = secrets.token_urlsafe(32)
    row = WebSession(
        id=secrets.token_hex(16),
        person_id=person_id,
        token_hash=token_hash(token),
        created_at=now,
        last_seen_at=now,
        expires_at=now + SESSION_LIFETIME,
        device=device[:200],
    )
    session.add(row)
    return SignedIn(person_id, row.id, token, row.expires_at, return_path)
