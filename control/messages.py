"""Messages between a client and a practitioner: who may write to whom, writing, reading, reminding (PRODUCT.md §7).

    write ─▶ sealed message, counters ─▶ notice (in-app now, e-mail a minute later if still unread)
                                     └─▶ MessageStored ─▶ open pages of both
    unanswered ─▶ remind_unanswered (scheduler's errand) ─▶ two reminders to the practitioner

The conversation's row is locked first, so numbers are given in the order of commits. Reads: message_queries.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_states import State
from control.config import MessageSettings
from control.database import Database, new_id, publish
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.message_events import MessageStored
from control.models.appointments import Appointment
from control.models.messages import Conversation, ConversationReader, Message
from control.models.people import Person, Role
from control.models.practice import PractitionerProfile
from control.monitoring import NOT_MONITORED, WritingNotice, require_acknowledgement
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.sealing import Sealer

MOST_TEXT_LENGTH = 4_000  # characters: a long letter; more is a document and belongs into a file
MAIL_AFTER = timedelta(minutes=1)  # who has the conversation open reads within it, and gets no e-mail


@dataclass(frozen=True)
class MessageRules:
    """What this install has set."""

    sealer: Sealer
    notice: WritingNotice
    remind_after: tuple[timedelta, ...] = (timedelta(hours=24), timedelta(hours=72))


def rules_from(settings: MessageSettings, master_key: bytes) -> MessageRules:
    monitored = settings.monitored
    notice = WritingNotice(settings.notice if monitored else NOT_MONITORED, monitored)
    return MessageRules(
        Sealer(master_key, "messages"), notice, tuple(timedelta(hours=hours) for hours in settings.reminder_hours)
    )


@dataclass(frozen=True, slots=True)
class Written:
    id: str
    conversation_id: str
    seq: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Pair:
    """Between whom a conversation is."""

    practitioner_id: str
    person_id: str


def sealed_context(conversation_id: str, seq: int) -> str:
    return f"message:{conversation_id}:{seq}"


# -- who may write to whom ---------------------------------------------------------------------------------------


async def pair_with(session: AsyncSession, actor: Actor, other_id: str) -> Pair:
    """Between whom a message of `actor` to `other_id` would be.

    A member writes to any published practitioner and to those they have met; a practitioner to a client who has, or
    had, a session with them or has written to them. Raises NotFound for somebody who can't be written to,
    Forbidden("not_active_client") for a practitioner's attempt at anyone else.
    """
    if other_id == actor.person_id:
        raise NotFound("nobody_there", "A message needs somebody else to read it.")
    if actor.is_any(Role.CLIENT):
        pair = Pair(other_id, actor.person_id)
        if await _is_listed(session, other_id) or await _is_active_client(session, pair):
            return pair
    if actor.is_any(Role.PRACTITIONER):
        pair = Pair(actor.person_id, other_id)
        if await _is_active_client(session, pair):
            return pair
        raise Forbidden(
            "not_active_client",
            "You can write to people who have a session with you or have written to you. "
            "For anyone else, contact practitioner support.",
        )
    raise NotFound("nobody_there", "There is nobody to write to here.")


async def _is_listed(session: AsyncSession, person_id: str) -> bool:
    profile = await session.get(PractitionerProfile, person_id)
    return profile is not None and profile.published


async def _is_active_client(session: AsyncSession, pair: Pair) -> bool:
    met = select(Appointment.id).where(
        Appointment.practitioner_id == pair.practitioner_id,
        Appointment.client_id == pair.person_id,
        Appointment.state.not_in((State.PENDING, State.EXPIRED)),
        or_(Appointment.needs_activation.is_(False), Appointment.activated_at.is_not(None)),
    )
    if await session.scalar(met.limit(1)) is not None:
        return True
    return await find(session, pair) is not None


async def find(session: AsyncSession, pair: Pair) -> str | None:
    """The id of their conversation, if there is one."""
    return await session.scalar(
        select(Conversation.id).where(
            Conversation.practitioner_id == pair.practitioner_id, Conversation.person_id == pair.person_id
        )
    )


# -- writing -----------------------------------------------------------------------------------------------------


async def write_to(
    db: Database,
    rules: MessageRules,
    actor: Actor,
    other_id: str,
    text: str,
    *,
    seen_notice: str | None = None,
    now: datetime,
) -> Written:
    """A message to somebody, in the one conversation the two have; begun with it if there is none."""
    async with db.transaction() as session:
        pair = await pair_with(session, actor, other_id)
        conversation_id = await _begin(db, session, pair, now)
        return await _write(session, rules, actor, conversation_id, text, seen_notice, now)


async def write(
    db: Database,
    rules: MessageRules,
    actor: Actor,
    conversation_id: str,
    text: str,
    *,
    seen_notice: str | None = None,
    now: datetime,
) -> Written:
    """A message in a conversation of the writer's. Raises NotFound for a stranger."""
    async with db.transaction() as session:
        return await _write(session, rules, actor, conversation_id, text, seen_notice, now)


