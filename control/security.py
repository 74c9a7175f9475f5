"""What protects the pages of signed-in people: the cookies, the CSRF token, the Origin check, the headers.

Used by the middleware in control/requests.py and by the sign-in handlers. Decides nothing about roles or rows.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from aiohttp import web

from control.config import LOOPBACK_NAMES, ServerSettings
from control.errors import Forbidden, NotSignedIn
from control.keys import INSTALL_KEYS, SESSION_ID, SETTINGS, VISITOR
from control.language import t
from control.models.people import SessionKind

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-CSRF-Token"
HSTS = "max-age=31536000"
KNOWN_FOR_S = 31_536_000  # a year: how long a browser that signed in counts as known


# -- cookies -----------------------------------------------------------------------------------------------------


def session_cookie_name(server: ServerSettings) -> str:
    """`__Host-` wherever the browser allows it: it refuses that prefix without HTTPS."""
    return "__Host-holdspace" if server.is_https else "holdspace"


def visitor_cookie_name(server: ServerSettings) -> str:
    return "__Host-holdspace-visitor" if server.is_https else "holdspace-visitor"


def set_session_cookie(response: web.StreamResponse, server: ServerSettings, token: str, max_age_s: int) -> None:
    _set_cookie(response, server, session_cookie_name(server), token, max_age_s)


def clear_session_cookie(response: web.StreamResponse, server: ServerSettings) -> None:
    _set_cookie(response, server, session_cookie_name(server), "", 0)


def _set_cookie(
    response: web.StreamResponse, server: ServerSettings, name: str, value: str, max_age_s: int | None
) -> None:
    response.set_cookie(name, value, path="/", max_age=max_age_s, httponly=True, secure=server.is_https, samesite="Lax")


LANGUAGE_COOKIE = "language"
_A_YEAR_S = 31_536_000


def set_language_cookie(response: web.StreamResponse, server: ServerSettings, language: str) -> None:
    _set_cookie(response, server, LANGUAGE_COOKIE, language, _A_YEAR_S)


def visitor_of(request: web.Request) -> str | None:
    """The random name of a browser that is not signed in: what its CSRF token is bound to."""
    cookie = request.cookies.get(visitor_cookie_name(request.app[SETTINGS].server), "")
    return cookie if len(cookie) == 43 and cookie.isascii() else None


def credential_of(request: web.Request) -> tuple[str, SessionKind] | None:
    """What a request proves itself by: the bearer token of an app if one is sent, else the browser's cookie."""
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        return (token.strip() if scheme.lower() == "bearer" else ""), SessionKind.APP
    cookie = request.cookies.get(session_cookie_name(request.app[SETTINGS].server))
    return (cookie, SessionKind.BROWSER) if cookie else None


def _known_cookie_name(server: ServerSettings) -> str:
    return "__Host-holdspace-known" if server.is_https else "holdspace-known"


def remember_device(request: web.Request, response: web.StreamResponse, email: str) -> None:
    """Mark this browser as one that has signed in to this account, so that strangers' tries don't count for it."""
    nonce = secrets.token_urlsafe(16)
    server = request.app[SETTINGS].server
    value = f"{nonce}.{_known_mark(request, email, nonce)}"
    _set_cookie(response, server, _known_cookie_name(server), value, KNOWN_FOR_S)


def known_device(request: web.Request, email: str) -> str | None:
    """The mark's own name if this browser has a true one for this account: what its tries are counted under."""
    value = request.cookies.get(_known_cookie_name(request.app[SETTINGS].server), "")
    nonce, _, mark = value.partition(".")
    true_mark = _known_mark(request, email, nonce).encode()
    return nonce if nonce and hmac.compare_digest(true_mark, mark.encode("utf-8", "replace")) else None


