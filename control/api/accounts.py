"""Signing in and out, signing up, and who is asking. Answers are alike whether or not an address has an account."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from aiohttp import web
from pydantic import Field

from control import accounts, security
from control.accounts import SignedIn, local_path
from control.api.bodies import Body, EmptyBody, read
from control.errors import Forbidden
from control.keys import CLOCK, DATABASE, LIMITS, SESSION_ID, SETTINGS
from control.limits import Rule, client_address, network_of

routes = web.RouteTableDef()

LINK_ANSWER = "If this address has an account, a link is on its way. It works once, for half an hour."
SIGN_UP_ANSWER = "A link is on its way to this address. It confirms the address and signs you in."


class PasswordBody(Body):
    email: str = Field(max_length=254)
    password: str = Field(max_length=accounts.MOST_PASSWORD_LENGTH)
    next: str | None = Field(None, max_length=400)


class LinkBody(Body):
    email: str = Field(max_length=254)
    next: str | None = Field(None, max_length=400)


class SignUpBody(Body):
    email: str = Field(max_length=254)
    name: str = Field(max_length=120)
    time_zone: str | None = Field(None, max_length=64)
    next: str | None = Field(None, max_length=400)


@routes.post("/api/sign-in")
async def sign_in(request: web.Request) -> web.Response:
    body = await read(request, PasswordBody)
    async with _like_any_other(request, body.email):
        signed_in = await accounts.sign_in_by_password(
            request.app[DATABASE], body.email, body.password, device=_device(request), now=request.app[CLOCK]()
        )
    if signed_in is None:
        raise Forbidden(
            "sign_in_refused",
            "This e-mail and password don't fit together. A sign-in link always works.",
            title="Not signed in",
        )
    return await _welcomed(request, signed_in, body.next)


@routes.post("/api/sign-in/link")
async def send_link(request: web.Request) -> web.Response:
    body = await read(request, LinkBody)
    async with _like_any_other(request, body.email):
        await accounts.send_sign_in_link(
            request.app[DATABASE], body.email, return_path=body.next, now=request.app[CLOCK]()
        )
    return web.json_response({"message": LINK_ANSWER}, status=202)


@routes.post("/api/sign-in/link/{token}")
async def use_link(request: web.Request) -> web.Response:
    await read(request, EmptyBody)
    _count_address(request)
    signed_in = await accounts.consume_link(
        request.app[DATABASE], request.match_info["token"], device=_device(request), now=request.app[CLOCK]()
    )
    return await _welcomed(request, signed_in, signed_in.return_path)


@routes.post("/api/sign-up")
async def sign_up(request: web.Request) -> web.Response:
    body = await read(request, SignUpBody)
    async with _like_any_other(request, body.email):
        await accounts.sign_up(
            request.app[DATABASE],
            email=body.email,
            name=body.name,
            time_zone=body.time_zone or request.app[SETTINGS].practice.time_zone,
            return_path=body.next,
            now=request.app[CLOCK](),
        )
    return web.json_response({"message": SIGN_UP_ANSWER}, status=202)


@routes.post("/api/sign-out")
async def sign_out(request: web.Request) -> web.Response:
    """Safe to repeat: signed out is signed out."""
    await read(request, EmptyBody)
    session_id = request[SESSION_ID]
    if session_id is not None:
        await accounts.revoke_session(request.app[DATABASE], session_id, now=request.app[CLOCK]())
    response = web.json_response({"next": "/"})
    security.clear_session_cookie(response, request.app[SETTINGS].server)
    return response


@routes.get("/api/me")
async def me(request: web.Request) -> web.Response:
    """Who this browser is, and the CSRF token for its changes; `person` is null when nobody is signed in."""
    actor = accounts.optional_actor(request)
    person = None
    if actor is not None:
        person = {
            "id": actor.person_id,
            "name": actor.name,
            "time_zone": actor.time_zone,
            "roles": sorted(actor.roles),
        }
    answer = web.json_response({"person": person, "csrf_token": security.csrf_token(request)})
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def _welcomed(request: web.Request, signed_in: SignedIn, next_path: str | None) -> web.Response:
    """The session that this browser had before ends: one cookie, one session."""
    now = request.app[CLOCK]()
    before = request[SESSION_ID]
    if before is not None:
        await accounts.revoke_session(request.app[DATABASE], before, now=now)
    request[SESSION_ID] = signed_in.session_id
    actor = await accounts.actor_of(request.app[DATABASE], signed_in.person_id)
    home = accounts.home_path(actor) if actor is not None else "/"
    response = web.json_response({"next": local_path(next_path) or home, "csrf_token": security.csrf_token(request)})
    server = request.app[SETTINGS].server
    security.set_session_cookie(response, server, signed_in.token, security.seconds_until(signed_in.expires_at, now))
    return response


@asynccontextmanager
async def _like_any_other(request: web.Request, email: str) -> AsyncIterator[None]:
    """Count the try, then let the answer take at least the set time: how long it took tells nothing."""
    loop = asyncio.get_running_loop()
    settings = request.app[SETTINGS].security
    earliest = loop.time() + settings.answer_floor_ms / 1000
    normalised = accounts.normalised_email(email)
    _count_address(request)
    rule = Rule("sign_in_account", settings.sign_in_tries_per_account, timedelta(minutes=15))
    request.app[LIMITS].count(rule, normalised, request.app[CLOCK]())
    yield
    await asyncio.sleep(max(0.0, earliest - loop.time()))


def _count_address(request: web.Request) -> None:
    settings = request.app[SETTINGS]
    rule = Rule("sign_in_address", settings.security.sign_in_tries_per_address, timedelta(minutes=15))
    address = client_address(request, settings.server.trusted_proxies)
    request.app[LIMITS].count(rule, network_of(address), request.app[CLOCK]())


def _device(request: web.Request) -> str:
    return request.headers.get("User-Agent", "")[:200]
