"""Testimonials: leaving, taking back, declining; an admin's decision; the practitioner's one reply. Thin."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import testimonials
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Text, iso, maybe_iso
from control.keys import CLOCK, DATABASE
from control.models.people import Role
from control.testimonials import TestimonialView

routes = web.RouteTableDef()
SESSION = f"/api/appointments/{{id:{ID_PATTERN}}}"
ONE = f"/api/testimonials/{{id:{ID_PATTERN}}}"


class TestimonialBody(Body):
    text: Annotated[Text, Field(min_length=1, max_length=testimonials.MOST_TEXT)]


class DecisionBody(Body):
    approve: bool


class ReplyBody(Body):
    text: Annotated[Text, Field(min_length=1, max_length=testimonials.MOST_REPLY)]


def testimonial_json(view: TestimonialView) -> dict[str, Any]:
    return {
        "id": view.id,
        "author": view.author_name,
        "practitioner": {"id": view.practitioner_id, "name": view.practitioner_name},
        "text": view.text,
        "state": view.state,
        "created_at": iso(view.created_at),
        "reply": view.reply,
        "replied_at": maybe_iso(view.replied_at),
    }


@routes.post(f"{SESSION}/testimonial")
@idempotent()
async def leave(request: web.Request) -> web.Response:
    """About the session's practitioner; public once an admin has approved it."""
    actor = require_actor(request)
    body = await read(request, TestimonialBody)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    left = await testimonials.leave(db, actor, request.match_info["id"], body.text, now=now)
    return web.json_response(testimonial_json(left), status=201)


@routes.post(f"{SESSION}/testimonial/decline")
@idempotent()
async def decline(request: web.Request) -> web.Response:
    """No reminders about this practitioner any more."""
    actor = require_actor(request)
    await read(request, EmptyBody)
    await testimonials.decline(request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.Response(status=204)


@routes.delete(ONE)
async def take_back(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await testimonials.take_back(request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.Response(status=204)


@routes.post(f"{ONE}/decision")
@idempotent()
async def decide(request: web.Request) -> web.Response:
    """Approved ones stand on the profile; nobody edits the words."""
    actor = require_actor(request, Role.ADMIN)
    body = await read(request, DecisionBody)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    decided = await testimonials.decide(db, actor, request.match_info["id"], approve=body.approve, now=now)
    return web.json_response(testimonial_json(decided))


@routes.post(f"{ONE}/reply")
@idempotent()
async def reply(request: web.Request) -> web.Response:
    """The practitioner's own, once."""
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, ReplyBody)
    db, now = request.app[DATABASE], request.app[CLOCK]()
    replied = await testimonials.reply(db, actor, request.match_info["id"], body.text, now=now)
    return web.json_response(testimonial_json(replied))
