"""A month of days to choose from and a week of half hours to scan: pure arithmetic over slots, windows and sessions.

The month feeds the booker (template and JSON alike), the week feeds a practitioner's availability page. No database,
no clock: today and the zone are arguments. All day borders are those of the reader's zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from control.language import t
from web import words
from web.models import Session, Slot

_HALF_HOURS = 48
#: Hours the week shows even when nothing is in them.
_FIRST_HOUR, _LAST_HOUR = 8, 20

_BLOCK_STYLES = {
    "pending": "block--hold",
    "scheduled": "block--booked block--scheduled",
    "confirmed": "block--booked",
    "in_progress": "block--booked block--in_progress",
    "completed": "block--booked block--completed",
    "no_show_client": "block--booked block--no_show",
    "no_show_practitioner": "block--booked block--no_show",
}


@dataclass(frozen=True)
class MonthDay:
    day: date
    today: bool
    chosen: bool
    slots: tuple[Slot, ...]

    @property
    def iso(self) -> str:
        return self.day.isoformat()

    @property
    def number(self) -> int:
        return self.day.day

    @property
    def free(self) -> bool:
        return bool(self.slots)

    @property
    def label(self) -> str:
        return words.long_day(self.day).replace(",", "")


@dataclass(frozen=True)
class Month:
    first: date
    weeks: tuple[tuple[MonthDay | None, ...], ...]
    before: str  # YYYY-MM, empty when there is nothing to look at
    after: str

    @property
    def iso(self) -> str:
        return f"{self.first:%Y-%m}"

    @property
    def name(self) -> str:
        return words.month(self.first)

    @property
    def days(self) -> tuple[MonthDay, ...]:
        return tuple(one for week in self.weeks for one in week if one is not None)

    @property
    def any_free(self) -> bool:
        return any(one.free for one in self.days)

    @property
    def chosen(self) -> MonthDay | None:
        return next((one for one in self.days if one.chosen), None)

    @property
    def chosen_words(self) -> str:
        return words.day(self.chosen.day) if self.chosen else ""


def last_day(first: date) -> date:
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def month_of(
    first: date, slots: Iterable[Slot], *, today: date, last_bookable: date, chosen: date | None = None
) -> Month:
    """The grid of one month, Monday first. Without a chosen day that is free, the first free one is chosen."""
    by_day: dict[date, list[Slot]] = {}
    for slot in slots:
        by_day.setdefault(slot.day, []).append(slot)
    last = last_day(first)
    free = sorted(day for day in by_day if first <= day <= last)
    picked = chosen if chosen in free else free[0] if free else None
    cells: list[MonthDay | None] = [None] * first.weekday()
    for number in range(1, last.day + 1):
        day = first.replace(day=number)
        cells.append(MonthDay(day, day == today, day == picked, tuple(by_day.get(day, ()))))
    cells += [None] * (-len(cells) % 7)
    weeks = tuple(tuple(cells[at : at + 7]) for at in range(0, len(cells), 7))
    before = first - timedelta(days=1)
    after = last + timedelta(days=1)
    return Month(
        first,
        weeks,
        before=f"{before:%Y-%m}" if before >= today.replace(day=1) else "",
        after=f"{after:%Y-%m}" if after <= last_bookable else "",
    )


def month_json(month: Month, zone: str, now: datetime, practitioner_zone: str) -> Mapping[str, Any]:
    """What booker.js shows: every word is written here, so that page and script never differ."""
    return {
        "iso": month.iso,
        "name": month.name,
        "before": month.before,
        "after": month.after,
        "zone": zone,
        "zoneWords": words.zone_words(zone, now),
        "weeks": [
            [None if one is None else _day_json(one, zone, practitioner_zone) for one in week] for week in month.weeks
        ],
    }


def _day_json(one: MonthDay, zone: str, practitioner_zone: str) -> Mapping[str, Any]:
    return {
        "iso": one.iso,
        "number": one.number,
        "label": one.label,
        "words": words.day(one.day),
        "free": one.free,
        "today": one.today,
        "slots": [
            {
                "start": slot.start.isoformat(),
                "time": slot.time,
                "other": slot.other,
                "words": words.when(slot.start, zone),
                "otherWords": words.other_zone(slot.start, zone, practitioner_zone),
            }
            for slot in one.slots
        ],
    }


@dataclass(frozen=True)
class Open:
    """A window of open time, as its owner lists it."""

    id: str
    starts_at: datetime
    ends_at: datetime
    service_name: str = ""
    price: str = ""


@dataclass(frozen=True)
class Block:
    """With a `url` it is a link; with `starts_at` a free slot, which its owner may take off."""

    title: str
    sub: str
    style: str
    url: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    off: bool = False  # an exception, drawn as hatching instead of a card


@dataclass(frozen=True)
class Shut:
    """Time that is not offered: an exception with its reason, or busy elsewhere."""

    starts_at: datetime
    ends_at: datetime
    reason: str = ""
    busy: bool = False


@dataclass(frozen=True)
class WeekCell:
    block: Block | None = None
    span: int = 1
    open: bool = False
    now: bool = False


@dataclass(frozen=True)
class WeekRow:
    hour: str  # "9:00" on full hours, else empty
    cells: tuple[WeekCell, ...]  # days whose block started above are left out


@dataclass(frozen=True)
class WeekDay:
    name: str
    number: int
    today: bool


@dataclass(frozen=True)
class Week:
    monday: str
    before: str
    after: str
    words: str
    days: tuple[WeekDay, ...]
    rows: tuple[WeekRow, ...]


@dataclass
class _Column:
    """One day's half hours while the week is laid out."""

    blocks: dict[int, tuple[Block, int]] = field(default_factory=dict)
    covered: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)


