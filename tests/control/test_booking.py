"""From a free slot to a paid session, and everything that must not become one."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from control.appointment_states import State
from control.errors import Conflict
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
