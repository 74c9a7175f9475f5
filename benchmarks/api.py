"""The API of a practice with ten thousand appointments: a month of slots, the list of sessions, booking many slots.

The server as `holdspace serve` runs it, on SQLite and on PostgreSQL (where its programs are installed). Latency is
measured one request after the other, throughput with several at a time, over connections kept open.
"""

import argparse
import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from sqlalchemy import insert, select, text

from benchmarks import charts
from benchmarks.bookers import SETTLE_S, Hand, Load, at_once, databases, hand_of, practice, sign_in_people
from control.database import Database, new_id
from control.models.appointments import Appointment
from control.models.people import Person, PersonRole, Role
from control.models.practice import AvailabilityRule, PractitionerProfile, Service

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY = "requests per second and p99: slots of a month, 10,000 sessions listed, many slots booked"
GOAL_MONTH_MS: Final = 50
PARALLEL: Final = 8
OPENS, CLOSES = 8, 18
LENGTH = timedelta(minutes=30)
PER_DAY = (CLOSES - OPENS) * 2


@dataclass(frozen=True)
class Numbers:
    one_by_one: Load
    together: Load

    def as_json(self) -> dict[str, float]:
        return {
            "requests_per_s": round(self.together.per_second, 1),
            "p50_ms": round(self.one_by_one.percentile(0.5), 2),
            "p99_ms": round(self.one_by_one.percentile(0.99), 2),
            "p99_ms_at_8": round(self.together.percentile(0.99), 2),
        }


@dataclass(frozen=True)
class Measured:
    month: Numbers
    sessions: Numbers
    booking: Load
    booked: int

    def as_json(self) -> dict[str, Any]:
        return {
            "month_of_slots": self.month.as_json(),
            "sessions_list": self.sessions.as_json(),
            "booking": {
                "bookings_per_s": round(self.booked / self.booking.seconds, 1),
                "p99_ms": round(self.booking.percentile(0.99), 2),
                "booked": self.booked,
                "asked": len(self.booking.milliseconds),
            },
        }


@dataclass(frozen=True)
class Result:
    appointments: int
    databases: dict[str, Measured]

    @property
    def title(self) -> str:
        return f"api: a practice with {self.appointments:,} appointments"

    def as_json(self) -> dict[str, Any]:
        return {
            "appointments": self.appointments,
            "databases": {name: one.as_json() for name, one in self.databases.items()},
        }

    def rows(self) -> list[tuple[str, str]]:
        rows = []
        for name, one in self.databases.items():
            values = one.as_json()
            for what, goal in (("month_of_slots", f" (goal: p99 under {GOAL_MONTH_MS} ms)"), ("sessions_list", "")):
                of = values[what]
                words = f"p50 {of['p50_ms']} ms, p99 {of['p99_ms']} ms, {of['requests_per_s']} requests/s{goal}"
                rows.append((f"{name}, {what.replace('_', ' ')}", words))
            of = values["booking"]
            words = f"{of['bookings_per_s']} bookings/s, p99 {of['p99_ms']} ms, {of['booked']} of {of['asked']}"
            rows.append((f"{name}, booking many slots", words))
        return rows

    def draw(self, figure: "Figure") -> None:
        left, right = figure.subplots(1, 2)
        names = list(self.databases)
        found = [one.as_json() for one in self.databases.values()]
        p99 = {what: [one[key]["p99_ms"] for one in found] for what, key in _DRAWN.items()}
        charts.bars(left, names, p99, number="{:.1f}")
        charts.goal(left, GOAL_MONTH_MS, "goal of the month")
        left.set(ylabel="p99, ms")
        charts.bars(right, names, {"bookings": [one["booking"]["bookings_per_s"] for one in found]}, number="{:.0f}")
        right.set(ylabel="bookings per second")


_DRAWN = {"a month of slots": "month_of_slots", "a page of sessions": "sessions_list"}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--appointments", type=int, default=10_000, metavar="N")
    parser.add_argument("--requests", type=int, default=400, metavar="N", help="of each kind")
    parser.add_argument("--bookings", type=int, default=300, metavar="N")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    with databases() as urls:
        return asyncio.run(measure(options, urls, tell))


async def measure(options: argparse.Namespace, urls: dict[str, str], tell: Callable[[str], None]) -> Result:
    found = {}
    for name, url in urls.items():
        tell(f"filling {name}")
        found[name] = await _measure(url, options, tell)
    return Result(options.appointments, found)


async def _measure(url: str, options: argparse.Namespace, tell: Callable[[str], None]) -> Measured:
    async with practice(url) as (db, address, client):
        busy = await _busy_practitioner(db, options.appointments)
        free = await _busy_practitioner(db, 0)
        leader = await hand_of(db, address, client, busy.person_id)
        bookers = await sign_in_people(db, address, client, min(options.bookings, 100))
        await asyncio.sleep(SETTLE_S)
        tell("a month of slots")
        month = await _numbers([partial(_got, bookers[0], _month(busy.service_id)) for _ in range(options.requests)])
        tell("pages of sessions")
        pages = await _pages(leader, options.requests)
        sessions = await _numbers([partial(_got, leader, path) for path in pages])
        tell("booking")
        booked: list[int] = []
        wanted = list(zip(range(options.bookings), _starts(), strict=False))
        requests = [partial(_book, bookers[n % len(bookers)], free.service_id, start, booked) for n, start in wanted]
        booking = await at_once(requests, len(bookers))
    return Measured(month, sessions, booking, booked.count(201))


