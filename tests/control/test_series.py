"""Weekly series: what is free is shown, all weeks are held or none, and paid all or none."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from control import appointments, series
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.booking import Wanted
from control.errors import Conflict, Forbidden, Invalid, NotFound, Problem
from control.money import ledger
from control.money.payments import Method, top_up
from tests.helpers.practice import Site, World

WEEK = timedelta(weeks=1)
LISBON = ZoneInfo("Europe/Lisbon")


@pytest.fixture
async def weekly(world: World) -> World:
    """Alice offers Monday afternoons for six weeks; the clocks go forward in the fourth."""
    await world.offer_mondays(until="2026-04-06")
    async with world.db.transaction() as session:
        for who in (world.bob, world.charlie):
            key = f"more:{who.person_id}"
            await top_up(session, None, who.person_id, 50_000, "EUR", key=key, now=world.clock())
    return world


def wanted(world: World, key: str | None = None, service_id: str | None = None) -> Wanted:
    return Wanted(service_id or world.service_id, world.first_start, LISBON, key or uuid4().hex)


def starts(count: int) -> list[datetime]:
    """14:00 in Lisbon, week by week, across the clock change."""
    return [datetime(2026, 3, 2, 14, tzinfo=LISBON) + n * WEEK for n in range(count)]


async def booked(world: World, count: int = 3, key: str | None = None, who: Any = None) -> tuple[SessionView, ...]:
    return await series.book_series(world.db, who or world.bob, wanted(world, key), starts(count), now=world.clock())


async def test_weeks_keep_the_practitioners_clock_and_say_why_one_is_not_free(weekly: World) -> None:
    await weekly.scheduled(weekly.charlie, weekly.first_start + WEEK)
    weeks = await series.look(weekly.db, wanted(weekly), 7, now=weekly.clock())
    assert [one.code for one in weeks] == ["", "slot_taken", "", "", "", "", "slot_not_offered"]
    assert [one.start.astimezone(LISBON).hour for one in weeks] == [14] * 7
    assert weeks[4].start == datetime(2026, 3, 30, 13, tzinfo=UTC)


async def test_every_week_is_held_as_an_appointment_of_its_own(weekly: World) -> None:
    made = await booked(weekly, 5)
    assert [one.starts_at for one in made] == [start.astimezone(UTC) for start in starts(5)]
    assert {one.state for one in made} == {State.PENDING}
    assert len({one.series_id for one in made}) == 1
    assert len({one.id for one in made}) == 5
    await appointments.cancel(weekly.db, weekly.bob, made[0].id, now=weekly.clock())
    left = await appointments.get_for(weekly.db, weekly.bob, made[1].id)
    assert left.state is State.PENDING


async def test_one_week_taken_meanwhile_refuses_all_and_names_it(weekly: World) -> None:
    await weekly.scheduled(weekly.charlie, weekly.first_start + WEEK)
    with pytest.raises(Conflict, match="slots_taken") as refused:
        await booked(weekly)
    assert refused.value.extra["taken"] == [{"start": "2026-03-09T14:00:00+00:00", "code": "slot_taken"}]
    assert await appointments.upcoming_for(weekly.db, weekly.bob, weekly.clock()) == ()
    weeks = await series.look(weekly.db, wanted(weekly), 3, now=weekly.clock())
    assert [one.code for one in weeks] == ["", "slot_taken", ""]


async def test_same_key_finds_the_same_series_and_refuses_another(weekly: World) -> None:
    first = await booked(weekly, key="k" * 200)
    again = await booked(weekly, key="k" * 200)
    assert [one.id for one in first] == [one.id for one in again]
    with pytest.raises(Invalid, match="idempotency_key_reused"):
        await booked(weekly, 4, key="k" * 200)


@pytest.mark.parametrize(
    "bad",
    [
        starts(1),
        [*starts(1), *starts(1)],
        [*starts(2), starts(1)[0] + timedelta(days=1)],
        [starts(1)[0], starts(2)[1] + timedelta(hours=1)],
        [starts(1)[0], starts(1)[0] + 12 * WEEK],
        [starts(1)[0] + n * WEEK for n in range(13)],
    ],
)
async def test_what_is_no_weekly_series_is_refused(weekly: World, bad: list[datetime]) -> None:
    with pytest.raises(Invalid):
        await series.book_series(weekly.db, weekly.bob, wanted(weekly), bad, now=weekly.clock())
    assert await appointments.upcoming_for(weekly.db, weekly.bob, weekly.clock()) == ()


async def test_past_weeks_are_refused_and_named(weekly: World) -> None:
    past = [start - WEEK for start in starts(2)]
    with pytest.raises(Conflict, match="slots_taken") as refused:
        await series.book_series(weekly.db, weekly.bob, wanted(weekly), past, now=weekly.clock())
    assert [one["code"] for one in refused.value.extra["taken"]] == ["start_past"]


async def test_two_series_at_once_leave_one_whole(weekly: World) -> None:
    found = await asyncio.gather(booked(weekly, 4), booked(weekly, 4, who=weekly.charlie), return_exceptions=True)
    made = [one for one in found if not isinstance(one, BaseException)]
    assert len(made) == 1
    assert len(made[0]) == 4
    assert [one.code for one in found if isinstance(one, Problem)] == ["slots_taken"]


async def test_same_series_ten_times_at_once_is_one(weekly: World) -> None:
    found = await asyncio.gather(*(booked(weekly, key="same") for _ in range(10)))
    assert len({one[0].series_id for one in found}) == 1


async def test_paying_secures_all_or_none_and_twice_is_once(weekly: World) -> None:
    made = await booked(weekly, 3)
    series_id = made[0].series_id or ""
    for _ in range(2):
        paid = await series.pay_series(weekly.db, weekly.bob, series_id, Method.WALLET, now=weekly.clock())
        assert {one.state for one in paid} == {State.SCHEDULED}
    assert await ledger.discrepancies(weekly.db) == []
    held = await ledger.balances(weekly.db, weekly.bob.person_id)
    assert sum(one.amount_minor for one in held if one.kind is ledger.Kind.WALLET) == 150_000 - 3 * 5_000


async def test_wallet_too_small_for_all_pays_none(weekly: World) -> None:
    (poor,) = await weekly.add_clients(1, wallet_minor=12_000)
    made = await booked(weekly, 3, who=poor)
    with pytest.raises(Conflict, match="insufficient_funds"):
        await series.pay_series(weekly.db, poor, made[0].series_id or "", Method.WALLET, now=weekly.clock())
    left = [await appointments.get_for(weekly.db, poor, one.id) for one in made]
    assert {one.state for one in left} == {State.PENDING}
    assert await ledger.discrepancies(weekly.db) == []


async def test_free_series_is_scheduled_at_once(weekly: World) -> None:
    one = wanted(weekly, service_id=weekly.free_service_id)
    made = await series.book_series(weekly.db, weekly.bob, one, starts(2), now=weekly.clock())
    assert {view.state for view in made} == {State.SCHEDULED}


async def test_strangers_and_others_find_nothing(weekly: World) -> None:
    made = await booked(weekly)
    for who in (weekly.charlie, weekly.alice, weekly.dana):
        with pytest.raises(NotFound):
            await series.pay_series(weekly.db, who, made[0].series_id or "", Method.WALLET, now=weekly.clock())
    for who in (weekly.alice, weekly.dana):
        with pytest.raises(Forbidden):
            await booked(weekly, who=who)


async def test_hold_that_ran_out_gives_way_to_a_series(weekly: World) -> None:
    await weekly.book(weekly.charlie, weekly.first_start + WEEK)
    weekly.clock.forward(minutes=11)
    assert len(await booked(weekly)) == 3


async def test_journey_over_http(site: Site, weekly: World) -> None:
    assert weekly is site.world
    stranger, bob = await site.hand_of(None), await site.hand_of(weekly.bob)
    path = f"/api/services/{weekly.service_id}/series?start=2026-03-02T14:00:00Z&weeks=7"
    status, seen = await stranger.get(path)
    assert (status, [one["free"] for one in seen["weeks"]]) == (200, [True] * 6 + [False])
    for bad in ("&weeks=13", "", "&weeks=0"):
        assert (await stranger.get(path.split("&weeks")[0] + bad))[0] == 400
    body = {
        "serviceId": weekly.service_id,
        "starts": [one["start"] for one in seen["weeks"][:2]],
        "timeZone": "Europe/Oslo",
    }
    assert (await stranger.post("/sessions/book-series", body))[0] == 401
    assert (await bob.post("/sessions/book-series", body, key=None))[0] == 400
    assert (await bob.post("/sessions/book-series", body | {"starts": body["starts"][:1]}))[0] == 422
    status, made = await bob.post("/sessions/book-series", body)
    assert (status, [one["status"] for one in made["sessions"]]) == (201, ["pending"] * 2)
    one = f"/api/series/{made['series_id']}"
    charlie = await site.hand_of(weekly.charlie)
    assert (await charlie.get(one))[0] == 404
    assert (await charlie.post(f"{one}/payment", {"paymentMethod": "wallet"}))[0] == 404
    status, paid = await bob.post(f"{one}/payment", {"paymentMethod": "wallet"})
    assert (status, [one["status"] for one in paid["sessions"]]) == (200, ["scheduled"] * 2)
    status, refused = await charlie.post("/sessions/book-series", body)
    assert (status, len(refused["taken"])) == (409, 2)
    assert refused["taken"][0]["start"].startswith("2026-03-02T14:00")
