"""Slots: which starts a practitioner's windows offer for a service. Pure; the first thing a booking meets.

A window is a span of one practitioner's real time. Slots start every service length plus buffers from the
window's start (PRODUCT.md §1), counted in elapsed time, so a clock change inside a window moves no slot's length.
Times people write are wall times of a zone; `wall_to_utc` is the only place where they become moments.
No database and no clock here: taken time and `now` are arguments.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from control.errors import Invalid


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open: what ends at 10:00 and what begins at 10:00 do not overlap."""

    start: datetime
    end: datetime

    def overlaps(self, other: "Span") -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Window:
    """Time a practitioner offers. `service_id` none: for every service; `price_minor` none: the service's own.

    `off` are exceptions: a slot may touch none of them, its buffers may. `busy` are times spent elsewhere: those
    keep the buffers too. Neither moves the other slots, which are counted from the window's start.
    """

    id: str
    span: Span
    service_id: str | None = None
    price_minor: int | None = None
    off: tuple[Span, ...] = ()
    busy: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class SlotRules:
    service_id: str
    length: timedelta
    buffer_before: timedelta
    buffer_after: timedelta
    minimum_notice: timedelta
    booking_window: timedelta
    price_minor: int
    currency: str

    @property
    def step(self) -> timedelta:
        return self.buffer_before + self.length + self.buffer_after

    def busy(self, start: datetime) -> Span:
        """What an appointment at `start` keeps the practitioner from, buffers included."""
        return Span(start - self.buffer_before, start + self.length + self.buffer_after)

    def bookable(self, now: datetime) -> Span:
        """The starts somebody may book at `now`; the end is included by callers through `allows`."""
        return Span(now + self.minimum_notice, now + self.booking_window)

    def allows(self, start: datetime, now: datetime) -> bool:
        limits = self.bookable(now)
        return limits.start <= start <= limits.end


@dataclass(frozen=True, slots=True)
class Slot:
    start: datetime
    end: datetime
    price_minor: int
    currency: str
    window_id: str


def slots_of_window(
    window: Window, rules: SlotRules, taken: Sequence[Span] = (), bookable: Span | None = None
) -> Iterator[Slot]:
    """The slots of one window in order, without those that meet `taken` (merged, with buffers).

    `bookable` bounds the starts, its end included. Costs what is left over, not what is booked.
    """
    price = rules.price_minor if window.price_minor is None else window.price_minor
    start, last = window.span.start, window.span.end - rules.length
    if bookable is not None:
        start, last = _not_before(bookable.start, start, rules.step), min(last, bookable.end)
    for barred in (*_barred(window, rules, taken), Span(last, last)):
        while start <= barred.start and start <= last:
            yield Slot(start, start + rules.length, price, rules.currency, window.id)
            start += rules.step
        start = _not_before(barred.end, start, rules.step)


def _not_before(moment: datetime, start: datetime, step: timedelta) -> datetime:
    """The first of `start`, `start + step`, … that is not before `moment`."""
    return start if start >= moment else start - (start - moment) // step * step


