"""Web push on a person's devices: switching it on and off. What is pushed, and how: control/notices/push.py.

A subscription belongs to one signed-in browser. Its address is a stranger's word: it is looked at here, and again by
whatever connects to it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.database import Database
from control.models.push import PushSubscription, live


@dataclass(frozen=True)
class Device:
    """As `PushSubscription.toJSON()` of a browser has it; the keys base64url."""

    endpoint: str
    p256dh: str
    auth: str


async def is_on(db: Database, session_id: str) -> bool:
    async with db.reading() as session:
        found = select(PushSubscription.id).where(PushSubscription.session_id == session_id)
        return await session.scalar(found) is not None


async def switch_on(db: Database, actor: Actor, session_id: str, device: Device, *, now: datetime) -> None:
    """In place of what this browser had before, and of whoever used it before."""
    async with db.transaction() as session:
        await session.execute(
            delete(PushSubscription).where(
                (PushSubscription.session_id == session_id) | (PushSubscription.endpoint == device.endpoint)
            )
        )
        session.add(
            PushSubscription(
                person_id=actor.person_id,
                session_id=session_id,
                endpoint=device.endpoint,
                p256dh=device.p256dh,
                auth=device.auth,
                created_at=now,
            )
        )
        record(session, actor, "push.on", f"person:{actor.person_id}", now=now)


async def switch_off(db: Database, actor: Actor, session_id: str, *, now: datetime) -> None:
    async with db.transaction() as session:
        await session.execute(delete(PushSubscription).where(PushSubscription.session_id == session_id))
        record(session, actor, "push.off", f"person:{actor.person_id}", now=now)


async def device_of(session: AsyncSession, subscription_id: str, now: datetime) -> Device | None:
    row = await session.scalar(live(now).where(PushSubscription.id == subscription_id))
    return None if row is None else Device(row.endpoint, row.p256dh, row.auth)


async def forget(db: Database, subscription_id: str) -> None:
    """The push service knows it no more."""
    async with db.transaction() as session:
        await session.execute(delete(PushSubscription).where(PushSubscription.id == subscription_id))
