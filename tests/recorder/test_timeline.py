"""Order and clocks: wraps, repeats, gaps, sender reports, drift."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.timeline import (
    REORDER_US,
    WINDOW_US,
    Reorder,
    SeqOrder,
    StreamClock,
    StreamTime,
    TimestampOrder,
    connection_line,
    interpolate,
    lower_envelope,
)


def packet(seq: int) -> bytes:
    return bytes([0x80, 96]) + (seq & 0xFFFF).to_bytes(2, "big") + bytes(8) + seq.to_bytes(4, "big")


def number(data: bytes) -> int:
    return int.from_bytes(data[12:16], "big")


def run(order: list[tuple[int, int]]) -> list[tuple[bool, int]]:
    reorder = Reorder()
    out = [(fits, number(data)) for seq, at in order for fits, data in reorder.push(packet(seq), at)]
    return out + [(fits, number(data)) for fits, data in reorder.flush()]


@given(start=st.integers(0, 70_000), seed=st.integers(0, 1000), count=st.integers(1, 300))
def test_a_disordered_and_repeated_stream_comes_out_once_and_in_order(start: int, seed: int, count: int) -> None:
    dice = random.Random(seed)  # noqa: S311  repeatable on purpose
    sent = [(start + i, i * 10_000) for i in range(count) for _ in range(1 + (dice.random() < 0.2))]
    order = sorted(sent, key=lambda one: one[1] + dice.randrange(200_000))
    assert [seq for _, seq in run([(seq, at) for seq, at in order])] == list(range(start, start + count))


def test_a_gap_is_marked_and_given_up_after_its_time() -> None:
    early = [(1, 0), (2, 10), (4, 20)]
    reorder = Reorder()
    out = [item for seq, at in early for item in reorder.push(packet(seq), at)]
    out += reorder.push(packet(5), REORDER_US + 30)
    assert [(fits, number(data)) for fits, data in out] == [(False, 1), (True, 2), (False, 4), (True, 5)]


def test_a_packet_later_than_the_given_up_gap_is_left_out() -> None:
    out = run([(1, 0), (2, 10), (4, 20), (5, REORDER_US + 30), (6, REORDER_US + 40), (3, REORDER_US + 50)])
    assert [seq for _, seq in out] == [1, 2, 4, 5, 6]


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-90_000, 900_000), max_size=50))
def test_timestamps_unwrap_by_their_steps(start: int, steps: list[int]) -> None:
    order = TimestampOrder()
    true = start
    first = order.unwrap(start)
    for step in steps:
        true += step
        assert order.unwrap(true & 0xFFFF_FFFF) - first == true - start


def test_sequence_numbers_before_the_first_to_arrive_stay_positive() -> None:
    order = SeqOrder()
    first = order.unwrap(2)
    assert order.unwrap(65_535) == first - 3


def ntp(us: float) -> int:
    return int(us * (1 << 32) / 1_000_000)


@pytest.mark.parametrize("drift", [0.0, 80e-6, -80e-6])
@pytest.mark.parametrize("sampling", [0.0, 150e-6])
def test_audio_and_video_meet_for_an_hour_although_delayed_differently_and_with_drifting_clocks(
    drift: float, sampling: float
) -> None:
    """`drift`: the sender's wall clock against ours; `sampling`: its sound card against its wall clock."""
    dice = random.Random(5)  # noqa: S311
    skew_us, tenths = 40_000_000_000, 60 * 60 * 10
    clocks = {"audio": StreamClock(48_000), "video": StreamClock(90_000)}
    base = {"audio": 0xFFFF_0000, "video": 123}
    pace = {"audio": 1 + sampling, "video": 1.0}
    late_us = {"audio": 5_000, "video": 95_000}

    def rtp_ts(kind: str, true_us: float) -> int:
        stream_us = true_us * (1 + drift) * pace[kind]
        return int(base[kind] + stream_us * clocks[kind].clock_hz / 1_000_000) & 0xFFFF_FFFF

    for tick in range(tenths):
        true_us = 1_000_000_000 + tick * 100_000
        for kind, clock in clocks.items():
            ts = rtp_ts(kind, true_us)
            clock.saw_packet(ts, int(true_us + 20_000 + late_us[kind] + dice.expovariate(1 / 8_000)))
            if tick % 20 == 3:
                clock.saw_report(ntp(true_us * (1 + drift) + skew_us), ts)
    line = connection_line(clocks.values())
    times = {kind: StreamTime(clock, line) for kind, clock in clocks.items()}
    for tick in range(0, tenths, 50):
        true_us = 1_000_000_000 + tick * 100_000
        laid = {kind: times[kind].arrival_us(rtp_ts(kind, true_us)) for kind in clocks}
        assert abs(laid["audio"] - laid["video"]) < 5_000
        assert abs(laid["audio"] - (true_us + 25_000)) < 12_000


def test_without_sender_reports_each_stream_is_laid_by_its_own_quickest_packets() -> None:
    clock = StreamClock(90_000)
    for i in range(100):
        clock.saw_packet(1000 + i * 9_000, 5_000_000 + i * 100_000 + (i % 7) * 3_000)
    assert connection_line([clock]) is None
    time = StreamTime(clock, None)
    assert time.arrival_us(1000) == pytest.approx(5_000_000, abs=1)
    assert time.arrival_us(1000 + 9_000) == pytest.approx(5_100_000, abs=1)


def test_the_envelope_lies_on_or_below_every_minimum() -> None:
    minima = {window: 1000 + window * 300.0 + (window % 3) * 50 for window in range(20)}
    line = lower_envelope(minima)
    for window, value in minima.items():
        at = window * WINDOW_US + WINDOW_US / 2
        assert line.offset_us + line.slope * (at - line.origin_us) <= value + 1e-6


def test_interpolation_is_constant_outside_its_points() -> None:
    assert [interpolate([1, 3], [10, 30], x) for x in (0, 1, 2, 3, 9)] == [10, 10, 20, 30, 30]
