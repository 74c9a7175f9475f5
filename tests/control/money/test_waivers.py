"""Doing without a fee: a practitioner gives back what a late cancellation or a missed session has kept."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from control import appointments
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.errors import Conflict, Forbidden, NotFound
from control.models.outbox import OutboxRow
from control.money import ledger
from control.notices.kinds import NoticeKind
from tests.helpers.practice import WALLET_MINOR, World


async def wallet(world: World) -> int:
    async with world.db.reading() as session:
        return await ledger.wallet_balance(session, world.bob.person_id, "EUR")


async def cancelled_late(world: World) -> SessionView:
    view = await world.scheduled()
    return await appointments.cancel(world.db, world.bob, view.id, now=world.clock())


async def missed(world: World) -> SessionView:
    """The client does not come; time alone ends it."""
    view = await world.started()
    world.clock.now = view.starts_at + timedelta(minutes=16)
    await appointments.catch_up(world.db, view.id, now=world.clock())
    return await appointments.get_for(world.db, world.alice, view.id)


async def test_late_fee_goes_back_once_however_often_it_is_waived(world: World) -> None:
    view = await cancelled_late(world)
    assert await wallet(world) == WALLET_MINOR - 2_500
    for _ in range(2):
        view = await appointments.waive_fee(world.db, world.alice, view.id, now=world.clock())
        assert (view.kept_minor, view.refund_minor, view.fee_waived_at) == (0, 5_000, world.clock())
    assert await wallet(world) == WALLET_MINOR
    assert await ledger.discrepancies(world.db) == []
    async with world.db.reading() as session:
        told = select(func.count()).where(
            OutboxRow.kind == NoticeKind.REFUND_CONFIRMED, OutboxRow.person_id == world.bob.person_id
        )
        assert await session.scalar(told.where(OutboxRow.channel == "email")) == 2  # at the cancelling, and now


async def test_fee_of_a_session_that_time_ended_is_waived_by_the_mark_as_no_show(world: World) -> None:
    view = await missed(world)
    assert (view.state, view.kept_minor) == (State.NO_SHOW_CLIENT, 5_000)
    view = await appointments.complete(
        world.db, world.alice, view.id, is_no_show=True, waive_fee=True, now=world.clock()
    )
    assert (view.kept_minor, view.fee_waived_at) == (0, world.clock())
    assert await wallet(world) == WALLET_MINOR


async def test_fee_waived_while_marking_is_never_kept(world: World) -> None:
    view = await world.started()
    world.clock.now = view.starts_at + timedelta(minutes=15)
    view = await appointments.complete(
        world.db, world.alice, view.id, is_no_show=True, waive_fee=True, now=world.clock()
    )
    assert (view.state, view.kept_minor, view.fee_waived_at) == (State.NO_SHOW_CLIENT, 0, world.clock())
    assert await wallet(world) == WALLET_MINOR


async def test_only_practitioner_and_admin_waive(world: World) -> None:
    view = await cancelled_late(world)
    with pytest.raises(NotFound):
        await appointments.waive_fee(world.db, world.charlie, view.id, now=world.clock())
    with pytest.raises(Forbidden):
        await appointments.waive_fee(world.db, world.bob, view.id, now=world.clock())
    assert await wallet(world) == WALLET_MINOR - 2_500
    await appointments.waive_fee(world.db, world.dana, view.id, now=world.clock())
    assert await wallet(world) == WALLET_MINOR


async def test_price_of_a_coming_session_is_no_fee(world: World) -> None:
    view = await world.scheduled()
    with pytest.raises(Conflict, match="no_fee"):
        await appointments.waive_fee(world.db, world.alice, view.id, now=world.clock())
    assert await wallet(world) == WALLET_MINOR - 5_000