async def _begin(db: Database, session: AsyncSession, pair: Pair, now: datetime) -> str:
    """Two people who write to each other for the first time at once get one conversation."""
    insert = sqlite.insert if db.is_sqlite else postgresql.insert
    values: Mapping[str, Any] = {
        "id": new_id(),
        "practitioner_id": pair.practitioner_id,
        "person_id": pair.person_id,
        "last_seq": 0,
        "last_message_at": now,
        "unanswered": 0,
        "reminders_sent": 0,
        "created_at": now,
    }
    unique = [Conversation.practitioner_id, Conversation.person_id]
    await session.execute(insert(Conversation).values(**values).on_conflict_do_nothing(index_elements=unique))
    found = await find(session, pair)
    if found is None:
        raise Conflict("conversation_busy", "Please send it again.")
    return found


async def _write(
    session: AsyncSession,
    rules: MessageRules,
    actor: Actor,
    conversation_id: str,
    text: str,
    seen_notice: str | None,
    now: datetime,
) -> Written:
    text = checked_text(text)
    row = await locked(session, actor, conversation_id)
    await require_acknowledgement(session, actor, rules.notice, seen_notice, now=now)
    row.last_seq += 1
    row.last_message_at = now
    _count_unanswered(row, rules, actor, now)
    message = Message(
        id=new_id(),
        conversation_id=row.id,
        seq=row.last_seq,
        author_id=actor.person_id,
        sealed=rules.sealer.seal(text, sealed_context(row.id, row.last_seq)),
        monitored=rules.notice.monitored,
        created_at=now,
    )
    session.add(message)
    await session.flush()
    await _tell_other(session, actor, row, now)
    await _read_to(session, actor.person_id, row.id, row.last_seq)
    publish(session, MessageStored(row.id, people_of(row), actor.person_id, row.last_seq))
    return Written(message.id, row.id, row.last_seq, now)


def checked_text(text: str) -> str:
    text = text.strip()
    if not 1 <= len(text) <= MOST_TEXT_LENGTH:
        raise Invalid("text_length", f"A message has 1 to {MOST_TEXT_LENGTH:,} characters.", pointer="/text")
    return text


def people_of(row: Conversation) -> tuple[str, ...]:
    return (row.person_id,) if row.practitioner_id is None else (row.practitioner_id, row.person_id)


async def locked(session: AsyncSession, actor: Actor, conversation_id: str) -> Conversation:
    """The conversation, nobody else writing in it until the commit. Raises NotFound for a stranger."""
    row = await session.get(Conversation, conversation_id, with_for_update=True)
    if row is None or actor.person_id not in people_of(row):
        raise NotFound
    return row


def _count_unanswered(row: Conversation, rules: MessageRules, actor: Actor, now: datetime) -> None:
    """An answer ends the count; the first message after one starts it, and its reminders."""
    if actor.person_id != row.person_id:
        row.unanswered, row.unanswered_since, row.remind_at = 0, None, None
        return
    row.unanswered += 1
    if row.unanswered_since is None:
        row.unanswered_since, row.reminders_sent = now, 0
        row.remind_at = now + rules.remind_after[0] if rules.remind_after else None


