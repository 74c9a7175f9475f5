"""How long both people of a session were together in its room, by the presence log: short ones are looked at by an
admin before they are paid out (PRODUCT.md §3).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control.models.appointments import Appointment, Presence
from control.slots import Span


def together(some: Iterable[Span], others: Iterable[Span]) -> timedelta:
    """The time that is in spans of both. Spans of one side may overlap and count once."""
    total = timedelta(0)
    for one in _joined(some):
        for other in _joined(others):
            total += max(timedelta(0), min(one.end, other.end) - max(one.start, other.start))
    return total


def _joined(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


async def time_together(session: AsyncSession, row: Appointment, now: datetime) -> timedelta:
    stays = await session.execute(
        select(Presence.person_id, Presence.admitted_at, Presence.disconnected_at).where(
            Presence.appointment_id == row.id, Presence.admitted_at.is_not(None)
        )
    )
    spans: dict[str, list[Span]] = {}
    for person_id, since, until in stays:
        if since is not None:
            spans.setdefault(person_id, []).append(Span(since, max(since, until or now)))
    return together(spans.get(row.client_id, ()), spans.get(row.practitioner_id, ()))
