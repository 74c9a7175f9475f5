"""Reminders: planned when a session is booked, to both, in every channel, at their time and only if still true."""

from datetime import datetime, timedelta

from sqlalchemy import select

from control import appointments
from control.config import Settings
from control.database import Database
from control.models.notices import NoticeRow
from control.models.outbox import OutboxChannel, OutboxRow, OutboxState
from control.notices.kinds import NoticeKind
from control.notices.outbox import RULES, Notice, NoticeRules, enqueue
from control.notices.worker import OutboxWorker
from tests.helpers.practice import World


async def _work(world: World, settings: Settings) -> None:
    worker = OutboxWorker(world.db, settings, world.clock)
    while await worker.work_once():
        pass


async def _planned(db: Database) -> list[datetime]:
    async with db.reading() as session:
        found = select(OutboxRow.next_attempt_at).where(OutboxRow.channel == OutboxChannel.PLANNED)
        return sorted(await session.scalars(found))


async def _reminded(world: World) -> list[str]:
    """Who has been reminded by e-mail, and by a line on the pages."""
    async with world.db.reading() as session:
        letters = select(OutboxRow.person_id).where(
            OutboxRow.kind == NoticeKind.REMINDER,
            OutboxRow.channel == OutboxChannel.EMAIL,
            OutboxRow.state == OutboxState.KEPT,
        )
        lines = select(NoticeRow.person_id).where(NoticeRow.kind == NoticeKind.REMINDER)
        by_mail, on_pages = sorted(await session.scalars(letters)), sorted(await session.scalars(lines))
    assert by_mail == on_pages
    return by_mail


async def test_both_are_reminded_a_day_and_a_quarter_of_an_hour_before(world: World, settings: Settings) -> None:
    start = world.first_start + timedelta(days=1)
    view = await world.scheduled(start=start)
    both = sorted((world.alice.person_id, world.bob.person_id))
    assert await _planned(world.db) == [start - timedelta(days=1)] * 2 + [start - timedelta(minutes=15)] * 2
    await _work(world, settings)
    assert await _reminded(world) == []
    world.clock.now = start - timedelta(days=1)
    await _work(world, settings)
    assert await _reminded(world) == both
    world.clock.now = start - timedelta(minutes=15)
    await _work(world, settings)
    assert await _reminded(world) == sorted(both * 2)
    assert view.starts_at == start


async def test_a_reminder_whose_time_had_passed_at_booking_is_skipped(world: World) -> None:
    await world.scheduled()
    assert await _planned(world.db) == [world.first_start - timedelta(minutes=15)] * 2


async def test_nobody_is_reminded_of_a_cancelled_session_or_of_one_that_began(world: World, settings: Settings) -> None:
    start = world.first_start + timedelta(days=1)
    view = await world.scheduled(start=start)
    await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    world.clock.now = start - timedelta(hours=24)
    await _work(world, settings)
    assert await _reminded(world) == []


async def test_a_reminder_that_comes_after_the_start_is_dropped(world: World, settings: Settings) -> None:
    await world.scheduled()
    world.clock.now = world.first_start
    await _work(world, settings)
    assert await _reminded(world) == []


async def test_an_install_may_set_other_times_and_switch_reminders_off(database_url: str, world: World) -> None:
    rules = NoticeRules(off=frozenset({"welcome"}), reminders=(timedelta(hours=1),))
    other = Database(database_url, info={RULES: rules})
    await other.connect()
    try:
        booked = await world.book()
        from control.money.payments import Method

        await appointments.pay(other, world.bob, booked.id, Method.WALLET, now=world.clock())
        assert await _planned(other) == [world.first_start - timedelta(hours=1)] * 2
        async with other.transaction() as session:
            await enqueue(session, Notice(NoticeKind.WELCOME, world.bob.person_id), now=world.clock())
        async with other.reading() as session:
            assert list(await session.scalars(select(OutboxRow).where(OutboxRow.kind == "welcome"))) == []
    finally:
        await other.close()
