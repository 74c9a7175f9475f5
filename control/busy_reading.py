"""Reads busy times out of somebody's iCalendar file (RFC 5545). Run as a child process: the file is a stranger's.

    python -m control.busy_reading FIRST LAST ZONE HOST <calendar >spans     exit 0, or 2 if it is no calendar

A few lines of recurrence rule can describe a million events, so the child has limits of its own on memory and
processor time, and control/busy_times.py stops it when it takes too long. Only spans leave it, never what they are.
"""

import json
import re
import sys
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from control.slots import Span, day_in, merged, wall_to_utc

MOST_MEMORY_BYTES = 768 * 1024 * 1024
MOST_CPU_S = 10
MOST_SPANS = 5_000
NOT_A_CALENDAR = 2


class NotACalendar(ValueError):
    """The peer's fault: what the address gave is no calendar, or one too large to read."""


def busy_spans_untrusted(data: bytes, span: Span, zone: ZoneInfo, own_host: str) -> list[Span]:
    """What blocks time inside `span`, merged. Times without a zone and whole days are meant in `zone`.

    Our own sessions, which come back through invites and the feed, are left out: they are known better here.
    Raises NotACalendar only.
    """
    import recurring_ical_events  # late: it costs a start 0.2 s that only the child needs
    from icalendar import Calendar

    try:
        calendar = Calendar.from_ical(data)
        if calendar.name != "VCALENDAR":
            raise NotACalendar("no VCALENDAR")
        events = recurring_ical_events.of(calendar, skip_bad_series=True).between(span.start, span.end)
        own = re.compile(rf"session-[0-9a-f]{{32}}@{re.escape(own_host)}")
        found = [
            _span_of(event, zone) for event in events if _blocks(event) and not own.fullmatch(event.get("UID", ""))
        ]
    except NotACalendar:
        raise
    except Exception as error:  # the libraries raise many kinds for broken files
        raise NotACalendar(type(error).__name__) from error
    spans = merged(one for one in found if one.start < one.end and one.overlaps(span))
    if len(spans) > MOST_SPANS:
        raise NotACalendar("too many events")
    return spans


def _blocks(event: Any) -> bool:
    free = (
        event.get("TRANSP", "").upper() == "TRANSPARENT"
        or event.get("X-MICROSOFT-CDO-BUSYSTATUS", "").upper() == "FREE"
        or event.get("STATUS", "").upper() == "CANCELLED"
    )
    return not free


def _span_of(event: Any, zone: ZoneInfo) -> Span:
    start, end = event["DTSTART"].dt, event["DTEND"].dt if "DTEND" in event else event["DTSTART"].dt
    if not isinstance(start, datetime):
        last = max(end, start + timedelta(days=1))
        return Span(day_in(start, zone).start, day_in(last, zone).start)
    return Span(_moment(start, zone), _moment(end, zone))


def _moment(at: datetime | date, zone: ZoneInfo) -> datetime:
    if not isinstance(at, datetime):
        return wall_to_utc(at, time(0), zone)
    # In UTC: two wall times of one zone are compared by what the clock shows, which a repeated hour shows twice.
    return at.astimezone(UTC) if at.tzinfo is not None else wall_to_utc(at.date(), at.time(), zone)


def main() -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
    first, last, zone, own_host = sys.argv[1:5]
    span = Span(datetime.fromisoformat(first), datetime.fromisoformat(last))
    try:
        spans = busy_spans_untrusted(sys.stdin.buffer.read(), span, ZoneInfo(zone), own_host)
    except (NotACalendar, MemoryError):
        return NOT_A_CALENDAR
    json.dump([[one.start.timestamp(), one.end.timestamp()] for one in spans], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
