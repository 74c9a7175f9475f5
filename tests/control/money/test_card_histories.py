"""Random histories of card payments, faults included: the books end as Stripe has them, and nobody pays twice."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from control import appointments
from control.appointment_states import ENDED, State
from control.database import Database
from control.errors import Problem
from control.models.money import Payment
from control.money.gateways import Unreachable
from control.money.payments import Method
from control.scheduler import Scheduler
from tests.control.money.card_shop import Shop, book_far, open_shop, shop
from tests.helpers.clock import ManualClock
from tests.helpers.practice import MONDAY, found_practice
from tests.helpers.stripe_server import ASKS, DECLINED, GOOD, Fault

__all__ = ["shop"]

EXAMPLES = int(os.environ.get("HOLDSPACE_TEST_HISTORIES", "25"))  # 10,000 take an hour

STEPS = (
    *("book", "book", "book_far", "pay", "pay", "pay", "wallet", "bank", "confirm", "webhook", "poll", "poll"),
    *("meet", "cancel", "time", "sweep"),
)


async def random_step(shop: Shop, step: str, random: Random, sessions: list[str]) -> None:
    world, now = shop.world, shop.world.clock()
    which = random.choice(sessions[-4:]) if sessions else ""
    if random.random() < 0.3:
        shop.stripe.faults.append(random.choice([fault for fault in Fault if fault is not Fault.SILENT]))
    intents = list(shop.stripe.intents)[-4:]
    match step:
        case "book":
            start = world.first_start + timedelta(hours=random.randrange(4), days=random.randrange(2))
            sessions.append((await world.book(start=start)).id)
        case "book_far":
            sessions.append((await book_far(shop, 7 + len(sessions))).id)
        case "pay":
            card = random.choice((GOOD, GOOD, DECLINED, ASKS, None))
            await shop.cashier.pay(world.bob, which, Method.STRIPE, card, now=now)
        case "wallet":
            await appointments.pay(world.db, world.bob, which, Method.WALLET, now=now)
        case "bank" if intents:
            shop.stripe.answer_bank(random.choice(intents), yes=random.random() < 0.7)
        case "confirm" if intents:
            shop.stripe.confirm(random.choice(intents), random.choice((GOOD, DECLINED, ASKS)))
        case "webhook" if shop.stripe.events:
            await shop.deliver(random.choices(shop.stripe.events, k=3))
        case "poll":
            await shop.cashier.run_once(now)
        case "meet":
            view = await appointments.get_for(world.db, world.dana, which)
            if view.state is State.SCHEDULED and now < view.starts_at:
                await shop.complete(view)
        case "cancel":
            await appointments.cancel(world.db, random.choice((world.bob, world.alice)), which, now=now)
        case "time":
            world.clock.forward(minutes=random.choice((1, 3, 8, 30)))
        case "sweep":
            await Scheduler(world.db, world.clock).run_once(now)


async def one_history(shop: Shop, steps: Sequence[tuple[str, int]]) -> None:
    """Ends with the books as Stripe has them, nobody charged twice, and every hold released."""
    sessions: list[str] = []
    for step, seed in steps:
        try:
            await random_step(shop, step, Random(seed), sessions)  # noqa: S311  to replay, not a secret
        except (Problem, Unreachable):
            continue
    shop.stripe.faults.clear()
    shop.world.clock.forward(days=90)
    await Scheduler(shop.world.db, shop.world.clock).run_once(shop.world.clock())
    await shop.poll(rounds=4)
    await shop.assert_settled()
    async with shop.world.db.reading() as session:
        rows = (await session.scalars(select(Payment))).all()
    kept: dict[str, int] = {}
    for row in rows:
        assert row.state in {"earned", "released", "failed", "cancelled", "returned"}
        intent = shop.stripe.intents.get(row.gateway_ref or "")
        if intent is not None:
            assert shop.stripe.net_of(intent) == (row.kept_minor or 0)
            assert intent["status"] in {"succeeded", "canceled"}
        kept[row.appointment_id] = kept.get(row.appointment_id, 0) + (row.kept_minor or 0)
    for session_id in sessions:
        view = await appointments.get_for(shop.world.db, shop.world.dana, session_id)
        assert view.state in ENDED
        assert kept.get(session_id, 0) == (view.kept_minor or 0) <= 5_000
        if view.state is State.NO_SHOW_PRACTITIONER:
            assert kept.get(session_id, 0) == 0
    assert set(shop.stripe.intents) <= {row.gateway_ref for row in rows}


@pytest.mark.parametrize("seed", range(4))
async def test_random_history_ends_with_the_books_as_stripe_has_them(shop: Shop, seed: int) -> None:
    random = Random(seed)  # noqa: S311  to replay, not a secret
    await one_history(shop, [(random.choice(STEPS), random.randrange(2**32)) for _ in range(150)])


async def _history_of_its_own(path: Path, steps: Sequence[tuple[str, int]]) -> None:
    db, clock = Database(f"sqlite:///{path}"), ManualClock(MONDAY)
    await db.connect()
    try:
        async with open_shop(await found_practice(db, clock)) as shop:
            await one_history(shop, steps)
    finally:
        await db.close()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2**32)), min_size=10, max_size=60))
def test_any_history_ends_with_the_books_as_stripe_has_them(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.db"
    shutil.copy(sqlite_template, path)
    asyncio.run(_history_of_its_own(path, steps))
    shutil.rmtree(path.parent)
