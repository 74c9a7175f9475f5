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
from control.models.people import Person
from control.paging import Page, Place, Wanted, after, cut
from control.problem_secrecy import kept_from


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


def record_person(session: AsyncSession, person_id: str, action: str, *, now: datetime) -> None:
    """Somebody did something to their own account."""
    session.add(AuditEntry(at=now, actor_id=person_id, action=action, subject=f"person:{person_id}", detail={}))


async def page_of_log(
    db: Database, reader: Actor, wanted: Wanted, *, action: str = "", subject: str = "", actor_id: str = ""
) -> Page[tuple[Entry, str]]:
    """The newest entries first, each with the name of who did it. `action` and `subject` are beginnings."""
    secret = select("problem:" + kept_from(reader).subquery().c.id)
    query = select(AuditEntry, Person.name).outerjoin(Person, Person.id == AuditEntry.actor_id)
    query = query.where(AuditEntry.subject.not_in(secret))
    if action:
        query = query.where(AuditEntry.action.startswith(action, autoescape=True))
    if subject:
        query = query.where(AuditEntry.subject.startswith(subject, autoescape=True))
    if actor_id:
        query = query.where(AuditEntry.actor_id == actor_id)
    async with db.reading() as session:
        rows = (await session.execute(after(query, wanted, AuditEntry.at, AuditEntry.id))).all()
    page = cut(rows, wanted, lambda row: Place(row[0].at, row[0].id))
    return Page(tuple((_entry(row[0]), row[1] or "") for row in page.rows), page.next_cursor)


async def entries_about(db: Database, subject: str, *, limit: int = 100) -> tuple[Entry, ...]:
    """The newest entries on one subject, newest first."""
    async with db.reading() as session:
        rows = await session.scalars(
            select(AuditEntry).where(AuditEntry.subject == subject).order_by(AuditEntry.at.desc()).limit(limit)
        )
        return tuple(_entry(row) for row in rows)


def _entry(row: AuditEntry) -> Entry:
    return Entry(row.at, row.actor_id, row.action, row.subject, row.detail)
