"""A client's wallet: balances, topping up, packages of sessions, what was paid; and paying for a purchase.

The pages read; everything that changes goes through the JSON API (control/api/wallet.py, credits.py, refunds.py).
"""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import select

from control.accounts import Actor, require_actor
from control.api.bodies import PageQuery, read_query
from control.database import Database
from control.errors import Forbidden
from control.keys import CLOCK, DATABASE, SETTINGS
from control.models.appointments import Appointment
from control.models.people import Role
from control.money import credits, history, ledger, purchases
from control.money.policy import MINOR_DIGITS, TOP_UP_LIMITS_MINOR
from control.paging import Wanted, place_of
from web.paying import let_gateways_in, ways_of
from web.render import render
from web.views.booker import wallet_of

routes = web.RouteTableDef()


@routes.get("/wallet")
async def wallet(request: web.Request) -> web.StreamResponse:
    actor, db = _client(request), request.app[DATABASE]
    within = request.app[SETTINGS].payments.refund_request_span
    query = read_query(request, PageQuery)
    wanted = Wanted(query.limit, place_of(query.cursor))
    paid = await history.paid_by(db, actor.person_id, wanted, within=within, now=request.app[CLOCK]())
    held = await ledger.balances(db, actor.person_id)
    return render(
        request,
        "wallet.html",
        balances=[one for one in held if one.kind is ledger.Kind.WALLET],
        limits=TOP_UP_LIMITS_MINOR,
        digits=MINOR_DIGITS,
        credits=await credits.held_by(db, actor.person_id),
        offers=await _offers(db, actor),
        rows=paid.rows,
        is_first=query.cursor is None,
        next_cursor=paid.next_cursor,
    )


@routes.get("/wallet/pay/{id:[0-9a-f]{32}}")
async def pay(request: web.Request) -> web.StreamResponse:
    """A purchase on its way: how to pay it, or that it is paid."""
    actor, db = _client(request), request.app[DATABASE]
    purchase = await purchases.get_for(db, actor, request.match_info["id"])
    own = await wallet_of(db, actor, purchase.currency) if purchase.kind == "credits" else None
    refused = await history.was_refused(db, purchase_id=purchase.id)
    page = render(request, "wallet_pay.html", purchase=purchase, ways=ways_of(request, own), refused=refused)
    return let_gateways_in(request, page)


def _client(request: web.Request) -> Actor:
    actor = require_actor(request)
    if not actor.is_any(Role.CLIENT):
        raise Forbidden("not_client", "A wallet belongs to a client's account.")
    return actor


async def _offers(db: Database, actor: Actor) -> list[credits.OfferView]:
    """Of those this client has booked with before; the others' stand where they are booked."""
    async with db.reading() as session:
        known = set(
            await session.scalars(
                select(Appointment.practitioner_id).where(Appointment.client_id == actor.person_id).distinct()
            )
        )
    return [one for one in await credits.offers(db) if one.practitioner_id in known]