async def _tell_other(session: AsyncSession, actor: Actor, row: Conversation, now: datetime) -> None:
    """One notice for all that came since they last looked."""
    for person_id in people_of(row):
        if person_id == actor.person_id:
            continue
        reader = await session.get(ConversationReader, (row.id, person_id))
        if (0 if reader is None else reader.read_seq) < row.last_seq - 1:
            continue
        facts = {
            "from_name": actor.name,
            "path": path_of(row.id),
            "conversation_id": row.id,
            "reader_id": person_id,
            "seq": row.last_seq,
        }
        notice = Notice(NoticeKind.NEW_MESSAGE, person_id, extra=facts)
        await enqueue(session, notice, now=now, mail_at=now + MAIL_AFTER)


def path_of(conversation_id: str) -> str:
    return f"/messages/{conversation_id}"


# -- reading -----------------------------------------------------------------------------------------------------


async def mark_read(db: Database, actor: Actor, conversation_id: str, up_to: int) -> None:
    """This person has seen every message up to number `up_to`; never fewer than before."""
    async with db.transaction() as session:
        row = await session.get(Conversation, conversation_id)
        if row is None or actor.person_id not in people_of(row):
            raise NotFound
        if await _read_to(session, actor.person_id, row.id, min(up_to, row.last_seq)):
            publish(session, MessageStored(row.id, people_of(row), None, row.last_seq))


async def _read_to(session: AsyncSession, person_id: str, conversation_id: str, seq: int) -> bool:
    """Whether that was further than before."""
    moved = await session.execute(
        update(ConversationReader)
        .where(
            ConversationReader.conversation_id == conversation_id,
            ConversationReader.person_id == person_id,
            ConversationReader.read_seq < seq,
        )
        .values(read_seq=seq)
    )
    if cast(CursorResult[Any], moved).rowcount == 1:
        return True
    if await session.get(ConversationReader, (conversation_id, person_id)) is not None:
        return False
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    await session.execute(
        insert(ConversationReader)
        .values(conversation_id=conversation_id, person_id=person_id, read_seq=seq)
        .on_conflict_do_nothing()
    )
    return True


async def other_in(db: Database, actor: Actor, conversation_id: str) -> tuple[str, ...]:
    """Who else is in it, for the sign that somebody is writing. Raises NotFound for a stranger."""
    async with db.reading() as session:
        row = await session.get(Conversation, conversation_id)
    if row is None or actor.person_id not in people_of(row):
        raise NotFound
    return tuple(person_id for person_id in people_of(row) if person_id != actor.person_id)


# -- reminding ---------------------------------------------------------------------------------------------------

MOST_REMINDED_AT_ONCE = 200


async def remind_unanswered(db: Database, rules: MessageRules, now: datetime) -> int:
    """Tell practitioners of messages that have waited for an answer; how many conversations that were.

    Safe to repeat: a row is reminded of only if its `remind_at` is still the one that was due.
    """
    async with db.transaction() as session:
        due = await session.scalars(
            select(Conversation)
            .where(Conversation.remind_at <= now)
            .order_by(Conversation.remind_at)
            .limit(MOST_REMINDED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        rows = due.all()
        for row in rows:
            await _remind(session, rules, row, now)
        return len(rows)


async def _remind(session: AsyncSession, rules: MessageRules, row: Conversation, now: datetime) -> None:
    row.reminders_sent += 1
    since = row.unanswered_since or now
    later = [since + after for after in rules.remind_after[row.reminders_sent :]]
    row.remind_at = later[0] if later else None
    if row.practitioner_id is None:
        return
    name = await session.scalar(select(Person.name).where(Person.id == row.person_id))
    facts = {
        "from_name": name,
        "count": row.unanswered,
        "path": path_of(row.id),
        "conversation_id": row.id,
    }
    await enqueue(session, Notice(NoticeKind.UNANSWERED_MESSAGES, row.practitioner_id, extra=facts), now=now)
