"""Where the practice asks for it: a paid session is nobody's but the client's until an admin activates it."""

import asyncio
from datetime import timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from control import appointments, waiting_room
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.booking import Terms, Wanted
from control.errors import NotFound
from control.models.appointments import Appointment
from control.models.outbox import OutboxRow
from control.money import ledger
from control.money.payments import Method
from tests.helpers.practice import WALLET_MINOR, Site, World

TERMS = Terms(needs_activation=True)


@pytest.fixture
async def view(world: World) -> SessionView:
    wanted = Wanted(world.service_id, world.first_start, ZoneInfo("UTC"), uuid4().hex)
    held = await appointments.book(world.db, world.bob, wanted, terms=TERMS, now=world.clock())
    return await appointments.pay(world.db, world.bob, held.id, Method.WALLET, now=world.clock())


async def told(world: World) -> list[tuple[str, str]]:
    async with world.db.reading() as session:
        return [(row.person_id, row.kind) for row in await session.scalars(select(OutboxRow).order_by(OutboxRow.kind))]


async def test_session_is_hidden_from_its_practitioner_until_activated(world: World, view: SessionView) -> None:
    with pytest.raises(NotFound):
        await appointments.get_for(world.db, world.alice, view.id)
    with pytest.raises(NotFound):
        await appointments.cancel(world.db, world.alice, view.id, now=world.clock())
    assert await appointments.upcoming_for(world.db, world.alice, world.clock()) == ()
    assert (world.alice.person_id, "new_booking") not in await told(world)
    await appointments.activate(world.db, world.dana, view.id, now=world.clock())
    assert (await appointments.get_for(world.db, world.alice, view.id)).state is State.SCHEDULED
    assert (world.alice.person_id, "session_activated") in await told(world)


async def test_session_not_activated_can_be_neither_confirmed_nor_joined(world: World, view: SessionView) -> None:
    world.clock.now = view.starts_at - timedelta(minutes=1)
    assert await appointments.catch_up(world.db, view.id, now=world.clock()) is State.SCHEDULED
    found = await waiting_room.explain(world.db, world.bob, view.id, world.clock())
    assert not found.can_join
    assert "not_activated" in [reason.code for reason in found.reasons]
    assert await appointments.activate(world.db, world.dana, view.id, now=world.clock()) is State.CONFIRMED


async def test_session_not_activated_by_its_start_is_cancelled_and_refunded(world: World, view: SessionView) -> None:
    world.clock.now = view.starts_at
    assert await appointments.catch_up(world.db, view.id, now=world.clock()) is State.CANCELLED
    async with world.db.reading() as session:
        assert await ledger.wallet_balance(session, world.bob.person_id, "EUR") == WALLET_MINOR
    letters = await told(world)
    assert (world.dana.person_id, "not_activated") in letters
    assert (world.bob.person_id, "session_cancelled") in letters
    assert not [kind for who, kind in letters if who == world.alice.person_id]


async def test_ten_activations_at_once_tell_the_practitioner_once(world: World, view: SessionView) -> None:
    await asyncio.gather(*(appointments.activate(world.db, world.dana, view.id, now=world.clock()) for _ in range(10)))
    assert [kind for _, kind in await told(world)].count("session_activated") == 1


async def test_only_an_admin_activates(site: Site, view: SessionView) -> None:
    path = f"/api/appointments/{view.id}/activate"
    for who in (site.world.alice, site.world.bob, site.world.charlie):
        assert (await (await site.hand_of(who)).post(path))[0] == 403
    status, seen = await (await site.hand_of(site.world.dana)).post(path)
    assert (status, seen["status"]) == (200, "scheduled")
    assert seen["activation"]["activated_at"]


async def test_without_the_setting_nothing_is_hidden(world: World) -> None:
    view = await world.scheduled()
    async with world.db.reading() as session:
        assert not (await session.get_one(Appointment, view.id)).needs_activation
    assert (await appointments.get_for(world.db, world.alice, view.id)).state is State.SCHEDULED
