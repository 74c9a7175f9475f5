"""The actions on an appointment: what each does, to whom it is refused, and that repeating it changes nothing."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import product

import pytest
from sqlalchemy import func, select, update

from control import appointments, waiting_room
from control.accounts import Actor
from control.appointment_moves import load, move
from control.appointment_queries import Chosen, SessionView
from control.appointment_states import TRANSITIONS, Event, State
from control.consents import Purpose
from control.database import Database
from control.errors import Conflict, Forbidden, NotFound
from control.lifecycle import Party
from control.models.appointments import Appointment, Presence
from control.models.audit import AuditEntry
from control.models.outbox import OutboxRow
from control.models.practice import PractitionerProfile, Service
from control.money import ledger
from control.money.payments import Method
from control.paging import Wanted
from control.scheduler import Scheduler
from tests.helpers.practice import MONDAY, WALLET_MINOR, World

MINUTE = timedelta(minutes=1)


async def state_of(world: World, appointment_id: str) -> State:
    return (await appointments.get_for(world.db, world.bob, appointment_id)).state


async def money(world: World) -> dict[str, int]:
    """Bob's wallet, Alice's earnings, escrow and platform; the books must be right whenever anybody looks."""
    assert await ledger.discrepancies(world.db) == []
    async with world.db.reading() as session:
        accounts = {
            "wallet": ledger.wallet(world.bob.person_id, "EUR"),
            "earnings": ledger.earnings(world.alice.person_id, "EUR"),
            "escrow": ledger.escrow("EUR"),
            "platform": ledger.platform("EUR"),
        }
        return {name: await ledger.balance_of(session, account) for name, account in accounts.items()}


async def notices(db: Database) -> Counter[str]:
    async with db.reading() as session:
        return Counter((await session.scalars(select(OutboxRow.kind))).all())


async def admitted(world: World, appointment_id: str, *, client: bool = True, practitioner: bool = True) -> None:
    """Note the people as let in, as the waiting room does."""
    async with world.db.transaction() as session:
        values = {}
        if client:
            values["client_admitted_at"] = world.clock()
        if practitioner:
            values["practitioner_admitted_at"] = world.clock()
        await session.execute(update(Appointment).where(Appointment.id == appointment_id).values(values))


async def stayed(world: World, appointment_id: str, person_id: str, start: datetime, minutes: float) -> None:
    async with world.db.transaction() as session:
        session.add(
            Presence(
                appointment_id=appointment_id,
                person_id=person_id,
                role="client",
                connected_at=start,
                disconnected_at=start + minutes * MINUTE,
            )
        )


# -- every pair --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
async def test_every_event_moves_by_the_table_or_changes_nothing(world: World, state: State) -> None:
    view = await world.scheduled()
    for event in Event:
        async with world.db.transaction() as session:
            await session.execute(update(Appointment).where(Appointment.id == view.id).values(state=state, version=10))
        async with world.db.transaction() as session:
            row = await load(session, view.id)
            moved = await move(session, row, event, actor=None, party=None, now=world.clock())
            after, version = State(row.state), row.version
        target = TRANSITIONS.get((state, event))
        assert (moved, after, version) == ((True, target, 11) if target else (False, state, 10)), event


async def test_loser_of_a_race_changes_nothing_and_sees_the_present_state(world: World) -> None:
    view = await world.scheduled()
    async with world.db.transaction() as session:
        row = await load(session, view.id)
        await session.execute(
            update(Appointment)
            .where(Appointment.id == view.id)
            .values(state=State.CANCELLED, version=row.version + 1)
            .execution_options(synchronize_session=False)
        )
        assert not await move(session, row, Event.CONFIRM, actor=None, party=None, now=world.clock())
        assert row.state == State.CANCELLED


# -- paying ------------------------------------------------------------------------------------------------------


async def test_paying_twice_charges_once(world: World) -> None:
    view = await world.scheduled()
    again = await appointments.pay(world.db, world.bob, view.id, Method.WALLET, now=world.clock())
    assert again == view
    assert (await money(world))["wallet"] == WALLET_MINOR - 5_000
    assert (await notices(world.db))["booking_confirmed"] == 1


async def test_empty_wallet_pays_nothing_and_leaves_a_failed_attempt(world: World) -> None:
    view = await world.book(world.charlie)
    with pytest.raises(Conflict) as refused:
        await appointments.pay(world.db, world.charlie, view.id, Method.WALLET, now=world.clock())
    assert refused.value.code == "insufficient_funds"
    seen = await appointments.get_for(world.db, world.charlie, view.id)
    assert (seen.state, seen.payment_state) == (State.PENDING, None)
    assert (await money(world))["escrow"] == 0


async def test_hold_that_ran_out_cannot_be_paid(world: World) -> None:
    view = await world.book()
    world.clock.forward(minutes=10)
    with pytest.raises(Conflict) as refused:
        await appointments.pay(world.db, world.bob, view.id, Method.WALLET, now=world.clock())
    assert refused.value.code == "hold_expired"
    assert (await money(world))["wallet"] == WALLET_MINOR


async def test_only_the_client_pays(world: World) -> None:
    view = await world.book()
    with pytest.raises(Forbidden):
        await appointments.pay(world.db, world.alice, view.id, Method.WALLET, now=world.clock())
    with pytest.raises(NotFound):
        await appointments.pay(world.db, world.charlie, view.id, Method.WALLET, now=world.clock())


# -- start and end -----------------------------------------------------------------------------------------------


async def test_start_before_five_minutes_to_is_refused_with_the_time_it_opens(world: World) -> None:
    view = await world.scheduled()
    world.clock.now = view.starts_at - 5 * MINUTE - timedelta(seconds=1)
    with pytest.raises(Conflict) as refused:
        await appointments.start(world.db, world.alice, view.id, now=world.clock())
    assert (refused.value.code, refused.value.extra["opens_at"]) == ("too_early", "2026-03-02T13:55:00+00:00")
    assert await state_of(world, view.id) is State.SCHEDULED


async def test_start_confirms_by_itself_when_no_scheduler_ran(world: World) -> None:
    view = await world.scheduled()
    world.clock.now = view.starts_at - 5 * MINUTE
    started = await appointments.start(world.db, world.alice, view.id, now=world.clock())
    assert (started.state, started.started_at) == (State.IN_PROGRESS, world.clock())


async def test_starting_twice_returns_the_running_session(world: World) -> None:
    first = await world.started()
    world.clock.forward(minutes=1)
    assert await appointments.start(world.db, world.alice, first.id, now=world.clock()) == first
    assert (await notices(world.db))["session_started"] == 1


async def test_second_session_is_refused_while_one_runs_and_named(world: World) -> None:
    other = await world.scheduled(start=world.first_start + 60 * MINUTE)
    running = await world.started()
    await admitted(world, running.id)
    world.clock.now = other.starts_at - 5 * MINUTE
    with pytest.raises(Conflict) as refused:
        await appointments.start(world.db, world.alice, other.id, now=world.clock())
    assert refused.value.code == "another_in_progress"
    assert refused.value.extra["other"]["id"] == running.id
    assert "Bob Client" in refused.value.detail


@pytest.mark.parametrize("action", [appointments.start, appointments.complete])
async def test_client_neither_starts_nor_ends(world: World, action: object) -> None:
    view = await world.confirmed()
    with pytest.raises(Forbidden) as refused:
        await action(world.db, world.bob, view.id, now=world.clock())  # type: ignore[operator]
    assert refused.value.code == "not_practitioner"
    assert await state_of(world, view.id) is State.CONFIRMED


async def test_completion_pays_practitioner_and_platform_once(world: World) -> None:
    view = await world.started()
    await admitted(world, view.id)
    world.clock.forward(minutes=50)
    done = await appointments.complete(world.db, world.alice, view.id, now=world.clock())
    again = await appointments.complete(world.db, world.alice, view.id, now=world.clock())
    assert done == again
    assert (done.state, done.ended_by, done.payment_state) == (State.COMPLETED, "practitioner", "earned")
    assert await money(world) == {
        "wallet": WALLET_MINOR - 5_000,
        "earnings": 4_500,
        "escrow": 0,
        "platform": 500,
    }
    assert (await notices(world.db))["session_completed"] == 1


async def test_session_without_its_client_cannot_be_ended_before_their_time_is_over(world: World) -> None:
    view = await world.started()
    await admitted(world, view.id, client=False)
    world.clock.forward(minutes=14, seconds=59)
    for no_show in (False, True):
        with pytest.raises(Conflict) as refused:
            await appointments.complete(world.db, world.alice, view.id, is_no_show=no_show, now=world.clock())
        assert refused.value.code == "client_may_still_come"


async def test_client_never_let_in_is_a_no_show_fifteen_minutes_after_start(world: World) -> None:
    view = await world.started()
    await admitted(world, view.id, client=False)
    world.clock.forward(minutes=15)
    done = await appointments.complete(world.db, world.alice, view.id, is_no_show=True, now=world.clock())
    assert (done.state, done.kept_minor) == (State.NO_SHOW_CLIENT, 5_000)
    assert (await money(world))["earnings"] == 4_500


async def test_client_who_was_there_cannot_be_marked_as_no_show(world: World) -> None:
    view = await world.started()
    await admitted(world, view.id)
    world.clock.forward(minutes=20)
    with pytest.raises(Conflict) as refused:
        await appointments.complete(world.db, world.alice, view.id, is_no_show=True, now=world.clock())
    assert refused.value.code == "client_was_here"


async def test_session_ends_by_itself_after_the_grace(world: World) -> None:
    view = await world.started()
    async with world.db.transaction() as session:
        await session.execute(update(Appointment).values(practitioner_admitted_at=world.clock()))
    room = waiting_room.WaitingRoom(world.db, b"s" * 32, world.clock, base_url="http://localhost:8080")
    await world.consent(world.bob, view.id, Purpose.CARE)
    await world.consent(world.bob, view.id, Purpose.RECORDING)
    await room.place(view.id, world.bob.person_id)
    scheduler = Scheduler(world.db, world.clock)
    world.clock.now = view.ends_at + 10 * MINUTE - timedelta(seconds=1)
    assert await scheduler.run_once(world.clock()) == 0
    assert await scheduler.run_once(world.clock.forward(seconds=1)) == 1
    assert await state_of(world, view.id) is State.COMPLETED


# -- cancel ------------------------------------------------------------------------------------------------------


async def test_cancelling_exactly_a_day_before_is_free(world: World) -> None:
    view = await world.scheduled(start=world.first_start + timedelta(days=1))
    world.clock.now = view.starts_at - timedelta(hours=24)
    cancelled = await appointments.cancel(world.db, world.bob, view.id, reason="ill", now=world.clock())
    assert (cancelled.state, cancelled.refund_minor, cancelled.end_reason) == (State.CANCELLED, 5_000, "ill")
    assert (await money(world))["wallet"] == WALLET_MINOR


async def test_cancelling_a_second_later_keeps_half(world: World) -> None:
    view = await world.scheduled(start=world.first_start + timedelta(days=1))
    world.clock.now = view.starts_at - timedelta(hours=24) + timedelta(seconds=1)
    await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    again = await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    assert (again.kept_minor, again.refund_minor) == (2_500, 2_500)
    assert await money(world) == {
        "wallet": WALLET_MINOR - 2_500,
        "earnings": 2_250,
        "escrow": 0,
        "platform": 250,
    }
    told = await notices(world.db)
    assert (told["session_cancelled"], told["refund_confirmed"]) == (2, 1)


async def test_practitioner_cancels_with_a_full_refund_even_after_the_start(world: World) -> None:
    view = await world.confirmed()
    world.clock.now = view.starts_at + MINUTE
    with pytest.raises(Conflict):
        await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    cancelled = await appointments.cancel(world.db, world.alice, view.id, now=world.clock())
    assert (cancelled.state, cancelled.refund_minor) == (State.CANCELLED, 5_000)
    assert (await money(world))["wallet"] == WALLET_MINOR


async def test_leaving_the_checkout_frees_the_slot_at_once_and_tells_nobody(world: World) -> None:
    view = await world.book()
    await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    assert (await world.book(world.charlie)).state is State.PENDING
    assert await notices(world.db) == Counter()


async def test_running_session_is_ended_not_cancelled(world: World) -> None:
    view = await world.started()
    for who in (world.alice, world.bob, world.dana):
        with pytest.raises(Conflict) as refused:
            await appointments.cancel(world.db, who, view.id, now=world.clock())
        assert refused.value.code == "not_cancellable"


async def test_policy_is_the_one_of_the_day_of_booking(world: World) -> None:
    view = await world.scheduled()
    async with world.db.transaction() as session:
        await session.execute(update(PractitionerProfile).values(late_fee_bp=10_000, no_show_fee_bp=0))
        await session.execute(update(Service).values(price_minor=9_900))
    world.clock.now = view.starts_at - timedelta(hours=1)
    cancelled = await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    assert cancelled.kept_minor == 2_500


# -- missed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alice_minutes", "bob_minutes", "state", "refund"),
    [
        (0, 0, State.NO_SHOW_PRACTITIONER, 5_000),
        (0, 5, State.NO_SHOW_PRACTITIONER, 5_000),
        (5, 5, State.NO_SHOW_PRACTITIONER, 5_000),
        (5, 0, State.NO_SHOW_CLIENT, 0),
    ],
)
async def test_session_nobody_started_is_decided_by_the_presence_log(
    world: World, alice_minutes: float, bob_minutes: float, state: State, refund: int
) -> None:
    view = await world.confirmed()
    if alice_minutes:
        await stayed(world, view.id, world.alice.person_id, view.starts_at, alice_minutes)
    if bob_minutes:
        await stayed(world, view.id, world.bob.person_id, view.starts_at, bob_minutes)
    scheduler = Scheduler(world.db, world.clock)
    world.clock.now = view.starts_at + 15 * MINUTE - timedelta(seconds=1)
    assert await scheduler.run_once(world.clock()) == 0
    assert await scheduler.run_once(world.clock.forward(seconds=1)) == 1
    seen = await appointments.get_for(world.db, world.bob, view.id)
    assert (seen.state, seen.refund_minor, seen.ended_by) == (state, refund, "system")
    assert (await money(world))["wallet"] == WALLET_MINOR - 5_000 + refund
    told = await notices(world.db)
    missed_by_practitioner = state is State.NO_SHOW_PRACTITIONER
    assert (told["sorry_cancelled"], told["client_no_show"]) == (missed_by_practitioner, not missed_by_practitioner)
    assert told["starting_soon"] == 2


async def test_nobody_is_told_of_a_start_that_has_passed_when_the_scheduler_comes_late(world: World) -> None:
    view = await world.scheduled()
    world.clock.now = view.starts_at + 20 * MINUTE
    await Scheduler(world.db, world.clock).run_once(world.clock())
    told = await notices(world.db)
    assert (told["starting_soon"], told["sorry_cancelled"], told["refund_confirmed"]) == (0, 1, 1)


async def test_start_is_refused_once_the_session_was_missed_even_without_a_scheduler(world: World) -> None:
    view = await world.confirmed()
    world.clock.now = view.starts_at + 15 * MINUTE
    with pytest.raises(Conflict) as refused:
        await appointments.start(world.db, world.alice, view.id, now=world.clock())
    assert refused.value.code == "not_startable"
    assert await state_of(world, view.id) is State.NO_SHOW_PRACTITIONER


# -- strangers ---------------------------------------------------------------------------------------------------


async def test_stranger_finds_no_appointment_and_changes_nothing(world: World) -> None:
    view = await world.confirmed()
    for who, act in product(
        (world.charlie, world.erin), (appointments.start, appointments.complete, appointments.cancel)
    ):
        with pytest.raises(NotFound):
            await act(world.db, who, view.id, now=world.clock())  # type: ignore[operator]
    with pytest.raises(NotFound):
        await appointments.get_for(world.db, world.charlie, view.id)
    assert await state_of(world, view.id) is State.CONFIRMED


async def test_stranger_does_not_even_let_time_catch_up(world: World) -> None:
    view = await world.scheduled()
    world.clock.now = view.starts_at
    with pytest.raises(NotFound):
        await appointments.start(world.db, world.charlie, view.id, now=world.clock())
    async with world.db.reading() as session:
        assert (await load(session, view.id)).state == State.SCHEDULED


async def test_lists_show_each_person_their_own(world: World) -> None:
    view = await world.scheduled()
    held = await world.book(world.charlie, world.first_start + 60 * MINUTE)
    now = world.clock()
    assert [one.id for one in await appointments.upcoming_for(world.db, world.bob, now)] == [view.id]
    assert [one.id for one in await appointments.upcoming_for(world.db, world.alice, now)] == [view.id]
    assert [one.id for one in await appointments.upcoming_for(world.db, world.charlie, now)] == [held.id]
    assert await appointments.past_for(world.db, world.bob, now) == ()
    page = await _all_for(world, world.dana)
    assert {one.id for one in page} == {view.id, held.id}
    with pytest.raises(NotFound):
        await _all_for(world, world.alice)
    await appointments.cancel(world.db, world.bob, view.id, now=now)
    assert [one.id for one in await appointments.past_for(world.db, world.bob, now)] == [view.id]


async def test_every_move_is_in_the_audit_log(world: World) -> None:
    view = await world.started()
    async with world.db.reading() as session:
        actions = await session.execute(
            select(AuditEntry.action, AuditEntry.actor_id)
            .where(AuditEntry.subject == f"appointment:{view.id}")
            .order_by(AuditEntry.at, AuditEntry.action)
        )
        assert Counter(tuple(row) for row in actions) == Counter(
            {
                ("appointment.book", world.bob.person_id): 1,
                ("appointment.secure", world.bob.person_id): 1,
                ("appointment.confirm", None): 1,
                ("appointment.start", world.alice.person_id): 1,
            }
        )


async def test_forced_activation_is_written_down(world: World) -> None:
    view = await world.scheduled()
    with pytest.raises(Conflict):
        await appointments.activate(world.db, None, view.id, now=MONDAY)
    assert await appointments.activate(world.db, None, view.id, force=True, now=MONDAY) is State.CONFIRMED
    async with world.db.reading() as session:
        forced = await session.scalar(
            select(func.count()).select_from(AuditEntry).where(AuditEntry.action == "appointment.forced")
        )
    assert forced == 1


async def test_starting_the_next_session_ends_the_earlier_one_first_if_asked(world: World) -> None:
    earlier = await world.started()
    await _both_were_there(world, earlier.id)
    world.clock.now = earlier.starts_at + timedelta(minutes=55)
    later = await _next_session(world)
    with pytest.raises(Conflict, match="another_in_progress") as refusal:
        await appointments.start(world.db, world.alice, later.id, now=world.clock())
    assert refusal.value.extra["other"]["client_name"] == "Bob Client"
    begun = await appointments.start(world.db, world.alice, later.id, end_earlier=True, now=world.clock())
    assert begun.state is State.IN_PROGRESS
    assert (await appointments.get_for(world.db, world.bob, earlier.id)).state is State.COMPLETED


async def _next_session(world: World) -> SessionView:
    now, world.clock.now = world.clock.now, MONDAY
    later = await world.scheduled(start=world.first_start + timedelta(hours=1))
    world.clock.now = now
    return later


async def _both_were_there(world: World, appointment_id: str) -> None:
    async with world.db.transaction() as session:
        row = await session.get_one(Appointment, appointment_id)
        row.client_admitted_at = row.practitioner_admitted_at = world.clock()


async def _all_for(world: World, who: Actor) -> tuple[SessionView, ...]:
    page = await appointments.page_for(world.db, who, Party.ADMIN, Chosen(), Wanted(), now=world.clock())
    return page.rows
