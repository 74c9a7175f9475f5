"""Answers to consent texts, and taking them back."""

from typing import Any, Literal

from aiohttp import web

from control import appointments, consents
from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Id, iso
from control.consents import Answer, Given, Purpose
from control.keys import CLOCK, DATABASE

routes = web.RouteTableDef()
OF_ONE = f"/api/appointments/{{id:{ID_PATTERN}}}/consents"
PURPOSE = "{purpose:care|recording}"


class AnswerBody(Body):
    answer: Literal["yes", "no"]
    text_id: Id


def given_json(given: Given) -> dict[str, Any]:
    return {
        "receipt": given.consent_id,
        "purpose": given.purpose,
        "text_id": given.text_id,
        "text_version": given.text_version,
        "appointment_id": given.appointment_id,
        "answer": given.answer,
        "answered_at": iso(given.answered_at),
    }


@routes.get(f"{OF_ONE}/{PURPOSE}")
async def text_and_answer(request: web.Request) -> web.Response:
    """The newest text, and the person's own standing answer for this appointment."""
    actor = require_actor(request)
    db = request.app[DATABASE]
    purpose = Purpose(request.match_info["purpose"])
    view = await appointments.get_for(db, actor, request.match_info["id"])
    text = await consents.current_text(db, purpose, view.practitioner_id)
    given = consents.answer_of(await consents.standing(db, view.id), actor.person_id, purpose)
    return web.json_response(
        {
            "text": {
                "id": text.id,
                "version": text.version,
                "title": text.title,
                "body": text.body,
                "video_url": text.video_url,
            },
            "answer": None if given is None else given_json(given),
        }
    )


@routes.post(f"{OF_ONE}/{PURPOSE}")
@idempotent()
async def answer(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, AnswerBody)
    given = await consents.answer(
        request.app[DATABASE],
        actor,
        request.match_info["id"],
        Purpose(request.match_info["purpose"]),
        Answer(body.answer),
        body.text_id,
        now=request.app[CLOCK](),
    )
    return web.json_response(given_json(given))


@routes.post(f"{OF_ONE}/{PURPOSE}/withdraw")
@idempotent()
async def withdraw(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await read(request, EmptyBody)
    given = await consents.withdraw(
        request.app[DATABASE],
        actor,
        request.match_info["id"],
        Purpose(request.match_info["purpose"]),
        now=request.app[CLOCK](),
    )
    return web.json_response(given_json(given))


@routes.get("/api/consents")
async def history(request: web.Request) -> web.Response:
    actor = require_actor(request)
    given = await consents.history_of(request.app[DATABASE], actor)
    return web.json_response({"consents": [given_json(one) for one in given]})
