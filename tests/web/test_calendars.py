"""The month one chooses a day from, the week one scans, and the thread of time: where everything stands."""

from datetime import UTC, date, datetime, timedelta

import pytest

from web.calendars import Open, Shut, last_day, month_of, next_clock_change, week_of
from web.models import Session, Slot
from web.thread import day_thread, session_thread

NOW = datetime(2026, 3, 3, 14, 58, tzinfo=UTC)
MONDAY = date(2026, 3, 2)


def slot(day: int, hour: int = 9) -> Slot:
    start = datetime(2026, 3, day, hour, tzinfo=UTC)
    return Slot(start, start.date(), f"{hour:02d}:00", "", 6500, "EUR")


def session(start: datetime, minutes: int = 50, state: str = "scheduled", name: str = "Mina Halvorsen") -> Session:
    return Session(
        id=f"{start:%d%H%M}",
        state=state,
        starts_at=start,
        ends_at=start + timedelta(minutes=minutes),
        opens_at=start,
        mode="video",
        service_id="s",
        service_name="Individual session",
        client_id="c",
        client_name=name,
        practitioner_id="p",
        practitioner_name="Dr. Amara Okafor",
        practitioner_zone="UTC",
        amount_minor=6500,
        currency="EUR",
        payment="held",
        recording_offered=False,
    )


@pytest.mark.parametrize(("first", "last"), [(date(2026, 2, 1), 28), (date(2028, 2, 1), 29), (date(2026, 12, 1), 31)])
def test_last_day_of_a_month_is_found(first: date, last: int) -> None:
    assert last_day(first).day == last


def test_month_starts_on_monday_and_fills_whole_weeks() -> None:
    month = month_of(date(2026, 3, 1), [], today=date(2026, 3, 3), last_bookable=date(2026, 4, 30))
    assert [len(week) for week in month.weeks] == [7] * 6
    assert month.weeks[0][:6] == (None,) * 6
    assert month.weeks[0][6] is not None
    assert month.weeks[0][6].number == 1
    assert [one.number for one in month.days] == list(range(1, 32))


def test_first_free_day_is_chosen_when_the_wanted_one_has_nothing() -> None:
    month = month_of(
        date(2026, 3, 1), [slot(10), slot(5)], today=date(2026, 3, 3), last_bookable=date(2026, 4, 30), chosen=MONDAY
    )
    assert month.chosen is not None
    assert month.chosen.iso == "2026-03-05"
    assert month.chosen_words == "Thu 5 Mar"


def test_months_outside_of_what_can_be_booked_have_no_arrows() -> None:
    month = month_of(date(2026, 3, 1), [], today=date(2026, 3, 3), last_bookable=date(2026, 3, 31))
    assert (month.before, month.after) == ("", "")
    later = month_of(date(2026, 4, 1), [], today=date(2026, 3, 3), last_bookable=date(2026, 5, 1))
    assert (later.before, later.after) == ("2026-03", "2026-05")


def test_week_puts_sessions_over_their_half_hours() -> None:
    day = datetime(2026, 3, 3, 15, tzinfo=UTC)
    week = week_of(MONDAY, "UTC", NOW, windows=[], free=[], sessions=[session(day)])
    blocks = [(row.hour, number, cell) for row in week.rows for number, cell in enumerate(row.cells) if cell.block]
    assert [(hour, number, cell.span) for hour, number, cell in blocks] == [("15:00", 1, 2)]
    assert blocks[0][2].block is not None
    assert blocks[0][2].block.title == "Mina H."
    # Of the second half hour only six days are left: the block lies over the seventh.
    at = [row.hour for row in week.rows].index("15:00")
    assert len(week.rows[at + 1].cells) == 6


