"""The rule of recording: every combination of what was pressed, who is there and who agreed."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.recording_rule import Pressed, RecordingState, wanted

PEOPLE = ("alice", "bob", "guest")


@pytest.mark.parametrize(
    ("admitted", "agreed"),
    list(product([(), ("alice",), ("alice", "bob"), PEOPLE], [(), ("alice",), ("alice", "bob")])),
)
def test_it_runs_only_while_everybody_in_the_room_has_agreed(
    admitted: tuple[str, ...], agreed: tuple[str, ...]
) -> None:
    decision = wanted(
        Pressed.ON,
        in_progress=True,
        admitted=frozenset(admitted),
        standing={person: f"consent of {person}" for person in agreed},
    )
    runs = bool(admitted) and set(admitted) <= set(agreed)
    assert (decision.state is RecordingState.RECORDING) == runs
    assert decision.missing == set(admitted) - set(agreed)
    assert set(decision.include) == (set(admitted) if runs else set())
    assert (decision.reason is None) == runs


def test_a_pressed_pause_pauses_whoever_agreed() -> None:
    decision = wanted(Pressed.PAUSED, in_progress=True, admitted=frozenset({"alice"}), standing={"alice": "1"})
    assert decision.state is RecordingState.PAUSED
    assert not decision.include


@pytest.mark.parametrize("pressed", list(Pressed))
def test_it_ends_with_the_session_and_with_stop(pressed: Pressed) -> None:
    ended = wanted(pressed, in_progress=False, admitted=frozenset({"alice"}), standing={"alice": "1"})
    assert ended.state is RecordingState.FINISHING
    stopped = wanted(Pressed.OFF, in_progress=True, admitted=frozenset({"alice"}), standing={"alice": "1"})
    assert stopped.state is RecordingState.FINISHING


people = st.sets(st.sampled_from(PEOPLE))


@given(st.sampled_from(list(Pressed)), st.booleans(), people, people)
def test_nobody_without_a_standing_yes_is_ever_included(
    pressed: Pressed, in_progress: bool, admitted: set[str], agreed: set[str]
) -> None:
    decision = wanted(
        pressed, in_progress=in_progress, admitted=frozenset(admitted), standing=dict.fromkeys(agreed, "consent")
    )
    assert set(decision.include) <= admitted & agreed
