"""Paying by card: Stripe's own library against an imitation of Stripe, on good days, bad days, and killed midway."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from control import appointments
from control.appointment_states import State
from control.errors import Problem
from control.models.money import GatewayEvent, Refund
from control.money import cards, ledger
from control.money.gateways import Forged, Unreachable
from control.money.payments import Method
from control.notices.kinds import NoticeKind
from control.scheduler import Scheduler
from tests.control.money.card_shop import Shop, book_far, shop
from tests.helpers.killing import Killed, kill
from tests.helpers.stripe_server import ASKS, DECLINED, GOOD, WEBHOOK_SECRET, Fault

__all__ = ["shop"]


# -- the table of PRODUCT.md §3 ------------------------------------------------------------------------------------


async def test_near_session_is_authorised_and_captured_when_it_has_taken_place(shop: Shop) -> None:
    view = await shop.paid()
    assert view.state is State.SCHEDULED
    assert await shop.payments(view.id) == [("held", None)]
    assert (shop.stripe.net_minor, await shop.balance(ledger.escrow("EUR"))) == (0, 5_000)
    await shop.complete(view)
    await shop.poll()
    assert await shop.payments(view.id) == [("earned", 5_000)]
    assert await shop.balance(ledger.earnings(shop.world.alice.person_id, "EUR")) == 4_500
    assert await shop.balance(ledger.platform("EUR")) == 500
    await shop.assert_settled()


async def test_far_session_is_captured_into_escrow_at_once(shop: Shop) -> None:
    view = (await shop.pay(await book_far(shop))).session
    assert await shop.payments(view.id) == [("held", 5_000)]
    assert shop.stripe.net_minor == 5_000
    await shop.complete(view)
    await shop.poll()
    assert await shop.payments(view.id) == [("earned", 5_000)]
    await shop.assert_settled()


async def test_late_cancellation_captures_only_the_fee(shop: Shop) -> None:
    view = await shop.paid()
    await appointments.cancel(shop.world.db, shop.world.bob, view.id, now=shop.world.clock())
    await shop.poll()
    assert shop.stripe.net_minor == 2_500
    assert await shop.balance(ledger.earnings(shop.world.alice.person_id, "EUR")) == 2_250
    await shop.assert_settled()


async def test_late_cancellation_of_a_captured_payment_refunds_the_rest(shop: Shop) -> None:
    view = (await shop.pay(await book_far(shop))).session
    shop.world.clock.now = view.starts_at - timedelta(hours=23)
    await appointments.cancel(shop.world.db, shop.world.bob, view.id, now=shop.world.clock())
    await shop.poll()
    assert [one["amount"] for one in shop.stripe.refunds.values()] == [2_500]
    await shop.assert_settled()


@pytest.mark.parametrize("far", [False, True])
async def test_practitioner_who_misses_it_gives_everything_back(shop: Shop, far: bool) -> None:
    view = await (book_far(shop) if far else shop.world.book())
    view = (await shop.pay(view)).session
    shop.world.clock.now = view.starts_at + timedelta(minutes=16)
    await Scheduler(shop.world.db, shop.world.clock).run_once(shop.world.clock())
    assert await shop.state(view.id) is State.NO_SHOW_PRACTITIONER
    await shop.poll()
    assert shop.stripe.net_minor == 0
    assert [row[0] for row in await shop.payments(view.id)] == ["released"]
    assert await shop.notices(NoticeKind.REFUND_CONFIRMED) == 1
    await shop.assert_settled()


# -- cards that say no, and banks that ask -------------------------------------------------------------------------


async def test_declined_card_can_be_followed_by_another(shop: Shop) -> None:
    view = await shop.world.book()
    with pytest.raises(Problem) as refused:
        await shop.pay(view, DECLINED)
    assert (refused.value.status, refused.value.extra["failure_code"]) == (402, "insufficient_funds")
    assert (await shop.pay(view)).session.state is State.SCHEDULED
    await shop.poll()
    assert [state for state, _ in await shop.payments(view.id)] == ["failed", "held"]
    assert sorted(one["status"] for one in shop.stripe.intents.values()) == ["canceled", "requires_capture"]


async def test_unknown_card_token_is_a_refusal(shop: Shop) -> None:
    view = await shop.world.book()
    with pytest.raises(Problem) as refused:
        await shop.pay(view, "pm_unknown")
    assert refused.value.code == "card_refused"
    assert shop.stripe.intents == {}


async def test_question_of_the_bank_extends_the_hold_once(shop: Shop) -> None:
    view = await shop.world.book()
    shop.world.clock.forward(minutes=9)
    till = await shop.pay(view, ASKS)
    assert (till.state, till.client_secret) == ("requires_action", "pi_1_secret")
    until = shop.world.clock() + timedelta(minutes=10)
    assert till.session.hold_expires_at == until
    shop.stripe.answer_bank("pi_1", yes=False)
    shop.world.clock.forward(minutes=5)
    with pytest.raises(Problem):
        await shop.pay(view, ASKS)
    again = await shop.pay(view, ASKS)
    assert again.session.hold_expires_at == until
    shop.stripe.answer_bank("pi_2" if "pi_2" in shop.stripe.intents else list(shop.stripe.intents)[-1], yes=True)
    assert (await shop.pay(view, ASKS)).session.state is State.SCHEDULED


async def test_element_confirms_in_the_browser_and_the_webhook_schedules(shop: Shop) -> None:
    view = await shop.world.book()
    till = await shop.pay(view, None)
    assert (till.state, till.client_secret) == ("requires_action", "pi_1_secret")
    assert (await shop.pay(view, None)).client_secret == "pi_1_secret"
    shop.stripe.confirm("pi_1", DECLINED)
    assert (await shop.pay(view, None)).failure_code == "insufficient_funds"
    shop.stripe.confirm("pi_1", GOOD)
    await shop.deliver(shop.stripe.events)
    assert await shop.state(view.id) is State.SCHEDULED
    assert len(shop.stripe.intents) == 1


# -- too late, or otherwise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("far", [False, True])
async def test_money_after_the_hold_goes_back_with_an_apology(shop: Shop, far: bool) -> None:
    view = await (book_far(shop) if far else shop.world.book())
    await shop.pay(view, ASKS)
    shop.world.clock.forward(minutes=11)
    await Scheduler(shop.world.db, shop.world.clock).run_once(shop.world.clock())
    assert await shop.state(view.id) is State.EXPIRED
    shop.stripe.answer_bank("pi_1", yes=True)
    await shop.deliver(shop.stripe.events)
    assert await shop.state(view.id) is State.EXPIRED
    await shop.poll()
    assert [state for state, _ in await shop.payments(view.id)] == ["returned"]
    assert shop.stripe.net_minor == 0
    assert await shop.notices(NoticeKind.PAYMENT_TOO_LATE) == 1
    await shop.assert_settled()


async def test_attempt_of_a_hold_that_ran_out_is_called_off(shop: Shop) -> None:
    view = await shop.world.book()
    await shop.pay(view, None)
    shop.world.clock.forward(minutes=11)
    await Scheduler(shop.world.db, shop.world.clock).run_once(shop.world.clock())
    await shop.poll()
    assert shop.stripe.intents["pi_1"]["status"] == "canceled"
    assert [state for state, _ in await shop.payments(view.id)] == ["cancelled"]
    assert await shop.notices(NoticeKind.PAYMENT_TOO_LATE) == 0


async def test_paying_by_wallet_after_all_calls_the_card_off(shop: Shop) -> None:
    view = await shop.world.book()
    await shop.pay(view, ASKS)
    await appointments.pay(shop.world.db, shop.world.bob, view.id, Method.WALLET, now=shop.world.clock())
    shop.stripe.answer_bank("pi_1", yes=True)
    await shop.deliver(shop.stripe.events)
    await shop.poll()
    assert sorted(state for state, _ in await shop.payments(view.id)) == ["held", "returned"]
    assert (shop.stripe.net_minor, shop.stripe.intents["pi_1"]["status"]) == (0, "canceled")


async def test_authorisation_that_a_bank_withdraws_is_written_off_and_audited(shop: Shop) -> None:
    view = await shop.paid()
    shop.stripe.lapse("pi_1")
    await shop.complete(view)
    await shop.poll()
    assert await shop.payments(view.id) == [("failed", None)]
    assert await shop.balance(ledger.earnings(shop.world.alice.person_id, "EUR")) == 0
    await shop.assert_settled()


async def test_refund_that_fails_later_is_owed_again(shop: Shop) -> None:
    view = (await shop.pay(await book_far(shop))).session
    shop.stripe.refunds_wait = True
    await appointments.cancel(shop.world.db, shop.world.alice, view.id, now=shop.world.clock())
    await shop.poll()
    refund_id = next(iter(shop.stripe.refunds))
    assert await shop.balance(ledger.transit("EUR")) == 0
    shop.stripe.settle_refund(refund_id, "failed")
    await shop.deliver(shop.stripe.events)
    assert await shop.balance(ledger.transit("EUR")) == 5_000
    assert await ledger.discrepancies(shop.world.db) == []
    async with shop.world.db.reading() as session:
        assert (await session.scalars(select(Refund.state))).all() == ["failed"]


# -- a bad day -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
async def test_payment_whose_answer_did_not_come_is_found_and_charged_once(shop: Shop, fault: Fault) -> None:
    view = await shop.world.book()
    shop.stripe.faults.append(fault)
    with pytest.raises(Problem) as refused:
        await shop.pay(view)
    assert (refused.value.code, refused.value.status) == ("gateway_unreachable", 503)
    assert (await shop.pay(view)).session.state is State.SCHEDULED
    assert [one["status"] for one in shop.stripe.intents.values()] == ["requires_capture"]


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
@pytest.mark.parametrize("how", ["capture", "cancel", "refund"])
async def test_end_whose_answer_did_not_come_is_done_once(shop: Shop, fault: Fault, how: str) -> None:
    view = (await shop.pay(await (book_far(shop) if how == "refund" else shop.world.book()))).session
    who = shop.world.bob if how == "capture" else shop.world.alice
    await appointments.cancel(shop.world.db, who, view.id, now=shop.world.clock())
    shop.stripe.faults.append(fault)
    await shop.poll()
    assert shop.stripe.net_minor == (2_500 if how == "capture" else 0)
    await shop.assert_settled()


@pytest.mark.parametrize("step", ["authorise", "_record"])
@pytest.mark.parametrize("after", [False, True])
async def test_killed_while_paying_is_healed_by_the_poller(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    view = await shop.world.book()
    kill(shop.gateway if step == "authorise" else shop.cashier.calls, step, monkeypatch, after=after)
    with pytest.raises(Killed):
        await shop.pay(view)
    await shop.poll(rounds=3)
    assert await shop.state(view.id) is State.SCHEDULED
    assert len(shop.stripe.intents) == 1


@pytest.mark.parametrize("step", ["capture", "_finished"])
@pytest.mark.parametrize("after", [False, True])
async def test_killed_while_capturing_captures_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    view = await shop.paid()
    await shop.complete(view)
    kill(shop.gateway if step == "capture" else shop.cashier.calls, step, monkeypatch, after=after)
    with pytest.raises(Killed):
        await shop.cashier.run_once(shop.world.clock())
    await shop.poll()
    assert shop.stripe.net_minor == 5_000
    await shop.assert_settled()


@pytest.mark.parametrize("step", ["refund", "_record_refund"])
@pytest.mark.parametrize("after", [False, True])
async def test_killed_while_refunding_refunds_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    view = (await shop.pay(await book_far(shop))).session
    await appointments.cancel(shop.world.db, shop.world.alice, view.id, now=shop.world.clock())
    kill(shop.gateway if step == "refund" else shop.cashier.calls, step, monkeypatch, after=after)
    with pytest.raises(Killed):
        await shop.cashier.run_once(shop.world.clock())
    await shop.poll()
    assert (len(shop.stripe.refunds), shop.stripe.net_minor) == (1, 0)
    await shop.assert_settled()


async def test_hold_that_ran_out_while_nobody_knew_gives_the_money_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await shop.world.book()
    kill(shop.gateway, "authorise", monkeypatch, after=True)
    with pytest.raises(Killed):
        await shop.pay(view)
    shop.world.clock.forward(minutes=11)
    await Scheduler(shop.world.db, shop.world.clock).run_once(shop.world.clock())
    await shop.poll()
    assert [one["status"] for one in shop.stripe.intents.values()] == ["canceled"]
    assert await shop.state(view.id) is State.EXPIRED
    await shop.assert_settled()


async def test_ten_at_once_make_one_attempt(shop: Shop) -> None:
    view = await shop.world.book()
    await asyncio.gather(*(shop.pay(view) for _ in range(10)), return_exceptions=True)
    await shop.poll(rounds=2)
    assert [state for state, _ in await shop.payments(view.id)] == ["held"]
    assert len(shop.stripe.intents) == 1


# -- webhooks ------------------------------------------------------------------------------------------------------


async def test_webhooks_twice_backwards_and_late_change_nothing_more(shop: Shop) -> None:
    view = await shop.paid()
    await shop.complete(view)
    await shop.poll()
    events = [*reversed(shop.stripe.events), *shop.stripe.events]
    new = await shop.deliver(events)
    assert sum(new) == len(shop.stripe.events)
    await shop.assert_settled()
    assert await shop.payments(view.id) == [("earned", 5_000)]


async def test_event_and_its_work_are_stored_together_or_not_at_all(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await shop.world.book()
    await shop.pay(view, None)
    shop.stripe.confirm("pi_1", GOOD)
    kill(cards, "record", monkeypatch, after=True)
    with pytest.raises(Killed):
        await shop.deliver(shop.stripe.events[-1:])
    assert await shop.state(view.id) is State.PENDING
    assert await shop.deliver(shop.stripe.events[-1:]) == [True]
    assert await shop.state(view.id) is State.SCHEDULED


@pytest.mark.parametrize(
    ("secret", "age_s", "change"), [("whsec_other", 0, b""), (WEBHOOK_SECRET, 301, b""), (WEBHOOK_SECRET, 0, b" ")]
)
async def test_forged_old_or_altered_webhook_is_refused(shop: Shop, secret: str, age_s: int, change: bytes) -> None:
    await shop.paid()
    raw, signature = shop.stripe.signed(shop.stripe.events[-1], secret=secret, age_s=age_s)
    for header in (signature, None, "", "t=x,v1=y", "t=1"):
        with pytest.raises(Forged):
            await shop.hear(raw + change, header, now=shop.world.clock())
    async with shop.world.db.reading() as session:
        assert await session.scalar(select(func.count()).select_from(GatewayEvent)) == 0


async def test_webhook_is_asked_for_again_while_the_object_cannot_be_fetched(shop: Shop) -> None:
    view = await shop.world.book()
    await shop.pay(view, None)
    shop.stripe.confirm("pi_1", GOOD)
    shop.stripe.down = True
    with pytest.raises(Unreachable):
        await shop.deliver(shop.stripe.events[-1:])
    shop.stripe.down = False
    assert await shop.deliver(shop.stripe.events[-1:]) == [True]
    assert await shop.state(view.id) is State.SCHEDULED
