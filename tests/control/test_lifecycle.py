"""The bounds of time in an appointment's life, each at its edge."""

from datetime import UTC, datetime, timedelta

import pytest

from control.appointment_states import ENDED, Event, State
from control.lifecycle import (
    Bounds,
    Facts,
    Party,
    Seen,
    can_cancel,
    can_reschedule,
    due_event,
    due_since,
    ending,
    missed_before_start,
    no_show_from,
    was_present,
)
from control.slots import Span

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def facts(state: State = State.CONFIRMED, **more: object) -> Facts:
    return Facts(state, START, START + 50 * MINUTE, **more)  # type: ignore[arg-type]


def stay(first: float, last: float) -> Span:
    """Connected from `first` to `last`, in seconds after the start."""
    return Span(START + first * SECOND, START + last * SECOND)


@pytest.mark.parametrize(
    ("stays", "present"),
    [
        ([], False),
        ([stay(0, 30)], True),
        ([stay(0, 29)], False),
        ([stay(0, 15), stay(100, 115)], True),
        ([stay(0, 20), stay(5, 25)], False),
        ([stay(-310, -275)], False),
        ([stay(-310, -270)], True),
        ([stay(880, 1000)], False),
        ([stay(870, 1000)], True),
        ([stay(-4000, 4000)], True),
    ],
)
def test_present_is_thirty_seconds_between_five_minutes_before_and_fifteen_after(
    stays: list[Span], present: bool
) -> None:
    assert was_present(stays, facts()) is present


@pytest.mark.parametrize(
    ("practitioner", "client", "event"),
    [
        (False, False, Event.MISS_BY_PRACTITIONER),
        (False, True, Event.MISS_BY_PRACTITIONER),
        (True, True, Event.MISS_BY_PRACTITIONER),
        (True, False, Event.MISS_BY_CLIENT),
    ],
)
def test_client_missed_an_unstarted_session_only_if_the_practitioner_was_there_alone(
    practitioner: bool, client: bool, event: Event
) -> None:
    assert missed_before_start(practitioner_present=practitioner, client_present=client) is event
    assert due_event(facts(), Seen(practitioner, client)) is event


@pytest.mark.parametrize(
    ("client", "practitioner", "event"),
    [
        (True, True, Event.COMPLETE),
        (False, True, Event.MISS_BY_CLIENT),
        (True, False, Event.MISS_BY_PRACTITIONER),
    ],
)
def test_session_is_completed_only_if_both_were_let_in(client: bool, practitioner: bool, event: Event) -> None:
    told = facts(State.IN_PROGRESS, client_admitted=client, practitioner_admitted=practitioner)
    assert ending(told) is event


def test_each_open_state_is_due_when_the_product_says() -> None:
    hold = START - 60 * MINUTE
    assert due_since(facts(State.PENDING, hold_expires_at=hold)) == hold
    assert due_since(facts(State.SCHEDULED)) == START - 5 * MINUTE
    assert due_since(facts(State.CONFIRMED)) == START + 15 * MINUTE
    running = {"started_at": START + 3 * MINUTE}
    assert due_since(facts(State.IN_PROGRESS, **running)) == START + 18 * MINUTE
    assert due_since(facts(State.IN_PROGRESS, **running, client_admitted=True)) == START + 60 * MINUTE


def test_nobody_can_be_marked_as_missing_whose_time_to_come_still_runs_or_who_came() -> None:
    assert no_show_from(facts()) == START + 15 * MINUTE
    assert no_show_from(facts(State.IN_PROGRESS, started_at=START + 4 * MINUTE)) == START + 19 * MINUTE
    assert no_show_from(facts(State.IN_PROGRESS, started_at=START, client_admitted=True)) is None
    assert [no_show_from(facts(state)) for state in (State.SCHEDULED, State.COMPLETED)] == [None, None]


def test_early_start_gives_the_client_until_fifteen_minutes_after_the_booked_start() -> None:
    told = facts(State.IN_PROGRESS, started_at=START - 4 * MINUTE)
    assert due_since(told) == START + 15 * MINUTE


@pytest.mark.parametrize("state", ENDED)
def test_nothing_is_due_after_the_end(state: State) -> None:
    assert due_since(facts(state)) is None


CANCELLABLE = {
    State.PENDING: {(Party.CLIENT, -1), (Party.CLIENT, 1), (Party.ADMIN, -1), (Party.ADMIN, 1)},
    State.SCHEDULED: {(Party.CLIENT, -1), (Party.PRACTITIONER, -1), (Party.ADMIN, -1), (Party.PRACTITIONER, 1)},
    State.CONFIRMED: {(Party.CLIENT, -1), (Party.PRACTITIONER, -1), (Party.ADMIN, -1), (Party.PRACTITIONER, 1)},
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("party", Party)
@pytest.mark.parametrize("minutes", [-1, 1])
def test_cancelling_is_for_both_before_the_start_and_for_the_practitioner_after_it(
    state: State, party: Party, minutes: int
) -> None:
    allowed = (party, minutes) in CANCELLABLE.get(state, set())
    assert can_cancel(facts(state), party, START + minutes * MINUTE) is allowed


def test_at_the_very_start_the_client_can_no_longer_cancel() -> None:
    assert not can_cancel(facts(), Party.CLIENT, START)


@pytest.mark.parametrize(
    ("left_at", "ends_at"),
    [
        (None, 90),  # the end of a grace of 40 minutes
        (10, 60),  # gone before the booked end: counted from that
        (55, 65),
        (85, 90),  # never later than the grace
    ],
)
def test_session_everybody_has_left_ends_ten_minutes_after_the_booked_end(left_at: int | None, ends_at: int) -> None:
    told = facts(
        State.IN_PROGRESS,
        started_at=START,
        client_admitted=True,
        empty_since=None if left_at is None else START + left_at * MINUTE,
        bounds=Bounds(grace=40 * MINUTE),
    )
    assert due_since(told) == START + ends_at * MINUTE


def test_session_that_awaits_activation_is_due_at_its_start_and_then_cancelled() -> None:
    told = facts(State.SCHEDULED, awaits_activation=True)
    assert due_since(told) == START
    assert due_event(told, Seen(practitioner=False, client=False)) is Event.CANCEL


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("party", Party)
@pytest.mark.parametrize("minutes", [-1, 0, 1])
def test_moving_is_for_the_two_who_meet_until_the_start(state: State, party: Party, minutes: int) -> None:
    allowed = state in {State.SCHEDULED, State.CONFIRMED} and party in {Party.CLIENT, Party.PRACTITIONER}
    assert can_reschedule(facts(state), party, START + minutes * MINUTE) is (allowed and minutes < 0)
