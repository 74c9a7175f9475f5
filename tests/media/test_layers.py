"""Which encoding a subscriber is sent, and which encodings publishers send because of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.layers import Choice, Watch, choose, wanted_rids

RIDS = ("q", "h", "f")


def watch(
    slot: int,
    *,
    height: int | None = None,
    screen: bool = False,
    speaking: bool = False,
    muted: bool = False,
) -> Watch:
    return Watch(slot, slot + 100, () if screen else RIDS, height, screen, speaking, muted)


def rids(watches: list[Watch], estimate_bps: int | None = None, people: int = 4) -> list[str | None]:
    choices = choose(watches, people=people, voices=3, estimate_bps=estimate_bps)
    return [choices[each.slot].rid for each in watches]


def test_in_a_room_of_two_the_largest_is_sent_whatever_the_size() -> None:
    assert rids([watch(1, height=90)], estimate_bps=100_000, people=2) == ["f"]


def test_from_three_on_each_picture_gets_the_encoding_of_its_size() -> None:
    pictures = [watch(1, height=120), watch(2, height=400), watch(3, height=700), watch(4, height=0)]
    assert rids(pictures) == ["q", "h", "f", "q"]


def test_without_sizes_the_speaker_is_large_and_the_others_are_smaller() -> None:
    assert rids([watch(1), watch(2, speaking=True)]) == ["h", "f"]


def test_a_short_subscriber_loses_the_least_important_first_and_the_screen_last() -> None:
    pictures = [watch(1, height=700, speaking=True), watch(2, height=700), watch(3, screen=True)]
    assert rids(pictures, 5_000_000) == ["f", "f", None]
    assert rids(pictures, 3_200_000) == ["f", "h", None]
    assert rids(pictures, 2_200_000) == ["h", "q", None]
    choices = choose(pictures, people=4, voices=3, estimate_bps=600_000)
    assert choices == {1: Choice("q", 0), 2: Choice("q", 0), 3: Choice(None, 0)}


@pytest.mark.parametrize("unseen", [watch(2, height=0), watch(2, height=700, speaking=True, muted=True)])
def test_a_picture_that_is_not_shown_or_not_sent_takes_nothing_from_the_others(unseen: Watch) -> None:
    seen = watch(1, height=700)
    alone = choose([seen], people=4, voices=3, estimate_bps=1_450_000)
    beside = choose([seen, unseen], people=4, voices=3, estimate_bps=1_450_000)
    assert alone[1] == beside[1] == Choice("f")
    both = choose([seen, watch(2, height=120)], people=4, voices=3, estimate_bps=1_450_000)
    assert both[1] == Choice("h")


def test_of_a_picture_that_is_not_shown_only_the_least_is_sent() -> None:
    assert choose([watch(1, height=0)], people=4, voices=1, estimate_bps=None) == {1: Choice("q", 0)}


def test_publishers_send_what_somebody_sees_and_what_a_recording_wants() -> None:
    assert wanted_rids(RIDS, ["h", "q", "h"], people=4, recorded=False) == ("q", "h")
    assert wanted_rids(RIDS, ["q"], people=4, recorded=True) == ("q", "f")
    assert wanted_rids(RIDS, [], people=4, recorded=False) == ()
    assert wanted_rids(RIDS, ["q"], people=2, recorded=False) == ("f",)
    assert wanted_rids((), [None], people=4, recorded=True) == ()


watches = st.lists(st.tuples(st.none() | st.integers(0, 2000), st.booleans(), st.booleans()), max_size=8).map(
    lambda each: [watch(slot, height=h, screen=s, speaking=p) for slot, (h, s, p) in enumerate(each)]
)


@given(watches, st.integers(3, 9), st.none() | st.integers(0, 10_000_000))
def test_every_slot_gets_an_encoding_of_its_track(slots: list[Watch], people: int, estimate_bps: int | None) -> None:
    choices = choose(slots, people=people, voices=2, estimate_bps=estimate_bps)
    assert set(choices) == {each.slot for each in slots}
    assert all(choices[each.slot].rid in (each.rids or (None,)) for each in slots)
    richer = choose(slots, people=people, voices=2, estimate_bps=None)
    order = {None: 0, "q": 1, "h": 2, "f": 3}
    assert all(order[choices[slot].rid] <= order[richer[slot].rid] for slot in choices)
