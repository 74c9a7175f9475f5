"""How one signs in: the second step, authenticator app, passkeys, recovery codes, password, devices, apps' tokens.

Changes of these are made from a signed-in browser, not with a token: a stolen token must not lock its owner out.
"""

from datetime import timedelta
from typing import Annotated, Any

import segno
from aiohttp import web
from pydantic import Field

from control import accounts, passkeys, people, second_factor, security, web_sessions
from control.accounts import Actor, local_path, require_actor
from control.api.accounts import count_address, like_any_other
from control.api.bodies import Body, EmptyBody, read
from control.api.shapes import ID_PATTERN, Text, iso, maybe_iso
from control.errors import Conflict, Forbidden, Invalid, NotFound, NotSignedIn
from control.keys import BY_TOKEN, CLOCK, DATABASE, FACTOR_RULES, HALF, LIMITS, SESSION_ID, SETTINGS
from control.limits import Rule
from control.passkeys import Site
from control.web_sessions import Visit

routes = web.RouteTableDef()

CODES_PER_HOUR = 20  # second-factor codes tried for one account; only who passed the first step gets to try

Code = Annotated[str, Field(min_length=6, max_length=20)]


class CodeBody(Body):
    code: Code
    next: Annotated[str, Field(max_length=400)] | None = None


class ConfirmBody(Body):
    code: Code


class PasskeyBody(Body):
    credential: dict[str, Any]
    next: Annotated[str, Field(max_length=400)] | None = None


class NewPasskeyBody(Body):
    name: Annotated[Text, Field(min_length=1, max_length=80)]
    credential: dict[str, Any]


class PasswordBody(Body):
    password: Annotated[str, Field(min_length=accounts.LEAST_PASSWORD_LENGTH, max_length=accounts.MOST_PASSWORD_LENGTH)]


class TokenBody(Body):
    """By `email` and `password`, or by `link`, the token of a one-time link; `code` where a second step is due."""

    email: Annotated[str, Field(max_length=254)] | None = None
    password: Annotated[str, Field(max_length=accounts.MOST_PASSWORD_LENGTH)] | None = None
    link: Annotated[str, Field(max_length=200)] | None = None
    code: Code | None = None
    name: Annotated[Text, Field(min_length=1, max_length=80)] = "App"


def _half(request: web.Request) -> Visit:
    """Whoever has passed the first step only."""
    visit = request[HALF]
    if visit is None:
        raise NotSignedIn if request.get(SESSION_ID) is None else Conflict("signed_in", "You are signed in already.")
    return visit


def _setting_up(request: web.Request) -> tuple[str, str]:
    """(person, session) of who may add a factor: signed in, or half signed in and without any factor yet."""
    half = request[HALF]
    if half is not None and not half.has_factor:
        return half.actor.person_id, half.session_id
    return _in_browser(request)


def _in_browser(request: web.Request) -> tuple[str, str]:
    actor = require_actor(request)
    session_id = request[SESSION_ID]
    if request[BY_TOKEN] or session_id is None:
        raise Forbidden("browser_only", "This is changed on the account page, not with an app's token.")
    return actor.person_id, session_id


def _count(request: web.Request, name: str, most: int, person_id: str) -> None:
    request.app[LIMITS].count(Rule(name, most, timedelta(hours=1)), person_id, request.app[CLOCK]())


def _site(request: web.Request) -> Site:
    settings = request.app[SETTINGS]
    return Site.of(settings.server.public_url, settings.practice.name, security.own_origins(settings.server))


def _secret(value: object, status: int = 200) -> web.Response:
    answer = web.json_response(value, status=status)
    answer.headers["Cache-Control"] = "no-store"
    return answer


# -- the second step ---------------------------------------------------------------------------------------------


@routes.post("/api/sign-in/second-step")
async def give_code(request: web.Request) -> web.Response:
    half, body = _half(request), await read(request, CodeBody)
    _count(request, "second_factor", CODES_PER_HOUR, half.actor.person_id)
    app = request.app
    await second_factor.give_code(
        app[DATABASE], half.actor.person_id, half.session_id, body.code, rules=app[FACTOR_RULES], now=app[CLOCK]()
    )
    return _let_in(half.actor, body.next)


