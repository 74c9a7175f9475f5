"""A practitioner's editors: services with the cancellation policy, the profile with the consent text, aftercare.

They only show what is saved; every form writes through control/api/my_practice.py.
"""

from __future__ import annotations

from aiohttp import web

from control import consents, practice_editing
from control.accounts import require_actor
from control.consents import Purpose
from control.errors import NotFound
from control.keys import DATABASE
from control.models.people import Role
from control.money.policy import MINOR_DIGITS
from web.render import render
from web.views.sources import Text, policy_words

routes = web.RouteTableDef()


@routes.get("/therapist/services")
async def services(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    mine = await practice_editing.my_practice(request.app[DATABASE], actor)
    policy = mine.policy
    return render(
        request,
        "therapist/services.html",
        services=mine.services,
        policy=policy,
        policy_words=policy_words(policy.late_window_minutes, policy.late_fee_bp, policy.no_show_fee_bp),
        currencies=list(MINOR_DIGITS),
    )


@routes.get("/therapist/profile")
async def profile(request: web.Request) -> web.StreamResponse:
    actor, db = require_actor(request, Role.PRACTITIONER), request.app[DATABASE]
    mine = await practice_editing.my_practice(db, actor)
    try:
        text = await consents.current_text(db, Purpose.CARE, actor.person_id)
        consent = Text(text.id, text.version, text.title, (text.body,), "")
    except NotFound:
        consent = Text("", 0, "", ("",), "")
    return render(request, "therapist/profile.html", profile=mine.profile, consent=consent)


@routes.get("/therapist/aftercare")
async def aftercare(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    mine = await practice_editing.my_practice(request.app[DATABASE], actor)
    return render(request, "therapist/aftercare.html", aftercare=mine.aftercare.aftercare)
