"""The demo practice's time: a short session starts within ten minutes, whatever the hour."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from control import availability, demo
from control.database import Database
from control.models.practice import AvailabilityWindow, Service
from control.slots import Span

DAY = datetime(2026, 3, 28, tzinfo=UTC)  # the clocks change in the night that follows


async def test_short_session_starts_soon_at_every_hour(db: Database) -> None:
    await demo.load(db, now=DAY)
    for minute in range(0, 48 * 60, 12):
        now = DAY + timedelta(minutes=minute)
        await demo.open_soon(db, now=now)
        async with db.reading() as session:
            short = await session.scalar(select(Service.id).where(Service.name == demo.SHORT.name))
            offer = await availability.offer_of(session, str(short))
            free = await availability.free_between(session, offer, Span(now, now + timedelta(hours=1)), now)
            windows = await session.scalars(select(AvailabilityWindow).where(AvailabilityWindow.service_id == short))
        starts = [slot.start - now for slot in free]
        assert min(starts) <= timedelta(minutes=4), now
        assert sum(start <= timedelta(minutes=20) for start in starts) >= 3, now
        assert all(one.local_start < one.local_end for one in windows), now
