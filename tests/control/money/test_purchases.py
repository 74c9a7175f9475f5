"""Top-ups and packages of credits: bought once, used one by one, given back; refused to everybody else."""

import pytest
import pytest_asyncio

from control import appointments
from control.errors import Conflict
from control.models.purchases import Receipt
from control.money import credits, ledger
from control.money.payments import Method
from tests.helpers.books import books_of, earned, take_place, wallet
from tests.helpers.practice import WALLET_MINOR, Site, World

PRICE = 20_003  # does not divide by 5: what is over goes to some of the credits


@pytest_asyncio.fixture
async def offer(world: World) -> str:
    await credits.set_offer(world.db, world.alice, world.service_id, 5, PRICE, now=world.clock())
    (found,) = await credits.offers(world.db)
    return found.id


async def left(world: World) -> int:
    return sum(one.left for one in await credits.held_by(world.db, world.bob.person_id))


async def bought(site: Site, offer: str) -> None:
    bob = await site.hand_of(site.world.bob)
    _, begun = await bob.post(f"/api/credits/offers/{offer}/buy", {})
    status, paid = await bob.post(f"/api/purchases/{begun['id']}/payment", {"paymentMethod": "wallet"})
    assert (status, paid["status"], paid["credits_left"]) == (200, "paid", 5)


async def test_top_up_by_the_test_gateway_is_in_the_wallet_once(site: Site) -> None:
    world, bob = site.world, await site.hand_of(site.world.bob)
    for _ in range(2):  # the same key begins it once
        status, begun = await bob.post("/api/wallet/top-up", {"amount_minor": 7_500, "currency": "EUR"}, key="one")
        assert (status, begun["status"], begun["payment"]["methods"]) == (201, "open", ["demo"])
    pay = f"/api/purchases/{begun['id']}/payment"
    for _ in range(2):
        status, paid = await bob.post(pay, {"paymentMethod": "demo", "paymentMethodToken": "demo_works"})
        assert (status, paid["status"]) == (200, "paid")
    assert await wallet(world) == WALLET_MINOR + 7_500
    assert await ledger.discrepancies(world.db) == []
    _, listed = await bob.get("/api/payments")
    assert [(one["amount_minor"], one["status"], bool(one["receipt"])) for one in listed["payments"]] == [
        (7_500, "earned", True)
    ]


@pytest.mark.usefixtures("nothing_happens_by_itself")
async def test_top_up_whose_bank_says_no_can_be_paid_again(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    _, begun = await bob.post("/api/wallet/top-up", {"amount_minor": 7_500, "currency": "EUR"})
    pay = f"/api/purchases/{begun['id']}/payment"
    status, problem = await bob.post(pay, {"paymentMethod": "demo", "paymentMethodToken": "demo_declined"})
    assert (status, problem["code"]) == (402, "card_refused")
    status, asked = await bob.post(pay, {"paymentMethod": "demo", "paymentMethodToken": "demo_asks"})
    assert (status, asked["payment"]["status"], asked["payment"]["is_test"]) == (202, "requires_action", True)
    payment = f"/api/payments/{asked['payment']['id']}"
    charlie = await site.hand_of(site.world.charlie)
    before = await books_of(site.world.db)
    assert (await charlie.post(f"{payment}/test-bank", {"approve": True}))[0] == 404
    assert (await charlie.get(payment))[0] == 404
    assert await books_of(site.world.db) == before
    status, answered = await bob.post(f"{payment}/test-bank", {"approve": True})
    assert (status, answered["paid"]) == (200, True)
    assert await wallet(site.world) == WALLET_MINOR + 7_500


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"amount_minor": 499, "currency": "EUR"}, "amount_invalid"),
        ({"amount_minor": 100_001, "currency": "EUR"}, "amount_invalid"),
        ({"amount_minor": 5_000, "currency": "CHF"}, "currency_unknown"),
    ],
)
@pytest.mark.usefixtures("nothing_happens_by_itself")
async def test_top_up_out_of_range_changes_nothing(site: Site, body: dict[str, object], code: str) -> None:
    before = await books_of(site.world.db)
    bob = await site.hand_of(site.world.bob)
    status, problem = await bob.post("/api/wallet/top-up", body)
    assert (status, problem["code"]) == (422, code)
    assert (await bob.post("/api/wallet/top-up", {"amount_minor": 5_000, "currency": "EUR"}, key=None))[0] == 400
    assert await books_of(site.world.db) == before


