"""Lists of sessions as pages show them: which are asked for by the address, one page of them, and where others are.

Reads leniently: what can't be understood in an address is left out, so an old link still shows something.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from aiohttp import web

from control import appointments
from control.accounts import Actor
from control.appointment_queries import Chosen, SessionView, When
from control.appointment_states import State
from control.errors import Malformed
from control.keys import CLOCK, DATABASE
from control.lifecycle import Party
from control.paging import Wanted, place_of
from control.slots import day_in
from web.render import zone_of

PAGE = 20
_MOST_QUERY = 100


@dataclass(frozen=True)
class SessionList:
    """One page of a list, with what its form shows and its links need."""

    views: tuple[SessionView, ...]
    show: str  # upcoming, past or all
    query: str
    state: str
    first_day: str
    last_day: str
    is_first: bool
    next_url: str
    first_url: str
    csv_query: str

    @property
    def is_filtered(self) -> bool:
        return bool(self.query or self.state or self.first_day or self.last_day)


async def list_of(request: web.Request, actor: Actor, party: Party, show: str = "upcoming") -> SessionList:
    """`show` is what an address without one means."""
    asked = request.query.get("show", show)
    show = asked if asked in {"upcoming", "past", "all"} else show
    query = request.query.get("q", "").strip()[:_MOST_QUERY].replace("\x00", "")
    state = request.query.get("state", "")
    state = state if state in set(State) else ""
    first, last = _day(request, "first"), _day(request, "last")
    here = ZoneInfo(zone_of(request))
    chosen = Chosen(
        when=None if show == "all" else When(show),
        states=frozenset({State(state)}) if state else frozenset(),
        text=query,
        since=day_in(first, here).start if first else None,
        until=day_in(last, here).end if last else None,
    )
    try:
        place = place_of(request.query.get("cursor"))
    except Malformed:
        place = None
    page = await appointments.page_for(
        request.app[DATABASE], actor, party, chosen, Wanted(PAGE, place), now=request.app[CLOCK]()
    )
    first_day, last_day = first.isoformat() if first else "", last.isoformat() if last else ""
    kept = {"show": show, "q": query, "state": state, "first": first_day, "last": last_day}
    kept = {name: value for name, value in kept.items() if value}
    return SessionList(
        views=page.rows,
        show=show,
        query=query,
        state=state,
        first_day=first_day,
        last_day=last_day,
        is_first=place is None,
        next_url=f"?{urlencode(kept | {'cursor': page.next_cursor})}" if page.next_cursor else "",
        first_url=f"?{urlencode(kept)}",
        csv_query=urlencode(_csv(chosen)),
    )


def _day(request: web.Request, name: str) -> date | None:
    try:
        day = date.fromisoformat(request.query.get(name, ""))
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2200 else None


def _csv(chosen: Chosen) -> dict[str, str]:
    """The same choice for the file (control/api/session_lists.py)."""
    values = {
        "when": chosen.when or "",
        "status": next(iter(chosen.states), ""),
        "q": chosen.text,
        "since": _moment(chosen.since),
        "until": _moment(chosen.until),
    }
    return {name: str(value) for name, value in values.items() if value}


def _moment(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
