"""The outbox: what a change owes people is written beside the change, and leaves after it.

    action's transaction ── enqueue ──▶ outbox row (e-mail)  ──▶ OutboxWorker (worker.py) ──▶ SMTP, or kept readable
                                   └──▶ notice row (in-app)  ──▶ LiveBus (live.py) ──▶ the person's open pages

This file writes rows and reads them for the outbox page. It renders nothing and sends nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.database import Database, before_commit, publish
from control.models.notices import NoticeRow
from control.models.outbox import OutboxRow, OutboxState
from control.models.people import Person
from control.notices import texts
from control.notices.kinds import E_MAIL_ONLY, NoticeKind, SessionFacts

__all__ = ["Notice", "NoticeKind", "SessionFacts", "enqueue", "notices_after", "recent"]


_WAITING = "holdspace_in_app"


@dataclass(frozen=True)
class Notice:
    """One thing one person is to be told. `about` for anything on an appointment; `extra` for the rest.

    `secrets` reach the e-mail only (a one-time link) and are erased from the row once it is sent.
    """

    kind: NoticeKind
    person_id: str
    about: SessionFacts | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NoticeStored:
    """Published after the commit: a person has a new in-app notice."""

    person_id: str
    seq: int
    kind: str
    title: str
    body: str
    path: str | None
    facts: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class OutboxFilled:
    """Published after the commit: the worker has something to do."""


async def enqueue(session: AsyncSession, notice: Notice, *, now: datetime) -> None:
    """Owe `notice` to its person: part of the caller's transaction."""
    facts = dict(notice.extra)
    if notice.about is not None:
        facts["about"] = notice.about.as_json()
    subject_id = notice.about.appointment_id if notice.about is not None else None
    session.add(
        OutboxRow(
            kind=notice.kind,
            person_id=notice.person_id,
            subject_id=subject_id,
            facts=facts,
            secrets=dict(notice.secrets) or None,
            state=OutboxState.WAITING,
            created_at=now,
            next_attempt_at=now,
        )
    )
    publish(session, OutboxFilled())
    if notice.kind not in E_MAIL_ONLY:
        _add_in_app(session, notice, facts, now)


def _add_in_app(session: AsyncSession, notice: Notice, facts: dict[str, Any], now: datetime) -> None:
    waiting = session.info.setdefault(_WAITING, [])
    if not waiting:
        before_commit(session, _number_in_app)
    waiting.append((notice, facts, now))


async def _number_in_app(session: AsyncSession) -> None:
    """Give each in-app notice its person's next number.

    The person's row stays locked until the commit, so numbers become visible in order and a page that asks for
    everything after n misses nothing. People are taken in one order, so two transactions can't wait for each other.
    """
    waiting: list[tuple[Notice, dict[str, Any], datetime]] = session.info.pop(_WAITING, [])
    for notice, facts, now in sorted(waiting, key=lambda item: item[0].person_id):
        seq = await session.scalar(
            update(Person)
            .where(Person.id == notice.person_id)
            .values(last_notice_seq=Person.last_notice_seq + 1)
            .returning(Person.last_notice_seq)
        )
        if seq is None:
            continue
        text = texts.in_app(notice.kind, facts)
        session.add(
            NoticeRow(
                person_id=notice.person_id,
                seq=seq,
                kind=notice.kind,
                title=text.title,
                body=text.body,
                path=text.path,
                facts=facts,
                created_at=now,
            )
        )
        publish(
            session,
            NoticeStored(notice.person_id, seq, notice.kind, text.title, text.body, text.path, facts, now),
        )


# -- the outbox page ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SentMail:
    """One outbox row as the outbox page shows it."""

    id: str
    kind: str
    state: OutboxState
    to_address: str | None
    subject_line: str | None
    body_text: str | None
    body_html: str | None
    calendar: str | None
    created_at: datetime
    sent_at: datetime | None
    next_attempt_at: datetime
    attempts: int
    last_error: str | None


async def recent(db: Database, limit: int = 100) -> tuple[SentMail, ...]:
    """The newest rows, newest first."""
    async with db.reading() as session:
        rows = await session.scalars(select(OutboxRow).order_by(OutboxRow.created_at.desc()).limit(limit))
        return tuple(_as_sent_mail(row) for row in rows)


def _as_sent_mail(row: OutboxRow) -> SentMail:
    return SentMail(
        id=row.id,
        kind=row.kind,
        state=OutboxState(row.state),
        to_address=row.to_address,
        subject_line=row.subject_line,
        body_text=row.body_text,
        body_html=row.body_html,
        calendar=row.calendar,
        created_at=row.created_at,
        sent_at=row.sent_at,
        next_attempt_at=row.next_attempt_at,
        attempts=row.attempts,
        last_error=row.last_error,
    )


async def notices_after(db: Database, person_id: str, seq: int, *, limit: int = 200) -> tuple[NoticeStored, ...]:
    """A person's in-app notices after number `seq`, oldest first: what a page missed."""
    async with db.reading() as session:
        rows = await session.scalars(
            select(NoticeRow)
            .where(NoticeRow.person_id == person_id, NoticeRow.seq > seq)
            .order_by(NoticeRow.seq)
            .limit(limit)
        )
        return tuple(
            NoticeStored(row.person_id, row.seq, row.kind, row.title, row.body, row.path, row.facts, row.created_at)
            for row in rows
        )
