"""The demo practice after a week of work, written before its server starts: sessions that took place, one cut short,
one cancelled late, one ahead, one that awaits an admin, a rating, a request for money back, a letter given up.
"""

import shutil
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import select, update

from control import accounts, appointments, booking, ratings
from control.accounts import Actor
from control.appointment_queries import SessionView
from control.booking import Terms, Wanted
from control.database import Database
from control.demo import AMARA, CLARA, ELIO, MINA, SignIn
from control.models.money import Payment
from control.models.outbox import OutboxChannel, OutboxRow, OutboxState
from control.models.people import Person
from control.models.practice import AvailabilityWindow, Service
from control.money import refund_requests
from control.money.payments import Destination, Method
from control.ratings import NewRating
from tests.browser.people import demo_practice
from tests.helpers.books import take_place
from tests.helpers.clock import ManualClock
from tests.helpers.practice import World

DAYS = 3  # how far back the day of its sessions lies


async def lived_in(folder: Path) -> None:
    """Makes the database in `folder`, which must have none."""
    shutil.copy(demo_practice(), folder / "holdspace.db")
    db = Database(f"sqlite:///{folder / 'holdspace.db'}")
    await db.connect()
    try:
        world = await _people(db)
        first, second, third = await _booked_before(world)
        await take_place(world, first)
        said = NewRating(4, "I could breathe again.", is_public=True)
        await ratings.rate(db, world.bob, first.id, said, now=world.clock())
        await take_place(world, second, together=timedelta(minutes=5))
        world.clock.now = third.starts_at - timedelta(minutes=20)
        await appointments.cancel(db, world.bob, third.id, reason="A cold", now=world.clock())
        await _asks_for_money_back(world, second)
        world.clock.now = datetime.now(UTC)
        await world.scheduled(world.bob, _ahead(world, weekday=3, hour=14))
        await _awaits_activation(world)
        await _gives_up_a_letter(world)
    finally:
        await db.close()


async def _people(db: Database) -> World:
    """Amara in Alice's place, Mina in Bob's, Clara in Dana's; the day of past sessions is opened."""

    async def actor(who: SignIn) -> Actor:
        async with db.reading() as session:
            person_id = (await session.scalars(select(Person.id).where(Person.email == who.email))).one()
        found = await accounts.actor_of(db, person_id)
        assert found is not None
        return found

    amara, mina = await actor(AMARA), await actor(MINA)
    day = (datetime.now(UTC) - timedelta(days=DAYS)).date()
    opens = datetime.combine(day, time(8), ZoneInfo(AMARA.time_zone)).astimezone(UTC)
    async with db.transaction() as session:
        offered = select(Service.id).where(Service.practitioner_id == amara.person_id)
        service_id = (await session.scalars(offered.where(Service.name == "Individual session"))).one()
        session.add(
            AvailabilityWindow(
                practitioner_id=amara.person_id,
                service_id=service_id,
                local_date=day.isoformat(),
                local_start="08:00",
                local_end="18:00",
                time_zone=AMARA.time_zone,
                starts_at=opens,
                ends_at=opens + timedelta(hours=10),
                created_at=opens,
            )
        )
    clock = ManualClock(opens - timedelta(days=2))
    return World(db, clock, amara, mina, mina, await actor(CLARA), await actor(ELIO), service_id, "", "", "")


async def _booked_before(world: World) -> list[SessionView]:
    opens = world.clock() + timedelta(days=2)
    return [await world.scheduled(world.bob, opens + n * timedelta(minutes=50)) for n in range(3)]


async def _asks_for_money_back(world: World, view: SessionView) -> None:
    async with world.db.reading() as session:
        payment = (await session.scalars(select(Payment).where(Payment.appointment_id == view.id))).one()
    back, week = Destination.ORIGINAL, timedelta(days=7)
    why = "We only had five minutes"
    await refund_requests.ask(world.db, world.bob, payment.id, None, back, why, within=week, now=world.clock())


def _ahead(world: World, weekday: int, hour: int) -> datetime:
    """That hour in Lisbon of a day of the week after next: the demo practice is open 21 days ahead."""
    here = world.clock().astimezone(ZoneInfo(AMARA.time_zone))
    day = here.date() + timedelta(days=14 - here.weekday() + weekday)
    return datetime.combine(day, time(hour), here.tzinfo).astimezone(UTC)


async def _awaits_activation(world: World) -> None:
    wanted = Wanted(world.service_id, _ahead(world, weekday=1, hour=9), ZoneInfo(MINA.time_zone), uuid4().hex)
    held = await booking.book(world.db, world.bob, wanted, terms=Terms(needs_activation=True), now=world.clock())
    await booking.pay(world.db, world.bob, held.id, Method.WALLET, now=world.clock())


async def _gives_up_a_letter(world: World) -> None:
    """One that waits to be sent, as it stands when a mail server has refused its address."""
    waits = select(OutboxRow.id).where(OutboxRow.state == OutboxState.WAITING, OutboxRow.channel == OutboxChannel.EMAIL)
    mine = waits.where(OutboxRow.person_id == world.bob.person_id).order_by(OutboxRow.created_at).limit(1)
    dead = {
        "state": OutboxState.DEAD,
        "attempts": 1,
        "last_error": "550 5.1.1 The mailbox is not there",
        "to_address": MINA.email,
        "subject_line": "Your session is booked",
    }
    async with world.db.transaction() as session:
        await session.execute(update(OutboxRow).where(OutboxRow.id == await session.scalar(mine)).values(**dead))
