"""Moving a session: who may propose, accept, reject and withdraw, what stays, and what a race leaves."""

import asyncio
from datetime import datetime, timedelta
from itertools import product

import pytest
from sqlalchemy import select, update

from control import appointments, reschedules
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.errors import Conflict, Forbidden, Invalid, NotFound, Problem
from control.lifecycle import Party
from control.models.appointments import Appointment, RescheduleRequest
from control.models.outbox import OutboxRow
from control.models.practice import Service
from control.money import ledger
from control.reschedules import Proposal, RequestState, RequestView
from tests.helpers.practice import Site, World

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def view(world: World) -> SessionView:
    return await world.scheduled()


async def proposed(world: World, view: SessionView, by: object = None, hours: int = 2) -> RequestView:
    wanted = Proposal(view.starts_at + hours * HOUR)
    return await reschedules.propose(world.db, by or world.bob, view.id, wanted, now=world.clock())  # type: ignore[arg-type]


async def kinds(world: World) -> list[str]:
    async with world.db.reading() as session:
        return list(await session.scalars(select(OutboxRow.kind).where(OutboxRow.kind.like("reschedule%"))))


async def test_accepting_moves_the_session_and_keeps_payment_and_calendar_identity(
    world: World, view: SessionView
) -> None:
    request = await proposed(world, view)
    done = await reschedules.accept(world.db, world.alice, request.id, now=world.clock())
    seen = await appointments.get_for(world.db, world.bob, view.id)
    assert done.state is RequestState.ACCEPTED
    assert (seen.starts_at, seen.ends_at) == (view.starts_at + 2 * HOUR, view.ends_at + 2 * HOUR)
    assert (seen.state, seen.payment_state, seen.price_minor) == (State.SCHEDULED, "held", view.price_minor)
    async with world.db.reading() as session:
        row = await session.get_one(Appointment, view.id)
        assert row.calendar_sequence == 1
        assert row.due_at == seen.starts_at - 5 * MINUTE
        assert row.busy_until - row.busy_from == HOUR
    assert sorted(await kinds(world)) == ["reschedule_accepted", "reschedule_accepted", "reschedule_requested"]
    assert await ledger.discrepancies(world.db) == []


async def test_old_time_is_free_and_new_time_taken_after_the_move(world: World, view: SessionView) -> None:
    request = await proposed(world, view)
    await reschedules.accept(world.db, world.alice, request.id, now=world.clock())
    assert (await world.book(world.charlie)).state is State.PENDING
    with pytest.raises(Conflict, match="slot_taken"):
        await world.book(world.charlie, view.starts_at + 2 * HOUR)


async def test_confirmed_session_moved_away_is_scheduled_again(world: World) -> None:
    view = await world.confirmed()
    request = await proposed(world, view)
    await reschedules.accept(world.db, world.alice, request.id, now=world.clock())
    assert (await appointments.get_for(world.db, world.bob, view.id)).state is State.SCHEDULED


async def test_time_taken_meanwhile_is_refused_with_others_and_the_request_stays_open(
    world: World, view: SessionView
) -> None:
    request = await proposed(world, view)
    await world.book(world.charlie, request.new_starts_at)
    with pytest.raises(Conflict, match="slot_taken") as refusal:
        await reschedules.accept(world.db, world.alice, request.id, now=world.clock())
    assert refusal.value.extra["nearest_free_slots"]
    (left,) = await reschedules.requests_of(world.db, world.bob, view.id, now=world.clock())
    assert left.state is RequestState.OPEN


async def test_taken_time_cannot_even_be_proposed(world: World, view: SessionView) -> None:
    await world.book(world.charlie, view.starts_at + HOUR)
    with pytest.raises(Conflict, match="slot_taken"):
        await proposed(world, view, hours=1)


