"""What practitioners earned, for themselves, and what an admin pays out. Reads; writing goes through the JSON API."""

from __future__ import annotations

from aiohttp import web

from control import practitioners
from control.accounts import require_actor
from control.errors import NotFound
from control.keys import CLOCK, DATABASE
from control.models.people import Role
from control.money import credits, payouts
from control.money.policy import CREDIT_PACKAGES, MINOR_DIGITS
from web.render import render, zone_of

routes = web.RouteTableDef()


@routes.get("/therapist/earnings")
async def earnings(request: web.Request) -> web.StreamResponse:
    actor, db = require_actor(request, Role.PRACTITIONER), request.app[DATABASE]
    try:
        services = (await practitioners.get_profile(db, actor.person_id)).services
    except NotFound:  # nothing published yet
        services = ()
    offered = await credits.offers(db, practitioner_id=actor.person_id)
    return render(
        request,
        "therapist/earnings.html",
        balances=await payouts.due(db, actor.person_id),
        rows=await payouts.earned_by(db, actor.person_id),
        payouts=await payouts.payouts(db, actor.person_id),
        services=[one for one in services if one.price_minor],
        offers={(one.service_id, one.credits): one for one in offered},
        packages=CREDIT_PACKAGES,
    )


@routes.get("/admin/payouts")
async def admin_payouts(request: web.Request) -> web.StreamResponse:
    require_actor(request, Role.ADMIN)
    db = request.app[DATABASE]
    return render(
        request,
        "admin/payouts.html",
        due=await payouts.due(db),
        short=await payouts.short_sessions(db),
        payouts=await payouts.payouts(db),
        digits=MINOR_DIGITS,
        today=request.app[CLOCK]().date().isoformat(),
        zone_shown=zone_of(request),
    )
