"""Signed tokens: the join token that opens a first socket and the resume token that brings a dropped one back.

`<claims>.<mac>`, both base64url without padding; the MAC is HMAC-SHA256 under a key derived per purpose, so
that one kind can never pass for the other. Nothing here is secret but the key; nothing here is stored: that a
join token is used once is control's table (`jti`), that a resume token is the newest is the session's `generation`.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from signaling.permissions import Refused, Role

JOIN_LIFETIME = timedelta(minutes=5)
"""Longest life of a join token: time from generate-call-link to the socket's first message."""

RESUME_LIFETIME = timedelta(minutes=10)
"""Life of a resume token; a live session hands out a new one well before (`session.ROTATE_AFTER_S`)."""

MAX_TOKEN_CHARS = 1024

C = TypeVar("C", "JoinClaims", "ResumeClaims")


@dataclass(frozen=True, slots=True)
class JoinClaims:
    appointment_id: str
    person_id: str
    role: Role
    expires_at: int
    """Unix seconds."""
    jti: str
    """Random, unguessable; control stores it and consumes it once."""
    login: str = ""
    """Id of the sign-in it was made for (no secret); empty for a person without one."""


@dataclass(frozen=True, slots=True)
class ResumeClaims:
    session: str
    appointment_id: str
    person_id: str
    generation: int
    expires_at: int


def new_join_claims(
    appointment_id: str,
    person_id: str,
    role: Role,
    now: datetime,
    lifetime: timedelta = JOIN_LIFETIME,
    *,
    login: str = "",
) -> JoinClaims:
    expires_at = int((now + min(lifetime, JOIN_LIFETIME)).timestamp())
    return JoinClaims(appointment_id, person_id, role, expires_at, secrets.token_hex(16), login)


def sign_join(secret: bytes, claims: JoinClaims) -> str:
    return _sign(_key(secret, JoinClaims), asdict(claims))


def verify_join(secret: bytes, token_untrusted: str, now: datetime) -> JoinClaims:
    """Raises Refused: token_invalid (forged, cut, of another kind) or token_expired."""
    return _verify(secret, token_untrusted, now, JoinClaims)


def sign_resume(secret: bytes, claims: ResumeClaims) -> str:
    return _sign(_key(secret, ResumeClaims), asdict(claims))


def verify_resume(secret: bytes, token_untrusted: str, now: datetime) -> ResumeClaims:
    """Raises Refused: token_invalid or token_expired."""
    return _verify(secret, token_untrusted, now, ResumeClaims)


def _key(secret: bytes, kind: type[JoinClaims] | type[ResumeClaims]) -> bytes:
    return hmac.digest(secret, b"holdspace signaling 1 " + kind.__name__.encode(), hashlib.sha256)


def _sign(key: bytes, claims: dict[str, Any]) -> str:
    body = _encode(json.dumps(claims, separators=(",", ":"), sort_keys=True).encode())
    return f"{body}.{_encode(hmac.digest(key, body.encode(), hashlib.sha256))}"


def _verify(secret: bytes, token_untrusted: str, now: datetime, kind: type[C]) -> C:
    claims = _read_untrusted(_key(secret, kind), token_untrusted, kind)
    if claims.expires_at <= now.timestamp():
        raise Refused("token_expired", "This link has expired. Open the session again.")
    return claims


def _read_untrusted(key: bytes, token: str, kind: type[C]) -> C:
    invalid = Refused("token_invalid", "This link is not valid. Open the session again.")
    if len(token) > MAX_TOKEN_CHARS or not token.isascii() or token.count(".") != 1:
        raise invalid
    body, mac = token.split(".")
    # Compared as text: base64 has several spellings of the same bytes and only ours may pass.
    if not hmac.compare_digest(_encode(hmac.digest(key, body.encode(), hashlib.sha256)), mac):
        raise invalid
    try:
        claims: dict[str, Any] = json.loads(_decode(body))
        if kind is JoinClaims:
            claims["role"] = Role(claims["role"])
        return kind(**claims)
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise invalid from error


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
