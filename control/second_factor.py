"""The second step of signing in: an authenticator app (TOTP, RFC 6238) or a recovery code; passkeys are passkeys.py.

Who must give one: whoever has one, and by the setting every practitioner, support and admin; the demo's people not.
A session that has not given it yet may do nothing but give it, or set the first one up. Every code works once.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import pyotp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.audit import record_person
from control.database import Database
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.models.factors import Passkey, RecoveryCode, TotpSecret
from control.models.people import Person, Role, WebSession
from control.notices.outbox import Notice, NoticeKind, enqueue

STAFF = frozenset({Role.PRACTITIONER, Role.SUPPORT, Role.ADMIN})
PERIOD_S = 30  # RFC 6238's default; every authenticator app knows it
WINDOW = 1  # periods a code may be early or late: telephones' clocks are off by seconds
RECOVERY_CODES = 10
MOST_TRIES = 5  # wrong codes in one session; then it ends, and the first step has to be taken again
NONCE_BYTES = 12
"""AES-GCM's."""


@dataclass(frozen=True)
class FactorRules:
    """What the install has set. `key` seals TOTP secrets."""

    key: bytes
    for_staff: bool
    demo: bool

    @classmethod
    def from_master_key(cls, master_key: bytes, *, for_staff: bool, demo: bool) -> "FactorRules":
        return cls(hmac.digest(master_key, b"holdspace totp 1", hashlib.sha256), for_staff, demo)

    def is_needed(self, person: Person) -> bool:
        if person.is_demo and self.demo:
            return False
        return person.second_factor_at is not None or (self.for_staff and bool(STAFF & person.role_names))


@dataclass(frozen=True)
class Factors:
    """What a person has set up."""

    totp_since: datetime | None
    passkeys: tuple["PasskeyView", ...]
    recovery_codes_left: int

    @property
    def any(self) -> bool:
        return self.totp_since is not None or bool(self.passkeys)


@dataclass(frozen=True)
class PasskeyView:
    id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True)
class NewTotp:
    """Shown once. `uri` is what the QR code says."""

    secret: str
    uri: str


async def factors_of(db: Database, person_id: str) -> Factors:
    async with db.reading() as session:
        since = await session.scalar(select(TotpSecret.confirmed_at).where(TotpSecret.person_id == person_id))
        keys = await session.scalars(
            select(Passkey).where(Passkey.person_id == person_id).order_by(Passkey.created_at, Passkey.id)
        )
        left = select(func.count()).where(RecoveryCode.person_id == person_id, RecoveryCode.used_at.is_(None))
        views = tuple(PasskeyView(key.id, key.name, key.created_at, key.last_used_at) for key in keys)
        return Factors(since, views, await session.scalar(left) or 0)


# -- authenticator app -------------------------------------------------------------------------------------------


async def begin_totp(db: Database, person_id: str, *, issuer: str, rules: FactorRules, now: datetime) -> NewTotp:
    """A secret to put into an app; it counts once a code of it was given. Begun again, it is a new one."""
    secret = pyotp.random_base32()
    async with db.transaction() as session:
        person = await session.get(Person, person_id, with_for_update=True)
        if person is None:
            raise NotFound
        row = await session.get(TotpSecret, person_id)
        if row is not None and row.confirmed_at is not None:
            raise Conflict("totp_there_already", "An authenticator app is set up. Remove it before adding another.")
        if row is None:
            row = TotpSecret(person_id=person_id, last_step=0, confirmed_at=None)
            session.add(row)
        row.sealed, row.created_at = _seal(rules.key, secret, person_id), now
        return NewTotp(secret, pyotp.TOTP(secret).provisioning_uri(name=person.email, issuer_name=issuer))


