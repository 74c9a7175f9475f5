"""Idempotency-Key: the same request again gets the same answer, another one under its key is refused."""

import asyncio
from typing import Any

from sqlalchemy import func, select, update

from control import appointments
from control.models.appointments import Appointment
from control.models.idempotency import KeptAnswer
from control.models.practice import AvailabilityWindow
from control.scheduler import Scheduler
from tests.helpers.practice import Hand, Site

WINDOW = {"date": "2026-03-05", "startTime": "09:00", "endTime": "12:00"}
ADD = "/professional/sessions/availability"


def booking(site: Site, hour: int = 14) -> dict[str, Any]:
    return {
        "serviceId": site.world.service_id,
        "start": f"2026-03-02T{hour}:00:00Z",
        "timeZone": "Europe/Oslo",
    }


async def windows(site: Site) -> int:
    async with site.world.db.reading() as session:
        return int(await session.scalar(select(func.count()).select_from(AvailabilityWindow)) or 0)


async def test_book_and_payment_need_a_key(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    status, problem = await bob.post("/sessions/book", booking(site), key=None)
    assert (status, problem["code"]) == (400, "idempotency_key_required")
    status, booked = await bob.post("/sessions/book", booking(site))
    pay = f"/api/appointments/{booked['id']}/payment"
    status, problem = await bob.post(pay, {"paymentMethod": "wallet"}, key=None)
    assert (status, problem["code"]) == (400, "idempotency_key_required")
    for bad in ("x" * 201, "\u00e9"):
        status, problem = await bob.post(pay, {"paymentMethod": "wallet"}, key=bad)
        assert (status, problem["code"]) == (400, "idempotency_key_invalid")


async def test_repeat_gets_the_first_answer_word_for_word_even_when_the_world_moved_on(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    first = await bob.post("/sessions/book", booking(site), key="mine")
    await appointments.cancel(site.world.db, site.world.bob, first[1]["id"], now=site.world.clock())
    assert await bob.post("/sessions/book", booking(site), key="mine") == first


async def test_another_body_under_the_same_key_is_refused(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    await bob.post("/sessions/book", booking(site), key="mine")
    status, problem = await bob.post("/sessions/book", booking(site, 15), key="mine")
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


async def test_key_belongs_to_one_person(site: Site) -> None:
    bob, charlie = await site.hand_of(site.world.bob), await site.hand_of(site.world.charlie)
    assert (await bob.post("/sessions/book", booking(site), key="same"))[0] == 201
    assert (await charlie.post("/sessions/book", booking(site, 15), key="same"))[0] == 201


async def test_refused_request_may_be_repeated_under_its_key(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    held = await site.world.book(site.world.charlie)
    status, _ = await bob.post("/sessions/book", booking(site), key="mine")
    assert status == 409
    await appointments.cancel(site.world.db, site.world.charlie, held.id, now=site.world.clock())
    assert (await bob.post("/sessions/book", booking(site), key="mine"))[0] == 201


async def test_ten_at_once_under_one_key_do_the_work_once(site: Site) -> None:
    alice = await site.hand_of(site.world.alice)
    before = await windows(site)
    answers = await asyncio.gather(*(alice.post(ADD, WINDOW, key="one") for _ in range(10)))
    assert [status for status, _ in answers] == [201] * 10
    assert len({body["id"] for _, body in answers}) == 1
    assert await windows(site) == before + 1


async def test_answer_is_kept_a_day(site: Site) -> None:
    alice = await site.hand_of(site.world.alice)
    first = await alice.post(ADD, WINDOW, key="one")
    site.world.clock.forward(hours=23, minutes=59)
    assert await alice.post(ADD, WINDOW, key="one") == first
    site.world.clock.forward(minutes=1)
    assert (await alice.post(ADD, WINDOW, key="one"))[1]["id"] != first[1]["id"]


async def test_old_answers_are_forgotten_by_the_scheduler(site: Site) -> None:
    world = site.world
    alice = await site.hand_of(world.alice)
    await alice.post(ADD, WINDOW, key="one")
    await Scheduler(world.db, world.clock).run_once(world.clock.forward(hours=25))
    async with world.db.reading() as session:
        assert await session.scalar(select(func.count()).select_from(KeptAnswer)) == 0


async def test_claim_of_a_killed_process_runs_out(site: Site) -> None:
    alice = await site.hand_of(site.world.alice)
    await alice.post(ADD, WINDOW, key="one")
    async with site.world.db.transaction() as session:
        await session.execute(update(KeptAnswer).values(status=None, body=None))
    site.world.clock.forward(seconds=31)
    assert (await alice.post(ADD, WINDOW, key="one"))[0] == 201


async def test_booking_survives_the_loss_of_its_kept_answer(site: Site) -> None:
    """A process killed between the booking's commit and keeping the answer: the repeat finds the booking."""
    bob = await site.hand_of(site.world.bob)
    first = await bob.post("/sessions/book", booking(site), key="mine")
    async with site.world.db.transaction() as session:
        await session.execute(KeptAnswer.__table__.delete())  # type: ignore[attr-defined]
    assert await bob.post("/sessions/book", booking(site), key="mine") == first
    async with site.world.db.reading() as session:
        assert await session.scalar(select(func.count()).select_from(Appointment)) == 1


async def test_double_click_on_pay_charges_once(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    _, booked = await bob.post("/sessions/book", booking(site))
    pay = f"/api/appointments/{booked['id']}/payment"
    answers = await _twice(bob, pay, {"paymentMethod": "wallet"})
    assert [status for status, _ in answers] == [200, 200]
    assert answers[0] == answers[1]
    _, wallet = await bob.get("/api/wallet")
    assert wallet["balances"] == [{"kind": "wallet", "currency": "EUR", "amount_minor": 95_000}]


async def _twice(hand: Hand, path: str, body: dict[str, Any]) -> list[tuple[int, Any]]:
    return list(await asyncio.gather(hand.post(path, body, key="click"), hand.post(path, body, key="click")))
