"""Lists of sessions over HTTP: filtered, searched, paged and as files, each person their own, in a bounded number of
queries."""

import csv
import io
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from control import appointments, guests
from control.accounts import Actor
from control.api.csv_files import _harmless
from tests.helpers.practice import Site, World

HOUR = timedelta(hours=1)
LISTS = ("/sessions/my-bookings", "/professional/sessions", "/api/appointments")


async def ids_of(site: Site, who: Actor, path: str) -> list[str]:
    status, page = await (await site.hand_of(who)).get(path)
    assert status == 200, page
    return [one["id"] for one in page["sessions"]]


async def table(site: Site, who: Actor, path: str) -> list[dict[str, str]]:
    hand = await site.hand_of(who)
    answer = await hand.browser.get(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


async def with_three(world: World) -> tuple[str, str, str]:
    """Bob's: one cancelled, one to come; Person 0's: one to come, later."""
    cancelled = await world.scheduled()
    await appointments.cancel(world.db, world.alice, cancelled.id, now=world.clock())
    coming = await world.scheduled(start=world.first_start + HOUR)
    (other,) = await world.add_clients(1, wallet_minor=50_000)
    theirs = await world.scheduled(other, world.first_start + 2 * HOUR)
    return cancelled.id, coming.id, theirs.id


async def test_each_list_shows_its_reader_what_is_theirs(site: Site) -> None:
    cancelled, coming, theirs = await with_three(site.world)
    world = site.world
    assert await ids_of(site, world.bob, LISTS[0]) == [coming, cancelled]
    assert await ids_of(site, world.alice, LISTS[1]) == [theirs, coming, cancelled]
    assert await ids_of(site, world.dana, LISTS[2]) == [theirs, coming, cancelled]
    assert await ids_of(site, world.charlie, LISTS[0]) == []
    assert await ids_of(site, world.erin, LISTS[1]) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("when=upcoming", ["coming", "theirs"]),
        ("when=past", ["cancelled"]),
        ("status=cancelled", ["cancelled"]),
        ("status=completed", []),
        ("q=BOB", ["coming", "cancelled"]),
        ("q=person+0", ["theirs"]),
        ("q=individual", ["theirs", "coming", "cancelled"]),
        ("q=%25", []),
        ("q=_", []),
        ("since=2026-03-02T15:00:00Z", ["theirs", "coming"]),
        ("since=2026-03-02T15:00:00Z&until=2026-03-02T16:00:00Z", ["coming"]),
        ("when=upcoming&q=bob&status=scheduled", ["coming"]),
    ],
)
async def test_list_is_narrowed_by_time_state_and_words(site: Site, query: str, expected: list[str]) -> None:
    named = dict(zip(("cancelled", "coming", "theirs"), await with_three(site.world), strict=True))
    assert await ids_of(site, site.world.alice, f"{LISTS[1]}?{query}") == [named[name] for name in expected]


async def test_session_is_found_by_the_beginning_of_its_number(site: Site) -> None:
    _, coming, _ = await with_three(site.world)
    assert await ids_of(site, site.world.alice, f"{LISTS[1]}?q={coming[:8].upper()}") == [coming]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "query", ["when=never", "status=gone", "since=2026-03-02", "until=x", "q=" + "x" * 101, "page=2", "q=a&q=b"]
)
async def test_list_refuses_what_it_does_not_know(site: Site, path: str, query: str) -> None:
    who = {"/sessions/my-bookings": "bob", "/professional/sessions": "alice", "/api/appointments": "dana"}[path]
    hand = await site.hand_of(getattr(site.world, who))
    for address in (path, f"{path}.csv"):
        status, problem = await hand.get(f"{address}?{query}")
        assert (status, problem["code"]) == (400, "query_invalid")


async def test_files_are_for_those_whose_list_it_is(site: Site) -> None:
    world = site.world
    await with_three(world)
    for path, allowed in zip(LISTS, ("bob", "alice", "dana"), strict=True):
        for who in ("bob", "alice", "charlie", "dana", "erin"):
            status, _ = await (await site.hand_of(getattr(world, who))).get(f"{path}.csv")
            if path == LISTS[0] or who == allowed or (path == LISTS[1] and who == "erin"):
                assert status == 200, (path, who)
            else:
                assert status == 403, (path, who)
        assert (await (await site.hand_of(None)).get(f"{path}.csv"))[0] == 401
    assert await table(site, world.charlie, f"{LISTS[0]}.csv") == []
    assert await table(site, world.erin, f"{LISTS[1]}.csv") == []


async def test_file_has_every_row_of_the_choice_with_its_money(site: Site) -> None:
    cancelled, _, _ = await with_three(site.world)
    (row,) = await table(site, site.world.alice, f"{LISTS[1]}.csv?status=cancelled")
    assert row | {"mode": ""} == {
        "id": cancelled,
        "start": "2026-03-02T14:00:00Z",
        "end": "2026-03-02T14:50:00Z",
        "status": "cancelled",
        "service": "Individual session",
        "mode": "",
        "practitioner": "Alice Owner",
        "client": "Bob Client",
        "price": "50.00",
        "currency": "EUR",
        "payment": "released",
        "kept": "0.00",
        "refunded": "50.00",
        "ended_by": "practitioner",
        "reason": "",
    }


async def test_guest_s_file_says_nothing_of_money(site: Site) -> None:
    world = site.world
    view = await world.scheduled()
    await guests.invite(
        world.db, world.alice, view.id, email="charlie.stranger@example.org", name="C", now=world.clock()
    )
    (row,) = await table(site, world.charlie, f"{LISTS[0]}.csv")
    assert (row["id"], row["price"], row["payment"], row["currency"]) == (view.id, "", "", "")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_words_are_no_formula_in_a_spreadsheet(cell: str) -> None:
    assert _harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["Bob", "", 5, None, "a=b"])
def test_harmless_cells_stay_as_they_are(cell: Any) -> None:
    assert _harmless(cell) == cell


async def test_words_with_quotes_and_breaks_come_back_whole(site: Site) -> None:
    world = site.world
    view = await world.scheduled()
    reason = 'He said "no",\nand left; =2+2'
    await appointments.cancel(world.db, world.alice, view.id, reason=reason, now=world.clock())
    (row,) = await table(site, world.alice, f"{LISTS[1]}.csv?q={quote('individual')}")
    assert row["reason"] == reason