@pytest.mark.usefixtures("nothing_happens_by_itself")
async def test_practitioner_sets_packages_and_nobody_else_does(site: Site) -> None:
    world = site.world
    path, body = f"/api/services/{world.service_id}/credits", {"credits": 5, "price": "200.00"}
    before = await books_of(world.db)
    for who, status in ((world.erin, 403), (world.bob, 403), (world.dana, 403)):
        hand = await site.hand_of(who)
        assert (await hand.post(path, body))[0] == status
        assert (await hand.delete(f"{path}/5"))[0] == status
    assert (await (await site.hand_of(None)).post(path, body))[0] == 401
    alice = await site.hand_of(world.alice)
    for wrong in ({"credits": 4, "price": "200"}, {"credits": 5, "price": "4.99"}, {"credits": 5, "price": "0"}):
        assert (await alice.post(path, wrong))[0] == 422
    assert await books_of(world.db) == before
    status, answer = await alice.post(path, body)
    assert (status, [(one["credits"], one["price_minor"]) for one in answer["offers"]]) == (200, [(5, 20_000)])
    assert (await alice.delete(f"{path}/5"))[0] == 204
    assert (await alice.get(f"/api/credits/offers?service={world.service_id}"))[1] == {"offers": []}


async def test_credits_are_bought_used_and_spent_with_all_of_their_price(site: Site, offer: str) -> None:
    world = site.world
    await bought(site, offer)
    assert await wallet(world) == WALLET_MINOR - PRICE
    used = await world.book()
    view = await appointments.pay(world.db, world.bob, used.id, Method.CREDITS, now=world.clock())
    assert (await left(world), await wallet(world)) == (4, WALLET_MINOR - PRICE)
    await take_place(world, view)
    assert await earned(world) == 4_000 - 400
    assert await ledger.discrepancies(world.db) == []
    async with world.db.reading() as session:
        assert await ledger.balance_of(session, ledger.escrow("EUR")) == PRICE - 4_000
        assert await ledger.balance_of(session, ledger.escrow(ledger.CREDIT_UNIT)) == 0


async def test_cancelling_in_time_gives_the_credit_back_instead_of_money(site: Site, offer: str) -> None:
    world = site.world
    await bought(site, offer)
    used = await world.book(start=world.first_start.replace(day=3))
    await appointments.pay(world.db, world.bob, used.id, Method.CREDITS, now=world.clock())
    await appointments.cancel(world.db, world.bob, used.id, now=world.clock())
    assert (await left(world), await wallet(world)) == (5, WALLET_MINOR - PRICE)
    assert await ledger.discrepancies(world.db) == []


async def test_without_a_credit_left_nothing_is_paid_by_one(world: World) -> None:
    view = await world.book()
    before = await books_of(world.db)
    with pytest.raises(Conflict, match="insufficient_funds"):
        await appointments.pay(world.db, world.bob, view.id, Method.CREDITS, now=world.clock())
    after = await books_of(world.db)
    assert {name for name in before if before[name] != after[name]} <= {"payments"}  # that it was tried is kept


@pytest.mark.usefixtures("nothing_happens_by_itself")
async def test_purchase_belongs_to_its_buyer(site: Site, offer: str) -> None:
    world = site.world
    bob = await site.hand_of(world.bob)
    _, begun = await bob.post(f"/api/credits/offers/{offer}/buy", {})
    before = await books_of(world.db)
    for who in (world.charlie, world.alice, world.dana):
        hand = await site.hand_of(who)
        assert (await hand.get(f"/api/purchases/{begun['id']}"))[0] == 404
        for method in ("wallet", "demo"):
            status, _ = await hand.post(f"/api/purchases/{begun['id']}/payment", {"paymentMethod": method})
            assert status == 404, (who.name, method)
    stranger = await site.hand_of(None)
    assert (await stranger.post(f"/api/purchases/{begun['id']}/payment", {"paymentMethod": "wallet"}))[0] == 401
    assert await books_of(world.db) == before


async def test_receipts_are_numbered_without_a_gap(site: Site, offer: str) -> None:
    await bought(site, offer)
    await site.world.scheduled()
    async with site.world.db.reading() as session:
        found = (await session.execute(Receipt.__table__.select().order_by(Receipt.number))).all()
        numbers = [row.number for row in found]
    assert numbers == [1, 2]
