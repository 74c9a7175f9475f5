"""Five hundred people on one slot: exactly one gets it, the others are told what else is free.

The server as `holdspace serve` runs it, on SQLite and on PostgreSQL (where its programs are installed). Everybody is
signed in and has a connection of their own; then all press at once. Measured until the last answer is there.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from benchmarks import charts
from benchmarks.bookers import SETTLE_S, Hand, databases, practice, sign_in_people

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GOAL_S: Final = 2.0
SUMMARY = "500 people on one slot: bookings made, conflicts answered, seconds"


@dataclass(frozen=True)
class Rush:
    created: int
    conflicts: int
    others: int
    """Any other answer: there should be none."""
    without_slots: int
    """Conflicts that named no free slot."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return {
            "created": self.created,
            "conflicts": self.conflicts,
            "seconds": round(self.seconds, 3),
            "others": self.others,
            "conflicts_without_slots": self.without_slots,
        }


@dataclass(frozen=True)
class Result:
    people: int
    rushes: dict[str, Rush]

    @property
    def title(self) -> str:
        return f"booking: {self.people} people on one slot"

    @property
    def worst(self) -> Rush:
        """The one that was not right, else the slower one."""
        return max(self.rushes.values(), key=lambda one: (one.created != 1, one.others, one.seconds))

    def as_json(self) -> dict[str, Any]:
        numbers = self.worst.as_json()
        return numbers | {"people": self.people, "databases": {n: one.as_json() for n, one in self.rushes.items()}}

    def rows(self) -> list[tuple[str, str]]:
        return [
            (
                name,
                f"{one.created} created, {one.conflicts} conflicts, {one.others} others in {one.seconds:.2f} s"
                f" (goal: 1 created, under {GOAL_S:g} s)",
            )
            for name, one in self.rushes.items()
        ]

    def draw(self, figure: "Figure") -> None:
        axes = figure.subplots()
        charts.bars(axes, list(self.rushes), {"seconds": [one.seconds for one in self.rushes.values()]})
        charts.goal(axes, GOAL_S, "goal")
        axes.set(ylabel="s until the last answer", ylim=(0, None))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=500, metavar="N")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    with databases() as urls:
        return asyncio.run(measure(options.people, urls, tell))


async def measure(people: int, urls: dict[str, str], tell: Callable[[str], None]) -> Result:
    rushes = {}
    for name, url in urls.items():
        tell(f"{people} people on one slot, {name}")
        rushes[name] = await _rush(url, people)
    return Result(people, rushes)


async def _rush(url: str, people: int) -> Rush:
    async with practice(url) as (db, address, client):
        hands = await sign_in_people(db, address, client, people)
        body = await _wanted(hands[0])
        await asyncio.sleep(SETTLE_S)
        began = time.perf_counter()
        answers = await asyncio.gather(*(hand.post("/sessions/book", body) for hand in hands))
        seconds = time.perf_counter() - began
    statuses = Counter(status for status, _ in answers)
    lost = [answer for status, answer in answers if status == 409]
    empty = sum(not answer.get("nearest_free_slots") for answer in lost)
    return Rush(statuses[201], statuses[409], people - statuses[201] - statuses[409], empty, seconds)


async def _wanted(hand: Hand) -> dict[str, str]:
    """A free slot of the demo practice some days ahead."""
    _, listed = await hand.get("/api/practitioners")
    service = next(
        service["id"]
        for person in listed["practitioners"]
        for service in person["services"]
        if service["name"] == "Individual session"
    )
    today = datetime.now(UTC).date()
    first, last = today + timedelta(days=3), today + timedelta(days=10)
    _, free = await hand.get(f"/api/services/{service}/slots?first={first}&last={last}")
    start = next(slot["start"] for slots in free["days"].values() for slot in slots)
    return {"serviceId": service, "start": start, "timeZone": "Europe/Lisbon"}