def test_every_row_of_a_crowded_week_still_has_seven_columns() -> None:
    start = datetime(2026, 3, 3, 9, tzinfo=UTC)
    crowd = [session(start + timedelta(minutes=5 * n), 15) for n in range(30)]
    free = [(start + timedelta(minutes=7 * n), start + timedelta(minutes=7 * n + 50)) for n in range(20)]
    week = week_of(MONDAY, "UTC", NOW, windows=[], free=free, sessions=crowd)
    open_spans = [0] * 7
    for row in week.rows:
        started = iter(row.cells)
        for column in range(7):
            if open_spans[column]:
                open_spans[column] -= 1
                continue
            open_spans[column] = next(started).span - 1
        assert next(started, None) is None
    assert open_spans == [0] * 7


def test_window_over_midnight_is_open_on_both_days() -> None:
    night = Open("w", datetime(2026, 3, 3, 22, tzinfo=UTC), datetime(2026, 3, 4, 1, tzinfo=UTC))
    week = week_of(MONDAY, "UTC", NOW, windows=[night], free=[], sessions=[])
    assert week.rows[0].hour == "0:00"
    assert week.rows[0].cells[2].open
    assert week.rows[-1].cells[1].open


def test_day_off_is_hatched_around_what_is_booked_and_widens_no_day() -> None:
    off = Shut(datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC), "Away")
    busy = Shut(datetime(2026, 3, 4, 9, tzinfo=UTC), datetime(2026, 3, 4, 10, 30, tzinfo=UTC), busy=True)
    booked = session(datetime(2026, 3, 3, 15, tzinfo=UTC))
    week = week_of(MONDAY, "UTC", NOW, windows=[], free=[], sessions=[booked], shut=[off, busy])
    blocks = [(row.hour, cell.block.title, cell.span) for row in week.rows for cell in row.cells if cell.block]
    assert blocks == [("8:00", "Away", 14), ("9:00", "Busy", 3), ("15:00", "Mina H.", 2), ("16:00", "Away", 8)]


@pytest.mark.parametrize(
    ("after", "zone", "words"),
    [
        (date(2026, 3, 2), "Europe/Lisbon", "Clocks go forward on Sun 29 Mar."),
        (date(2026, 10, 20), "Europe/Lisbon", "Clocks go back on Sun 25 Oct."),
        (date(2026, 9, 10), "Australia/Lord_Howe", "Clocks go forward on Sun 4 Oct."),
        (date(2026, 6, 1), "Europe/Lisbon", ""),
        (date(2026, 3, 2), "Asia/Tokyo", ""),
    ],
)
def test_next_clock_change_is_said_in_time(after: date, zone: str, words: str) -> None:
    assert next_clock_change(after, zone) == words


def test_week_is_named_across_months_and_years() -> None:
    def named(monday: date) -> str:
        return week_of(monday, "UTC", NOW, windows=[], free=[], sessions=[]).words

    assert named(MONDAY) == "2 to 8 March 2026"
    assert named(date(2026, 3, 30)) == "30 March to 5 April 2026"
    assert named(date(2026, 12, 28)) == "28 December 2026 to 3 January 2027"


def test_thread_stands_in_order_and_says_so() -> None:
    start = NOW + timedelta(hours=2)
    thread = session_thread(NOW, start - timedelta(minutes=5), start, start + timedelta(minutes=50), "UTC")
    assert thread is not None
    assert 0 < thread.now < thread.opens < thread.starts < 100
    assert thread.label == "It is 14:58. The room opens at 16:53, the session runs from 16:58 to 17:48."


def test_thread_is_left_out_when_the_session_is_far_or_over() -> None:
    far = NOW + timedelta(days=2)
    assert session_thread(NOW, far, far, far + timedelta(minutes=50), "UTC") is None
    assert session_thread(NOW, NOW - timedelta(hours=2), NOW - timedelta(hours=2), NOW, "UTC") is None


def test_day_is_wider_where_a_session_lies_outside() -> None:
    late = session(datetime(2026, 3, 3, 21, tzinfo=UTC))
    thread = day_thread(NOW, [late], "UTC")
    assert thread.end == late.ends_at
    assert thread.blocks[0].at + thread.blocks[0].width == pytest.approx(100, abs=0.1)


def test_day_has_no_dot_at_night() -> None:
    night = datetime(2026, 3, 3, 3, tzinfo=UTC)
    assert day_thread(night, [], "UTC").now is None
