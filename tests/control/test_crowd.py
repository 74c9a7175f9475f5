"""A crowd on one slot: looks are shared, and whoever waits for time just taken is told without a turn."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from control.crowd import Crowd, SlotTaken
from control.slots import Span

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def hour(first: int) -> Span:
    return Span(NOON + timedelta(hours=first), NOON + timedelta(hours=first + 1))


async def attempt(crowd: Crowd, busy: Span, *, fails: bool = False) -> str:
    try:
        async with crowd.turn("alice", busy):
            await asyncio.sleep(0)
            if fails:
                raise ValueError
            return "taken"
    except SlotTaken:
        return "late"
    except ValueError:
        return "failed"


async def test_one_of_many_who_wait_for_the_same_time_gets_a_turn() -> None:
    crowd = Crowd()
    assert await asyncio.gather(*(attempt(crowd, hour(0)) for _ in range(4))) == ["taken", "late", "late", "late"]


async def test_other_times_of_the_same_calendar_are_not_late() -> None:
    crowd = Crowd()
    assert await asyncio.gather(*(attempt(crowd, hour(n)) for n in range(3))) == ["taken"] * 3


async def test_turn_that_failed_has_taken_nothing() -> None:
    crowd = Crowd()
    found = await asyncio.gather(attempt(crowd, hour(0), fails=True), attempt(crowd, hour(0)))
    assert found == ["failed", "taken"]


async def test_what_was_taken_before_somebody_came_is_left_to_the_database() -> None:
    crowd = Crowd()
    assert [await attempt(crowd, hour(0)), await attempt(crowd, hour(0))] == ["taken", "taken"]


async def test_simultaneous_looks_are_one_and_later_ones_look_again() -> None:
    crowd, looks = Crowd(), 0

    async def look() -> int:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return looks

    assert await asyncio.gather(*(crowd.shared("key", look) for _ in range(5))) == [1] * 5
    assert await crowd.shared("key", look) == 2


async def test_somebody_who_leaves_does_not_end_the_look_of_the_others() -> None:
    crowd, go = Crowd(), asyncio.Event()

    async def look() -> str:
        await go.wait()
        return "seen"

    impatient = asyncio.create_task(crowd.shared("key", look))
    patient = asyncio.create_task(crowd.shared("key", look))
    await asyncio.sleep(0)
    impatient.cancel()
    go.set()
    assert await patient == "seen"
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_failed_look_fails_for_everybody_who_shared_it() -> None:
    async def look() -> None:
        raise ValueError("no such service")

    crowd = Crowd()
    found = await asyncio.gather(*(crowd.shared("key", look) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in found] == [ValueError] * 3
