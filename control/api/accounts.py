"""Signing in and out, signing up, and who is asking. Answers are alike whether or not an address has an account."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from control import accounts, people, security, web_sessions
from control.accounts import SignedIn, local_path
from control.api.bodies import Body, EmptyBody, read
from control.errors import Forbidden, NotSignedIn, TooMany
from control.keys import CLOCK, DATABASE, FACTOR_RULES, LIMITS, SESSION_ID, SETTINGS
from control.language import N_, t
from control.limits import Rule, client_address, network_of

routes = web.RouteTableDef()

LINK_ANSWER = N_("If this address has an account, a link is on its way. It works once, for half an hour.")
SIGN_UP_ANSWER = N_("A link is on its way to this address. It confirms the address and signs you in.")
QUARTER = timedelta(minutes=15)
STRANGERS = 10  # tries for one address from all networks together, in multiples of what one may


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
    async with like_any_other(request, body.email):
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
    async with like_any_other(request, body.email):
        if not _mailbox_is_full(request, body.email):
            await accounts.send_sign_in_link(
                request.app[DATABASE], body.email, return_path=body.next, now=request.app[CLOCK]()
            )
    return web.json_response({"message": t(LINK_ANSWER)}, status=202)


@routes.post("/api/sign-in/link/{token}")
async def use_link(request: web.Request) -> web.Response:
    await read(request, EmptyBody)
    count_address(request)
    signed_in = await accounts.consume_link(
        request.app[DATABASE], request.match_info["token"], device=_device(request), now=request.app[CLOCK]()
    )
    return await _welcomed(request, signed_in, signed_in.return_path)


@routes.post("/api/sign-up")
async def sign_up(request: web.Request) -> web.Response:
    body = await read(request, SignUpBody)
    async with like_any_other(request, body.email):
        if not _mailbox_is_full(request, body.email):
            await accounts.sign_up(
                request.app[DATABASE],
                email=body.email,
                name=body.name,
                time_zone=body.time_zone or request.app[SETTINGS].practice.time_zone,
                return_path=body.next,
                now=request.app[CLOCK](),
            )
    return web.json_response({"message": t(SIGN_UP_ANSWER)}, status=202)


@routes.post("/api/sign-out")
async def sign_out(request: web.Request) -> web.Response:
    """Safe to repeat: signed out is signed out."""
    await read(request, EmptyBody)
    session_id = request[SESSION_ID]
    if session_id is not None:
        await web_sessions.revoke_session(request.app[DATABASE], session_id, now=request.app[CLOCK]())
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
    app = request.app
    db, now = app[DATABASE], app[CLOCK]()
    before = request[SESSION_ID]
    if before is not None:
        await web_sessions.revoke_session(db, before, now=now)
    request[SESSION_ID] = signed_in.session_id
    visit = await web_sessions.session_of(db, signed_in.token, rules=app[FACTOR_RULES], now=now)
    if visit is None:
        raise NotSignedIn
    person = await people.get_person(db, signed_in.person_id)
    goal = local_path(next_path) or accounts.home_path(visit.actor)
    answer = {"next": goal, "second_factor": None, "csrf_token": security.csrf_token(request)}
    if visit.awaits_factor:
        answer["next"] = "/sign-in/second-step?next=" + quote(goal, safe="")
        answer["second_factor"] = "give" if visit.has_factor else "set_up"
    response = web.json_response(answer)
    server = app[SETTINGS].server
    security.set_session_cookie(response, server, signed_in.token, security.seconds_until(signed_in.expires_at, now))
    security.remember_device(request, response, person.email)
    return response


@asynccontextmanager
async def like_any_other(request: web.Request, email: str) -> AsyncIterator[None]:
    """Count the try, then let the answer take at least the set time: how long it took tells nothing.

    A stranger's tries can't lock somebody out: they are counted for the stranger's network, and all strangers'
    together; a browser that has signed in to this account before is counted by itself.
    """
    loop = asyncio.get_running_loop()
    settings = request.app[SETTINGS].security
    earliest = loop.time() + settings.answer_floor_ms / 1000
    normalised = accounts.normalised_email(email)
    count_address(request)
    known = security.known_device(request, normalised)
    network = network_of(client_address(request, request.app[SETTINGS].server.trusted_proxies))
    most = settings.sign_in_tries_per_account
    limits, now = request.app[LIMITS], request.app[CLOCK]()
    limits.count(Rule("sign_in_account", most, QUARTER), f"{normalised} {known or network}", now)
    if known is None:
        limits.count(Rule("sign_in_strangers", most * STRANGERS, QUARTER), normalised, now)
    yield
    await asyncio.sleep(max(0.0, earliest - loop.time()))


def _mailbox_is_full(request: web.Request, email: str) -> bool:
    """Whether enough links went to this address lately. Those that did still work, so nobody is locked out."""
    most = request.app[SETTINGS].security.sign_in_tries_per_account
    try:
        request.app[LIMITS].count(Rule("links", most, QUARTER), accounts.normalised_email(email), request.app[CLOCK]())
    except TooMany:
        return True
    return False


def count_address(request: web.Request) -> None:
    settings = request.app[SETTINGS]
    rule = Rule("sign_in_address", settings.security.sign_in_tries_per_address, QUARTER)
    address = client_address(request, settings.server.trusted_proxies)
    request.app[LIMITS].count(rule, network_of(address), request.app[CLOCK]())


def _device(request: web.Request) -> str:
    return request.headers.get("User-Agent", "")[:200]
