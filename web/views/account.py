"""One's own account: settings, how one signs in, where one is signed in, notices; and the privacy page."""

from __future__ import annotations

from aiohttp import web

from control import countries, people, second_factor, web_sessions
from control.accounts import home_path, local_path, require_actor
from control.keys import CLOCK, DATABASE, HALF, PUSH_SENDER, SESSION_ID, SETTINGS
from control.models.people import SessionKind
from control.notices.outbox import newest_notices, unread_count
from web.render import known_zones, render
from web.words import device_words

routes = web.RouteTableDef()

_SHOWN_NOTICES = 50


@routes.get("/account")
async def account(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request)
    return render(
        request,
        "account.html",
        me=await people.get_person(request.app[DATABASE], actor.person_id),
        zones=sorted(known_zones()),
        countries=countries.named(),
        push_on=request.app[PUSH_SENDER] is not None,
        sms_leave=request.app[SETTINGS].sms.gateway != "none",
    )


@routes.get("/account/security")
async def security(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    found = await web_sessions.devices_of(db, actor.person_id, now=now)
    return render(
        request,
        "security.html",
        me=await people.get_person(db, actor.person_id),
        factors=await second_factor.factors_of(db, actor.person_id),
        devices=[
            {
                "id": one.id,
                "name": device_words(one.name) if one.kind is SessionKind.BROWSER else one.name,
                "is_app": one.kind is SessionKind.APP,
                "last_seen_at": one.last_seen_at,
                "this_one": one.id == request[SESSION_ID],
            }
            for one in found
        ],
        is_staff=bool(second_factor.STAFF & actor.roles),
    )


@routes.get("/sign-in/second-step")
async def second_step(request: web.Request) -> web.StreamResponse:
    """For who passed the first step only; anybody else is where they belong already."""
    wanted = local_path(request.query.get("next"))
    half = request[HALF]
    if half is None:
        raise web.HTTPSeeOther(wanted or home_path(require_actor(request)))
    wanted = wanted or home_path(half.actor)
    factors = await second_factor.factors_of(request.app[DATABASE], half.actor.person_id)
    return render(request, "second_step.html", next=wanted, factors=factors, has_factor=half.has_factor)


@routes.get("/notices")
async def notices(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request)
    db = request.app[DATABASE]
    found = await newest_notices(db, actor.person_id, limit=_SHOWN_NOTICES)
    return render(
        request,
        "notices.html",
        notices=[(notice, read) for notice, read in found],
        unread=await unread_count(db, actor.person_id),
        newest=found[0][0].seq if found else 0,
    )


@routes.get("/privacy")
async def privacy(request: web.Request) -> web.StreamResponse:
    return render(request, "privacy.html", kept_days=request.app[SETTINGS].recording.retention_days)
