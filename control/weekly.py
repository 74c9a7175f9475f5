"""Weekly rules and days off as spans of real time. Pure; stands between stored rows and control/slots.py.

A rule is a wall time of its zone: "Mondays 09:00 to 13:00" begins at nine on the clock there in winter and in
summer. Where a clock change skips part of it that part is missing; where it repeats an hour the window is longer.
No database and no clock here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta
from zoneinfo import ZoneInfo

from control.slots import Span, Window, day_in, wall_to_utc

MIDNIGHT = time(0, 0)
LONGEST_DAY = timedelta(hours=26)  # no zone's day was ever longer; bounds which days may touch a span


@dataclass(frozen=True, slots=True)
class Rule:
    """An `end` of 00:00 is the midnight that ends the day. `until` is the last day, included."""

    id: str
    weekday: int
    start: time
    end: time
    zone: ZoneInfo
    first: date
    until: date | None = None
    service_id: str | None = None
    price_minor: int | None = None

    def covers(self, day: date) -> bool:
        return day.weekday() == self.weekday and self.first <= day and (self.until is None or day <= self.until)


def span_on(day: date, start: time, end: time, zone: ZoneInfo) -> Span:
    """From one wall time of a day to another; empty or backwards where the clock skips all of it."""
    last = day + timedelta(days=1) if end == MIDNIGHT else day
    return Span(wall_to_utc(day, start, zone), wall_to_utc(last, end, zone))


def windows_of_rule(rule: Rule, span: Span) -> Iterator[Window]:
    """The rule's windows that touch `span`, whole and in order; each is known by rule and day."""
    day = (span.start - LONGEST_DAY).astimezone(rule.zone).date()
    day += timedelta(days=(rule.weekday - day.weekday()) % 7)
    last = span.end.astimezone(rule.zone).date()
    while day <= last:
        if rule.covers(day):
            open_span = span_on(day, rule.start, rule.end, rule.zone)
            if open_span.start < open_span.end and open_span.overlaps(span):
                yield Window(f"{rule.id}:{day.isoformat()}", open_span, rule.service_id, rule.price_minor)
        day += timedelta(days=7)


def time_off(day: date, start: time | None, end: time | None, zone: ZoneInfo) -> Span:
    """A whole day without times, else part of it."""
    return day_in(day, zone) if start is None or end is None else span_on(day, start, end, zone)
