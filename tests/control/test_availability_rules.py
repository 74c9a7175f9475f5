"""Weekly rules and exceptions as a practitioner changes them, and as booking meets them, on both databases."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event

from control import availability, availability_rules, availability_windows
from control.availability_rules import NewException, NewRule
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.slots import Slot, Span
from tests.helpers.practice import Site, World

WEDNESDAY = date(2026, 3, 4)  # Alice has no window of her own on it
NINE = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)
RULE = NewRule((2,), time(9), time(12))
NOBODYS = "0" * 32


async def add(world: World, wanted: NewRule = RULE) -> tuple[availability_rules.RuleView, ...]:
    return await availability_rules.add_rules(world.db, world.alice, wanted, now=world.clock())


async def off(world: World, *times: time, day: date = WEDNESDAY) -> availability_rules.ExceptionView:
    return await availability_rules.add_exception(
        world.db, world.alice, NewException(day, *times, reason="Away"), now=world.clock()
    )


async def slots(world: World, day: date = WEDNESDAY) -> list[Slot]:
    month = await availability.month_of_slots(
        world.db, world.service_id, day, day, ZoneInfo("Europe/Lisbon"), world.clock()
    )
    return list(month[day])


async def hours(world: World, day: date = WEDNESDAY) -> list[str]:
    return [f"{one.start.astimezone(ZoneInfo('Europe/Lisbon')):%H:%M}" for one in await slots(world, day)]


async def test_rule_offers_the_same_wall_time_every_week(world: World) -> None:
    await add(world)
    for weeks in range(8):  # over the change of 29 March
        assert await hours(world, WEDNESDAY + timedelta(weeks=weeks)) == ["09:00", "10:00", "11:00"]
    assert await hours(world, WEDNESDAY + timedelta(days=1)) == []


async def test_rule_may_have_a_service_a_price_and_an_end(world: World) -> None:
    last = WEDNESDAY + timedelta(weeks=1)
    await add(world, NewRule((2,), time(9), time(10), world.service_id, 7_500, WEDNESDAY, last))
    assert [one.price_minor for one in await slots(world)] == [7_500]
    assert await hours(world, last) == ["09:00"]
    assert await hours(world, last + timedelta(weeks=1)) == []
    _, services = await availability.day_of_practitioner(world.db, world.alice.person_id, WEDNESDAY, world.clock())
    assert {service.name: len(found) for service, found in services} == {"Individual session": 1, "Discovery call": 0}


async def test_slot_of_a_rule_is_booked_like_any_other_and_stays_when_the_rule_goes(world: World) -> None:
    (rule,) = await add(world)
    booked = await world.scheduled(start=NINE)
    assert await hours(world) == ["10:00", "11:00"]
    await availability_rules.delete_rule(world.db, world.alice, rule.id, now=world.clock())
    assert await hours(world) == []
    assert (await world.scheduled(start=NINE.replace(hour=14) - timedelta(days=1))).id != booked.id
    with pytest.raises(Conflict) as refused:
        await world.book(start=NINE.replace(hour=10))
    assert refused.value.code == "slot_not_offered"


async def test_day_off_is_off_for_rules_and_windows_alike_until_it_is_taken_back(world: World) -> None:
    await add(world)
    await availability_windows.add_window(
        world.db, world.alice, availability_windows.NewWindow(WEDNESDAY, time(15), time(16)), now=world.clock()
    )
    exception = await off(world)
    assert await hours(world) == []
    assert await hours(world, WEDNESDAY + timedelta(weeks=1)) == ["09:00", "10:00", "11:00"]
    with pytest.raises(Conflict) as refused:
        await world.book(start=NINE)
    assert refused.value.code == "slot_not_offered"
    await availability_rules.delete_exception(world.db, world.alice, exception.id, now=world.clock())
    assert await hours(world) == ["09:00", "10:00", "11:00", "15:00"]


async def test_part_of_a_day_off_takes_only_the_slots_it_touches(world: World) -> None:
    await add(world)
    await off(world, time(9, 30), time(10))
    assert await hours(world) == ["10:00", "11:00"]


async def test_deleting_one_computed_slot_writes_an_exception(world: World) -> None:
    await add(world)
    ten = NINE.replace(hour=10)
    for _ in range(2):
        made = await availability_rules.delete_slot(
            world.db, world.alice, ten, ten + timedelta(minutes=50), now=world.clock()
        )
    assert (made.local_start, made.local_end) == ("10:00", "10:50")
    assert len(await availability_rules.my_exceptions(world.db, world.alice, now=world.clock())) == 1
    assert await hours(world) == ["09:00", "11:00"]


async def test_booked_slot_cannot_be_deleted_and_a_day_off_leaves_it_booked(world: World) -> None:
    await add(world)
    await world.scheduled(start=NINE)
    with pytest.raises(Conflict) as refused:
        await availability_rules.delete_slot(
            world.db, world.alice, NINE, NINE + timedelta(minutes=50), now=world.clock()
        )
    assert refused.value.code == "slot_booked"
    assert (await off(world)).booked == 1


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (NewRule((), time(9), time(10)), "weekdays_invalid"),
        (NewRule((1, 1), time(9), time(10)), "weekdays_invalid"),
        (NewRule((1,), time(10), time(10)), "window_empty"),
        (NewRule((1,), time(10), time(9)), "window_empty"),
        (NewRule((1,), time(9), time(9, 10)), "window_too_short"),
        (NewRule((1,), time(9), time(10), None, 99), "price_out_of_range"),
        (NewRule((1,), time(9), time(10), valid_from=date(2036, 1, 1)), "date_out_of_range"),
        (NewRule((1,), time(9), time(10), valid_until=date(2026, 3, 1)), "validity_empty"),
        (NewRule((1,), time(9), time(10), None, None, date(2026, 5, 2), date(2026, 5, 1)), "validity_empty"),
    ],
)
async def test_rule_that_makes_no_sense_is_refused(world: World, wanted: NewRule, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        await add(world, wanted)
    assert refused.value.code == code
    assert await availability_rules.my_rules(world.db, world.alice) == ()


async def test_rule_over_another_of_the_same_service_is_refused_whole(world: World) -> None:
    await add(world)
    with pytest.raises(Conflict) as refused:
        await add(world, NewRule((1, 2), time(11), time(0)))
    assert refused.value.code == "rule_overlaps"
    await add(world, NewRule((2,), time(12), time(0)))
    await add(world, NewRule((2,), time(9), time(12), world.free_service_id))
    assert len(await availability_rules.my_rules(world.db, world.alice)) == 3


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (NewException(date(2026, 3, 1)), "window_past"),
        (NewException(date(2036, 3, 1)), "date_out_of_range"),
        (NewException(date.max), "date_out_of_range"),
        (NewException(WEDNESDAY, time(9)), "times_incomplete"),
        (NewException(WEDNESDAY, time(10), time(9)), "window_empty"),
    ],
)
async def test_exception_that_makes_no_sense_is_refused(world: World, wanted: NewException, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        await availability_rules.add_exception(world.db, world.alice, wanted, now=world.clock())
    assert refused.value.code == code


async def test_nobody_changes_somebody_elses_rules(world: World) -> None:
    (rule,), exception = await add(world), await off(world)
    for who in (world.erin, world.bob, world.dana):
        with pytest.raises(NotFound):
            await availability_rules.delete_rule(world.db, who, rule.id, now=world.clock())
        with pytest.raises(NotFound):
            await availability_rules.delete_exception(world.db, who, exception.id, now=world.clock())
    with pytest.raises(Forbidden):
        await availability_rules.add_rules(world.db, world.bob, RULE, now=world.clock())
    with pytest.raises(Forbidden):
        await availability_rules.add_exception(world.db, world.bob, NewException(WEDNESDAY), now=world.clock())
    with pytest.raises(NotFound):
        await availability_rules.add_rules(
            world.db, world.erin, NewRule((2,), time(9), time(10), world.service_id), now=world.clock()
        )


# -- what it costs -----------------------------------------------------------------------------------------------


async def queries_of(world: World, look: Callable[[], Awaitable[Any]]) -> int:
    asked: list[str] = []
    engine = world.db._engine
    assert engine is not None

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    await look()
    event.remove(engine.sync_engine, "before_cursor_execute", note)
    return len(asked)


async def test_slots_and_week_ask_as_many_queries_with_many_rules_as_with_none(world: World) -> None:
    span = Span(NINE - timedelta(days=3), NINE + timedelta(days=3))

    async def month() -> object:
        return await availability.month_of_slots(
            world.db, world.service_id, WEDNESDAY, WEDNESDAY + timedelta(days=30), ZoneInfo("UTC"), world.clock()
        )

    async def week() -> object:
        return await availability_rules.week_of_practitioner(world.db, world.alice, span, now=world.clock())

    before = [await queries_of(world, month), await queries_of(world, week)]
    await add(world, NewRule(tuple(range(7)), time(8), time(9)))
    await add(world, NewRule(tuple(range(7)), time(10), time(12)))
    for n in range(5):
        await off(world, day=WEDNESDAY + timedelta(days=n))
    assert [await queries_of(world, month), await queries_of(world, week)] == before


# -- over HTTP ---------------------------------------------------------------------------------------------------

RULES, EXCEPTIONS = "/api/availability-rules", "/api/availability-exceptions"
BODY = {"weekdays": ["wednesday", "friday"], "startTime": "09:00", "endTime": "12:00"}


async def test_rules_and_exceptions_are_made_listed_and_deleted_over_http(site: Site) -> None:
    alice = await site.hand_of(site.world.alice)
    status, made = await alice.post(RULES, BODY | {"price": "75.00", "serviceId": site.world.service_id})
    assert status == 201
    assert [(one["weekday"], one["price_minor"]) for one in made["rules"]] == [("wednesday", 7500), ("friday", 7500)]
    assert (await alice.get(RULES))[1] == made
    status, one = await alice.post(EXCEPTIONS, {"start": "2026-03-04T10:00:00Z", "end": "2026-03-04T10:50:00Z"})
    assert (status, one["startTime"], one["booked"]) == (201, "10:00", 0)
    status, day = await alice.post(EXCEPTIONS, {"date": "2026-03-06", "reason": "Away for supervision"})
    assert (status, day["startTime"]) == (201, None)
    assert [found["id"] for found in (await alice.get(EXCEPTIONS))[1]["exceptions"]] == [one["id"], day["id"]]
    for path in (f"{RULES}/{made['rules'][0]['id']}", f"{EXCEPTIONS}/{one['id']}"):
        assert (await alice.delete(path))[0] == 204
        assert (await alice.delete(path))[0] == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RULES, {}),
        (RULES, BODY | {"weekdays": []}),
        (RULES, BODY | {"weekdays": ["someday"]}),
        (RULES, BODY | {"weekdays": ["monday"] * 8}),
        (RULES, BODY | {"startTime": "9:00"}),
        (RULES, BODY | {"endTime": "24:00"}),
        (RULES, BODY | {"price": "-1"}),
        (RULES, BODY | {"price": "NaN"}),
        (RULES, BODY | {"price": "50.001"}),
        (RULES, BODY | {"serviceId": NOBODYS}),
        (RULES, BODY | {"validFrom": "0000-01-01"}),
        (RULES, BODY | {"validUntil": "9999-12-31"}),
        (RULES, BODY | {"colour": "red"}),
        (EXCEPTIONS, {}),
        (EXCEPTIONS, {"date": "9999-12-31"}),
        (EXCEPTIONS, {"date": "2026-03-04", "startTime": "09:00"}),
        (EXCEPTIONS, {"date": "2026-03-04", "start": "2026-03-04T10:00:00Z", "end": "2026-03-04T10:50:00Z"}),
        (EXCEPTIONS, {"start": "2026-03-04T10:00:00Z"}),
        (EXCEPTIONS, {"start": "2026-03-04T10:00:00Z", "end": "2026-03-05T10:00:00Z"}),
        (EXCEPTIONS, {"start": "2026-03-04T10:00:00Z", "end": "2026-03-04T09:00:00Z"}),
        (EXCEPTIONS, {"start": "2026-03-04T10:00:00", "end": "2026-03-04T10:50:00"}),
        (EXCEPTIONS, {"date": "2026-03-04", "reason": "x" * 121}),
        (EXCEPTIONS, {"date": "2026-03-04", "reason": "\x00"}),
    ],
)
async def test_bad_values_are_refused_and_nothing_changes(site: Site, path: str, body: dict[str, Any]) -> None:
    alice = await site.hand_of(site.world.alice)
    status, problem = await alice.post(path, body)
    assert status in (404, 422), problem
    assert problem["type"].startswith("urn:holdspace:problem:")
    assert list((await alice.get(path))[1].values()) == [[]]


async def test_stranger_and_wrong_role_are_refused(site: Site) -> None:
    (rule,), exception = await add(site.world), await off(site.world)
    for who, expected in ((None, 401), (site.world.bob, 403), (site.world.dana, 403), (site.world.erin, 404)):
        hand = await site.hand_of(who)
        for path in (f"{RULES}/{rule.id}", f"{EXCEPTIONS}/{exception.id}"):
            assert (await hand.delete(path))[0] == expected
        if expected == 404:
            continue
        for path, body in ((RULES, BODY), (EXCEPTIONS, {"date": "2026-03-04"})):
            assert (await hand.get(path))[0] == expected
            assert (await hand.post(path, body))[0] == expected


async def test_repeat_under_one_key_makes_one_rule(site: Site) -> None:
    alice = await site.hand_of(site.world.alice)
    answers = [await alice.post(RULES, BODY, key="once") for _ in range(2)]
    assert answers[0] == answers[1]
    assert len((await alice.get(RULES))[1]["rules"]) == 2
