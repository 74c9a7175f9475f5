"""The lists of sessions, a client's, a practitioner's and an admin's: paged, filtered, searched, and as CSV."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control import appointments
from control.accounts import Actor, require_actor
from control.api.bodies import PageQuery, Query, read_query
from control.api.csv_files import csv_answer
from control.api.shapes import Moment, Text, iso, session_json, ways_to_pay
from control.appointment_queries import Chosen, SessionView, When
from control.appointment_states import State
from control.keys import CLOCK, DATABASE
from control.lifecycle import Party
from control.models.people import Role
from control.money.words import plain_amount
from control.paging import Wanted, place_of

routes = web.RouteTableDef()


class ListQuery(Query):
    """Which sessions. `q` is looked for in names and services, or begins an id."""

    when: When | None = None
    status: State | None = None
    q: Annotated[Text, Field(max_length=100)] = ""
    since: Moment | None = None
    until: Moment | None = None

    def chosen(self) -> Chosen:
        states = frozenset() if self.status is None else frozenset({self.status})
        return Chosen(self.when, states, self.q, self.since, self.until)


class SessionsQuery(ListQuery, PageQuery):
    """One page of them."""


@routes.get("/sessions/my-bookings")
async def my_bookings(request: web.Request) -> web.Response:
    return await _page(request, require_actor(request), Party.CLIENT)


@routes.get("/professional/sessions")
async def my_sessions(request: web.Request) -> web.Response:
    return await _page(request, require_actor(request, Role.PRACTITIONER), Party.PRACTITIONER)


@routes.get("/api/appointments")
async def all_of_them(request: web.Request) -> web.Response:
    """Every appointment of the practice, for an admin."""
    return await _page(request, require_actor(request, Role.ADMIN), Party.ADMIN)


async def _page(request: web.Request, actor: Actor, party: Party) -> web.Response:
    query = read_query(request, SessionsQuery)
    wanted = Wanted(query.limit, place_of(query.cursor))
    page = await appointments.page_for(
        request.app[DATABASE], actor, party, query.chosen(), wanted, now=request.app[CLOCK]()
    )
    ways = ways_to_pay(request)
    rows = [session_json(row, ways) for row in page.rows]
    return web.json_response({"sessions": rows, "next_cursor": page.next_cursor})


# -- files -------------------------------------------------------------------------------------------------------


@routes.get("/sessions/my-bookings.csv")
async def my_bookings_file(request: web.Request) -> web.StreamResponse:
    return await _file(request, require_actor(request), Party.CLIENT)


@routes.get("/professional/sessions.csv")
async def my_sessions_file(request: web.Request) -> web.StreamResponse:
    return await _file(request, require_actor(request, Role.PRACTITIONER), Party.PRACTITIONER)


@routes.get("/api/appointments.csv")
async def all_of_them_file(request: web.Request) -> web.StreamResponse:
    return await _file(request, require_actor(request, Role.ADMIN), Party.ADMIN)


HEADER = (
    *("id", "start", "end", "status", "service", "mode", "practitioner", "client"),
    *("price", "currency", "payment", "kept", "refunded", "ended_by", "reason"),
)


async def _file(request: web.Request, actor: Actor, party: Party) -> web.StreamResponse:
    query = read_query(request, ListQuery)
    now = request.app[CLOCK]()
    rows = appointments.all_of(request.app[DATABASE], actor, party, query.chosen(), now=now)
    return await csv_answer(request, f"sessions-{now:%Y-%m-%d}.csv", HEADER, _lines(rows))


async def _lines(rows: AsyncIterator[SessionView]) -> AsyncIterator[tuple[Any, ...]]:
    async for row in rows:
        money: tuple[Any, ...] = ("", "", "", "", "")
        if row.party is not Party.GUEST:
            money = (
                _amount(row.price_minor, row.currency),
                row.currency,
                row.payment_state or "",
                _amount(row.kept_minor, row.currency),
                _amount(row.refund_minor, row.currency),
            )
        names = (row.service_name, row.mode, row.practitioner_name, row.client_name)
        yield (
            row.id,
            iso(row.starts_at),
            iso(row.ends_at),
            row.state,
            *names,
            *money,
            row.ended_by or "",
            row.end_reason or "",
        )


def _amount(minor: int | None, currency: str) -> str:
    """A decimal with a point, as programs read it."""
    return "" if minor is None else plain_amount(minor, currency)
