"""Messages between a client and a practitioner: who may write to whom, writing, reading, reminding (PRODUCT.md §7).

    write ─▶ sealed message, counters ─▶ notice (in-app now, e-mail a minute later if still unread)
                                     └─▶ MessageStored ─▶ open pages of both
    unanswered ─▶ remind_unanswered (scheduler's errand) ─▶ two reminders to the practitioner

The conversation's row is locked first, so numbers are given in the order of commits. Reads: message_queries.py.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control import message_files
from control.accounts import Actor
from control.appointment_states import State
from control.config import MessageSettings
from control.database import Database, insert_into, new_id, publish
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.language import ENGLISH, N_, t
from control.message_events import MessageStored
from control.models.appointments import Appointment
from control.models.messages import Conversation, ConversationReader, DeskJob, Message
from control.models.my_data import PersonErasure
from control.models.people import Person, PersonRole, Role
from control.models.practice import PractitionerProfile
from control.monitoring import NOT_MONITORED, WritingNotice, require_acknowledgement
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.reply_addresses import ReplyAddresses
from control.sealing import Sealer

MOST_TEXT_LENGTH = 4_000  # characters: a long letter; more is a document and belongs into a file
STAFF = (Role.SUPPORT, Role.ADMIN)
OUTBOX_CONTEXT = "answer in the outbox"
MAIL_AFTER = timedelta(minutes=1)  # who has the conversation open reads within it, and gets no e-mail


@dataclass(frozen=True)
class MessageRules:
    """What this install has set."""

    sealer: Sealer
    notice: WritingNotice
    remind_after: tuple[timedelta, ...] = (timedelta(hours=24), timedelta(hours=72))
    replies: ReplyAddresses | None = None
    """None: e-mailed replies have no way in."""
    zendesk: bool = False
    """What enquirers and the practice write to each other goes to Zendesk too, which writes to the enquirer."""
    languages: tuple[str, ...] = (ENGLISH,)


def rules_from(
    settings: MessageSettings, master_key: bytes, *, languages: tuple[str, ...], zendesk: bool = False
) -> MessageRules:
    monitored = settings.monitored
    notice = WritingNotice(settings.notice if monitored else NOT_MONITORED, monitored)
    address = settings.reply_address
    return MessageRules(
        Sealer(master_key, "messages"),
        notice,
        tuple(timedelta(hours=hours) for hours in settings.reminder_hours),
        None if address is None else ReplyAddresses(address, master_key),
        zendesk,
        languages,
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

    practitioner_id: str | None  # none: with the practice itself
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
    files: Sequence[str] = (),
    now: datetime,
) -> Written:
    """A message to somebody, in the one conversation the two have; begun with it if there is none."""
    async with db.transaction() as session:
        pair = await pair_with(session, actor, other_id)
        await require_acknowledgement(session, actor, rules.notice, seen_notice, now=now)
        return await add_message(session, rules, actor, await begin(session, pair, now), text, files=files, now=now)


async def write_to_support(
    db: Database,
    rules: MessageRules,
    actor: Actor,
    text: str,
    *,
    seen_notice: str | None = None,
    files: Sequence[str] = (),
    now: datetime,
) -> Written:
    """A message to the practice itself: each person has one conversation with it."""
    async with db.transaction() as session:
        await require_acknowledgement(session, actor, rules.notice, seen_notice, now=now)
        row = await begin(session, Pair(None, actor.person_id), now)
        return await add_message(session, rules, actor, row, text, files=files, now=now)


async def write(
    db: Database,
    rules: MessageRules,
    actor: Actor,
    conversation_id: str,
    text: str,
    *,
    seen_notice: str | None = None,
    files: Sequence[str] = (),
    now: datetime,
) -> Written:
    """A message in a conversation of the writer's. Raises NotFound for a stranger."""
    async with db.transaction() as session:
        row = await locked(session, actor, conversation_id)
        await require_acknowledgement(session, actor, rules.notice, seen_notice, now=now)
        return await add_message(session, rules, actor, row, text, files=files, now=now)


async def begin(session: AsyncSession, pair: Pair, now: datetime) -> Conversation:
    """The conversation of the two, made if need be and locked; two who begin at the same moment get one."""
    values: dict[str, Any] = {
        "id": new_id(),
        "practitioner_id": pair.practitioner_id,
        "person_id": pair.person_id,
        "last_seq": 0,
        "last_message_at": now,
        "unanswered": 0,
        "reminders_sent": 0,
        "created_at": now,
    }
    await session.execute(insert_into(session, Conversation).values(**values).on_conflict_do_nothing())
    return await session.get_one(Conversation, await find(session, pair), with_for_update=True)


