"""What tests look at about money: every row that is written of it, what people have; and a session that takes place."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from control import appointments
from control.accounts import Actor
from control.appointment_queries import SessionView
from control.database import Database
from control.models.appointments import Appointment, Presence
from control.models.money import GatewayCall, LedgerAccount, LedgerTransaction, Payment, Refund
from control.models.outbox import OutboxRow
from control.models.purchases import CreditOffer, Payout, Purchase, Receipt, RefundRequest
from control.money import ledger
from tests.helpers.practice import World

_TABLES = (
    *(LedgerAccount, LedgerTransaction, Payment, Refund, GatewayCall),
    *(CreditOffer, Purchase, RefundRequest, Payout, Receipt, OutboxRow),
)


async def books_of(db: Database) -> dict[str, Any]:
    async with db.reading() as session:
        return {
            table.__tablename__: sorted(str(tuple(row)) for row in await session.execute(select(*table.__table__.c)))
            for table in _TABLES
        }


async def take_place(
    world: World, view: SessionView, *, together: timedelta | None = None, ends: bool = True
) -> SessionView:
    """A scheduled session is held and ended at its booked end; both are together all the time, or `together` of it.

    `ends` off: everything but pressing End.
    """
    world.clock.now = view.starts_at
    await appointments.catch_up(world.db, view.id, now=world.clock())
    await appointments.start(world.db, world.alice, view.id, now=world.clock())
    until = view.ends_at if together is None else view.starts_at + together
    async with world.db.transaction() as session:
        row = await session.get_one(Appointment, view.id)
        row.client_admitted_at = row.practitioner_admitted_at = world.clock()
        session.add_all(
            Presence(
                appointment_id=view.id,
                person_id=who.person_id,
                role=role,
                connected_at=view.starts_at,
                admitted_at=view.starts_at,
                disconnected_at=until,
            )
            for who, role in ((world.alice, "practitioner"), (world.bob, "client"))
        )
    world.clock.now = view.ends_at
    if not ends:
        return view
    return await appointments.complete(world.db, world.alice, view.id, now=world.clock())


async def wallet(world: World, who: Actor | None = None) -> int:
    async with world.db.reading() as session:
        return await ledger.wallet_balance(session, (who or world.bob).person_id, "EUR")


async def earned(world: World) -> int:
    async with world.db.reading() as session:
        return await ledger.balance_of(session, ledger.earnings(world.alice.person_id, "EUR"))
