"""Earnings and what is paid out of them: never more than there is, never what waits for a look, by an admin only."""

from datetime import timedelta
from typing import Any

import pytest

from control.appointment_queries import SessionView
from control.money import ledger
from tests.helpers.books import books_of, earned, take_place
from tests.helpers.practice import Site


def payout(site: Site, amount_minor: int, **changed: Any) -> dict[str, Any]:
    made = {
        "practitioner_id": site.world.alice.person_id,
        "amount_minor": amount_minor,
        "currency": "EUR",
        "paid_on": site.world.clock().date().isoformat(),
        "reference": "Bank 17",
    }
    return made | changed


async def test_payout_is_written_down_once_and_lowers_the_balance(site: Site, done: SessionView) -> None:
    world, dana = site.world, await site.hand_of(site.world.dana)
    for _ in range(2):
        assert (await dana.post("/api/payouts", payout(site, 4_000), key="one"))[0] == 201
    assert await earned(world) == 500
    assert await ledger.discrepancies(world.db) == []
    alice = await site.hand_of(world.alice)
    _, mine = await alice.get("/api/earnings")
    assert [(one["amount_minor"], one["reference"]) for one in mine["payouts"]] == [(4_000, "Bank 17")]
    assert [(one["receives_minor"], one["platform_fee_minor"]) for one in mine["sessions"]] == [(4_500, 500)]
    answer = await alice.browser.get("/api/earnings.csv")
    assert answer.text.splitlines()[1].endswith("earned,EUR,50.00,50.00,5.00,45.00")


@pytest.mark.usefixtures("nothing_happens_by_itself")
async def test_each_refused_payout_changes_nothing(site: Site, done: SessionView) -> None:
    world, dana = site.world, await site.hand_of(site.world.dana)
    before = await books_of(world.db)
    tomorrow = (world.clock() + timedelta(days=1)).date().isoformat()
    for who in (world.alice, world.bob, world.charlie):
        hand = await site.hand_of(who)
        assert (await hand.post("/api/payouts", payout(site, 100)))[0] == 403
        assert (await hand.get("/api/payouts"))[0] == 403
    assert (await (await site.hand_of(None)).post("/api/payouts", payout(site, 100)))[0] == 401
    for wrong, status in (
        (payout(site, 4_501), 409),
        (payout(site, 0), 422),
        (payout(site, 100, currency="CHF"), 422),
        (payout(site, 100, currency="USD"), 404),
        (payout(site, 100, paid_on=tomorrow), 422),
        (payout(site, 100, practitioner_id=world.erin.person_id), 404),
        (payout(site, 100, reference=""), 422),
    ):
        assert (await dana.post("/api/payouts", wrong))[0] == status, wrong
    assert (await dana.post("/api/payouts", payout(site, 100), key=None))[0] == 400
    assert await books_of(world.db) == before


async def test_very_short_session_is_paid_out_only_after_a_look(site: Site) -> None:
    world = site.world
    await take_place(world, await world.scheduled(), together=timedelta(minutes=24))
    dana = await site.hand_of(world.dana)
    _, due = await dana.get("/api/payouts")
    assert [(one["balance_minor"], one["payable_minor"]) for one in due["due"]] == [(4_500, 0)]
    (short,) = due["short_sessions"]
    assert (short["together_minutes"], short["booked_minutes"]) == (24, 50)
    status, problem = await dana.post("/api/payouts", payout(site, 1))
    assert (status, problem["code"], problem["waiting_minor"]) == (409, "more_than_payable", 4_500)
    clear = f"/api/payouts/short-sessions/{short['payment_id']}/clear"
    assert (await (await site.hand_of(world.alice)).post(clear, {}))[0] == 403
    assert (await dana.post(clear, {}))[0] == 200
    assert (await dana.post("/api/payouts", payout(site, 4_500)))[0] == 201


async def test_half_of_the_time_together_is_enough(site: Site) -> None:
    world = site.world
    await take_place(world, await world.scheduled(), together=timedelta(minutes=25))
    _, due = await (await site.hand_of(world.dana)).get("/api/payouts")
    assert due["short_sessions"] == []


async def test_refund_after_a_payout_leaves_a_debt_that_nothing_is_paid_from(site: Site, done: SessionView) -> None:
    world, dana = site.world, await site.hand_of(site.world.dana)
    await dana.post("/api/payouts", payout(site, 4_500))
    _, paid = await (await site.hand_of(world.bob)).get("/api/payments")
    assert (await dana.post(f"/api/payments/{paid['payments'][0]['id']}/refund", {}))[0] == 200
    assert await earned(world) == -4_500
    assert (await dana.post("/api/payouts", payout(site, 1)))[0] == 409
    assert await ledger.discrepancies(world.db) == []
