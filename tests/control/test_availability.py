"""Windows a practitioner opens and closes, and the month of slots they make, in everybody's own calendar."""

from datetime import date, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from control import availability, availability_windows
from control.availability_windows import NewWindow
from control.errors import Conflict, Forbidden, Invalid, NotFound
from tests.helpers.practice import MONDAY, World
from tests.helpers.queries import counted

DAY = MONDAY.date()


async def add(world: World, start: time, end: time, **more: object) -> availability_windows.WindowView:
    wanted = NewWindow(more.pop("day", date(2026, 3, 5)), start, end, **more)  # type: ignore[arg-type]
    return await availability_windows.add_window(world.db, world.alice, wanted, now=world.clock())


async def test_window_is_in_the_practitioners_own_time(world: World) -> None:
    view = await add(world, time(9), time(11), day=date(2026, 7, 1), service_id=world.service_id)
    assert (view.starts_at.hour, view.ends_at.hour) == (8, 10)  # Lisbon in summer
    assert [slot.start.hour for slot in view.slots] == [8, 9]
    assert all(slot.free for slot in view.slots)


async def test_window_until_midnight_ends_with_the_day(world: World) -> None:
    view = await add(world, time(22), time(0))
    assert view.ends_at - view.starts_at == timedelta(hours=2)


@pytest.mark.parametrize(
    ("start", "end", "more", "code"),
    [
        (time(11), time(11), {}, "window_empty"),
        (time(11), time(10), {}, "window_empty"),
        (time(9), time(10), {"day": date(2026, 3, 1)}, "window_past"),
        (time(9), time(10), {"day": date(2036, 3, 1)}, "date_out_of_range"),
        (time(9), time(10), {"day": date.max}, "date_out_of_range"),
        (time(9), time(10), {"price_minor": 99}, "price_out_of_range"),
        (time(9), time(10), {"price_minor": 25_001}, "price_out_of_range"),
    ],
)
async def test_window_that_makes_no_sense_is_refused(
    world: World, start: time, end: time, more: dict[str, object], code: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await add(world, start, end, **more)
    assert refused.value.code == code


async def test_window_in_a_skipped_hour_is_empty(world: World) -> None:
    with pytest.raises(Invalid) as refused:
        await add(world, time(1, 10), time(1, 50), day=date(2026, 3, 29))
    assert refused.value.code == "window_empty"


async def test_window_for_somebody_elses_service_is_not_found(world: World) -> None:
    wanted = NewWindow(date(2026, 3, 5), time(9), time(10), world.service_id)
    with pytest.raises(NotFound):
        await availability_windows.add_window(world.db, world.erin, wanted, now=world.clock())
    with pytest.raises(Forbidden):
        await availability_windows.add_window(world.db, world.bob, wanted, now=world.clock())


async def test_window_with_a_booking_in_it_stays(world: World) -> None:
    booked = await world.book()
    windows = await availability_windows.my_windows(world.db, world.alice, now=world.clock())
    assert next(slot.free for slot in windows[0].slots if slot.service_id == world.service_id) is False
    with pytest.raises(Conflict) as refused:
        await availability_windows.delete_window(world.db, world.alice, windows[0].id, now=world.clock())
    assert refused.value.code == "window_booked"
    world.clock.now = booked.hold_expires_at or MONDAY
    await availability_windows.delete_window(world.db, world.alice, windows[0].id, now=world.clock())
    assert len(await availability_windows.my_windows(world.db, world.alice, now=world.clock())) == 1


async def test_nobody_deletes_somebody_elses_window(world: World) -> None:
    window = (await availability_windows.my_windows(world.db, world.alice, now=world.clock()))[0]
    for who in (world.erin, world.bob, world.dana):
        with pytest.raises(NotFound):
            await availability_windows.delete_window(world.db, who, window.id, now=world.clock())


async def test_month_shows_free_slots_by_the_readers_days(world: World) -> None:
    await world.book()
    zone = ZoneInfo("Pacific/Auckland")  # 13 hours ahead: Alice's afternoons are the next mornings there
    month = await availability.month_of_slots(
        world.db, world.service_id, DAY, DAY + timedelta(days=30), zone, world.clock()
    )
    assert len(month) == 31
    assert [len(month[DAY + timedelta(days=n)]) for n in range(4)] == [0, 3, 4, 0]
    assert month[DAY + timedelta(days=1)][0].start == world.first_start + timedelta(hours=1)


async def test_month_of_unreasonable_length_is_refused(world: World) -> None:
    for first, last in ((DAY, DAY - timedelta(days=1)), (DAY, DAY + timedelta(days=63)), (DAY, date.max)):
        with pytest.raises(Invalid):
            await availability.month_of_slots(world.db, world.service_id, first, last, ZoneInfo("UTC"), world.clock())


async def test_month_asks_three_queries_whatever_is_in_it(world: World) -> None:
    async def queries() -> int:
        async with counted(world.db) as found:
            await availability.month_of_slots(
                world.db, world.service_id, DAY, DAY + timedelta(days=30), ZoneInfo("UTC"), world.clock()
            )
        return found.count

    assert await queries() == 3
    for n in range(4):
        await world.book(start=world.first_start + timedelta(hours=n))
        await add(world, time(19), time(21), day=DAY + timedelta(days=5 + n))
    assert await queries() == 3


async def test_day_of_a_practitioner_lists_each_service(world: World) -> None:
    zone, services = await availability.day_of_practitioner(world.db, world.alice.person_id, DAY, world.clock())
    assert zone == "Europe/Lisbon"
    assert {service.name: len(slots) for service, slots in services} == {
        "Individual session": 4,
        "Discovery call": 12,
    }
    with pytest.raises(NotFound):
        await availability.day_of_practitioner(world.db, world.bob.person_id, DAY, world.clock())