def _barred(window: Window, rules: SlotRules, taken: Sequence[Span]) -> list[Span]:
    """By their start, the spans strictly inside of which no slot may start."""
    before, after = rules.buffer_before, rules.length + rules.buffer_after
    wide = Span(window.span.start - before, window.span.end + rules.buffer_after)
    barred = [Span(span.start - rules.length, span.end) for span in window.off]
    for spans in (window.busy, touching(taken, wide)):
        barred += [Span(span.start - after, span.end + before) for span in spans]
    return sorted(barred)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time as spans that neither overlap nor touch, in order."""
    return merged_times((span.start, span.end) for span in spans)


def merged_times(times: Iterable[tuple[datetime, datetime]]) -> list[Span]:
    """`merged` of starts and ends as a query finds them: spans are made of the result only."""
    result: list[Span] = []
    first: datetime | None = None
    last = datetime.min.replace(tzinfo=UTC)
    for start, end in sorted(times):
        if first is None:
            first = start
        elif start > last:
            result.append(Span(first, last))
            first = start
        last = max(last, end)
    return result if first is None else [*result, Span(first, last)]


def touching(spans: Sequence[Span], around: Span) -> tuple[Span, ...]:
    """Those of merged `spans` that overlap `around`."""
    first = bisect_right(spans, around.start, key=lambda span: span.end)
    last = bisect_left(spans, around.end, key=lambda span: span.start)
    return tuple(spans[first:last])


def all_slots(
    windows: Iterable[Window], rules: SlotRules, taken: Sequence[Span] = (), bookable: Span | None = None
) -> list[Slot]:
    """The slots of several windows by start; where two windows offer the same start the dearer one gives way.

    `taken` and `bookable` as in `slots_of_window`.
    """
    by_start: dict[datetime, Slot] = {}
    for window in windows:
        if window.service_id not in (None, rules.service_id):
            continue
        for slot in slots_of_window(window, rules, taken, bookable):
            other = by_start.get(slot.start)
            if other is None or (slot.price_minor, slot.window_id) < (other.price_minor, other.window_id):
                by_start[slot.start] = slot
    return [by_start[start] for start in sorted(by_start)]


def free_slots(windows: Iterable[Window], rules: SlotRules, taken: Iterable[Span], now: datetime) -> list[Slot]:
    """The slots that may be booked at `now`. `taken` are busy spans with their buffers, in any order."""
    return all_slots(windows, rules, merged(taken), rules.bookable(now))


def first_free(
    windows: Sequence[Window], rules: SlotRules, taken: Sequence[Span], span: Span, now: datetime
) -> datetime | None:
    """The first start inside `span` that may be booked at `now`. `windows` by their start, `taken` merged.

    Looks no further than it has to: for lists of many practitioners.
    """
    bookable = rules.bookable(now)
    bookable = Span(max(span.start, bookable.start), bookable.end)
    best: datetime | None = None
    for window in windows:
        if window.span.start >= (best or span.end):
            break
        if window.service_id not in (None, rules.service_id):
            continue
        slot = next(slots_of_window(window, rules, taken, bookable), None)
        if slot is not None and slot.start < (best or span.end):
            best = slot.start
    return best


def nearest(slots: Iterable[Slot], wanted: datetime, count: int) -> list[Slot]:
    """The `count` slots closest to `wanted`, in the order of the calendar."""
    closest = sorted(slots, key=lambda slot: (abs(slot.start - wanted), slot.start))[:count]
    return sorted(closest, key=lambda slot: slot.start)


def zone_named_untrusted(name: str) -> ZoneInfo:
    """Raises Invalid("unknown_time_zone"). A name is never used as a path: ZoneInfo refuses those with ValueError."""
    try:
        if not name or len(name) > 64:
            raise ValueError("length")
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid("unknown_time_zone", "This time zone is not known here.") from error


def wall_to_utc(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """The moment at which a wall clock in `zone` shows `clock` on `day`; never decreasing in the wall time.

    A time the clock shows twice is its first showing. A time it skips is the moment of the jump, so a window
    from 02:30 on a night that jumps from 02:00 to 03:00 begins at 03:00, and one until 02:30 ends at 02:00.
    """
    wall = datetime.combine(day, clock.replace(tzinfo=None, fold=0))
    late = wall.replace(tzinfo=zone).astimezone(UTC)
    if late.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
        return late
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _jump_between(early, late, zone)


def _jump_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first second in (before, after] at which the zone's offset has changed."""
    offset = before.astimezone(zone).utcoffset()
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)


def day_in(day: date, zone: ZoneInfo) -> Span:
    """The span of one calendar day there: 23, 24 or 25 hours, or less where a zone skipped a day."""
    midnight = time(0, 0)
    return Span(wall_to_utc(day, midnight, zone), wall_to_utc(day + timedelta(days=1), midnight, zone))