def week_of(
    monday: date,
    zone: str,
    now: datetime,
    *,
    windows: Sequence[Open],
    free: Sequence[tuple[datetime, datetime]],
    sessions: Sequence[Session],
    shut: Sequence[Shut] = (),
) -> Week:
    here = ZoneInfo(zone)
    columns = [_Column() for _ in range(7)]
    for window in windows:
        for column, first, last in _pieces(window.starts_at, window.ends_at, monday, here):
            columns[column].open.update(range(first, last))
    shown = [one for one in sessions if one.state in _BLOCK_STYLES]
    wanted = [(one.starts_at, one.ends_at, _session_block(one, zone)) for one in shown]
    wanted += [
        (start, end, Block(words.clock(start, zone), t("free"), "", starts_at=start, ends_at=end))
        for start, end in free
    ]
    for start, end, block in sorted(wanted, key=lambda item: item[0]):
        for column, first, last in _pieces(start, end, monday, here):
            _place(columns[column], first, last, block)
    today = now.astimezone(here).date()
    first_row, last_row = _shown_rows(columns)
    for one in sorted(shut, key=lambda one: (one.busy, one.starts_at)):
        for column, first, last in _pieces(one.starts_at, one.ends_at, monday, here):
            _fill_gaps(columns[column], max(first, first_row), min(last, last_row), _shut_block(one))
    sunday = monday + timedelta(days=6)
    return Week(
        monday=monday.isoformat(),
        before=(monday - timedelta(days=7)).isoformat(),
        after=(monday + timedelta(days=7)).isoformat(),
        words=_week_words(monday, sunday),
        days=tuple(
            WeekDay(words.day(day).split()[0], day.day, day == today)
            for day in (monday + timedelta(days=n) for n in range(7))
        ),
        rows=tuple(
            _row(row, columns, first_row, last_row, _now_cell(now, monday, here)) for row in range(first_row, last_row)
        ),
    )


def _session_block(one: Session, zone: str) -> Block:
    name = words.first_name(one.client_name)
    rest = one.client_name.removeprefix(name).strip()
    sub = {"pending": t("being booked"), "no_show_client": t("no-show"), "no_show_practitioner": t("missed")}.get(
        one.state, words.clock(one.starts_at, zone)
    )
    return Block(f"{name} {rest[:1]}." if rest else name, sub, _BLOCK_STYLES[one.state], f"/sessions/{one.id}")