async def _numbers(requests: list[Callable[[], Awaitable[None]]]) -> Numbers:
    for request in requests[:10]:
        await request()
    return Numbers(await at_once(requests, 1), await at_once(requests, PARALLEL))


async def _got(hand: Hand, path: str) -> None:
    status, _ = await hand.get(path)
    if status != 200:
        raise RuntimeError(f"GET {path}: {status}")


def _month(service_id: str) -> str:
    today = datetime.now(UTC).date()
    return f"/api/services/{service_id}/slots?first={today}&last={today + timedelta(days=30)}&timeZone=Europe/Lisbon"


async def _pages(hand: Hand, count: int) -> list[str]:
    """Pages from all over the list, the first one most often."""
    paths = ["/professional/sessions"]
    while len(paths) < min(40, count):
        _, page = await hand.get(paths[-1])
        if page["next_cursor"] is None:
            break
        paths.append(f"/professional/sessions?cursor={page['next_cursor']}")
    chance = random.Random(1)  # noqa: S311  the same pages in each run
    return [paths[0] if n % 2 else chance.choice(paths) for n in range(count)]


async def _book(hand: Hand, service_id: str, start: datetime, booked: list[int]) -> None:
    body = {"serviceId": service_id, "start": start.isoformat(), "timeZone": "UTC"}
    status, _ = await hand.post("/sessions/book", body)
    booked.append(status)


def _starts() -> Iterator[datetime]:
    """Each slot of the coming days, none twice."""
    day = datetime.now(UTC).replace(hour=OPENS, minute=0, second=0, microsecond=0)
    for n in range(2, 55):
        yield from (day + timedelta(days=n) + LENGTH * slot for slot in range(PER_DAY))


# -- the practitioner --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Practitioner:
    person_id: str
    service_id: str


async def _busy_practitioner(db: Database, appointments: int) -> Practitioner:
    """Open every day of the week; nine of ten slots are booked from a month ahead backwards."""
    now = datetime.now(UTC)
    person_id, service_id = new_id(), new_id()
    async with db.transaction() as session:
        session.add(
            Person(
                id=person_id,
                email=f"{uuid4().hex}@example.com",
                name="Busy Practitioner",
                time_zone="UTC",
                email_proven_at=now,
                created_at=now,
                is_demo=True,
                roles=[PersonRole(role=Role.PRACTITIONER)],
            )
        )
        await session.flush()
        session.add(PractitionerProfile(person_id=person_id, modalities=[], languages=[], created_at=now))
        await session.flush()
        session.add(
            Service(
                id=service_id,
                practitioner_id=person_id,
                name="Half an hour",
                length_minutes=30,
                price_minor=3000,
                currency="EUR",
                created_at=now,
            )
        )
        session.add_all(
            AvailabilityRule(
                practitioner_id=person_id,
                weekday=weekday,
                local_start=f"{time(OPENS):%H:%M}",
                local_end=f"{time(CLOSES):%H:%M}",
                time_zone="UTC",
                valid_from="2020-01-01",
                created_at=now,
            )
            for weekday in range(7)
        )
        await session.flush()
        client_id = await session.scalar(select(Person.id).where(Person.email == "mina@example.com"))
        rows = [_row(person_id, str(client_id), service_id, start, now) for start in _taken(appointments, now)]
        for at in range(0, len(rows), 500):
            await session.execute(insert(Appointment), rows[at : at + 500])
        if not db.is_sqlite:
            await session.execute(text("ANALYZE appointments"))  # PostgreSQL does so by itself soon after so many rows
    return Practitioner(person_id, service_id)


def _taken(count: int, now: datetime) -> Iterator[datetime]:
    day = now.replace(hour=OPENS, minute=0, second=0, microsecond=0) + timedelta(days=30)
    for n in range(count):
        days, slot = divmod(n, PER_DAY * 9 // 10)
        yield day - timedelta(days=days) + LENGTH * slot


def _row(practitioner_id: str, client_id: str, service_id: str, start: datetime, now: datetime) -> dict[str, Any]:
    ahead = start > now
    return {
        "id": new_id(),
        "practitioner_id": practitioner_id,
        "client_id": client_id,
        "service_id": service_id,
        "state": "scheduled" if ahead else "completed",
        "version": 2,
        "starts_at": start,
        "ends_at": start + LENGTH,
        "busy_from": start,
        "busy_until": start + LENGTH,
        "client_time_zone": "UTC",
        "service_name": "Half an hour",
        "mode": "video",
        "recording_offered": False,
        "price_minor": 3000,
        "currency": "EUR",
        "platform_fee_bp": 1000,
        "late_window_minutes": 1440,
        "late_fee_bp": 5000,
        "no_show_fee_bp": 10_000,
        "opens_before_s": 300,
        "no_show_after_s": 900,
        "present_for_s": 30,
        "grace_s": 600,
        "due_at": start - timedelta(minutes=5) if ahead else None,
        "created_at": now,
    }
