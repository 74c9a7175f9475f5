"""One's own settings, telephone number and notices; people and their roles, for admins; the audit log."""

from datetime import timedelta
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import audit, people, phones
from control.accounts import optional_actor, require_actor
from control.api.bodies import Body, EmptyBody, PageQuery, Query, read, read_query
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Text, iso, maybe_iso
from control.errors import Invalid
from control.keys import CLOCK, DATABASE, LIMITS, SETTINGS
from control.limits import Rule
from control.models.people import Role
from control.notices.live import as_message
from control.notices.outbox import mark_read, newest_notices, unread_count
from control.paging import Wanted, place_of
from control.people import Changes, PersonView
from control.security import set_language_cookie

routes = web.RouteTableDef()

PHONE_CODES = Rule("phone_codes", 5, timedelta(hours=1))  # each costs the practice an SMS
PHONE_TRIES = Rule("phone_tries", 20, timedelta(hours=1))


class AccountBody(Body):
    """What is left out stays as it is."""

    name: Annotated[Text, Field(min_length=1, max_length=120)] | None = None
    time_zone: Annotated[str, Field(max_length=64)] | None = None
    language: Annotated[str, Field(max_length=12)] | None = None
    country: Annotated[str, Field(pattern="^([A-Z]{2})?$")] | None = None
    wants_sms: bool | None = None
    wants_testimonial_reminders: bool | None = None


class LanguageBody(Body):
    language: Annotated[str, Field(max_length=12)]


class PhoneBody(Body):
    phone: Annotated[str, Field(min_length=5, max_length=40)]


class PhoneCodeBody(Body):
    code: Annotated[str, Field(min_length=6, max_length=10)]


class ReadBody(Body):
    up_to: Annotated[int, Field(ge=0, le=2_000_000_000)]


class InviteBody(Body):
    email: Annotated[str, Field(max_length=254)]
    name: Annotated[Text, Field(min_length=1, max_length=120)]
    roles: Annotated[list[Role], Field(min_length=1, max_length=4)]
    time_zone: Annotated[str, Field(max_length=64)] | None = None


class RolesBody(Body):
    roles: Annotated[list[Role], Field(min_length=1, max_length=4)]


class PeopleQuery(PageQuery):
    q: Annotated[Text, Field(max_length=100)] = ""
    role: Role | None = None


class AuditQuery(PageQuery):
    action: Annotated[Text, Field(max_length=64)] = ""
    subject: Annotated[Text, Field(max_length=120)] = ""
    actor: Annotated[Text, Field(max_length=32)] = ""


class NoticesQuery(Query):
    limit: Annotated[int, Field(ge=1, le=100)] = 30


def person_json(view: PersonView) -> dict[str, Any]:
    return {
        "id": view.id,
        "name": view.name,
        "email": view.email,
        "roles": sorted(view.roles),
        "time_zone": view.time_zone,
        "language": view.language,
        "country": view.country,
        "phone": view.phone,
        "phone_proven": view.phone_proven_at is not None,
        "wants_sms": view.wants_sms,
        "wants_testimonial_reminders": view.wants_testimonial_reminders,
        "email_proven": view.email_proven_at is not None,
        "second_factor_since": maybe_iso(view.second_factor_at),
        "created_at": iso(view.created_at),
    }


# -- oneself -----------------------------------------------------------------------------------------------------


@routes.get("/api/account")
async def account(request: web.Request) -> web.Response:
    actor = require_actor(request)
    return web.json_response(person_json(await people.get_person(request.app[DATABASE], actor.person_id)))


@routes.patch("/api/account")
async def change_account(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, AccountBody)
    if body.language is not None:
        _check_offered(request, body.language)
    changes = Changes(**body.model_dump())
    changed = await people.change(request.app[DATABASE], actor.person_id, changes)
    return web.json_response(person_json(changed))


def _check_offered(request: web.Request, language: str) -> None:
    if language not in request.app[SETTINGS].practice.languages:
        raise Invalid("language_unknown", "There are no texts in this language yet.", pointer="/language")


@routes.post("/api/language")
async def choose_language(request: web.Request) -> web.Response:
    """In this browser, for who is not signed in too; and for the person, wherever they are."""
    body = await read(request, LanguageBody)
    settings = request.app[SETTINGS]
    _check_offered(request, body.language)
    actor = optional_actor(request)
    if actor is not None:
        await people.change(request.app[DATABASE], actor.person_id, Changes(language=body.language))
    response = web.json_response({"language": body.language})
    set_language_cookie(response, settings.server, body.language)
    return response