async def confirm_totp(
    db: Database, person_id: str, session_id: str, code: str, *, rules: FactorRules, now: datetime
) -> tuple[str, ...]:
    """The first code proves that the app has the secret. New recovery codes, shown once. Invalid if it is wrong."""
    async with db.transaction() as session:
        row = await session.get(TotpSecret, person_id, with_for_update=True)
        if row is None or row.confirmed_at is not None:
            raise Conflict("totp_not_begun", "Begin again: there is no new authenticator app to confirm.")
        step = _step_of(_unseal(rules.key, row.sealed, person_id), code, after=0, now=now)
        if step is None:
            raise Invalid("code_wrong", "This code is not right. Wait for the next one and try again.", pointer="/code")
        row.confirmed_at, row.last_step = now, step
        await factor_added(session, person_id, session_id, "totp_added", now=now)
        return await _new_recovery_codes(session, person_id, now=now)


async def remove_totp(db: Database, person_id: str, *, rules: FactorRules, now: datetime) -> None:
    async with db.transaction() as session:
        gone = await session.execute(delete(TotpSecret).where(TotpSecret.person_id == person_id))
        if cast(CursorResult[Any], gone).rowcount != 1:
            raise NotFound
        await factor_removed(session, person_id, "totp_removed", rules=rules, now=now)


def _step_of(secret: str, code_untrusted: str, *, after: int, now: datetime) -> int | None:
    """The period whose code this is, if it is near and later than `after`."""
    code = "".join(code_untrusted.split())
    present = int(now.timestamp()) // PERIOD_S
    totp = pyotp.TOTP(secret)
    for step in range(present - WINDOW, present + WINDOW + 1):
        if step > after and hmac.compare_digest(totp.at(step * PERIOD_S).encode(), code.encode("utf-8", "replace")):
            return step
    return None


def _seal(key: bytes, secret: str, person_id: str) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, secret.encode(), person_id.encode())


def _unseal(key: bytes, sealed: bytes, person_id: str) -> str:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], person_id.encode()).decode()
    except InvalidTag:
        raise Conflict(
            "totp_unreadable",
            "The authenticator app can't be checked any more. Use a recovery code, then set it up anew.",
        ) from None


# -- giving it ---------------------------------------------------------------------------------------------------


async def give_code(
    db: Database, person_id: str, session_id: str, code: str, *, rules: FactorRules, now: datetime
) -> None:
    """A code of the app, or a recovery code, for this session. Forbidden `code_wrong`; the session ends after five."""
    async with db.transaction() as session:
        right = await _take_code(session, person_id, code, rules=rules, now=now)
        if right:
            await passed(session, session_id, now=now)
            return
        tries = await session.scalar(
            update(WebSession)
            .where(WebSession.id == session_id)
            .values(factor_tries=WebSession.factor_tries + 1)
            .returning(WebSession.factor_tries)
        )
        if (tries or 0) >= MOST_TRIES:
            await session.execute(update(WebSession).where(WebSession.id == session_id).values(revoked_at=now))
    # Outside: the count must be stored though the code was wrong.
    raise Forbidden("code_wrong", "This code is not right, or it has been used.", title="Not signed in yet")


async def is_right(db: Database, person_id: str, code: str, *, rules: FactorRules, now: datetime) -> bool:
    """For an app's token: the same codes, without a session yet. Taken, a code is used up."""
    async with db.transaction() as session:
        return await _take_code(session, person_id, code, rules=rules, now=now)


async def _take_code(session: AsyncSession, person_id: str, code: str, *, rules: FactorRules, now: datetime) -> bool:
    row = await session.get(TotpSecret, person_id, with_for_update=True)
    if row is not None and row.confirmed_at is not None:
        step = _step_of(_unseal(rules.key, row.sealed, person_id), code, after=row.last_step, now=now)
        if step is not None:
            taken = await session.execute(
                update(TotpSecret)
                .where(TotpSecret.person_id == person_id, TotpSecret.last_step < step)
                .values(last_step=step)
            )
            return cast(CursorResult[Any], taken).rowcount == 1
    used = await session.execute(
        update(RecoveryCode)
        .where(
            RecoveryCode.person_id == person_id,
            RecoveryCode.code_hash == _code_hash(code),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=now)
    )
    if cast(CursorResult[Any], used).rowcount != 1:
        return False
    await tell_and_record(session, person_id, "recovery_code_used", now=now)
    return True


