"""The append-only audit log: who did what, and who read what. Part of the transaction it tells of.

Keep out of `detail`: names, e-mails, what people wrote. Ids and full-word states are enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import OPERATOR, Actor
from control.database import Database
from control.models.audit import AuditEntry


@dataclass(frozen=True)
class Entry:
    at: datetime
    actor_id: str | None
    action: str
    subject: str
    detail: Mapping[str, Any]


def record(
    session: AsyncSession,
    actor: Actor | None,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
    *,
    now: datetime,
) -> None:
    """Add one entry. `actor` is None for the system itself; `subject` is "noun:id"."""
    by_operator = {"by": "operator"} if actor == OPERATOR else {}
    session.add(
        AuditEntry(
            at=now,
            actor_id=None if actor is None or actor == OPERATOR else actor.person_id,
            action=action,
            subject=subject,
            detail={**(detail or {}), **by_operator},
        )
    )


async def entries_about(db: Database, subject: str, *, limit: int = 100) -> tuple[Entry, ...]:
    """The newest entries on one subject, newest first."""
    async with db.reading() as session:
        rows = await session.scalars(
            select(AuditEntry).where(AuditEntry.subject == subject).order_by(AuditEntry.at.desc()).limit(limit)
        )
        return tuple(Entry(row.at, row.actor_id, row.action, row.subject, row.detail) for row in rows)
