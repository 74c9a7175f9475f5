"""Slots are arithmetic: steps from a window's start, buffers, notice; wall times right across clock changes."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.errors import Invalid
from control.slots import (
    SlotRules,
    Span,
    Window,
    all_slots,
    day_in,
    first_free,
    free_slots,
    merged,
    nearest,
    wall_to_utc,
    zone_named_untrusted,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ZONES = sorted(available_timezones())
zones = st.sampled_from(ZONES).map(ZoneInfo)
days = st.dates(date(1971, 1, 2), date(2036, 12, 30))
clocks = st.times().map(lambda clock: clock.replace(second=0, microsecond=0))


def rules(length: int = 50, before: int = 0, after: int = 0, notice: int = 0) -> SlotRules:
    return SlotRules(
        service_id="s",
        length=timedelta(minutes=length),
        buffer_before=timedelta(minutes=before),
        buffer_after=timedelta(minutes=after),
        minimum_notice=timedelta(minutes=notice),
        booking_window=timedelta(days=60),
        price_minor=5_000,
        currency="EUR",
    )


def window(hours: float, start: datetime = NOON, **more: object) -> Window:
    return Window("w", Span(start, start + timedelta(hours=hours)), **more)  # type: ignore[arg-type]


def clock_of(moment: datetime) -> str:
    return f"{moment:%H:%M}"


def test_slots_start_every_length_plus_buffers_from_the_windows_start() -> None:
    starts = [clock_of(slot.start) for slot in all_slots([window(4)], rules(50, 5, 10))]
    assert starts == ["12:00", "13:05", "14:10"]


def test_last_slot_must_end_inside_its_window_but_its_buffer_need_not() -> None:
    assert len(all_slots([window(1)], rules(60, 0, 30))) == 1
    assert all_slots([window(0.99)], rules(60)) == []


def test_windows_price_stands_before_the_services_and_the_cheaper_window_wins() -> None:
    both = [window(1, price_minor=7_000), Window("cheap", window(1).span, price_minor=4_000)]
    assert [(slot.price_minor, slot.window_id) for slot in all_slots(both, rules(60))] == [(4_000, "cheap")]


def test_window_of_another_service_offers_nothing() -> None:
    assert all_slots([window(2, service_id="other")], rules()) == []


def test_slot_at_exactly_the_minimum_notice_is_bookable_and_a_second_earlier_is_not() -> None:
    terms = rules(60, notice=120)
    assert free_slots([window(1)], terms, [], NOON - 2 * HOUR) != []
    assert free_slots([window(1)], terms, [], NOON - 2 * HOUR + timedelta(seconds=1)) == []


def test_slot_beyond_the_booking_window_is_not_bookable() -> None:
    assert free_slots([window(1)], rules(60), [], NOON - timedelta(days=60)) != []
    assert free_slots([window(1)], rules(60), [], NOON - timedelta(days=60, seconds=1)) == []


@pytest.mark.parametrize(
    ("taken_from", "taken_until", "free"),
    [(-60, 0, True), (-60, 1, False), (60, 120, True), (59, 120, False), (20, 30, False), (-30, 200, False)],
)
def test_slot_is_free_unless_its_busy_span_overlaps_a_taken_one(taken_from: int, taken_until: int, free: bool) -> None:
    taken = Span(NOON + timedelta(minutes=taken_from), NOON + timedelta(minutes=taken_until))
    assert bool(free_slots([window(1)], rules(50, 0, 10), [taken], NOON - HOUR)) is free


minutes = st.lists(st.tuples(st.integers(0, 1440), st.integers(1, 240)), max_size=6).map(
    lambda found: tuple(
        Span(NOON + timedelta(minutes=start), NOON + timedelta(minutes=start + size)) for start, size in found
    )
)


@given(minutes, minutes, minutes, st.integers(5, 120), st.integers(0, 30), st.integers(0, 30), st.integers(0, 900))
def test_free_slots_are_exactly_those_that_overlap_nothing(
    taken: tuple[Span, ...],
    off: tuple[Span, ...],
    busy: tuple[Span, ...],
    length: int,
    before: int,
    after: int,
    notice: int,
) -> None:
    terms = rules(length, before, after, notice)
    expected = [
        slot
        for slot in all_slots([window(24)], terms)
        if not any(span.overlaps(terms.busy(slot.start)) for span in (*taken, *busy))
        and not any(span.overlaps(Span(slot.start, slot.end)) for span in off)
        and terms.allows(slot.start, NOON)
    ]
    shut = window(24, off=off, busy=busy)
    assert free_slots([shut], terms, taken, NOON) == expected
    first = first_free([shut], terms, merged(taken), shut.span, NOON)
    assert first == (expected[0].start if expected else None)


def test_nearest_slots_are_the_closest_in_the_order_of_the_calendar() -> None:
    slots = all_slots([window(8)], rules(60))
    found = [clock_of(slot.start) for slot in nearest(slots, NOON + 3 * HOUR, 3)]
    assert found == ["14:00", "15:00", "16:00"]


# -- wall times --------------------------------------------------------------------------------------------------


def test_window_from_a_skipped_hour_begins_when_the_clock_jumps() -> None:
    lisbon, night = ZoneInfo("Europe/Lisbon"), date(2026, 3, 29)  # 01:00 becomes 02:00
    jump = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert wall_to_utc(night, time(1, 30), lisbon) == jump
    assert wall_to_utc(night, time(2, 0), lisbon) == jump
    assert wall_to_utc(night, time(0, 59), lisbon) == jump - timedelta(minutes=1)


def test_time_shown_twice_is_its_first_showing() -> None:
    lisbon = ZoneInfo("Europe/Lisbon")
    assert wall_to_utc(date(2026, 10, 25), time(1, 30), lisbon) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_half_hour_clock_change_is_followed() -> None:
    lord_howe = ZoneInfo("Australia/Lord_Howe")  # 02:00 becomes 02:30
    assert wall_to_utc(date(2026, 10, 4), time(2, 15), lord_howe) == wall_to_utc(
        date(2026, 10, 4), time(2, 30), lord_howe
    )


@given(zones, days, clocks)
def test_wall_time_that_exists_is_shown_by_the_clock_at_that_moment(zone: ZoneInfo, day: date, clock: time) -> None:
    moment = wall_to_utc(day, clock, zone).astimezone(zone)
    wall = datetime.combine(day, clock)
    shown = moment.replace(tzinfo=None, fold=0)
    assert shown >= wall
    if shown != wall:  # skipped: just before, the clock showed less than what was asked for
        before = (moment.astimezone(UTC) - timedelta(seconds=1)).astimezone(zone)
        assert before.replace(tzinfo=None, fold=0) < wall


@given(zones, days, clocks, clocks)
def test_later_wall_time_is_never_an_earlier_moment(zone: ZoneInfo, day: date, one: time, other: time) -> None:
    first, second = sorted((one, other))
    assert wall_to_utc(day, first, zone) <= wall_to_utc(day, second, zone)


@given(zones, days)
def test_days_follow_each_other_without_gap_or_overlap(zone: ZoneInfo, day: date) -> None:
    assert day_in(day, zone).end == day_in(day + timedelta(days=1), zone).start


@given(zones, days, st.integers(5, 120))
def test_clock_change_inside_a_window_moves_no_slots_length(zone: ZoneInfo, day: date, length: int) -> None:
    for slot in all_slots([Window("w", day_in(day, zone))], rules(length)):
        assert slot.end - slot.start == timedelta(minutes=length)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "/etc/passwd", "Mars/Base", "x" * 65, "Europe", "a\x00b"])
def test_unknown_zone_is_one_clear_refusal(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        zone_named_untrusted(name)
    assert refused.value.code == "unknown_time_zone"
