"""What practitioners earned, and payouts written down by an admin; both as CSV too."""

from collections.abc import AsyncIterator, Iterable
from datetime import date
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control.accounts import require_actor
from control.api.bodies import Body, EmptyBody, read
from control.api.csv_files import csv_answer
from control.api.idempotency import idempotent, key_of
from control.api.shapes import ID_PATTERN, Id, Text, iso
from control.keys import CLOCK, DATABASE
from control.models.people import Role
from control.money import payouts
from control.money.payouts import Due, Earned, NewPayout, PayoutView
from control.money.words import plain_amount

routes = web.RouteTableDef()


class PayoutBody(Body):
    practitioner_id: Id
    amount_minor: Annotated[int, Field(gt=0, le=10**12, strict=True)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    paid_on: date
    reference: Annotated[Text, Field(min_length=1, max_length=120)]


def _due_json(one: Due) -> dict[str, Any]:
    return {
        "practitioner": {"id": one.practitioner_id, "name": one.practitioner_name},
        "currency": one.currency,
        "balance_minor": one.balance_minor,
        "waiting_minor": one.waiting_minor,
        "payable_minor": one.payable_minor,
    }


def _payout_json(one: PayoutView) -> dict[str, Any]:
    return {
        "id": one.id,
        "practitioner": {"id": one.practitioner_id, "name": one.practitioner_name},
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "paid_on": one.paid_on.isoformat(),
        "reference": one.reference,
        "recorded_at": iso(one.created_at),
    }


@routes.get("/api/earnings")
async def mine(request: web.Request) -> web.Response:
    actor, db = require_actor(request, Role.PRACTITIONER), request.app[DATABASE]
    earned = await payouts.earned_by(db, actor.person_id)
    return web.json_response(
        {
            "balances": [_due_json(one) for one in await payouts.due(db, actor.person_id)],
            "payouts": [_payout_json(one) for one in await payouts.payouts(db, actor.person_id)],
            "sessions": [
                {
                    "appointment_id": one.appointment_id,
                    "service": one.service_name,
                    "client": one.client_name,
                    "start": iso(one.starts_at),
                    "status": one.state,
                    "price_minor": one.price_minor,
                    "kept_minor": one.kept_minor,
                    "platform_fee_minor": one.fee_minor,
                    "receives_minor": one.earned_minor,
                    "currency": one.currency,
                    "waits_for_review": one.waits,
                }
                for one in earned
            ],
        }
    )


EARNINGS_HEAD = (
    *("session", "start", "service", "client", "state", "currency"),
    *("price", "kept", "platform_fee", "receives"),
)


@routes.get("/api/earnings.csv")
async def mine_as_csv(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.PRACTITIONER)
    earned = await payouts.earned_by(request.app[DATABASE], actor.person_id)
    return await csv_answer(request, "earnings.csv", EARNINGS_HEAD, _earned_lines(earned))


async def _earned_lines(earned: Iterable[Earned]) -> AsyncIterator[tuple[str, ...]]:
    for one in earned:
        amounts = (one.price_minor, one.kept_minor, one.fee_minor, one.earned_minor)
        yield (
            one.appointment_id,
            iso(one.starts_at),
            one.service_name,
            one.client_name,
            one.state,
            one.currency,
            *(plain_amount(amount, one.currency) for amount in amounts),
        )


@routes.get("/api/payouts")
async def everybody(request: web.Request) -> web.Response:
    require_actor(request, Role.ADMIN)
    db = request.app[DATABASE]
    return web.json_response(
        {
            "due": [_due_json(one) for one in await payouts.due(db)],
            "payouts": [_payout_json(one) for one in await payouts.payouts(db)],
            "short_sessions": [
                {
                    "payment_id": one.payment_id,
                    "appointment_id": one.appointment_id,
                    "practitioner": one.practitioner_name,
                    "client": one.client_name,
                    "start": iso(one.starts_at),
                    "booked_minutes": one.booked_minutes,
                    "together_minutes": one.together_minutes,
                    "receives_minor": one.earned_minor,
                    "currency": one.currency,
                }
                for one in await payouts.short_sessions(db)
            ],
        }
    )


PAYOUTS_HEAD = (
    "payout",
    "practitioner_id",
    "practitioner",
    "paid_on",
    "amount",
    "currency",
    "reference",
    "recorded_at",
)


@routes.get("/api/payouts.csv")
async def payouts_as_csv(request: web.Request) -> web.StreamResponse:
    require_actor(request, Role.ADMIN)
    made = await payouts.payouts(request.app[DATABASE])
    return await csv_answer(request, "payouts.csv", PAYOUTS_HEAD, _payout_lines(made))


async def _payout_lines(made: Iterable[PayoutView]) -> AsyncIterator[tuple[str, ...]]:
    for one in made:
        yield (
            one.id,
            one.practitioner_id,
            one.practitioner_name,
            one.paid_on.isoformat(),
            plain_amount(one.amount_minor, one.currency),
            one.currency,
            one.reference,
            iso(one.created_at),
        )


@routes.post("/api/payouts")
@idempotent(required=True)
async def record(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.ADMIN)
    body = await read(request, PayoutBody)
    payout_id = await payouts.record_payout(
        request.app[DATABASE],
        actor,
        NewPayout(body.practitioner_id, body.amount_minor, body.currency, body.paid_on, body.reference),
        key=f"{actor.person_id}:{key_of(request, required=True)}"[:200],
        now=request.app[CLOCK](),
    )
    return web.json_response({"id": payout_id}, status=201)


@routes.post(f"/api/payouts/short-sessions/{{id:{ID_PATTERN}}}/clear")
@idempotent()
async def clear(request: web.Request) -> web.Response:
    """`id` is the payment's."""
    actor = require_actor(request, Role.ADMIN)
    await read(request, EmptyBody)
    await payouts.clear_short_session(request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.json_response({"status": "cleared"})