@routes.post("/api/sign-in/second-step/passkey/begin")
async def begin_giving_passkey(request: web.Request) -> web.Response:
    half = _half(request)
    await read(request, EmptyBody)
    app = request.app
    return _secret(
        await passkeys.begin_giving(
            app[DATABASE], half.actor.person_id, half.session_id, _site(request), now=app[CLOCK]()
        )
    )


@routes.post("/api/sign-in/second-step/passkey")
async def give_passkey(request: web.Request) -> web.Response:
    half, body = _half(request), await read(request, PasskeyBody)
    _count(request, "second_factor", CODES_PER_HOUR, half.actor.person_id)
    app = request.app
    await passkeys.give(
        app[DATABASE], half.actor.person_id, half.session_id, _site(request), body.credential, now=app[CLOCK]()
    )
    return _let_in(half.actor, body.next)


def _let_in(actor: Actor, next_path: str | None) -> web.Response:
    return _secret({"next": local_path(next_path) or accounts.home_path(actor)})


# -- setting factors up ------------------------------------------------------------------------------------------


@routes.get("/api/account/security")
async def overview(request: web.Request) -> web.Response:
    person_id, _ = _setting_up(request)
    found = await second_factor.factors_of(request.app[DATABASE], person_id)
    return _secret(
        {
            "totp_since": maybe_iso(found.totp_since),
            "recovery_codes_left": found.recovery_codes_left,
            "passkeys": [
                {
                    "id": one.id,
                    "name": one.name,
                    "created_at": iso(one.created_at),
                    "last_used_at": maybe_iso(one.last_used_at),
                }
                for one in found.passkeys
            ],
        }
    )


@routes.post("/api/account/totp")
async def begin_totp(request: web.Request) -> web.Response:
    """The secret and its QR code, once; it counts when a code of it is confirmed."""
    person_id, _ = _setting_up(request)
    await read(request, EmptyBody)
    app = request.app
    made = await second_factor.begin_totp(
        app[DATABASE],
        person_id,
        issuer=app[SETTINGS].practice.name,
        rules=app[FACTOR_RULES],
        now=app[CLOCK](),
    )
    picture = segno.make(made.uri, micro=False).svg_data_uri(scale=5, border=2, dark="#1e2a2e", light="#ffffff")
    return _secret({"secret": made.secret, "uri": made.uri, "qr": picture})


@routes.post("/api/account/totp/confirm")
async def confirm_totp(request: web.Request) -> web.Response:
    person_id, session_id = _setting_up(request)
    body = await read(request, ConfirmBody)
    _count(request, "second_factor", CODES_PER_HOUR, person_id)
    app = request.app
    codes = await second_factor.confirm_totp(
        app[DATABASE], person_id, session_id, body.code, rules=app[FACTOR_RULES], now=app[CLOCK]()
    )
    return _secret({"recovery_codes": codes})


@routes.delete("/api/account/totp")
async def remove_totp(request: web.Request) -> web.Response:
    person_id, _ = _in_browser(request)
    app = request.app
    await second_factor.remove_totp(app[DATABASE], person_id, rules=app[FACTOR_RULES], now=app[CLOCK]())
    return web.Response(status=204)


@routes.post("/api/account/recovery-codes")
async def make_recovery_codes(request: web.Request) -> web.Response:
    person_id, _ = _in_browser(request)
    await read(request, EmptyBody)
    codes = await second_factor.make_recovery_codes(request.app[DATABASE], person_id, now=request.app[CLOCK]())
    return _secret({"recovery_codes": codes})


@routes.post("/api/account/passkeys/begin")
async def begin_adding_passkey(request: web.Request) -> web.Response:
    person_id, session_id = _setting_up(request)
    await read(request, EmptyBody)
    app = request.app
    return _secret(await passkeys.begin_adding(app[DATABASE], person_id, session_id, _site(request), now=app[CLOCK]()))


@routes.post("/api/account/passkeys")
async def add_passkey(request: web.Request) -> web.Response:
    person_id, session_id = _setting_up(request)
    body = await read(request, NewPasskeyBody)
    app = request.app
    codes = await passkeys.add(
        app[DATABASE], person_id, session_id, _site(request), body.name, body.credential, now=app[CLOCK]()
    )
    return _secret({"recovery_codes": codes}, status=201)