def _known_mark(request: web.Request, email: str, nonce: str) -> str:
    key = hmac.digest(request.app[INSTALL_KEYS].session_secret, b"holdspace known 1", hashlib.sha256)
    return hmac.new(key, f"{nonce} {email}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


# -- CSRF --------------------------------------------------------------------------------------------------------


def csrf_token(request: web.Request) -> str:
    """The token a page of this browser must send back with every change. May make a visitor cookie."""
    session_id = request.get(SESSION_ID)
    if session_id is not None:
        return _csrf_for(request, f"session {session_id}")
    visitor = request.get(VISITOR) or visitor_of(request)
    if visitor is None:
        visitor = secrets.token_urlsafe(32)
    request[VISITOR] = visitor
    return _csrf_for(request, f"visitor {visitor}")


def check_csrf(request: web.Request) -> None:
    session_id = request.get(SESSION_ID)
    visitor = visitor_of(request)
    bound_to = f"session {session_id}" if session_id is not None else f"visitor {visitor}"
    sent = request.headers.get(CSRF_HEADER, "")
    if session_id is None and sent.startswith("session-"):
        raise NotSignedIn(
            "not_signed_in",
            "You were signed out meanwhile. Nothing was changed: copy what you wrote, then load this page again.",
        )
    unbound = session_id is None and visitor is None
    if unbound or not hmac.compare_digest(_csrf_for(request, bound_to).encode(), sent.encode("utf-8", "replace")):
        raise Forbidden("csrf_token_wrong", "This page is out of date. Load it again and repeat what you did.")


def _csrf_for(request: web.Request, bound_to: str) -> str:
    """What it is bound to is said in front: a page that was signed in says so by its token."""
    kind = bound_to.partition(" ")[0]
    key = hmac.digest(request.app[INSTALL_KEYS].session_secret, b"holdspace csrf 1", hashlib.sha256)
    return f"{kind}-{hmac.new(key, bound_to.encode(), hashlib.sha256).hexdigest()}"


# -- Origin ------------------------------------------------------------------------------------------------------


def check_origin(request: web.Request) -> None:
    """Only our own pages may change anything or open a socket. Browsers always say where a request comes from."""
    server = request.app[SETTINGS].server
    origin = request.headers.get("Origin")
    if origin is None:
        raise Forbidden("origin_missing", "A change needs the Origin header that browsers send.")
    if origin not in own_origins(server):
        raise Forbidden(
            "origin_wrong",
            t(
                "This server is known as %(public_url)s; the request came from a page elsewhere.",
                public_url=server.public_url,
            ),
        )


def own_origins(server: ServerSettings) -> frozenset[str]:
    """The public address; on this machine under all names of loopback, with the same scheme and port."""
    origin = server.public_url
    if not server.is_loopback:
        return frozenset({origin})
    parts = urlsplit(origin)
    port = f":{parts.port}" if parts.port else ""
    names = (f"[{name}]" if ":" in name else name for name in LOOPBACK_NAMES)
    return frozenset(f"{parts.scheme}://{name}{port}" for name in names)


# -- headers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Elsewhere:
    """Origins besides our own that one page may load from or talk to."""

    scripts: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    connects: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()


def content_security_policy(server: ServerSettings, elsewhere: Elsewhere = Elsewhere()) -> str:
    """No inline script or style anywhere. The socket's address is named because older Safari's 'self' leaves it out."""
    sockets = " ".join(
        # Chromium calls a bracketed address invalid and says so in the console of every page.
        sorted(origin.replace("http", "ws", 1) for origin in own_origins(server) if "[" not in origin)
    )
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *elsewhere.scripts)),
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "font-src 'self'",
            " ".join((f"connect-src 'self' {sockets}", *elsewhere.connects)),
            *((f"frame-src {' '.join(elsewhere.frames)}",) if elsewhere.frames else ()),
            "worker-src 'self'",
            "manifest-src 'self'",
            " ".join(("form-action 'self'", *elsewhere.forms)),
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare: every answer has them, errors, static files and sockets included."""
    server = request.app[SETTINGS].server
    headers = response.headers
    headers.setdefault("Content-Security-Policy", content_security_policy(server))
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers.setdefault(
        "Permissions-Policy",
        "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), geolocation=(), payment=()",
    )
    if server.is_https:
        headers.setdefault("Strict-Transport-Security", HSTS)
    headers["Server"] = "Holdspace"  # what it runs on is nobody's business


def remember_visitor(request: web.Request, response: web.StreamResponse) -> None:
    """Give the browser the visitor cookie its CSRF token was made for. Too late once the headers are on their way."""
    visitor = request.get(VISITOR)
    if visitor is None or visitor == visitor_of(request) or response.prepared:
        return
    server = request.app[SETTINGS].server
    _set_cookie(response, server, visitor_cookie_name(server), visitor, None)


def seconds_until(at: datetime, now: datetime) -> int:
    return max(0, int((at - now).total_seconds()))
