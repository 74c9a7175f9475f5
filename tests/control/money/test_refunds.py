"""Money that goes back after it was earned: previewed, given in whole and part, asked for, declined; owner by owner."""

from datetime import timedelta
from typing import Any

import pytest

from control.appointment_queries import SessionView
from control.money import ledger
from tests.helpers.books import books_of, earned, wallet
from tests.helpers.practice import WALLET_MINOR, Hand, Site


async def payment_of(bob: Hand) -> dict[str, Any]:
    _, listed = await bob.get("/api/payments")
    found: dict[str, Any] = listed["payments"][0]
    return found


async def test_part_and_rest_go_back_by_the_shares_they_were_divided_by(site: Site, done: SessionView) -> None:
    world = site.world
    bob, dana = await site.hand_of(world.bob), await site.hand_of(world.dana)
    path = f"/api/payments/{(await payment_of(bob))['id']}"
    _, plan = await dana.get(f"{path}/refund-preview?amount_minor=2000")
    assert (plan["from_practitioner_minor"], plan["from_platform_minor"], plan["most_minor"]) == (1_800, 200, 5_000)
    for _ in range(2):  # the same key gives it once
        status, given = await dana.post(f"{path}/refund", {"amount_minor": 2_000}, key="part")
        assert (status, given["amount_minor"]) == (200, 2_000)
    assert (await wallet(world), await earned(world)) == (WALLET_MINOR - 3_000, 2_700)
    status, rest = await dana.post(f"{path}/refund", {})
    assert (status, rest["amount_minor"]) == (200, 3_000)
    assert (await wallet(world), await earned(world)) == (WALLET_MINOR, 0)
    assert await ledger.discrepancies(world.db) == []
    status, problem = await dana.post(f"{path}/refund", {})
    assert (status, problem["code"]) == (409, "not_refundable")
    assert (await payment_of(bob))["status"] == "released"


@pytest.mark.usefixtures("nothing_happens_by_itself")
async def test_nobody_but_an_admin_gives_back_and_each_refusal_changes_nothing(site: Site, done: SessionView) -> None:
    world = site.world
    bob, dana = await site.hand_of(world.bob), await site.hand_of(world.dana)
    path = f"/api/payments/{(await payment_of(bob))['id']}"
    before = await books_of(world.db)
    for who in (world.alice, world.bob, world.charlie):
        assert (await (await site.hand_of(who)).post(f"{path}/refund", {}))[0] == 403
    assert (await (await site.hand_of(None)).post(f"{path}/refund", {}))[0] == 401
    for who in (world.charlie, world.alice):
        assert (await (await site.hand_of(who)).get(f"{path}/refund-preview"))[0] == 404
    for wrong in ({"amount_minor": 5_001}, {"amount_minor": 0}, {"amount_minor": -1}, {"to": "elsewhere"}, {"x": 1}):
        assert (await dana.post(f"{path}/refund", wrong))[0] == 422, wrong
    assert (await dana.post(f"{path}/refund", {}, key=None))[0] == 400
    assert (await dana.post(f"/api/payments/{'0' * 32}/refund", {}))[0] == 404
    assert await books_of(world.db) == before


async def test_client_sees_what_goes_back_but_not_whose_share_it_is(site: Site, done: SessionView) -> None:
    bob = await site.hand_of(site.world.bob)
    status, plan = await bob.get(f"/api/payments/{(await payment_of(bob))['id']}/refund-preview")
    assert (status, plan["amount_minor"], plan["to"]) == (200, 5_000, "wallet")
    assert not [name for name in plan if name.startswith("from_p")]


async def test_client_asks_once_and_an_admin_grants(site: Site, done: SessionView) -> None:
    world = site.world
    bob, dana = await site.hand_of(world.bob), await site.hand_of(world.dana)
    path = f"/api/payments/{(await payment_of(bob))['id']}"
    for who, status in ((world.charlie, 404), (world.alice, 404), (world.dana, 404)):
        hand = await site.hand_of(who)
        assert (await hand.post(f"{path}/refund-request", {"reason": "Not mine"}))[0] == status
    ids = {(await bob.post(f"{path}/refund-request", {"reason": "The line broke."}))[1]["id"] for _ in range(2)}
    assert len(ids) == 1
    assert (await bob.get("/api/refund-requests"))[0] == 403
    _, asked = await dana.get("/api/refund-requests")
    assert [(one["person"], one["amount_minor"], one["status"]) for one in asked["requests"]] == [
        ("Bob Client", 5_000, "open")
    ]
    await dana.post(f"{path}/refund", {})
    _, asked = await dana.get("/api/refund-requests")
    assert asked["requests"][0]["status"] == "granted"
    assert await wallet(world) == WALLET_MINOR


async def test_declined_request_moves_no_money_and_stays_declined(site: Site, done: SessionView) -> None:
    world = site.world
    bob, dana = await site.hand_of(world.bob), await site.hand_of(world.dana)
    path = f"/api/payments/{(await payment_of(bob))['id']}"
    _, asked = await bob.post(f"{path}/refund-request", {"reason": "I changed my mind."})
    decline = f"/api/refund-requests/{asked['id']}/decline"
    assert (await bob.post(decline, {"answer": "Please"}))[0] == 403
    money = await wallet(world), await earned(world)
    assert (await dana.post(decline, {"answer": "The session took place."}))[0] == 200
    assert (await dana.post(decline, {"answer": "Once more."}))[0] == 200
    _, listed = await dana.get("/api/refund-requests")
    assert (listed["requests"][0]["status"], listed["requests"][0]["answer"]) == ("declined", "The session took place.")
    assert (await wallet(world), await earned(world)) == money


@pytest.mark.usefixtures("nothing_happens_by_itself")
async def test_asking_ends_after_its_days(site: Site, done: SessionView) -> None:
    world, bob = site.world, await site.hand_of(site.world.bob)
    path = f"/api/payments/{(await payment_of(bob))['id']}/refund-request"
    world.clock.now = world.clock() + timedelta(days=7, seconds=1)
    bob = await site.hand_of(world.bob)
    before = await books_of(world.db)
    status, problem = await bob.post(path, {"reason": "Late"})
    assert (status, problem["code"]) == (409, "too_late_to_ask")
    assert await books_of(world.db) == before


@pytest.mark.parametrize("amount", [None, 2_000])
async def test_top_up_gives_back_only_what_is_still_there(site: Site, amount: int | None) -> None:
    world = site.world
    bob, dana = await site.hand_of(world.bob), await site.hand_of(world.dana)
    _, begun = await bob.post("/api/wallet/top-up", {"amount_minor": 7_500, "currency": "EUR"})
    token = {"paymentMethod": "demo", "paymentMethodToken": "demo_works"}
    assert (await bob.post(f"/api/purchases/{begun['id']}/payment", token))[0] == 200
    path = f"/api/payments/{(await payment_of(bob))['id']}/refund"
    assert (await dana.post(path, {"to": "wallet"}))[0] == 422
    body = {} if amount is None else {"amount_minor": amount}
    status, given = await dana.post(path, body)
    assert (status, given["to"], given["amount_minor"]) == (200, "original", amount or 7_500)
    assert await wallet(world) == WALLET_MINOR + 7_500 - (amount or 7_500)
    assert await ledger.discrepancies(world.db) == []