@routes.delete(f"/api/account/passkeys/{{id:{ID_PATTERN}}}")
async def remove_passkey(request: web.Request) -> web.Response:
    person_id, _ = _in_browser(request)
    app = request.app
    await passkeys.remove(app[DATABASE], person_id, request.match_info["id"], rules=app[FACTOR_RULES], now=app[CLOCK]())
    return web.Response(status=204)


@routes.post("/api/account/password")
async def set_password(request: web.Request) -> web.Response:
    """The others who are signed in to this account are signed out."""
    person_id, session_id = _in_browser(request)
    body = await read(request, PasswordBody)
    await people.set_password(request.app[DATABASE], person_id, session_id, body.password, now=request.app[CLOCK]())
    return web.Response(status=204)


# -- devices and apps --------------------------------------------------------------------------------------------


@routes.get("/api/account/devices")
async def devices(request: web.Request) -> web.Response:
    """Browsers and apps that are signed in, this one marked."""
    actor = require_actor(request)
    found = await web_sessions.devices_of(request.app[DATABASE], actor.person_id, now=request.app[CLOCK]())
    return _secret(
        {
            "devices": [
                {
                    "id": one.id,
                    "kind": one.kind,
                    "name": one.name,
                    "created_at": iso(one.created_at),
                    "last_seen_at": iso(one.last_seen_at),
                    "expires_at": iso(one.expires_at),
                    "this_one": one.id == request[SESSION_ID],
                }
                for one in found
            ]
        }
    )


@routes.delete(f"/api/account/devices/{{id:{ID_PATTERN}}}")
async def revoke_device(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await web_sessions.revoke_device(
        request.app[DATABASE], actor.person_id, request.match_info["id"], now=request.app[CLOCK]()
    )
    return web.Response(status=204)


@routes.post("/api/account/sign-out-everywhere")
async def sign_out_everywhere(request: web.Request) -> web.Response:
    """Every browser and app but this one."""
    person_id, session_id = _in_browser(request)
    await read(request, EmptyBody)
    ended = await web_sessions.sign_out_everywhere(
        request.app[DATABASE], person_id, but=session_id, now=request.app[CLOCK]()
    )
    return _secret({"ended": ended})


@routes.post("/api/tokens")
async def make_token(request: web.Request) -> web.Response:
    """A bearer token for an app, by password or one-time link. Shown once; revoked among the devices."""
    body = await read(request, TokenBody)
    if body.link is not None and body.email is None and body.password is None:
        found = await _by_link(request, body.link)
    elif body.link is None and body.email is not None and body.password is not None:
        found = await _by_password(request, body.email, body.password)
    else:
        raise Invalid("credentials_incomplete", "Send email and password, or link.")
    app = request.app
    db, rules, now = app[DATABASE], app[FACTOR_RULES], app[CLOCK]()
    visit = await web_sessions.session_of(db, found.token, rules=rules, now=now)
    # The browser session of the sign-in was only its proof.
    await web_sessions.revoke_session(db, found.session_id, now=now)
    if visit is None:
        raise NotFound
    if visit.awaits_factor:
        if not visit.has_factor:
            raise Forbidden("second_factor_missing", "Sign in with a browser first, and set up the second step.")
        if body.code is None:
            raise NotSignedIn("second_factor_required", "Send the code of the second step as well.")
        _count(request, "second_factor", CODES_PER_HOUR, visit.actor.person_id)
        if not await second_factor.is_right(db, visit.actor.person_id, body.code, rules=rules, now=now):
            raise Forbidden("code_wrong", "This code is not right, or it has been used.", title="Not signed in")
    made = await web_sessions.make_token(
        db, visit.actor.person_id, body.name, factor_given=visit.awaits_factor, now=now
    )
    return _secret({"id": made.id, "token": made.token, "expires_at": iso(made.expires_at)}, status=201)


async def _by_link(request: web.Request, link: str) -> accounts.SignedIn:
    count_address(request)
    return await accounts.consume_link(request.app[DATABASE], link, now=request.app[CLOCK]())


async def _by_password(request: web.Request, email: str, password: str) -> accounts.SignedIn:
    async with like_any_other(request, email):
        found = await accounts.sign_in_by_password(request.app[DATABASE], email, password, now=request.app[CLOCK]())
    if found is None:
        raise Forbidden("sign_in_refused", "This e-mail and password don't fit together.", title="Not signed in")
    return found
