"""What a client books next after a session: the same weekday and time where that is free, else the next free time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from aiohttp import web

from control import availability
from control.errors import NotFound
from control.keys import CLOCK, DATABASE
from control.slots import Slot
from web.models import Session
from web.render import zone_of

_LOOK_AHEAD_DAYS = 21


@dataclass(frozen=True)
class Again:
    start: datetime
    same: bool  # same weekday and time


async def free_after(request: web.Request, shown: Session) -> list[Slot]:
    """Free times of the same service in the next weeks; none if it is not offered any more."""
    now, zone = request.app[CLOCK](), ZoneInfo(zone_of(request))
    today = now.astimezone(zone).date()
    last = today + timedelta(days=_LOOK_AHEAD_DAYS)
    try:
        days = await availability.month_of_slots(request.app[DATABASE], shown.service_id, today, last, zone, now)
    except NotFound:
        return []
    return [slot for slots in days.values() for slot in slots]


def again_of(shown: Session, free: list[Slot]) -> Again | None:
    """The soonest same weekday and time of the practitioner's clock, else the next free time of a later day."""
    if not free:
        return None
    here = ZoneInfo(shown.practitioner_zone)
    was = shown.starts_at.astimezone(here)
    for slot in free:
        local = slot.start.astimezone(here)
        if (local.weekday(), local.time()) == (was.weekday(), was.time()) and slot.start > shown.starts_at:
            return Again(slot.start, same=True)
    later = [slot for slot in free if slot.start >= shown.starts_at + timedelta(days=1)] or free
    return Again(later[0].start, same=False)
