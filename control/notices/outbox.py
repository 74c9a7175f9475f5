"""The outbox: what a change owes people is written beside the change, and leaves after it.

    action's transaction ── enqueue ──▶ outbox rows (e-mail, SMS, push) ▶ OutboxWorker (worker.py) ──▶ gateways, or kept
                                   └──▶ notice row (in-app)        ──▶ LiveBus (live.py) ──▶ the person's open pages
                         └─ plan_reminders ──▶ outbox rows that are enqueued when their time comes

Which channels a kind has is the table in kinds.py. This file writes rows and reads them for the pages. It renders
nothing and sends nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.database import Database, before_commit, publish
from control.language import ENGLISH, choose, speaking
from control.models.notices import NoticeRow
from control.models.outbox import OutboxChannel, OutboxRow, OutboxState
from control.models.people import Person
from control.models.push import PushSubscription, live
from control.notices import texts
from control.notices.kinds import CHANNELS, Channel, NoticeKind, SessionFacts

__all__ = ["RULES", "Notice", "NoticeKind", "NoticeRules", "SessionFacts", "enqueue", "notices_after", "plan_reminders"]

RULES = "holdspace_notice_rules"
"""Under this name a database's session info (control/database.py) has the install's NoticeRules."""

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


@dataclass(frozen=True)
class NoticeRules:
    """What this install has set."""

    off: frozenset[str] = frozenset()
    reminders: tuple[timedelta, ...] = (timedelta(hours=24), timedelta(minutes=15))
    push: bool = False
    languages: tuple[str, ...] = (ENGLISH,)


def rules_of(session: AsyncSession) -> NoticeRules:
    rules: NoticeRules = session.info.get(RULES, NoticeRules())
    return rules


async def enqueue(session: AsyncSession, notice: Notice, *, now: datetime, mail_at: datetime | None = None) -> None:
    """Owe `notice` to its person in every channel of its kind: part of the caller's transaction.

    `mail_at` leaves time in which the person may learn of it on their pages, so that the e-mail is not needed.
    """
    if notice.kind in rules_of(session).off:
        return
    channels = CHANNELS[notice.kind]
    if Channel.EMAIL in channels:
        session.add(_row(notice, OutboxChannel.EMAIL, now, mail_at or now))
    if Channel.SMS in channels and await _takes_sms(session, notice):
        session.add(_row(notice, OutboxChannel.SMS, now, now))
    if Channel.PUSH in channels and rules_of(session).push:
        await _add_pushes(session, notice, now)
    publish(session, OutboxFilled())
    if Channel.IN_APP in channels:
        _add_in_app(session, notice, _facts(notice), now)


async def _add_pushes(session: AsyncSession, notice: Notice, now: datetime) -> None:
    """A row for each device: one that can't be reached holds up no other."""
    for device in await session.scalars(live(now).where(PushSubscription.person_id == notice.person_id)):
        about = replace(notice, extra={**notice.extra, "device": device.id})
        session.add(_row(about, OutboxChannel.PUSH, now, now))


async def plan_reminders(
    session: AsyncSession, about: SessionFacts, person_ids: Iterable[str], *, now: datetime
) -> None:
    """Remind these people of the session before its start; a time that has passed is skipped.

    Also when it is moved: what was planned for the earlier start finds another start at its time and is dropped.
    """
    for before in rules_of(session).reminders:
        due = about.starts_at - before
        if due > now:
            session.add_all(
                _row(Notice(NoticeKind.REMINDER, person_id, about), OutboxChannel.PLANNED, now, due)
                for person_id in person_ids
            )


def _row(notice: Notice, channel: OutboxChannel, now: datetime, due: datetime) -> OutboxRow:
    return OutboxRow(
        kind=notice.kind,
        channel=channel,
        person_id=notice.person_id,
        subject_id=notice.about.appointment_id if notice.about is not None else None,
        facts=_facts(notice),
        secrets=dict(notice.secrets) or None,
        had_secrets=bool(notice.secrets),
        state=OutboxState.WAITING,
        created_at=now,
        next_attempt_at=due,
    )


def _facts(notice: Notice) -> dict[str, Any]:
    facts = dict(notice.extra)
    if notice.about is not None:
        facts["about"] = notice.about.as_json()
    return facts


async def _takes_sms(session: AsyncSession, notice: Notice) -> bool:
    """A code goes to the number it is to prove (in the facts); everything else only to a proven one, if wanted."""
    if notice.kind is NoticeKind.PHONE_CODE:
        return True
    wants = select(Person.id).where(
        Person.id == notice.person_id, Person.phone_proven_at.is_not(None), Person.wants_sms.is_(True)
    )
    return await session.scalar(wants) is not None


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
        found = await session.execute(
            update(Person)
            .where(Person.id == notice.person_id)
            .values(last_notice_seq=Person.last_notice_seq + 1)
            .returning(Person.last_notice_seq, Person.language)
        )
        row = found.one_or_none()
        if row is None:
            continue
        seq = row.last_notice_seq
        with speaking(choose(rules_of(session).languages, row.language)):
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


async def notices_after(db: Database, person_id: str, seq: int, *, limit: int = 200) -> tuple[NoticeStored, ...]:
    """A person's in-app notices after number `seq`, oldest first: what a page missed."""
    async with db.reading() as session:
        rows = await session.scalars(
            select(NoticeRow)
            .where(NoticeRow.person_id == person_id, NoticeRow.seq > seq)
            .order_by(NoticeRow.seq)
            .limit(limit)
        )
        return tuple(_stored(row) for row in rows)


async def newest_notices(db: Database, person_id: str, *, limit: int = 30) -> tuple[tuple[NoticeStored, bool], ...]:
    """The newest in-app notices of a person, newest first, each with whether it was read."""
    async with db.reading() as session:
        rows = await session.scalars(
            select(NoticeRow).where(NoticeRow.person_id == person_id).order_by(NoticeRow.seq.desc()).limit(limit)
        )
        return tuple((_stored(row), row.read_at is not None) for row in rows)


async def unread_count(db: Database, person_id: str, *, most: int = 100) -> int:
    """How many are unread, counted no further than `most`."""
    unread = select(NoticeRow.id).where(NoticeRow.person_id == person_id, NoticeRow.read_at.is_(None)).limit(most)
    async with db.reading() as session:
        return await session.scalar(select(func.count()).select_from(unread.subquery())) or 0


async def mark_read(db: Database, person_id: str, up_to: int, *, now: datetime) -> None:
    """Every notice of this person up to number `up_to` has been seen."""
    async with db.transaction() as session:
        await session.execute(
            update(NoticeRow)
            .where(NoticeRow.person_id == person_id, NoticeRow.seq <= up_to, NoticeRow.read_at.is_(None))
            .values(read_at=now)
        )


def _stored(row: NoticeRow) -> NoticeStored:
    return NoticeStored(row.person_id, row.seq, row.kind, row.title, row.body, row.path, row.facts, row.created_at)
