"""The rule of recording: every combination of what was pressed, who is there and who agreed."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.recording_rule import ALONE_FOR, REASONS, Cause, Pressed, RecordingState, Room, wanted

PEOPLE = ("alice", "bob", "guest")
ALICE = Room(frozenset({"alice"}), {"alice": "1"})


@pytest.mark.parametrize(
    ("admitted", "agreed"),
    list(product([(), ("alice",), ("alice", "bob"), PEOPLE], [(), ("alice",), ("alice", "bob")])),
)
def test_it_runs_only_while_everybody_in_the_room_has_agreed(
    admitted: tuple[str, ...], agreed: tuple[str, ...]
) -> None:
    room = Room(frozenset(admitted), {person: f"consent of {person}" for person in agreed})
    decision = wanted(Pressed.ON, room, in_progress=True)
    runs = bool(admitted) and set(admitted) <= set(agreed)
    assert (decision.state is RecordingState.RECORDING) == runs
    assert decision.missing == set(admitted) - set(agreed)
    assert set(decision.include) == (set(admitted) if runs else set())
    assert (decision.cause is None) == runs


def test_a_pressed_pause_pauses_whoever_agreed() -> None:
    decision = wanted(Pressed.PAUSED, ALICE, in_progress=True)
    assert decision.state is RecordingState.PAUSED
    assert not decision.include


@pytest.mark.parametrize("pressed", list(Pressed))
def test_it_ends_with_the_session_and_with_stop(pressed: Pressed) -> None:
    ended = wanted(pressed, ALICE, in_progress=False)
    assert ended.state is RecordingState.FINISHING
    stopped = wanted(Pressed.OFF, ALICE, in_progress=True)
    assert stopped.state is RecordingState.FINISHING


people = st.sets(st.sampled_from(PEOPLE))


@given(st.sampled_from(list(Pressed)), st.booleans(), people, people)
def test_nobody_without_a_standing_yes_is_ever_included(
    pressed: Pressed, in_progress: bool, admitted: set[str], agreed: set[str]
) -> None:
    room = Room(frozenset(admitted), dict.fromkeys(agreed, "consent"))
    decision = wanted(pressed, room, in_progress=in_progress)
    assert set(decision.include) <= admitted & agreed


@pytest.mark.parametrize(
    ("pressed", "room", "cause"),
    [
        (Pressed.PAUSED, ALICE, Cause.PAUSED),
        (Pressed.ON, Room(frozenset(), {}), Cause.EMPTY),
        (Pressed.ON, Room(frozenset({"alice", "bob"}), {"alice": "1"}), Cause.UNANSWERED),
        (Pressed.ON, Room(frozenset({"alice", "bob"}), {"alice": "1"}, frozenset({"bob"})), Cause.REFUSED),
        (Pressed.ON, Room(frozenset({"alice", "bob"}), {"alice": "1"}, frozenset({"eve"})), Cause.UNANSWERED),
        (Pressed.ON, replace(ALICE, alone_for=ALONE_FOR), Cause.ALONE),
        (Pressed.ON, replace(ALICE, alone_for=ALONE_FOR - timedelta(seconds=1)), None),
    ],
)
def test_a_pause_has_a_cause_with_words(pressed: Pressed, room: Room, cause: Cause | None) -> None:
    assert wanted(pressed, room, in_progress=True).cause is cause
    assert set(REASONS) == set(Cause)
