"""The ledger: whatever happens in whatever order, it sums to zero, nobody is overdrawn and nothing is booked twice."""

import asyncio
from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError

from control import appointments
from control.appointment_states import ENDED, State
from control.errors import Conflict, Problem
from control.models.appointments import Appointment
from control.models.money import LedgerEntry, LedgerTransaction, Payment
from control.money import ledger
from control.money.ledger import Account, Kind, balanced, escrow, outside, wallet
from control.money.payments import Method
from control.scheduler import Scheduler
from tests.helpers.practice import WALLET_MINOR, World

accounts = st.builds(escrow, st.sampled_from(["EUR", "JPY"])) | st.builds(
    wallet, st.sampled_from(["a", "b"]), st.sampled_from(["EUR", "JPY"])
)


@given(st.dictionaries(accounts, st.integers(-(10**9), 10**9), max_size=5))
def test_only_transactions_that_sum_to_zero_in_one_currency_are_booked(lines: dict[Account, int]) -> None:
    amounts = {account: amount for account, amount in lines.items() if amount}
    fits = sum(amounts.values()) == 0 and len({account.currency for account in amounts}) <= 1
    if fits:
        assert balanced(lines) == amounts
    else:
        with pytest.raises(ValueError, match="balance"):
            balanced(lines)


def test_account_has_an_owner_exactly_if_its_kind_is_somebodys() -> None:
    with pytest.raises(ValueError, match="owner"):
        Account(Kind.WALLET, "EUR")
    with pytest.raises(ValueError, match="owner"):
        Account(Kind.ESCROW, "EUR", "somebody")


async def post(world: World, key: str, amount: int) -> bool:
    lines = {wallet(world.bob.person_id, "EUR"): amount, outside("EUR"): -amount}
    async with world.db.transaction() as session:
        return await ledger.post(session, key, lines, appointment_id=None, now=world.clock())


async def test_key_is_booked_once(world: World) -> None:
    assert await post(world, "gift", 100)
    assert not await post(world, "gift", 100)
    assert await ledger.balances(world.db, world.bob.person_id) == (
        ledger.Balance(Kind.WALLET, "EUR", WALLET_MINOR + 100),
    )


async def test_key_is_booked_once_by_ten_at_once(world: World) -> None:
    assert Counter(await asyncio.gather(*(post(world, "gift", 100) for _ in range(10)))) == {True: 1, False: 9}


async def test_wallet_is_never_overdrawn(world: World) -> None:
    with pytest.raises(Conflict) as refused:
        await post(world, "theft", -WALLET_MINOR - 1)
    assert refused.value.code == "insufficient_funds"
    async with world.db.reading() as session:
        assert await session.scalar(select(func.count()).where(LedgerTransaction.key == "theft")) == 0
    assert await post(world, "all", -WALLET_MINOR)


async def test_database_refuses_to_change_or_delete_what_was_booked(world: World) -> None:
    for statement in (
        update(LedgerEntry).values(amount_minor=1),
        delete(LedgerEntry),
        update(LedgerTransaction).values(key="x"),
        delete(LedgerTransaction),
    ):
        with pytest.raises(DBAPIError):
            async with world.db.transaction() as session:
                await session.execute(statement)
    assert await ledger.discrepancies(world.db) == []


# -- random histories --------------------------------------------------------------------------------------------


async def random_step(world: World, random: Random, sessions: list[str]) -> None:
    """One thing somebody might do, at whatever moment, right or wrong."""
    clients = (world.bob, world.charlie)
    who = random.choice((*clients, world.alice, world.dana))
    which = random.choice(sessions) if sessions else ""
    now = world.clock()
    match random.choice(("book", "pay", "pay", "start", "complete", "no_show", "cancel", "come", "time", "sweep")):
        case "book":
            start = world.first_start + timedelta(hours=random.randrange(4), days=random.randrange(2))
            sessions.append((await world.book(random.choice(clients), start)).id)
        case "pay":
            await appointments.pay(world.db, who, which, Method.WALLET, now=now)
        case "start":
            await appointments.start(world.db, who, which, now=now)
        case "complete":
            await appointments.complete(world.db, who, which, now=now)
        case "no_show":
            await appointments.complete(world.db, who, which, is_no_show=True, now=now)
        case "cancel":
            await appointments.cancel(world.db, who, which, now=now)
        case "come":
            async with world.db.transaction() as session:
                come = update(Appointment).where(Appointment.id == which, Appointment.state == State.IN_PROGRESS)
                await session.execute(come.values(client_admitted_at=now, practitioner_admitted_at=now))
        case "time":
            world.clock.forward(minutes=random.choice((1, 5, 15, 60)))
        case "sweep":
            await Scheduler(world.db, world.clock).run_once(now)


@pytest.mark.parametrize("seed", range(5))
async def test_random_history_ends_with_the_books_right_and_nobody_charged_twice(world: World, seed: int) -> None:
    random, sessions, refused = Random(seed), [], 0  # noqa: S311  a history to replay, not a secret
    async with world.db.transaction() as session:
        lines = {wallet(world.charlie.person_id, "EUR"): 10_000, outside("EUR"): -10_000}
        await ledger.post(session, "charlie", lines, appointment_id=None, now=world.clock())
    for _ in range(60):
        try:
            await random_step(world, random, sessions)
        except Problem:
            refused += 1
    assert sessions
    world.clock.forward(days=3)
    await Scheduler(world.db, world.clock).run_once(world.clock())
    assert await ledger.discrepancies(world.db) == []
    async with world.db.reading() as session:
        assert await ledger.balance_of(session, escrow("EUR")) == 0
        held = await session.scalar(select(func.count()).where(Payment.state == "held"))
    assert held == 0
    for session_id in sessions:
        view = await appointments.get_for(world.db, world.dana, session_id)
        assert view.state in ENDED
        if view.state is State.NO_SHOW_PRACTITIONER:
            assert (view.kept_minor, view.refund_minor) == (0, 5_000)
        if view.state is State.EXPIRED:
            assert view.payment_state is None
