"""From a free slot to a paid session, and everything that must not become one."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control import appointments
from control.appointment_states import State
from control.booking import Wanted, is_overlap
from control.errors import Conflict, Forbidden, Invalid, Problem
from control.models.appointments import Appointment
from control.models.people import Role
from control.models.practice import PractitionerProfile, Service
from control.money import ledger
from tests.helpers.practice import MONDAY, WALLET_MINOR, World

OSLO = ZoneInfo("Europe/Oslo")


async def test_booking_holds_the_slot_for_ten_minutes(world: World) -> None:
    view = await world.book()
    assert (view.state, view.hold_expires_at) == (State.PENDING, MONDAY + timedelta(minutes=10))
    assert (view.price_minor, view.currency) == (5_000, "EUR")


async def test_free_session_is_scheduled_at_once(world: World) -> None:
    view = await world.book(service_id=world.free_service_id)
    assert (view.state, view.payment_method) == (State.SCHEDULED, "free")


async def test_paying_moves_the_price_from_the_wallet_to_escrow(world: World) -> None:
    view = await world.scheduled()
    assert (view.state, view.payment_state) == (State.SCHEDULED, "held")
    async with world.db.reading() as session:
        assert await ledger.balance_of(session, ledger.wallet(world.bob.person_id, "EUR")) == WALLET_MINOR - 5_000
        assert await ledger.balance_of(session, ledger.escrow("EUR")) == 5_000
    assert await ledger.discrepancies(world.db) == []


async def test_taken_slot_is_refused_with_the_nearest_free_ones(world: World) -> None:
    await world.book()
    with pytest.raises(Conflict) as refused:
        await world.book(world.charlie)
    assert refused.value.code == "slot_taken"
    starts = [slot["start"] for slot in refused.value.extra["nearest_free_slots"]]
    assert starts[0] == "2026-03-02T15:00:00+00:00"
    assert len(starts) == 5


async def refusal(world: World, start: datetime, service_id: str | None = None) -> str:
    with pytest.raises(Problem) as refused:
        await world.book(world.bob, start, service_id)
    assert await appointments.upcoming_for(world.db, world.bob, world.clock()) == ()
    return refused.value.code


async def test_time_that_is_no_slot_is_refused(world: World) -> None:
    assert await refusal(world, world.first_start + timedelta(minutes=10)) == "slot_not_offered"
    assert await refusal(world, world.first_start + timedelta(hours=4)) == "slot_not_offered"
    assert await refusal(world, world.first_start + timedelta(microseconds=1)) == "slot_not_offered"


async def test_past_start_is_refused(world: World) -> None:
    world.clock.now = world.first_start
    assert await refusal(world, world.first_start) == "start_past"
    assert await refusal(world, world.first_start - timedelta(days=7)) == "start_past"


async def test_minimum_notice_is_kept_to_the_second(world: World) -> None:
    world.clock.now = world.first_start - timedelta(hours=2) + timedelta(seconds=1)
    assert await refusal(world, world.first_start) == "too_soon"
    world.clock.now = world.first_start - timedelta(hours=2)
    assert (await world.book()).state is State.PENDING


async def test_start_beyond_the_booking_window_is_refused(world: World) -> None:
    world.clock.now = world.first_start - timedelta(days=60, seconds=1)
    assert await refusal(world, world.first_start) == "too_far"


async def test_service_that_is_not_offered_is_not_found(world: World) -> None:
    for values in ({Service.active: False}, {PractitionerProfile.published: False}):
        async with world.db.transaction() as session:
            (column,) = values
            await session.execute(update(column.class_).values({column.key: False}))
        assert await refusal(world, world.first_start) == "service_not_found"
    assert await refusal(world, world.first_start, "0" * 32) == "service_not_found"


async def test_practitioner_and_admin_do_not_book(world: World) -> None:
    for who in (world.alice, world.erin, world.dana):
        with pytest.raises(Forbidden):
            await world.book(who)


async def test_practitioner_who_is_a_client_too_cannot_book_their_own_time(world: World) -> None:
    both = replace(world.alice, roles=frozenset(Role))
    with pytest.raises(Forbidden) as refused:
        await world.book(both)
    assert refused.value.code == "own_service"


async def test_buffer_of_a_booking_keeps_the_next_service_away(world: World) -> None:
    await world.book()  # 14:00 to 14:50, busy until 15:00
    with pytest.raises(Conflict):
        await world.book(world.charlie, world.first_start + timedelta(minutes=40), world.free_service_id)
    view = await world.book(world.charlie, world.first_start + timedelta(minutes=60), world.free_service_id)
    assert view.state is State.SCHEDULED


async def test_key_of_another_booking_is_refused(world: World) -> None:
    first = Wanted(world.service_id, world.first_start, OSLO, "one key")
    view = await appointments.book(world.db, world.bob, first, now=world.clock())
    assert (await appointments.book(world.db, world.bob, first, now=world.clock())).id == view.id
    second = replace(first, start=world.first_start + timedelta(hours=1))
    with pytest.raises(Invalid) as refused:
        await appointments.book(world.db, world.bob, second, now=world.clock())
    assert refused.value.code == "idempotency_key_reused"
    assert (await appointments.book(world.db, world.charlie, second, now=world.clock())).id != view.id


async def test_database_itself_refuses_an_overlap(world: World) -> None:
    """Whatever the code forgets: a second row over the same time can be neither inserted nor moved there."""
    view = await world.book()
    other = await world.book(world.charlie, world.first_start + timedelta(hours=1))

    async def copy_of(session: AsyncSession) -> Appointment:
        row = await session.get_one(Appointment, view.id)
        values = {column.key: getattr(row, column.key) for column in Appointment.__table__.columns}
        return Appointment(**(values | {"id": "f" * 32, "booking_key": None}))

    with pytest.raises(IntegrityError) as inserted:
        await _insert(world, copy_of)
    assert is_overlap(inserted.value)
    move = update(Appointment).where(Appointment.id == other.id)
    with pytest.raises(IntegrityError) as moved:
        async with world.db.transaction() as session:
            await session.execute(move.values(busy_from=view.starts_at))
    assert is_overlap(moved.value)
    await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    await world.book(world.charlie)
    with pytest.raises(IntegrityError):
        async with world.db.transaction() as session:
            await session.execute(update(Appointment).where(Appointment.id == view.id).values(state=State.PENDING))


async def _insert(world: World, make: Callable[[AsyncSession], Awaitable[Appointment]]) -> None:
    async with world.db.transaction() as session:
        session.add(await make(session))
        await session.flush()