async def test_only_the_other_one_answers_and_only_the_proposer_withdraws(world: World, view: SessionView) -> None:
    request = await proposed(world, view, world.alice)
    for act in (reschedules.accept, reschedules.reject):
        with pytest.raises(Forbidden, match="not_the_other"):
            await act(world.db, world.alice, request.id, now=world.clock())  # type: ignore[operator]
    with pytest.raises(Forbidden, match="not_proposer"):
        await reschedules.withdraw(world.db, world.bob, request.id, now=world.clock())
    for act in (reschedules.accept, reschedules.reject, reschedules.withdraw):
        with pytest.raises(NotFound):
            await act(world.db, world.charlie, request.id, now=world.clock())  # type: ignore[operator]
        with pytest.raises(Forbidden, match="not_in_session"):
            await act(world.db, world.dana, request.id, now=world.clock())  # type: ignore[operator]
    with pytest.raises(NotFound):
        await proposed(world, view, world.charlie)
    with pytest.raises(NotFound):
        await reschedules.requests_of(world.db, world.charlie, view.id, now=world.clock())


ANSWERS = {
    "accept": (reschedules.accept, RequestState.ACCEPTED),
    "reject": (reschedules.reject, RequestState.REJECTED),
    "withdraw": (reschedules.withdraw, RequestState.WITHDRAWN),
}


@pytest.mark.parametrize(("state", "event"), list(product(RequestState, ANSWERS)))
async def test_every_answer_to_every_state_leads_where_the_table_says(
    world: World, view: SessionView, state: RequestState, event: str
) -> None:
    request = await proposed(world, view)
    async with world.db.transaction() as session:
        await session.execute(update(RescheduleRequest).values(state=state))
    act, reached = ANSWERS[event]
    who = world.bob if event == "withdraw" else world.alice
    if state in (RequestState.OPEN, reached):
        assert (await act(world.db, who, request.id, now=world.clock())).state is reached  # type: ignore[operator]
        return
    with pytest.raises(Conflict, match="reschedule_settled"):
        await act(world.db, who, request.id, now=world.clock())  # type: ignore[operator]


async def test_request_expires_at_the_original_start(world: World, view: SessionView) -> None:
    request = await proposed(world, view)
    world.clock.now = view.starts_at
    (seen,) = await reschedules.requests_of(world.db, world.bob, view.id, now=world.clock())
    assert seen.state is RequestState.EXPIRED
    with pytest.raises(Conflict):
        await reschedules.accept(world.db, world.alice, request.id, now=world.clock())
    assert await reschedules.expire_due(world.db, world.clock()) == 1
    assert await reschedules.expire_due(world.db, world.clock()) == 0


async def test_cancelled_session_takes_its_request_along(world: World, view: SessionView) -> None:
    await proposed(world, view)
    await appointments.cancel(world.db, world.alice, view.id, now=world.clock())
    (seen,) = await reschedules.requests_of(world.db, world.bob, view.id, now=world.clock())
    assert seen.state is RequestState.EXPIRED


async def test_second_proposal_waits_for_the_first_and_the_same_one_is_the_same(
    world: World, view: SessionView
) -> None:
    request = await proposed(world, view)
    assert (await proposed(world, view)).id == request.id
    for who in (world.bob, world.alice):
        with pytest.raises(Conflict, match="reschedule_open"):
            await proposed(world, view, who, hours=3)
    await reschedules.withdraw(world.db, world.bob, request.id, now=world.clock())
    assert (await proposed(world, view, world.alice, hours=3)).asked_role is Party.PRACTITIONER


@pytest.mark.parametrize(
    ("start", "minutes", "code"),
    [(-30 * HOUR, None, "start_past"), (0 * HOUR, None, "same_time"), (HOUR, 55, "length_not_offered")],
)
async def test_hostile_proposals_change_nothing(
    world: World, view: SessionView, start: timedelta, minutes: int | None, code: str
) -> None:
    wanted = Proposal(view.starts_at + start, minutes)
    with pytest.raises(Invalid, match=code):
        await reschedules.propose(world.db, world.bob, view.id, wanted, now=world.clock())
    assert await reschedules.requests_of(world.db, world.bob, view.id, now=world.clock()) == ()


async def test_another_length_the_service_offers_keeps_the_price(world: World, view: SessionView) -> None:
    async with world.db.transaction() as session:
        await session.execute(update(Service).where(Service.id == world.service_id).values(other_lengths=[110]))
    assert await reschedules.lengths_for(world.db, world.bob, view.id) == (50, 110)
    wanted = Proposal(view.starts_at, 110)
    request = await reschedules.propose(world.db, world.bob, view.id, wanted, now=world.clock())
    await reschedules.accept(world.db, world.alice, request.id, now=world.clock())
    seen = await appointments.get_for(world.db, world.bob, view.id)
    assert (seen.ends_at - seen.starts_at, seen.price_minor) == (110 * MINUTE, view.price_minor)


