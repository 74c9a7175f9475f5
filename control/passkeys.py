"""Passkeys (WebAuthn level 2) as second factor: adding one, and giving it. The cryptography is the webauthn package's.

The challenge of a ceremony stands in the web session that began it, for two minutes, and is used up by one answer.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import PublicKeyCredentialDescriptor

from control.database import Database
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.language import t
from control.models.factors import Passkey
from control.models.people import Person, WebSession
from control.second_factor import FactorRules, factor_added, factor_removed, passed, recovery_codes_if_none

CEREMONY = timedelta(minutes=2)
MOST_PASSKEYS = 10


@dataclass(frozen=True)
class Site:
    """Who the passkeys are for: the public host name, and the origins its pages have."""

    host: str
    name: str
    origins: tuple[str, ...]

    @classmethod
    def of(cls, public_url: str, name: str, origins: Collection[str]) -> "Site":
        return cls(urlsplit(public_url).hostname or "localhost", name, tuple(sorted(origins)))


async def begin_adding(db: Database, person_id: str, session_id: str, site: Site, *, now: datetime) -> dict[str, Any]:
    """What `navigator.credentials.create` is called with."""
    async with db.transaction() as session:
        person = await session.get(Person, person_id)
        if person is None:
            raise NotFound
        known = await _credentials(session, person_id)
        if len(known) >= MOST_PASSKEYS:
            raise Conflict(
                "too_many_passkeys",
                t("An account has at most %(most_passkeys)s passkeys. Remove one first.", most_passkeys=MOST_PASSKEYS),
            )
        options = generate_registration_options(
            rp_id=site.host,
            rp_name=site.name,
            user_name=person.email,
            user_display_name=person.name,
            user_id=person_id.encode(),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
        )
        await _remember(session, session_id, options.challenge, now)
    return dict(json.loads(options_to_json(options)))


async def add(
    db: Database,
    person_id: str,
    session_id: str,
    site: Site,
    name: str,
    credential_untrusted: dict[str, Any],
    *,
    now: datetime,
) -> tuple[str, ...]:
    """Store it; recovery codes, if the person has none yet. Invalid("passkey_wrong") if it proves nothing."""
    async with db.transaction() as session:
        challenge = await _taken(session, session_id, now)
    try:
        verified = verify_registration_response(
            credential=credential_untrusted,
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=list(site.origins),
        )
    except _BROKEN as error:
        raise Invalid("passkey_wrong", "This passkey could not be checked. Nothing was changed; try again.") from error
    row = Passkey(
        person_id=person_id,
        credential_id=bytes_to_base64url(verified.credential_id),
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        name=name,
        created_at=now,
    )
    try:
        async with db.transaction() as session:
            session.add(row)
            await session.flush()
            await factor_added(session, person_id, session_id, "passkey_added", now=now)
            return await recovery_codes_if_none(session, person_id, now=now)
    except IntegrityError as error:
        raise Conflict("passkey_known", "This passkey is in use already.") from error


async def begin_giving(db: Database, person_id: str, session_id: str, site: Site, *, now: datetime) -> dict[str, Any]:
    """What `navigator.credentials.get` is called with."""
    async with db.transaction() as session:
        known = await _credentials(session, person_id)
        if not known:
            raise Conflict("no_passkey", "This account has no passkey.")
        options = generate_authentication_options(
            rp_id=site.host, allow_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known]
        )
        await _remember(session, session_id, options.challenge, now)
    return dict(json.loads(options_to_json(options)))


async def give(
    db: Database, person_id: str, session_id: str, site: Site, credential_untrusted: dict[str, Any], *, now: datetime
) -> None:
    """The session has given its second factor. Forbidden("passkey_wrong") else."""
    wrong = Forbidden(
        "passkey_wrong", "This passkey was not accepted. Try again, or use a code.", title="Not signed in yet"
    )
    async with db.transaction() as session:
        challenge = await _taken(session, session_id, now)
    sent_id = credential_untrusted.get("id")
    async with db.reading() as session:
        row = await session.scalar(
            select(Passkey).where(Passkey.person_id == person_id, Passkey.credential_id == str(sent_id)[:1400])
        )
    if row is None:
        raise wrong
    try:
        verified = verify_authentication_response(
            credential=credential_untrusted,
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=list(site.origins),
            credential_public_key=row.public_key,
            credential_current_sign_count=row.sign_count,
        )
    except _BROKEN as error:
        raise wrong from error
    async with db.transaction() as session:
        await session.execute(
            update(Passkey).where(Passkey.id == row.id).values(sign_count=verified.new_sign_count, last_used_at=now)
        )
        await passed(session, session_id, now=now)


async def remove(db: Database, person_id: str, passkey_id: str, *, rules: FactorRules, now: datetime) -> None:
    async with db.transaction() as session:
        row = await session.get(Passkey, passkey_id)
        if row is None or row.person_id != person_id:
            raise NotFound
        await session.delete(row)
        await session.flush()
        await factor_removed(session, person_id, "passkey_removed", rules=rules, now=now)


_BROKEN = (WebAuthnException, ValueError, TypeError, KeyError, AttributeError, IndexError)
"""What the package raises on bytes of strangers: its own errors, and those of the parsers under it."""


async def _credentials(session: AsyncSession, person_id: str) -> list[bytes]:
    ids = await session.scalars(select(Passkey.credential_id).where(Passkey.person_id == person_id))
    return [base64url_to_bytes(one) for one in ids]


async def _remember(session: AsyncSession, session_id: str, challenge: bytes, now: datetime) -> None:
    await session.execute(
        update(WebSession)
        .where(WebSession.id == session_id)
        .values(challenge=bytes_to_base64url(challenge), challenge_until=now + CEREMONY)
    )


async def _taken(session: AsyncSession, session_id: str, now: datetime) -> bytes:
    """The challenge under way; it is gone with this. Conflict if there is none, or it is too old."""
    row = await session.get(WebSession, session_id, with_for_update=True)
    if row is None or row.challenge is None or row.challenge_until is None or row.challenge_until <= now:
        raise Conflict("ceremony_over", "This took too long. Please try again.")
    challenge, row.challenge = row.challenge, None
    return base64url_to_bytes(challenge)
