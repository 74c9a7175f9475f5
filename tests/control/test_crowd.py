"""A crowd: looks are shared or gathered, and whoever waits for time just taken is told without a turn."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control.crowd import MOST_GATHERED, Crowd, SlotTaken
from control.database import Database
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


class Rows:
    """Finds the upper case of what is asked, but nothing for "none"; keeps what each statement asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.go = asyncio.Event()

    async def look(self, db: Database, keys: Sequence[str]) -> dict[str, str]:
        self.asked.append(tuple(keys))
        await self.go.wait()
        if "broken" in keys:
            raise ValueError("the database is away")
        return {key: key.upper() for key in keys if key != "none"}


@pytest.fixture
def gathered(unopened: Database) -> Callable[[Rows, str], Awaitable[str | None]]:
    crowd = Crowd()
    looks: dict[Rows, Any] = {}
    return lambda rows, key: crowd.gathered(unopened, looks.setdefault(rows, rows.look), key)


@pytest.fixture
def unopened() -> Database:
    return Database("sqlite:///never-opened.db")


async def test_who_comes_while_others_are_asked_for_is_asked_together(gathered: Any) -> None:
    rows = Rows()
    first = asyncio.create_task(gathered(rows, "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = [asyncio.create_task(gathered(rows, key)) for key in ("b", "none", "b", "a")]
    await asyncio.sleep(0)
    rows.go.set()
    assert await asyncio.gather(first, *later) == ["A", "B", None, "B", "A"]
    assert rows.asked == [("a",), ("b", "none", "a")]  # the second "a" is not answered by what was begun before it


async def test_one_statement_asks_for_no_more_than_its_share(gathered: Any) -> None:
    rows = Rows()
    rows.go.set()
    keys = [f"k{n}" for n in range(MOST_GATHERED + 1)]
    assert await asyncio.gather(*(gathered(rows, key) for key in keys)) == [key.upper() for key in keys]
    assert [len(asked) for asked in rows.asked] == [MOST_GATHERED, 1]


async def test_failed_statement_fails_for_those_it_asked_for_only(gathered: Any) -> None:
    rows = Rows()
    broken = asyncio.create_task(gathered(rows, "broken"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    sound = asyncio.create_task(gathered(rows, "a"))
    await asyncio.sleep(0)
    rows.go.set()
    with pytest.raises(ValueError, match="away"):
        await broken
    assert await sound == "A"


async def test_somebody_who_leaves_takes_nobody_along(gathered: Any) -> None:
    rows = Rows()
    impatient, patient = (asyncio.create_task(gathered(rows, "a")) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    rows.go.set()
    assert await patient == "A"
    with pytest.raises(asyncio.CancelledError):
        await impatient