async def passed(session: AsyncSession, session_id: str, *, now: datetime) -> None:
    """This session has given its second factor."""
    await session.execute(
        update(WebSession).where(WebSession.id == session_id).values(second_factor_at=now, factor_tries=0)
    )


# -- recovery codes ----------------------------------------------------------------------------------------------


async def make_recovery_codes(db: Database, person_id: str, *, now: datetime) -> tuple[str, ...]:
    """New ones; the earlier ones stop working."""
    async with db.transaction() as session:
        person = await session.get(Person, person_id)
        if person is None or person.second_factor_at is None:
            raise Conflict("no_second_factor", "Set up an authenticator app or a passkey first.")
        codes = await _new_recovery_codes(session, person_id, now=now)
        await tell_and_record(session, person_id, "recovery_codes_made", now=now)
        return codes


async def recovery_codes_if_none(session: AsyncSession, person_id: str, *, now: datetime) -> tuple[str, ...]:
    left = select(func.count()).where(RecoveryCode.person_id == person_id, RecoveryCode.used_at.is_(None))
    if await session.scalar(left):
        return ()
    return await _new_recovery_codes(session, person_id, now=now)


async def _new_recovery_codes(session: AsyncSession, person_id: str, *, now: datetime) -> tuple[str, ...]:
    await session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person_id))
    codes = tuple(_new_code() for _ in range(RECOVERY_CODES))
    session.add_all(
        RecoveryCode(person_id=person_id, code_hash=_code_hash(code), created_at=now, used_at=None) for code in codes
    )
    return codes


def _new_code() -> str:
    """50 random bits in letters that can't be mistaken: guessing is hopeless at five tries a session."""
    letters = "".join(secrets.choice("23456789abcdefghjkmnpqrstuvwxyz") for _ in range(10))
    return f"{letters[:5]}-{letters[5:]}"


def _code_hash(code: str) -> str:
    return hashlib.sha256("".join(code.split()).replace("-", "").lower().encode("utf-8", "replace")).hexdigest()


# -- what both kinds of factor do ----------------------------------------------------------------------------------


async def factor_added(session: AsyncSession, person_id: str, session_id: str, what: str, *, now: datetime) -> None:
    """The session that added it counts as having given it."""
    await session.execute(
        update(Person)
        .where(Person.id == person_id, Person.second_factor_at.is_(None))
        .values(second_factor_at=now)
        .execution_options(synchronize_session=False)
    )
    await passed(session, session_id, now=now)
    await tell_and_record(session, person_id, what, now=now)


async def factor_removed(
    session: AsyncSession, person_id: str, what: str, *, rules: FactorRules, now: datetime
) -> None:
    """Conflict if it was the last one of somebody who must have one."""
    totp = select(TotpSecret.person_id).where(TotpSecret.person_id == person_id, TotpSecret.confirmed_at.is_not(None))
    passkey = select(Passkey.id).where(Passkey.person_id == person_id).limit(1)
    if await session.scalar(totp) is None and await session.scalar(passkey) is None:
        person = await session.get(Person, person_id, populate_existing=True)
        if person is not None:
            person.second_factor_at = None
            await session.flush()
            if rules.is_needed(person):
                raise Conflict("last_factor", "Your role needs a second step. Set up another one before removing this.")
        await session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person_id))
    await tell_and_record(session, person_id, what, now=now)


async def tell_and_record(session: AsyncSession, person_id: str, what: str, *, now: datetime) -> None:
    """An e-mail to the person, who may not be the one who did it, and a line in the audit log."""
    await enqueue(session, Notice(NoticeKind.ACCOUNT_CHANGED, person_id, extra={"what": what}), now=now)
    record_person(session, person_id, f"account.{what}", now=now)
