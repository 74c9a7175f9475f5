"""A practice whose clients pay by card, through Stripe's own library, at an imitation of Stripe."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest_asyncio
from sqlalchemy import func, select, update

from control import appointments
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.models.appointments import Appointment
from control.models.money import GatewayCall, Payment
from control.models.outbox import OutboxRow
from control.money import ledger
from control.money.cashier import Cashier, Till
from control.money.gateways.stripe import StripeGateway
from control.money.payments import Method
from control.notices.kinds import NoticeKind
from tests.helpers.practice import World
from tests.helpers.stand_in import serving
from tests.helpers.stripe_server import GOOD, SECRET_KEY, WEBHOOK_SECRET, StripeServer


@dataclass
class Shop:
    """A world whose clients pay by card."""

    world: World
    stripe: StripeServer
    gateway: StripeGateway
    cashier: Cashier

    async def pay(self, view: SessionView, card: str | None = GOOD) -> Till:
        return await self.cashier.pay(self.world.bob, view.id, Method.STRIPE, card, now=self.world.clock())

    async def paid(self, start: datetime | None = None) -> SessionView:
        return (await self.pay(await self.world.book(start=start))).session

    async def poll(self, rounds: int = 8) -> None:
        """As the scheduler would, until the gateway's bad minutes are over."""
        for _ in range(rounds):
            await self.cashier.run_once(self.world.clock())
            self.world.clock.forward(minutes=1)
        await self.cashier.run_once(self.world.clock.forward(hours=1))

    async def deliver(self, events: list[Any]) -> list[bool]:
        now = self.world.clock()
        return [await self.hear(*self.stripe.signed(event), now=now) for event in events]

    async def hear(self, raw: bytes, signature: str | None, *, now: datetime) -> bool:
        headers = {} if signature is None else {"Stripe-Signature": signature}
        return await self.cashier.webhook(Method.STRIPE, raw, headers, now=now)

    async def payments(self, appointment_id: str) -> list[tuple[str, int | None]]:
        async with self.world.db.reading() as session:
            rows = await session.scalars(
                select(Payment).where(Payment.appointment_id == appointment_id).order_by(Payment.created_at)
            )
            return [(row.state, row.captured_minor) for row in rows]

    async def state(self, appointment_id: str) -> State:
        return (await appointments.get_for(self.world.db, self.world.dana, appointment_id)).state

    async def balance(self, account: ledger.Account) -> int:
        async with self.world.db.reading() as session:
            return await ledger.balance_of(session, account)

    async def assert_settled(self) -> None:
        """The books say what Stripe says, and nothing is left to be done."""
        assert await ledger.discrepancies(self.world.db) == []
        assert await self.balance(ledger.gateway("EUR")) == -self.stripe.net_minor
        assert await self.balance(ledger.transit("EUR")) == 0
        assert await self.balance(ledger.escrow("EUR")) == 0
        async with self.world.db.reading() as session:
            undone = await session.scalar(select(func.count()).where(GatewayCall.done_at.is_(None)))
        assert undone == 0

    async def notices(self, kind: NoticeKind) -> int:
        async with self.world.db.reading() as session:
            return await session.scalar(select(func.count()).where(OutboxRow.kind == kind)) or 0

    async def complete(self, view: SessionView) -> None:
        world = self.world
        world.clock.now = view.starts_at
        await appointments.start(world.db, world.alice, view.id, now=world.clock())
        async with world.db.transaction() as session:
            now = world.clock()
            await session.execute(
                update(Appointment)
                .where(Appointment.id == view.id)
                .values(client_admitted_at=now, practitioner_admitted_at=now)
            )
        await appointments.complete(world.db, world.alice, view.id, now=world.clock())


@pytest_asyncio.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    async with open_shop(world) as opened:
        yield opened


@asynccontextmanager
async def open_shop(world: World) -> AsyncIterator[Shop]:
    async with serving(StripeServer()) as stripe:
        gateway = StripeGateway(SECRET_KEY, WEBHOOK_SECRET, api_base=stripe.base, timeout_s=0.5)
        yield Shop(world, stripe, gateway, Cashier(world.db, {Method.STRIPE: gateway}, world.clock))
        await gateway.close()


async def book_far(shop: Shop, days: int = 6) -> SessionView:
    """More than six days ahead."""
    view = await shop.world.book(start=shop.world.first_start + timedelta(days=1))
    async with shop.world.db.transaction() as session:
        row = await session.get_one(Appointment, view.id)
        later = timedelta(days=days)
        row.busy_until += later
        row.ends_at += later
        row.starts_at += later
        row.busy_from += later
    return view