@routes.post("/api/account/phone")
@idempotent()
async def send_phone_code(request: web.Request) -> web.Response:
    """Sends a code to the number by SMS. Nothing else is ever sent there before it is proven."""
    actor = require_actor(request)
    body = await read(request, PhoneBody)
    phones.normalised_phone(body.phone)
    request.app[LIMITS].count(PHONE_CODES, actor.person_id, request.app[CLOCK]())
    number = await phones.send_code(request.app[DATABASE], actor.person_id, body.phone, now=request.app[CLOCK]())
    return web.json_response({"phone": number}, status=202)


@routes.post("/api/account/phone/confirm")
@idempotent()
async def prove_phone(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, PhoneCodeBody)
    request.app[LIMITS].count(PHONE_TRIES, actor.person_id, request.app[CLOCK]())
    await phones.prove(request.app[DATABASE], actor.person_id, body.code, now=request.app[CLOCK]())
    return web.json_response(person_json(await people.get_person(request.app[DATABASE], actor.person_id)))


@routes.delete("/api/account/phone")
async def forget_phone(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await phones.forget(request.app[DATABASE], actor.person_id)
    return web.Response(status=204)


@routes.get("/api/notices")
async def notices(request: web.Request) -> web.Response:
    """The newest first. What happens from now on comes over `/api/live`."""
    actor = require_actor(request)
    query = read_query(request, NoticesQuery)
    db = request.app[DATABASE]
    found = await newest_notices(db, actor.person_id, limit=query.limit)
    return web.json_response(
        {
            "unread": await unread_count(db, actor.person_id),
            "notices": [{**as_message(notice), "read": read} for notice, read in found],
        }
    )


@routes.post("/api/notices/read")
@idempotent()
async def read_notices(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, ReadBody)
    db = request.app[DATABASE]
    await mark_read(db, actor.person_id, body.up_to, now=request.app[CLOCK]())
    return web.json_response({"unread": await unread_count(db, actor.person_id)})


# -- people, for admins ------------------------------------------------------------------------------------------


@routes.get("/api/people")
async def all_people(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.ADMIN)
    query = read_query(request, PeopleQuery)
    wanted = Wanted(query.limit, place_of(query.cursor))
    page = await people.page_of_people(request.app[DATABASE], actor, wanted, query=query.q, role=query.role)
    return web.json_response({"people": [person_json(one) for one in page.rows], "next_cursor": page.next_cursor})


@routes.post("/api/people")
@idempotent()
async def invite(request: web.Request) -> web.Response:
    """A new person with these roles, invited by a link that works for a week."""
    actor = require_actor(request, Role.ADMIN)
    body = await read(request, InviteBody)
    invited = await people.invite(
        request.app[DATABASE],
        actor,
        email=body.email,
        name=body.name,
        roles=body.roles,
        time_zone=body.time_zone or request.app[SETTINGS].practice.time_zone,
        now=request.app[CLOCK](),
    )
    return web.json_response(person_json(invited), status=201)


@routes.post(f"/api/people/{{id:{ID_PATTERN}}}/invite-again")
@idempotent()
async def invite_again(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.ADMIN)
    await read(request, EmptyBody)
    await people.invite_again(request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.json_response({}, status=202)


@routes.post(f"/api/people/{{id:{ID_PATTERN}}}/roles")
@idempotent()
async def set_roles(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.ADMIN)
    body = await read(request, RolesBody)
    changed = await people.set_roles(
        request.app[DATABASE], actor, request.match_info["id"], body.roles, now=request.app[CLOCK]()
    )
    return web.json_response(person_json(changed))


@routes.post(f"/api/people/{{id:{ID_PATTERN}}}/sign-out")
@idempotent()
async def sign_out_person(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.ADMIN)
    await read(request, EmptyBody)
    ended = await people.sign_out_person(
        request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]()
    )
    return web.json_response({"ended": ended})


@routes.get("/api/audit")
async def audit_log(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.ADMIN)
    query = read_query(request, AuditQuery)
    page = await audit.page_of_log(
        request.app[DATABASE],
        actor,
        Wanted(query.limit, place_of(query.cursor)),
        action=query.action,
        subject=query.subject,
        actor_id=query.actor,
    )
    entries = [
        {
            "at": iso(one.at),
            "actor": {"id": one.actor_id, "name": name} if one.actor_id else None,
            "action": one.action,
            "subject": one.subject,
            "detail": dict(one.detail),
        }
        for one, name in page.rows
    ]
    return web.json_response({"entries": entries, "next_cursor": page.next_cursor})
