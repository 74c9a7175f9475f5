"""The E-model at its known points, and what a connection's counters say of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.quality import Gauge, Word, mean_opinion, rating, word_for


@pytest.mark.parametrize(("r", "mos"), [(90, 4.34), (80, 4.02), (70, 3.60), (60, 3.10), (50, 2.58)])
def test_mos_of_a_rating_is_that_of_g_107_table_b_1(r: float, mos: float) -> None:
    assert mean_opinion(r) == pytest.approx(mos, abs=0.005)


def test_a_line_without_delay_or_loss_has_g_107_s_default_rating() -> None:
    assert rating(loss=0, one_way_ms=0) == 93.2
    assert mean_opinion(93.2) == pytest.approx(4.41, abs=0.005)


def test_delay_is_free_up_to_the_knee_and_dear_behind_it() -> None:
    assert rating(loss=0, one_way_ms=150) == pytest.approx(93.2 - 3.6)
    assert rating(loss=0, one_way_ms=277.3) == pytest.approx(93.2 - 6.655 - 11, abs=0.01)


def test_loss_at_the_codec_s_robustness_costs_half_of_what_loss_can_cost() -> None:
    assert rating(loss=0.20, one_way_ms=0) == pytest.approx(93.2 - 47.5)


@given(st.floats(0, 1), st.floats(0, 10_000))
def test_any_line_has_a_score_and_more_loss_never_a_better_one(loss: float, one_way_ms: float) -> None:
    score = mean_opinion(rating(loss=loss, one_way_ms=one_way_ms))
    assert 1 <= score <= 4.5
    assert mean_opinion(rating(loss=min(1.0, loss + 0.1), one_way_ms=one_way_ms)) <= score


@pytest.mark.parametrize(
    ("mos", "frozen", "word"),
    [
        (4.02, 0, Word.good),
        (4.01, 0, Word.fair),
        (3.09, 0, Word.poor),
        (4.4, 0.02, Word.fair),
        (4.4, 0.15, Word.poor),
        (3.5, 0.01, Word.fair),
    ],
)
def test_the_word_is_the_worse_of_sound_and_picture(mos: float, frozen: float, word: Word) -> None:
    assert word_for(mos, frozen) is word


def stats(**told: Any) -> Any:
    quiet = {"expected_in": 0, "missing_in": 0, "fraction_lost_out": 0.0, "jitter_in_ms": 0.0, "rtt_ms": None}
    return quiet | told


def test_loss_is_counted_since_the_last_measurement() -> None:
    gauge = Gauge()
    assert gauge.measure(stats(expected_in=1_000, missing_in=100)).loss_in == pytest.approx(0.1)
    assert gauge.measure(stats(expected_in=2_000, missing_in=150)).loss_in == pytest.approx(0.05)
    assert gauge.measure(stats(expected_in=2_000, missing_in=150)).loss_in == 0, "nothing was sent"
    assert gauge.measure(stats(expected_in=2_100, missing_in=140)).loss_in == 0, "late packets came after all"
    assert gauge.measure(stats(expected_in=100, missing_in=50)).loss_in == pytest.approx(0.5), "another stream"


def test_the_score_is_of_the_worse_direction_and_of_the_whole_delay() -> None:
    clean = Gauge().measure(stats(expected_in=100, rtt_ms=40.0))
    assert word_for(clean.mos, 0) is Word.good
    down = Gauge().measure(stats(expected_in=100, fraction_lost_out=0.1))
    up = Gauge().measure(stats(expected_in=100, missing_in=10))
    assert down.mos == up.mos < clean.mos
    assert word_for(up.mos, 0) is Word.poor
    far = Gauge().measure(stats(expected_in=100, rtt_ms=500.0))
    assert word_for(far.mos, 0) is Word.fair
    assert Gauge().measure(stats(expected_in=100, rtt_ms=500.0, jitter_in_ms=60.0)).mos < far.mos