@pytest.mark.parametrize(("by_client", "kept"), [(True, 2_500), (False, 0)])
async def test_client_who_asked_late_stays_late_and_one_who_was_asked_does_not(
    world: World, view: SessionView, by_client: bool, kept: int
) -> None:
    """The new start is more than a day away from the cancellation, the old one was not."""
    asked, answers = (world.bob, world.alice) if by_client else (world.alice, world.bob)
    request = await proposed(world, view, asked, hours=26)
    await reschedules.accept(world.db, answers, request.id, now=world.clock())
    assert request.new_starts_at - world.clock() > 24 * HOUR
    seen = await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    assert seen.kept_minor == kept


async def test_ten_acceptances_at_once_move_once(world: World, view: SessionView) -> None:
    request = await proposed(world, view)
    await asyncio.gather(*(reschedules.accept(world.db, world.alice, request.id, now=world.clock()) for _ in range(10)))
    async with world.db.reading() as session:
        assert (await session.get_one(Appointment, view.id)).calendar_sequence == 1


async def test_acceptance_and_a_booking_of_the_same_time_at_once_leave_one_of_the_two(
    world: World, view: SessionView
) -> None:
    request = await proposed(world, view)
    (rival,) = await world.add_clients(1)
    found = await asyncio.gather(
        reschedules.accept(world.db, world.alice, request.id, now=world.clock()),
        world.book(rival, request.new_starts_at),
        return_exceptions=True,
    )
    refused = [one for one in found if isinstance(one, BaseException)]
    assert [one.code for one in refused if isinstance(one, Problem)] == ["slot_taken"]
    assert len(refused) == 1


async def test_ten_proposals_at_once_are_one(world: World, view: SessionView) -> None:
    found = await asyncio.gather(*(proposed(world, view) for _ in range(10)))
    assert len({one.id for one in found}) == 1


async def test_money_that_cannot_be_kept_leaves_everything_as_it_was(world: World, view: SessionView) -> None:
    request = await proposed(world, view)
    asked: list[tuple[str, datetime]] = []

    async def refuses(appointment_id: str, until: datetime) -> None:
        asked.append((appointment_id, until))
        raise Conflict("payment_would_lapse")

    with pytest.raises(Conflict, match="payment_would_lapse"):
        await reschedules.accept(world.db, world.alice, request.id, keep_money=refuses, now=world.clock())
    assert asked == [(view.id, request.new_ends_at)]
    assert (await appointments.get_for(world.db, world.bob, view.id)).starts_at == view.starts_at
    (left,) = await reschedules.requests_of(world.db, world.bob, view.id, now=world.clock())
    assert left.state is RequestState.OPEN


async def test_journey_over_http_and_a_stranger_is_refused(site: Site) -> None:
    world = site.world
    view = await world.scheduled()
    bob, alice, charlie = [await site.hand_of(who) for who in (world.bob, world.alice, world.charlie)]
    path = f"/api/appointments/{view.id}/reschedule-session"
    days = "first=2026-03-02&last=2026-03-03"
    status, free = await bob.get(f"{path}/slots?{days}")
    assert (status, len(free["slots"])) == (200, 8)
    body = {"proposedDate": (view.starts_at + HOUR).isoformat(), "proposedDurationMinutes": 50, "reason": "A train"}
    for hand_path in (f"{path}/slots?{days}", path):
        assert (await charlie.get(hand_path))[0] == 404
    assert (await charlie.post(path, body))[0] == 404
    assert (await bob.post(path, body | {"proposedDate": "2026-03-02T14:00:00"}))[0] == 422
    status, made = await bob.post(path, body)
    assert (status, made["status"], made["proposed_by"]) == (201, "open", "client")
    answer = f"/api/reschedule-requests/{made['id']}"
    for verb in ("accept", "reject", "withdraw"):
        assert (await charlie.post(f"{answer}/{verb}"))[0] == 404
    assert (await bob.post(f"{answer}/accept"))[0] == 403
    assert (await alice.post(f"{answer}/accept"))[1]["status"] == "accepted"
    assert (await bob.get(f"/api/appointments/{view.id}"))[1]["start"] == made["proposed_start"]
