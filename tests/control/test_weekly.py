"""Weekly rules right across clock changes, in every zone: gaps, folds, half hours, days a zone has skipped."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import assume, given
from hypothesis import strategies as st

from control.slots import SlotRules, Span, Window, all_slots, day_in, merged, touching
from control.weekly import MIDNIGHT, Rule, span_on, time_off, windows_of_rule

ZONES = sorted(available_timezones())
zones = st.sampled_from(ZONES).map(ZoneInfo)
days = st.dates(date(1971, 1, 20), date(2036, 12, 10))
clocks = st.times().map(lambda clock: clock.replace(second=0, microsecond=0))
minutes = st.integers(0, 3_000)

LISBON = ZoneInfo("Europe/Lisbon")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # half an hour of summer time
APIA = ZoneInfo("Pacific/Apia")  # had no 30 December 2011
EVER = date(1970, 1, 1)


def rule(day: date, start: time, end: time, zone: ZoneInfo, **more: object) -> Rule:
    return Rule("r", day.weekday(), start, end, zone, EVER, **more)  # type: ignore[arg-type]


def around(day: date, zone: ZoneInfo, before: int = 9, after: int = 9) -> Span:
    return Span(day_in(day - timedelta(days=before), zone).start, day_in(day + timedelta(days=after), zone).end)


def starts(windows: list[Window], zone: ZoneInfo) -> list[str]:
    return [f"{one.span.start.astimezone(zone):%d %H:%M}" for one in windows]


def service(length: int, buffer: int = 0) -> SlotRules:
    return SlotRules(
        service_id="s",
        length=timedelta(minutes=length),
        buffer_before=timedelta(0),
        buffer_after=timedelta(minutes=buffer),
        minimum_notice=timedelta(0),
        booking_window=timedelta(days=60),
        price_minor=5_000,
        currency="EUR",
    )


def test_rule_keeps_its_wall_time_when_the_clock_changes() -> None:
    sunday = date(2026, 3, 29)
    windows = list(windows_of_rule(rule(sunday, time(9), time(11), LISBON), around(sunday, LISBON)))
    assert starts(windows, LISBON) == ["22 09:00", "29 09:00", "05 09:00"]
    assert [one.span.start.hour for one in windows] == [9, 8, 8]


def test_skipped_hour_is_missing_and_repeated_hour_is_there_twice() -> None:
    spring, autumn = date(2026, 3, 29), date(2026, 10, 25)
    assert span_on(spring, time(0), time(3), LISBON).end - span_on(spring, time(0), time(3), LISBON).start == (
        timedelta(hours=2)
    )
    assert list(windows_of_rule(rule(spring, time(1), time(2), LISBON), around(spring, LISBON, 0, 0))) == []
    longer = span_on(autumn, time(0), time(3), LISBON)
    assert longer.end - longer.start == timedelta(hours=4)


def test_half_an_hour_of_summer_time_moves_half_an_hour() -> None:
    change = date(2026, 10, 4)  # 02:00 becomes 02:30
    span = span_on(change, time(1), time(4), LORD_HOWE)
    assert span.end - span.start == timedelta(hours=2, minutes=30)


def test_day_a_zone_has_skipped_offers_nothing() -> None:
    gone = date(2011, 12, 30)
    windows = list(windows_of_rule(rule(gone, time(9), time(17), APIA), around(gone, APIA)))
    assert starts(windows, APIA) == ["23 09:00", "06 09:00"]


def test_validity_includes_its_first_and_last_day() -> None:
    monday = date(2026, 3, 2)
    one = Rule("r", 0, time(9), time(10), LISBON, date(2026, 3, 9), date(2026, 3, 16))
    assert starts(list(windows_of_rule(one, around(monday, LISBON, 0, 40))), LISBON) == ["09 09:00", "16 09:00"]


@given(days, clocks, clocks, zones)
def test_window_begins_and_ends_at_the_written_times_unless_the_clock_skips_them(
    day: date, start: time, end: time, zone: ZoneInfo
) -> None:
    assume(start < end or end == MIDNIGHT)
    found = list(windows_of_rule(rule(day, start, end, zone), around(day, zone, 0, 0)))
    for moment, clock in [(one.span.start, start) for one in found] + [(one.span.end, end) for one in found]:
        wall = moment.astimezone(zone)
        if wall.time() != clock:
            # Only the first moment after a jump may show another time: a second earlier the clock was before it.
            before = (moment - timedelta(seconds=1)).astimezone(zone)
            assert wall.utcoffset() != before.utcoffset()
    assert len(found) <= 1


@given(days, clocks, clocks, zones)
def test_every_moment_that_shows_an_offered_time_is_offered(day: date, start: time, end: time, zone: ZoneInfo) -> None:
    """Looked at from the other side, minute by minute: nothing of what was written is lost, gap or fold."""
    assume(start < end or end == MIDNIGHT)
    found = [one.span for one in windows_of_rule(rule(day, start, end, zone), around(day, zone, 0, 0))]
    whole = day_in(day, zone)
    moment = whole.start
    while moment < whole.end:
        wall = moment.astimezone(zone)
        shows_it = wall.date() == day and start <= wall.time() and (wall.time() < end or end == MIDNIGHT)
        is_open = any(span.start <= moment < span.end for span in found)
        if shows_it != is_open:
            assert wall.fold == 1  # a repeated hour that the rule begins or ends in counts from its first showing
        moment += timedelta(minutes=7)


@given(days, clocks, clocks, zones, st.integers(5, 240), st.integers(0, 30))
def test_slots_of_a_rule_are_never_shorter_never_overlap_and_never_leave_their_window(
    day: date, start: time, end: time, zone: ZoneInfo, length: int, buffer: int
) -> None:
    assume(start < end or end == MIDNIGHT)
    windows = list(windows_of_rule(rule(day, start, end, zone), around(day, zone)))
    slots = all_slots(windows, service(length, buffer))
    assert all(slot.end - slot.start == timedelta(minutes=length) for slot in slots)
    assert all(one.end <= other.start for one, other in pairwise(slots))
    assert all(any(w.span.start <= slot.start and slot.end <= w.span.end for w in windows) for slot in slots)


@given(days, clocks, clocks, zones, st.integers(0, 20_000), st.integers(1, 20_000), st.integers(1, 20_000))
def test_asking_for_a_span_in_two_halves_finds_the_same_windows(
    day: date, start: time, end: time, zone: ZoneInfo, offset: int, first: int, second: int
) -> None:
    assume(start < end or end == MIDNIGHT)
    weekly = rule(day, start, end, zone)
    a = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(minutes=offset)
    b, c = a + timedelta(minutes=first), a + timedelta(minutes=first + second)
    halves = {one.id: one for span in (Span(a, b), Span(b, c)) for one in windows_of_rule(weekly, span)}
    assert halves == {one.id: one for one in windows_of_rule(weekly, Span(a, c))}


@given(days, zones)
def test_day_off_covers_every_window_of_its_day_and_none_of_another(day: date, zone: ZoneInfo) -> None:
    off = time_off(day, None, None, zone)
    weekly = [Rule(str(n), n, time(0), MIDNIGHT, zone, EVER) for n in range(7)]
    for one in weekly:
        for window in windows_of_rule(one, around(day, zone, 2, 2)):
            inside = off.start <= window.span.start and window.span.end <= off.end
            assert inside == window.id.endswith(day.isoformat())
            assert inside or not off.overlaps(window.span)


def days_of_change(zone: ZoneInfo) -> list[date]:
    """Those of 2026 that are shorter or longer than others."""
    year = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
    offsets = [datetime(day.year, day.month, day.day, tzinfo=zone).utcoffset() for day in year]
    return [day for day, (one, other) in zip(year, pairwise(offsets), strict=False) if one != other]


def test_hours_of_each_day_that_changes_the_clock_fill_it_exactly_in_every_zone() -> None:
    changes = [(zone, day) for zone in map(ZoneInfo, ZONES) for day in days_of_change(zone)]
    assert len({zone.key for zone, _ in changes}) > 100
    for zone, day in {(day, day_in(day, zone)): (zone, day) for zone, day in changes}.values():  # aliases once
        edges = [*(time(hour) for hour in range(24)), MIDNIGHT]
        hours = [
            one.span
            for start, end in pairwise(edges)
            for one in windows_of_rule(rule(day, start, end, zone), around(day, zone, 0, 0))
        ]
        whole = day_in(day, zone)
        assert merged(hours) == [whole], (zone.key, day)
        assert all(one.end == other.start for one, other in pairwise(hours)), (zone.key, day)
        slots = all_slots([Window("w", whole)], service(50, 10))
        assert len(slots) == (whole.end - whole.start + timedelta(minutes=10)) // timedelta(hours=1), (zone.key, day)
        assert len(hours) in (22, 23, 24), "an hour that is skipped is missing, one that is repeated is one long one"


# -- time that is not offered ------------------------------------------------------------------------------------

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def at(first: int, last: int) -> Span:
    return Span(NOON + timedelta(minutes=first), NOON + timedelta(minutes=last))


def test_slot_taken_off_leaves_its_neighbours_where_they_were() -> None:
    window = Window("w", at(0, 240), off=(at(60, 110),))
    found = [f"{slot.start:%H:%M}" for slot in all_slots([window], service(50, 10))]
    assert found == ["12:00", "14:00", "15:00"]


def test_exception_may_touch_a_buffer_but_a_busy_time_may_not() -> None:
    assert len(all_slots([Window("w", at(0, 60), off=(at(50, 60),))], service(50, 10))) == 1
    assert all_slots([Window("w", at(0, 60), busy=(at(50, 60),))], service(50, 10)) == []
    assert len(all_slots([Window("w", at(0, 60), busy=(at(60, 90),))], service(50, 10))) == 1


@given(st.lists(st.tuples(minutes, st.integers(1, 200)), max_size=20), minutes, st.integers(1, 300))
def test_merged_spans_cover_the_same_time_and_touching_finds_exactly_those_that_overlap(
    pieces: list[tuple[int, int]], start: int, length: int
) -> None:
    spans = [at(first, first + size) for first, size in pieces]
    whole = merged(spans)
    assert all(one.end < other.start for one, other in pairwise(whole))
    assert all(any(big.start <= one.start and one.end <= big.end for big in whole) for one in spans)
    around_it = at(start, start + length)
    assert list(touching(whole, around_it)) == [one for one in whole if one.overlaps(around_it)]
    assert bool(touching(whole, around_it)) == any(one.overlaps(around_it) for one in spans)
