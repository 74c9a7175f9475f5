"""benchmarks/line.py: what frames and samples say about a line."""

import pytest

from benchmarks.line import Sample, recovery_s, rise_s, summarize


def sample(at: float, **counters: float) -> Sample:
    values = dict.fromkeys(Sample.__dataclass_fields__, 0) | {"at": at} | counters
    return Sample(**values)  # type: ignore[arg-type]  # ints serve as floats


def test_a_gap_at_the_end_of_the_stretch_counts_as_one() -> None:
    samples = [sample(0), sample(5)]
    line = summarize([0.1, 0.2, 0.3], samples, samples, 0, 5)
    assert line.longest_gap_ms == pytest.approx(4700)
    assert line.freezes == 1


def test_concealment_leaves_silence_out_and_shows_the_worst_second() -> None:
    samples = [sample(n / 5, heard=n * 9600, concealed=4800 if n >= 10 else 0) for n in range(51)]
    line = summarize([0.0], samples, samples, 0, 10)
    assert line.concealment == pytest.approx(4800 / 480_000)
    assert line.worst_second_concealment == pytest.approx(0.1)


def test_sent_rate_is_the_other_pages() -> None:
    here = [sample(0), sample(2, video_bytes_in=250_000)]
    there = [sample(0), sample(2, video_bytes_out=500_000)]
    line = summarize([0.0], here, there, 0, 2)
    assert (line.received_kbps, line.sent_kbps) == (1_000, 2_000)


def test_a_page_that_was_not_sampled_is_no_number() -> None:
    with pytest.raises(RuntimeError, match="not sampled"):
        summarize([0.0], [sample(0)], [sample(0), sample(1)], 0, 2)


def test_recovery_ends_where_pictures_are_steady_again() -> None:
    frames = [0.1, 0.2, 1.9, 2.0, *(2.5 + n / 24 for n in range(60))]
    assert recovery_s(frames, 0, 5) == pytest.approx(2.5)


def test_pictures_that_never_become_steady_are_no_recovery() -> None:
    assert recovery_s([n * 0.5 for n in range(20)], 0, 10) is None


def test_the_rate_has_risen_when_four_fifths_are_back() -> None:
    slow = [sample(n / 5, video_bytes_in=n * 5_000) for n in range(26)]
    fast = [sample(5 + n / 5, video_bytes_in=125_000 + n * 25_000) for n in range(1, 26)]
    assert rise_s(slow + fast, 0, 1_000) == pytest.approx(5.8)
    assert rise_s(slow, 0, 1_000) is None