async def add_message(
    session: AsyncSession,
    rules: MessageRules,
    actor: Actor,
    row: Conversation,
    text: str,
    *,
    files: Sequence[str] = (),
    monitored: bool | None = None,
    from_zendesk: bool = False,
    now: datetime,
) -> Written:
    """A message in the locked conversation `row`, by somebody who may. `monitored`: what they were told, else now's."""
    files = tuple(dict.fromkeys(files))
    text = "" if files and not text.strip() else checked_text(text)
    if files and not await is_member(session, row.person_id):
        raise Conflict("files_need_account", "Who has no account gets answers by e-mail, and those carry no files.")
    if await session.get(PersonErasure, row.person_id) is not None:
        raise Conflict("person_erased", "This account was erased. Nobody would read it.")
    row.last_seq += 1
    row.last_message_at = now
    row.closed_at = None
    _count_unanswered(row, rules, actor, now)
    message = Message(
        id=new_id(),
        conversation_id=row.id,
        seq=row.last_seq,
        author_id=actor.person_id,
        sealed=rules.sealer.seal(text, sealed_context(row.id, row.last_seq)),
        monitored=rules.notice.monitored if monitored is None else monitored,
        files=len(files),
        created_at=now,
    )
    session.add(message)
    await session.flush()
    if files:
        await message_files.attach(session, actor, message.id, files)
    if rules.zendesk and not from_zendesk and await _is_desks(session, row):
        session.add(DeskJob(conversation_id=row.id, seq=row.last_seq, created_at=now, next_attempt_at=now))
    people = await people_of(session, row)
    for person_id in people:
        if person_id != actor.person_id:
            await _tell(session, rules, actor, row, person_id, text, now)
    await _read_to(session, actor.person_id, row.id, row.last_seq)
    publish(session, MessageStored(row.id, people, actor.person_id, row.last_seq))
    return Written(message.id, row.id, row.last_seq, now)


def checked_text(text: str) -> str:
    text = text.strip()
    if not 1 <= len(text) <= MOST_TEXT_LENGTH:
        raise Invalid(
            "text_length", t("A message has 1 to %(most)s characters.", most=f"{MOST_TEXT_LENGTH:,}"), pointer="/text"
        )
    return text


def takes_part(actor: Actor, row: Conversation) -> bool:
    """Whose it is; those with the practice itself are of all its staff."""
    if row.practitioner_id is None and actor.is_any(*STAFF):
        return True
    return actor.person_id in (row.practitioner_id, row.person_id)


async def people_of(session: AsyncSession, row: Conversation) -> tuple[str, ...]:
    """Whom a message in it concerns; of the practice: who has taken it, else all of support, else the admins."""
    if row.practitioner_id is not None:
        return (row.practitioner_id, row.person_id)
    if row.assigned_to_id is not None:
        return (row.assigned_to_id, row.person_id)
    staff = select(PersonRole.person_id).where(PersonRole.person_id != row.person_id)
    support = (await session.scalars(staff.where(PersonRole.role == Role.SUPPORT))).all()
    others = support or (await session.scalars(staff.where(PersonRole.role == Role.ADMIN))).all()
    return (row.person_id, *others)


async def locked(session: AsyncSession, actor: Actor, conversation_id: str) -> Conversation:
    """The conversation, nobody else writing in it until the commit. Raises NotFound for a stranger."""
    row = await session.get(Conversation, conversation_id, with_for_update=True)
    if row is None or not takes_part(actor, row):
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


