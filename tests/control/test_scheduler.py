"""The scheduler: what is due happens once, by one process at a time, and one failing appointment stops no other."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from control import appointments, scheduler
from control.appointment_moves import advance
from control.appointment_states import State
from control.models.appointments import Appointment, Lease
from control.money.payments import Method
from control.scheduler import LEASE_FOR, Scheduler
from control.session_events import SessionChanged, forward_to
from tests.helpers.practice import World


async def test_one_round_brings_everything_due_as_far_as_time_allows(world: World) -> None:
    held = await world.book(world.charlie, world.first_start + timedelta(hours=1))
    paid = await world.scheduled()
    runner = Scheduler(world.db, world.clock)
    assert await runner.run_once(world.clock()) == 0
    assert await runner.run_once(world.clock.forward(minutes=10)) == 1
    assert (await appointments.get_for(world.db, world.charlie, held.id)).state is State.EXPIRED
    world.clock.now = paid.starts_at + timedelta(minutes=16)
    assert await runner.run_once(world.clock()) == 1
    seen = await appointments.get_for(world.db, world.bob, paid.id)
    assert seen.state is State.NO_SHOW_PRACTITIONER
    assert runner.lag.seconds == timedelta(minutes=21).total_seconds()
    assert await runner.run_once(world.clock()) == 0


async def test_second_process_waits_until_the_first_ones_lease_runs_out(world: World) -> None:
    await world.book()
    first, second = Scheduler(world.db, world.clock), Scheduler(world.db, world.clock)
    await first.run_once(world.clock())
    world.clock.forward(minutes=10)
    await first.run_once(world.clock() - LEASE_FOR)
    assert await second.run_once(world.clock() - timedelta(seconds=1)) == 0
    assert await second.run_once(world.clock()) == 1
    assert await first.run_once(world.clock()) == 0


async def test_closing_gives_the_lease_back(world: World) -> None:
    first = Scheduler(world.db, world.clock)
    await first.run_once(world.clock())
    await first.close()
    async with world.db.reading() as session:
        assert await session.get(Lease, scheduler.LEASE) is None


async def test_one_failing_appointment_does_not_stop_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await world.book()
    other = await world.book(world.charlie, world.first_start + timedelta(hours=1))

    async def failing(session: object, row: Appointment, *, now: object) -> bool:
        if row.id == one.id:
            raise RuntimeError("broken row")
        return await advance(session, row, now=now)  # type: ignore[arg-type]

    monkeypatch.setattr(scheduler, "advance", failing)
    runner = Scheduler(world.db, world.clock)
    await runner.run_once(world.clock.forward(minutes=10))
    assert (runner.lag.moved, runner.lag.failed) == (1, 1)
    assert (await appointments.get_for(world.db, world.charlie, other.id)).state is State.EXPIRED


async def test_loop_runs_by_itself_and_ends_when_closed(world: World) -> None:
    view = await world.book()
    done = asyncio.Event()
    world.db.subscribe(lambda events: done.set() if any(isinstance(e, SessionChanged) for e in events) else None)
    world.clock.forward(minutes=10)
    runner = Scheduler(world.db, world.clock, interval_s=0.01)
    await runner.start()
    await asyncio.wait_for(done.wait(), 10)
    await runner.close()
    assert (await appointments.get_for(world.db, world.bob, view.id)).state is State.EXPIRED


async def test_the_first_round_leaves_the_start_to_people(world: World) -> None:
    runner = Scheduler(world.db, world.clock, interval_s=60)
    await runner.start()
    await asyncio.sleep(0.2)
    await runner.close()
    assert runner.lag.rounds == 0


async def test_due_moment_in_the_row_is_the_one_the_rules_say(world: World) -> None:
    async def due() -> object:
        async with world.db.reading() as session:
            return (await session.get_one(Appointment, view.id)).due_at

    view = await world.book()
    assert await due() == view.hold_expires_at
    await appointments.pay(world.db, world.bob, view.id, Method.WALLET, now=world.clock())
    assert await due() == view.starts_at - timedelta(minutes=5)
    world.clock.now = view.starts_at
    await appointments.start(world.db, world.alice, view.id, now=world.clock())
    assert await due() == view.starts_at + timedelta(minutes=15)
    async with world.db.transaction() as session:
        moment = world.clock()
        await session.execute(update(Appointment).values(client_admitted_at=moment, practitioner_admitted_at=moment))
    await appointments.complete(world.db, world.alice, view.id, now=world.clock())
    assert await due() is None


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.news = asyncio.Event()

    async def session_changed(self, appointment_id: str) -> None:
        self.heard.append(("changed", appointment_id))
        if len(self.heard) == 1:
            raise RuntimeError("a listener that fails is no reason to stop telling it")

    async def end(self, appointment_id: str, reason: str) -> None:
        self.heard.append((reason, appointment_id))
        self.news.set()


async def test_hub_is_told_of_each_change_in_its_order(world: World) -> None:
    listener = Listener()
    forward_to(world.db, listener)
    view = await world.confirmed()
    await appointments.cancel(world.db, world.alice, view.id, now=world.clock())
    await asyncio.wait_for(listener.news.wait(), 10)
    assert listener.heard == [("changed", view.id), ("changed", view.id), ("cancelled", view.id)]
