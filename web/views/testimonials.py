"""Testimonials: an admin's list to decide on, and a practitioner's own to reply to once."""

from __future__ import annotations

from aiohttp import web

from control import testimonials
from control.accounts import require_actor
from control.keys import DATABASE
from control.language import N_, t
from control.models.people import Role
from web.render import render

routes = web.RouteTableDef()

_SHOWS = {"waiting": N_("Waiting"), "approved": N_("Approved"), "refused": N_("Refused")}


@routes.get("/admin/testimonials")
async def to_decide(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.ADMIN)
    show = request.query.get("show", "waiting")
    show = show if show in _SHOWS else "waiting"
    rows = await testimonials.listed(request.app[DATABASE], actor, show)
    return render(
        request, "admin/testimonials.html", rows=rows, show=show, shows={key: t(words) for key, words in _SHOWS.items()}
    )


@routes.get("/therapist/testimonials")
async def own(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    rows = await testimonials.of_practitioner(request.app[DATABASE], actor.person_id)
    return render(request, "therapist/testimonials.html", rows=rows, most=testimonials.MOST_REPLY)