def _shut_block(one: Shut) -> Block:
    if one.busy:
        return Block(t("Busy"), t("imported"), "block--busy")
    return Block(one.reason or t("Not offered"), "", "", off=True)


def _pieces(start: datetime, end: datetime, monday: date, here: ZoneInfo) -> list[tuple[int, int, int]]:
    """(day, first half hour, half hour after the last) of a span, cut at midnights and at the week's borders."""
    local_start, local_end = start.astimezone(here), end.astimezone(here)
    pieces = []
    for column in range(7):
        day = monday + timedelta(days=column)
        if not local_start.date() <= day <= local_end.date():
            continue
        first = _half_hour(local_start) if local_start.date() == day else 0
        last = -(-_minutes(local_end) // 30) if local_end.date() == day else _HALF_HOURS
        if last > first:
            pieces.append((column, first, last))
    return pieces


def _minutes(at: datetime) -> int:
    return at.hour * 60 + at.minute


def _half_hour(at: datetime) -> int:
    return _minutes(at) // 30


def _place(column: _Column, first: int, last: int, block: Block) -> None:
    """Half hours are coarse: a block that starts inside another's last one begins after it."""
    while first in column.covered and first < last:
        first += 1
    end = first
    while end < last and end not in column.covered:
        end += 1
    if end == first:
        return
    column.blocks[first] = (block, end - first)
    column.covered.update(range(first, end))


def _fill_gaps(column: _Column, first: int, last: int, block: Block) -> None:
    """Around what stands there already: a day off leaves its booked sessions to be seen."""
    at = first
    while at < last:
        if at in column.covered:
            at += 1
            continue
        end = at
        while end < last and end not in column.covered:
            end += 1
        _place(column, at, end, block)
        at = end


def _shown_rows(columns: Sequence[_Column]) -> tuple[int, int]:
    used = [row for column in columns for row in column.covered | column.open]
    first = min([_FIRST_HOUR * 2, *used]) // 2 * 2
    last = max([_LAST_HOUR * 2 - 1, *used]) + 1
    return first, last + last % 2


def _now_cell(now: datetime, monday: date, here: ZoneInfo) -> tuple[int, int]:
    local = now.astimezone(here)
    return (local.date() - monday).days, _half_hour(local)


def _row(row: int, columns: Sequence[_Column], first_row: int, last_row: int, now: tuple[int, int]) -> WeekRow:
    cells = []
    for number, column in enumerate(columns):
        is_open = row in column.open
        if row in column.blocks:
            block, span = column.blocks[row]
            cells.append(WeekCell(block, min(span, last_row - row), is_open))
        elif row not in column.covered:
            cells.append(WeekCell(open=is_open, now=(number, row) == now))
    return WeekRow(f"{row // 2}:00" if row % 2 == 0 else "", tuple(cells))


def _week_words(monday: date, sunday: date) -> str:
    """2 to 8 March 2026; 30 March to 5 April 2026"""
    end = t("%(day)s %(month)s", day=sunday.day, month=words.month(sunday))
    if monday.month == sunday.month:
        return t("%(day)s to %(end)s", day=monday.day, end=end)
    start = t("%(day)s %(month)s", day=monday.day, month=words.month(monday))
    return t(
        "%(start)s to %(end)s",
        start=start.removesuffix(f" {monday.year}") if monday.year == sunday.year else start,
        end=end,
    )


def next_clock_change(after: date, zone: str, within_days: int = 35) -> str:
    """ "Clocks go forward on Sun 29 Mar.", or nothing if they stay as they are so long."""
    here = ZoneInfo(zone)

    def offset(day: date) -> timedelta:
        return datetime(day.year, day.month, day.day, tzinfo=here).utcoffset() or timedelta()

    for n in range(within_days):
        day = after + timedelta(days=n)
        before, later = offset(day), offset(day + timedelta(days=1))
        if before != later:
            return (
                t("Clocks go forward on %(day)s.", day=words.day(day))
                if later > before
                else t("Clocks go back on %(day)s.", day=words.day(day))
            )
    return ""
