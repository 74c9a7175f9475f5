"""The process ends after each single step of paying and ending a session, one step per run, and goes on as if new.

A step is a stored transaction, or a call of a gateway right before it leaves and right after it was done. Whatever the
step, the payer comes back, the poller makes its rounds, and in the end the price was taken once and given back once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from control import appointments
from control.accounts import Actor
from control.appointment_states import State
from control.database import Database
from control.models.money import Payment
from control.money import ledger
from control.money.cashier import Cashier
from control.money.gateways import Gateway
from control.money.gateways.razorpay import RazorpayGateway
from control.money.gateways.stripe import StripeGateway
from control.money.payments import Method
from tests.control.money.card_shop import Shop, book_far
from tests.helpers import razorpay_server, stripe_server
from tests.helpers.killing import Killed
from tests.helpers.practice import MONDAY, World
from tests.helpers.razorpay_server import RazorpayServer
from tests.helpers.stand_in import serving
from tests.helpers.stripe_server import GOOD, StripeServer

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

CALLS = ("authorise", "capture", "cancel", "refund", "fetch", "find", "fetch_refund", "find_refund")
FEWEST_STEPS = 10  # fewer would mean that they are not counted


@dataclass
class Steps:
    left: int = -1

    def take(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed

    @contextmanager
    def killing_at(self, number: int) -> Iterator[None]:
        self.left = number
        yield
        self.left = -1


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    counted, transaction = Steps(), Database.transaction

    @asynccontextmanager
    async def dying(db: Database) -> AsyncIterator[Any]:
        async with transaction(db) as session:
            yield session
        counted.take()

    monkeypatch.setattr(Database, "transaction", dying)
    for gateway in (StripeGateway, RazorpayGateway):
        for name in CALLS:
            monkeypatch.setattr(gateway, name, _dying(getattr(gateway, name), counted))
    return counted


def _dying(call: Callable[..., Awaitable[Any]], counted: Steps) -> Callable[..., Awaitable[Any]]:
    async def dying(*args: Any, **kwargs: Any) -> Any:
        counted.take()
        done = await call(*args, **kwargs)
        counted.take()
        return done

    return dying


@dataclass
class Tills:
    """A practice with both gateways."""

    world: World
    stripe: StripeServer
    razorpay: RazorpayServer
    cashier: Cashier

    async def go_on(self, session_id: str, method: Method, ends_it: Actor) -> None:
        """What its people and the poller do next, from wherever this session stands."""
        world, now = self.world, self.world.clock()
        state = (await appointments.get_for(world.db, world.dana, session_id)).state
        if state is State.PENDING:
            card = GOOD if method is Method.STRIPE else None
            till = await self.cashier.pay(world.bob, session_id, method, card, now=now)
            order = self.razorpay.orders.get(till.gateway_ref or "")
            if order is not None and order["status"] != "paid":
                self.razorpay.pay(order["id"])
            await self.cashier.run_once(world.clock.forward(minutes=1))
        if state is not State.CANCELLED:
            await appointments.cancel(world.db, ends_it, session_id, now=world.clock())
        for _ in range(5):
            await self.cashier.run_once(world.clock.forward(minutes=20))

    async def taken_minor(self) -> int:
        """By the books and by the gateways, which agree."""
        assert await ledger.discrepancies(self.world.db) == []
        at_gateways = self.stripe.net_minor + self.razorpay.net_minor
        async with self.world.db.reading() as session:
            assert await ledger.balance_of(session, ledger.gateway("EUR")) == -at_gateways
            for empty in (ledger.transit("EUR"), ledger.escrow("EUR")):
                assert await ledger.balance_of(session, empty) == 0
        return at_gateways


@pytest_asyncio.fixture
async def tills(world: World) -> AsyncIterator[Tills]:
    async with serving(StripeServer()) as stripe, serving(RazorpayServer()) as razorpay:
        gateways: dict[Method, Gateway] = {
            Method.STRIPE: StripeGateway(
                stripe_server.SECRET_KEY, stripe_server.WEBHOOK_SECRET, api_base=stripe.base, timeout_s=5
            ),
            Method.RAZORPAY: RazorpayGateway(
                razorpay_server.KEY_ID,
                razorpay_server.KEY_SECRET,
                razorpay_server.WEBHOOK_SECRET,
                api_base=razorpay.base,
                timeout_s=5,
            ),
        }
        cashier = Cashier(world.db, gateways, world.clock)
        yield Tills(world, stripe, razorpay, cashier)
        await cashier.close()


@pytest.mark.parametrize(
    ("method", "far", "by_client", "kept_minor"),
    [
        (Method.STRIPE, False, True, 2_500),  # promised, then captured in part
        (Method.STRIPE, False, False, 0),  # promised, then let go
        (Method.STRIPE, True, False, 0),  # captured, then refunded
        (Method.RAZORPAY, False, True, 2_500),  # ordered and paid, then refunded in part
    ],
)
async def test_price_is_taken_once_whichever_step_was_the_last_of_its_process(
    tills: Tills, steps: Steps, method: Method, far: bool, by_client: bool, kept_minor: int
) -> None:
    world, ends_it = tills.world, tills.world.bob if by_client else tills.world.alice
    for number in count(1):
        world.clock.now = MONDAY
        before = await tills.taken_minor()
        shop: Any = Shop(world, tills.stripe, Any, tills.cashier)
        view = await (book_far(shop) if far else world.book())
        killed = False
        with steps.killing_at(number):
            try:
                await tills.go_on(view.id, method, ends_it)
            except Killed:
                killed = True
        if killed:
            world.clock.forward(minutes=3)
            await tills.cashier.run_once(world.clock())
            await tills.go_on(view.id, method, ends_it)
        assert await tills.taken_minor() - before == kept_minor, f"step {number}"
        ended = await appointments.get_for(world.db, world.dana, view.id)
        assert (ended.state, ended.kept_minor or 0) == (State.CANCELLED, kept_minor), f"step {number}"
        async with world.db.reading() as session:
            states = await session.scalars(select(Payment.state).where(Payment.appointment_id == view.id))
            assert sorted(states) == ["earned" if kept_minor else "released"], f"step {number}"
        if not killed:
            break
    assert number >= FEWEST_STEPS
