"""What became of the outbox's rows, for the outbox page: read, searched by state, and tried again by an admin."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select, update

from control.accounts import Actor
from control.audit import record
from control.database import Database, publish
from control.errors import Conflict, NotFound
from control.models.outbox import OutboxChannel, OutboxRow, OutboxState
from control.notices.kinds import NoticeKind
from control.notices.outbox import OutboxFilled
from control.paging import Page, Place, Wanted, after, cut
from control.problem_secrecy import kept_from


@dataclass(frozen=True)
class SentMail:
    """One outbox row as the outbox page shows it."""

    id: str
    kind: str
    channel: OutboxChannel
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


async def page_of_outbox(
    db: Database, reader: Actor, wanted: Wanted, *, state: OutboxState | None = None
) -> Page[SentMail]:
    """The newest rows first; only those of one state if it is named. What is planned for later is left out."""
    query = select(OutboxRow).where(OutboxRow.channel != OutboxChannel.PLANNED, _may_be_read_by(reader))
    if state is not None:
        query = query.where(OutboxRow.state == state)
    async with db.reading() as session:
        rows = (await session.scalars(after(query, wanted, OutboxRow.created_at, OutboxRow.id))).all()
    page = cut(rows, wanted, lambda row: Place(row.created_at, row.id))
    return Page(tuple(_as_sent_mail(row) for row in page.rows), page.next_cursor)


async def one(db: Database, reader: Actor, row_id: str) -> SentMail:
    async with db.reading() as session:
        row = await session.scalar(select(OutboxRow).where(OutboxRow.id == row_id, _may_be_read_by(reader)))
    if row is None:
        raise NotFound
    return _as_sent_mail(row)


async def dead_letters(db: Database) -> int:
    async with db.reading() as session:
        dead = select(func.count()).select_from(OutboxRow).where(OutboxRow.state == OutboxState.DEAD)
        return await session.scalar(dead) or 0


async def try_again(db: Database, actor: Actor, row_id: str, *, now: datetime) -> SentMail:
    """Let a letter that was given up start anew. Conflict if it was not: an admin pressed twice, or never died.

    A sign-in link or code was erased when it was given up: such a letter can't be sent again, only asked for anew.
    """
    async with db.transaction() as session:
        row = await session.get(OutboxRow, row_id, with_for_update=True)
        if row is None:
            raise NotFound
        if row.state != OutboxState.DEAD:
            raise Conflict("not_given_up", "This letter has not been given up.", state=row.state)
        if row.had_secrets:
            raise Conflict("secret_erased", "Its link was erased when it was given up. A new one has to be asked for.")
        await session.execute(
            update(OutboxRow)
            .where(OutboxRow.id == row_id, OutboxRow.state == OutboxState.DEAD)
            .values(state=OutboxState.WAITING, attempts=0, next_attempt_at=now, last_error=None)
        )
        record(session, actor, "outbox.retried", f"outbox:{row_id}", now=now)
        publish(session, OutboxFilled())
        await session.refresh(row)
        return _as_sent_mail(row)


def _may_be_read_by(reader: Actor) -> ColumnElement[bool]:
    problem = OutboxRow.facts["problem_id"].as_string()
    return or_(OutboxRow.kind != NoticeKind.PROBLEM_ALERT, problem.not_in(kept_from(reader)))


def _as_sent_mail(row: OutboxRow) -> SentMail:
    return SentMail(
        id=row.id,
        kind=row.kind,
        channel=OutboxChannel(row.channel),
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
