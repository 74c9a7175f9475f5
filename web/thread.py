"""Places on the thread of time, in per cent of its width: pure arithmetic for templates/parts/thread.html.

A thread runs from `start` to `end`; the browser moves the dot by the same two moments (static/js/countdown.js).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from control.language import t
from web import words
from web.models import Session

#: Where "now" stands while a session is still to come: what is past is a short solid piece.
_PAST_SHARE = 0.08
#: Farther away the session would be a speck at the end of a long line.
_FAR = timedelta(hours=14)
#: Two words closer than this (per cent) would run into each other on a phone.
_APART = 27.0


@dataclass(frozen=True)
class SessionThread:
    start: datetime
    end: datetime
    now: float
    opens: float
    starts: float
    label: str
    shows_open: bool
    now_anchor: str


@dataclass(frozen=True)
class DayBlock:
    at: float
    width: float
    kind: str  # other: over; span: now; open: to come
    text: str
    is_tight: bool  # on phones its text would run into the one before


@dataclass(frozen=True)
class DayThread:
    start: datetime
    end: datetime
    now: float | None
    blocks: tuple[DayBlock, ...]
    label: str


def session_thread(
    now: datetime, opens_at: datetime, starts_at: datetime, ends_at: datetime, zone: str
) -> SessionThread | None:
    if now >= ends_at or opens_at - now > _FAR:
        return None
    earliest = min(now, opens_at)
    start = earliest - (ends_at - earliest) * _PAST_SHARE / (1 - _PAST_SHARE)

    def at(moment: datetime) -> float:
        return _share(moment, start, ends_at)

    said = t(
        "It is %(clock)s. The room opens at %(clock2)s, the session runs from %(clock3)s to %(clock4)s.",
        clock=words.clock(now, zone),
        clock2=words.clock(opens_at, zone),
        clock3=words.clock(starts_at, zone),
        clock4=words.clock(ends_at, zone),
    )
    return SessionThread(
        start=start,
        end=ends_at,
        now=at(now),
        opens=at(opens_at),
        starts=at(starts_at),
        label=said,
        shows_open=at(opens_at) - at(now) > _APART and 100 - at(opens_at) > _APART,
        now_anchor="start" if at(now) < 9 else "middle" if at(now) < 91 else "end",
    )


def day_thread(now: datetime, sessions: list[Session], zone: str) -> DayThread:
    """The practitioner's day from 8 to 20, wider where a session lies outside."""
    here = ZoneInfo(zone)
    today = now.astimezone(here).date()
    todays = [s for s in sessions if s.starts_at.astimezone(here).date() == today]
    start = datetime(today.year, today.month, today.day, 8, tzinfo=here)
    end = datetime(today.year, today.month, today.day, 20, tzinfo=here)
    start = min([start, *(s.starts_at for s in todays)])
    end = max([end, *(s.ends_at for s in todays)])
    blocks: list[DayBlock] = []
    written = -100.0
    for one in sorted(todays, key=lambda s: s.starts_at):
        at = _share(one.starts_at, start, end)
        kind = "other" if not one.is_open else "span" if one.starts_at <= now else "open"
        crowded = at - written < 8 or abs(at - _share(now, start, end)) < 8
        text = "" if crowded else words.clock(one.starts_at, zone)
        blocks.append(DayBlock(at, round(_share(one.ends_at, start, end) - at, 2), kind, text, at - written < 14))
        written = written if crowded else at
    times = ", ".join(words.clock(s.starts_at, zone) for s in todays)
    said = t(
        "Your day from %(clock)s to %(clock2)s. It is %(clock3)s.",
        clock=words.clock(start, zone),
        clock2=words.clock(end, zone),
        clock3=words.clock(now, zone),
    )
    said += t(" Sessions at %(times)s.", times=times) if times else t(" No sessions.")
    inside = start <= now <= end
    return DayThread(start, end, _share(now, start, end) if inside else None, tuple(blocks), said)


def _share(moment: datetime, start: datetime, end: datetime) -> float:
    whole = (end - start) / timedelta(seconds=1)
    return round(min(100.0, max(0.0, (moment - start) / timedelta(seconds=1) / whole * 100)), 2)