async def _tell(
    session: AsyncSession,
    rules: MessageRules,
    actor: Actor,
    row: Conversation,
    person_id: str,
    text: str,
    now: datetime,
) -> None:
    """One notice for all that came since they last looked, or since the last answer, which another of the staff may
    have written; who is no member gets each answer itself, by e-mail."""
    facts: dict[str, Any] = {
        "from_name": actor.name,
        "path": path_of(row.id),
        "conversation_id": row.id,
        "reader_id": person_id,
        "seq": row.last_seq,
    }
    if person_id == row.person_id and not await is_member(session, person_id):
        if not rules.zendesk:
            await mail_answer(session, rules, row, actor.name, text, now=now)
        return
    reader = await session.get(ConversationReader, (row.id, person_id))
    has_more_unread = (0 if reader is None else reader.read_seq) < row.last_seq - 1
    if has_more_unread and row.unanswered != 1:
        return
    if actor.person_id == row.person_id and row.last_seq == 1 and not await is_member(session, row.person_id):
        await enqueue(session, Notice(NoticeKind.NEW_ENQUIRY, person_id, extra=facts), now=now)
        return
    await enqueue(session, Notice(NoticeKind.NEW_MESSAGE, person_id, extra=facts), now=now, mail_at=now + MAIL_AFTER)


async def mail_answer(
    session: AsyncSession, rules: MessageRules, row: Conversation, author: str, text: str, *, now: datetime
) -> None:
    """Owe an enquirer the answer itself. Its words wait sealed in the outbox, and are erased there once sent."""
    facts: dict[str, Any] = {"from_name": author, "path": path_of(row.id)}
    if rules.replies is not None:
        facts["reply_to"] = rules.replies.address_of(row.id)
    sealed = base64.b64encode(rules.sealer.seal(text, OUTBOX_CONTEXT)).decode()
    notice = Notice(NoticeKind.ENQUIRY_ANSWERED, row.person_id, extra=facts, secrets={"sealed": sealed})
    await enqueue(session, notice, now=now)


async def _is_desks(session: AsyncSession, row: Conversation) -> bool:
    """With the practice itself, or by somebody who is not a member."""
    return row.practitioner_id is None or not await is_member(session, row.person_id)


def open_secrets(rules: MessageRules, secrets: Mapping[str, str]) -> Mapping[str, str]:
    """For the outbox: an answer's words as they are sent."""
    if "sealed" not in secrets:
        return secrets
    return {"text": rules.sealer.unseal(base64.b64decode(secrets["sealed"]), OUTBOX_CONTEXT)}


async def is_member(session: AsyncSession, person_id: str) -> bool:
    """Has an account of some role; who only enquired, or was a guest, has none."""
    return await session.scalar(select(PersonRole.role).where(PersonRole.person_id == person_id).limit(1)) is not None


def path_of(conversation_id: str) -> str:
    return f"/messages/{conversation_id}"


# -- reading -----------------------------------------------------------------------------------------------------


async def mark_read(db: Database, actor: Actor, conversation_id: str, up_to: int) -> None:
    """This person has seen every message up to number `up_to`; never fewer than before."""
    async with db.transaction() as session:
        row = await session.get(Conversation, conversation_id)
        if row is None or not takes_part(actor, row):
            raise NotFound
        if await _read_to(session, actor.person_id, row.id, min(up_to, row.last_seq)):
            people = {actor.person_id, *await people_of(session, row)}
            publish(session, MessageStored(row.id, tuple(sorted(people)), None, row.last_seq))


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
    await session.execute(
        insert_into(session, ConversationReader)
        .values(conversation_id=conversation_id, person_id=person_id, read_seq=seq)
        .on_conflict_do_nothing()
    )
    return True


async def other_in(db: Database, actor: Actor, conversation_id: str) -> tuple[str, ...]:
    """Who else is in it, for the sign that somebody is writing. Raises NotFound for a stranger."""
    async with db.reading() as session:
        row = await session.get(Conversation, conversation_id)
        if row is None or not takes_part(actor, row):
            raise NotFound
        return tuple(person_id for person_id in await people_of(session, row) if person_id != actor.person_id)


ERASED = N_("(The writer has had this erased.)")


async def blank_words_of(session: AsyncSession, person_id: str) -> None:
    """Somebody is erased: their messages keep their places and lose their words; nobody is reminded of them."""
    await session.execute(update(Message).where(Message.author_id == person_id).values(sealed=b""))
    mine = update(Conversation).where(Conversation.person_id == person_id)
    await session.execute(mine.values(unanswered=0, unanswered_since=None, remind_at=None))


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
    name = await session.scalar(select(Person.name).where(Person.id == row.person_id))
    facts = {
        "from_name": name,
        "count": row.unanswered,
        "path": path_of(row.id),
        "conversation_id": row.id,
    }
    for person_id in await people_of(session, row):
        if person_id != row.person_id:
            await enqueue(session, Notice(NoticeKind.UNANSWERED_MESSAGES, person_id, extra=facts), now=now)
