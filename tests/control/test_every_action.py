"""Every action on a session, ten at once and once more: it happens once, nobody is told, charged or logged twice."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from control import appointments, guests, ratings, reschedules
from control.booking import Terms, Wanted
from control.consents import Purpose
from control.errors import Problem
from control.models.audit import AuditEntry
from control.models.money import Payment
from control.models.outbox import OutboxRow
from control.money import ledger
from control.money.payments import Method
from control.reschedules import Proposal, RequestView
from tests.helpers.books import books_of, take_place
from tests.helpers.practice import World

Act = Callable[[], Awaitable[Any]]
DAY = timedelta(days=1)
QUARTER = timedelta(minutes=15)


async def book(world: World) -> Act:
    wanted = Wanted(world.service_id, world.first_start, ZoneInfo("UTC"), uuid4().hex)
    return partial(appointments.book, world.db, world.bob, wanted, now=world.clock())


async def pay(world: World) -> Act:
    view = await world.book()
    return partial(appointments.pay, world.db, world.bob, view.id, Method.WALLET, now=world.clock())


async def leave_the_checkout(world: World) -> Act:
    view = await world.book()
    return partial(appointments.cancel, world.db, world.bob, view.id, now=world.clock())


async def activate(world: World) -> Act:
    wanted = Wanted(world.service_id, world.first_start, ZoneInfo("UTC"), uuid4().hex)
    held = await appointments.book(world.db, world.bob, wanted, terms=Terms(needs_activation=True), now=world.clock())
    await appointments.pay(world.db, world.bob, held.id, Method.WALLET, now=world.clock())
    return partial(appointments.activate, world.db, world.dana, held.id, now=world.clock())


async def confirm(world: World) -> Act:
    view = await world.scheduled()
    world.clock.now = view.starts_at - timedelta(minutes=5)
    return partial(appointments.catch_up, world.db, view.id, now=world.clock())


async def start(world: World) -> Act:
    view = await world.confirmed()
    return partial(appointments.start, world.db, world.alice, view.id, now=world.clock())


async def complete(world: World) -> Act:
    view = await take_place(world, await world.scheduled(), ends=False)
    return partial(appointments.complete, world.db, world.alice, view.id, now=world.clock())


async def mark_as_no_show(world: World) -> Act:
    view = await world.started()
    world.clock.now = view.starts_at + QUARTER
    act = partial(appointments.complete, world.db, world.alice, view.id, is_no_show=True)
    return partial(act, waive_fee=True, now=world.clock())


async def miss(world: World) -> Act:
    view = await world.confirmed()
    world.clock.now = view.starts_at + QUARTER
    return partial(appointments.catch_up, world.db, view.id, now=world.clock())


async def cancel_late(world: World) -> Act:
    view = await world.scheduled()
    return partial(appointments.cancel, world.db, world.bob, view.id, now=world.clock())


async def waive(world: World) -> Act:
    view = await world.scheduled()
    await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    return partial(appointments.waive_fee, world.db, world.alice, view.id, now=world.clock())


async def propose(world: World) -> Act:
    view = await world.scheduled()
    return partial(reschedules.propose, world.db, world.bob, view.id, Proposal(view.starts_at + DAY), now=world.clock())


async def proposed(world: World) -> RequestView:
    view = await world.scheduled()
    return await reschedules.propose(world.db, world.bob, view.id, Proposal(view.starts_at + DAY), now=world.clock())


async def accept(world: World) -> Act:
    return partial(reschedules.accept, world.db, world.alice, (await proposed(world)).id, now=world.clock())


async def reject(world: World) -> Act:
    return partial(reschedules.reject, world.db, world.alice, (await proposed(world)).id, now=world.clock())


async def withdraw(world: World) -> Act:
    return partial(reschedules.withdraw, world.db, world.bob, (await proposed(world)).id, now=world.clock())


async def consent(world: World) -> Act:
    view = await world.scheduled()
    return partial(world.consent, world.bob, view.id, Purpose.CARE)


async def rate(world: World) -> Act:
    view = await take_place(world, await world.scheduled())
    return partial(ratings.rate, world.db, world.bob, view.id, ratings.NewRating(5, "Kind"), now=world.clock())


async def invite(world: World) -> Act:
    view = await world.scheduled()
    act = partial(guests.invite, world.db, world.alice, view.id, email="g@example.org", name="G")
    return partial(act, now=world.clock())


ACTIONS = (
    *(book, pay, leave_the_checkout, activate, confirm, start, complete, mark_as_no_show, miss, cancel_late, waive),
    *(propose, accept, reject, withdraw, consent, rate, invite),
)


async def traces(world: World) -> Counter[tuple[str, ...]]:
    """What is in the audit log, what is owed to whom, and which payments stand."""
    async with world.db.reading() as session:
        logged = await session.execute(select(AuditEntry.action, AuditEntry.subject))
        owed = await session.execute(
            select(OutboxRow.kind, OutboxRow.channel, OutboxRow.person_id, OutboxRow.next_attempt_at)
        )
        paid = await session.execute(select(Payment.appointment_id, Payment.method, Payment.state))
        return Counter(tuple(map(str, row)) for rows in (logged, owed, paid) for row in rows)


@pytest.mark.parametrize("prepare", ACTIONS, ids=lambda one: one.__name__)
async def test_action_done_by_ten_at_once_and_once_more_happens_once(
    world: World, prepare: Callable[[World], Awaitable[Act]]
) -> None:
    act = await prepare(world)
    before = await traces(world)
    outcomes = await asyncio.gather(*(act() for _ in range(10)), return_exceptions=True)
    unexpected = [one for one in outcomes if isinstance(one, BaseException) and not isinstance(one, Problem)]
    assert unexpected == []
    assert any(not isinstance(one, Problem) for one in outcomes)
    after = await traces(world)
    assert [trace for trace, times in (after - before).items() if times > 1] == []
    assert after != before
    books = await books_of(world.db)
    await act()
    assert await traces(world) == after
    assert await books_of(world.db) == books
    assert await ledger.discrepancies(world.db) == []
