"""Many at once, over real parallel connections of both databases: exactly one wins, nobody is charged twice."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from control import appointments, consents
from control.appointment_states import SLOT_HOLDING, State
from control.booking import Wanted
from control.consents import Purpose
from control.database import Database
from control.errors import Problem
from control.models.appointments import Appointment
from control.models.money import Payment
from control.money import ledger
from control.money.payments import Method
from control.scheduler import Scheduler
from tests.helpers.practice import WALLET_MINOR, World

UTC_ZONE = ZoneInfo("UTC")
BOOKERS = 50


async def outcomes(work: Sequence[Awaitable[Any]]) -> Counter[str]:
    """What became of each: its state, or the code it was refused with. Anything else is a failure."""
    results = await asyncio.gather(*work, return_exceptions=True)
    found: Counter[str] = Counter()
    for result in results:
        if isinstance(result, Problem):
            found[result.code] += 1
        elif isinstance(result, BaseException):
            raise result
        else:
            found[str(result.state)] += 1
    return found


async def test_fifty_people_on_one_slot_make_exactly_one_booking(world: World, database_url: str) -> None:
    second = Database(database_url)  # another process, as far as the database can tell
    await second.connect()
    people = await world.add_clients(BOOKERS)
    wanted = [Wanted(world.service_id, world.first_start, UTC_ZONE, uuid4().hex) for _ in people]
    found = await outcomes(
        [
            appointments.book((world.db, second)[n % 2], who, wanted[n], now=world.clock())
            for n, who in enumerate(people)
        ]
    )
    await second.close()
    assert found == {"pending": 1, "slot_taken": BOOKERS - 1}


async def test_overlapping_services_of_one_practitioner_never_both_get_booked(world: World) -> None:
    people = await world.add_clients(20)
    starts = [world.first_start + timedelta(minutes=20 * (n % 6)) for n in range(20)]
    await outcomes(
        [world.book(who, start, world.free_service_id) for who, start in zip(people[:10], starts, strict=False)]
        + [world.book(who) for who in people[10:]]
    )
    async with world.db.reading() as session:
        rows = (
            await session.execute(
                select(Appointment.busy_from, Appointment.busy_until)
                .where(Appointment.state.in_(SLOT_HOLDING))
                .order_by(Appointment.busy_from)
            )
        ).all()
    assert rows
    assert all(one.busy_until <= other.busy_from for one, other in pairwise(rows))


async def test_same_key_sent_ten_times_at_once_books_once(world: World) -> None:
    wanted = Wanted(world.service_id, world.first_start, UTC_ZONE, "the same key")
    views = await asyncio.gather(
        *(appointments.book(world.db, world.bob, wanted, now=world.clock()) for _ in range(10))
    )
    assert len({view.id for view in views}) == 1


async def test_next_booker_takes_a_hold_that_ran_out_exactly_once(world: World) -> None:
    stale = await world.book()
    world.clock.forward(minutes=10)
    people = await world.add_clients(10)
    found = await outcomes([world.book(who) for who in people])
    assert found == {"pending": 1, "slot_taken": 9}
    assert (await appointments.get_for(world.db, world.bob, stale.id)).state is State.EXPIRED


async def test_twenty_payments_at_once_charge_once(world: World) -> None:
    view = await world.book()
    found = await outcomes(
        [appointments.pay(world.db, world.bob, view.id, Method.WALLET, now=world.clock()) for _ in range(20)]
    )
    assert found == {"scheduled": 20}
    async with world.db.reading() as session:
        assert await ledger.wallet_balance(session, world.bob.person_id, "EUR") == WALLET_MINOR - 5_000
        assert await session.scalar(select(func.count()).select_from(Payment)) == 1
    assert await ledger.discrepancies(world.db) == []


async def test_wallet_for_one_session_pays_only_one_of_two_at_once(world: World) -> None:
    (poor,) = await world.add_clients(1, wallet_minor=5_000)
    one = await world.book(poor)
    other = await world.book(poor, world.first_start + timedelta(hours=1))
    found = await outcomes(
        [appointments.pay(world.db, poor, view.id, Method.WALLET, now=world.clock()) for view in (one, other)]
    )
    assert found == {"scheduled": 1, "insufficient_funds": 1}
    assert await ledger.discrepancies(world.db) == []


async def test_ten_starts_at_once_start_once_and_all_see_it_running(world: World) -> None:
    view = await world.confirmed()
    found = await outcomes([appointments.start(world.db, world.alice, view.id, now=world.clock()) for _ in range(10)])
    assert found == {"in_progress": 10}
    async with world.db.reading() as session:
        row = await session.get_one(Appointment, view.id)
        assert row.version == 4  # booked, secured, confirmed, started


async def test_two_sessions_started_at_once_run_one_after_the_other(world: World) -> None:
    one = await world.scheduled()
    other = await world.scheduled(start=world.first_start + timedelta(hours=1))
    world.clock.now = other.starts_at - timedelta(minutes=5)
    async with world.db.transaction() as session:
        # Two sessions that may both be started: the first one's start was moved close to the second's.
        row = await session.get_one(Appointment, one.id)
        row.starts_at = row.starts_at + timedelta(minutes=45)
    found = await outcomes(
        [appointments.start(world.db, world.alice, view.id, now=world.clock()) for view in (one, other)] * 5
    )
    assert set(found) == {"in_progress", "another_in_progress"}
    assert found["in_progress"] == 5
    async with world.db.reading() as session:
        running = await session.scalar(
            select(func.count()).select_from(Appointment).where(Appointment.state == State.IN_PROGRESS)
        )
    assert running == 1


async def test_start_and_cancel_at_once_leave_one_of_the_two(world: World) -> None:
    view = await world.confirmed()
    await outcomes(
        [
            *(appointments.start(world.db, world.alice, view.id, now=world.clock()) for _ in range(5)),
            *(appointments.cancel(world.db, world.bob, view.id, now=world.clock()) for _ in range(5)),
        ]
    )
    seen = await appointments.get_for(world.db, world.bob, view.id)
    assert (seen.state, seen.payment_state) in {(State.IN_PROGRESS, "held"), (State.CANCELLED, "earned")}
    assert await ledger.discrepancies(world.db) == []


async def test_two_schedulers_and_a_late_start_decide_a_missed_session_once(world: World) -> None:
    view = await world.confirmed()
    world.clock.now = view.starts_at + timedelta(minutes=15)
    schedulers = [Scheduler(world.db, world.clock) for _ in range(2)]
    await asyncio.gather(
        *(scheduler.run_once(world.clock()) for scheduler in schedulers),
        *(appointments.catch_up(world.db, view.id, now=world.clock()) for _ in range(5)),
    )
    async with world.db.reading() as session:
        assert await ledger.wallet_balance(session, world.bob.person_id, "EUR") == WALLET_MINOR
    assert await ledger.discrepancies(world.db) == []


async def test_ten_same_answers_at_once_leave_one_standing(world: World) -> None:
    view = await world.scheduled()
    await asyncio.gather(*(world.consent(world.bob, view.id, Purpose.CARE) for _ in range(10)))
    given = await consents.standing(world.db, view.id)
    assert [(one.person_id, one.answer) for one in given] == [(world.bob.person_id, "yes")]
