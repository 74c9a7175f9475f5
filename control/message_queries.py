"""Reading conversations: the inbox, one conversation, how much is unread, and searching. Changes nothing.

Texts are sealed, so a search opens them: the newest MOST_SEARCHED of the reader's own, in a thread beside the loop.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from control.accounts import Actor
from control.database import Database
from control.errors import NotFound
from control.language import ENGLISH, N_, speaking, t, tn
from control.messages import ERASED, STAFF, MessageRules, sealed_context
from control.models.messages import Conversation, ConversationReader, Message
from control.models.people import Person, PersonRole
from control.paging import Page, Place, Wanted, after, cut
from control.sealing import Sealer, Unsealable

MOST_SEARCHED = 2_000  # messages one search opens: about 20 ms of one core
MOST_SHOWN = 500  # messages of one conversation on one page
MOST_FOUND = 50
EXCERPT = 160  # characters
SUPPORT_NAME = N_("Practice support")
UNREADABLE = N_("(This message can't be opened with the server's present key.)")

_practitioner = aliased(Person)
_person = aliased(Person)
_mine = aliased(ConversationReader)
_theirs = aliased(ConversationReader)


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation as one of its two people sees it."""

    id: str
    other_id: str
    other_name: str
    practitioner_id: str | None
    last_seq: int
    last_at: datetime
    last_text: str
    last_is_mine: bool
    unread: int
    other_read_seq: int
    unanswered: int
    is_enquiry: bool
    """By somebody who is not a member, as the other side sees it."""
    closed_at: datetime | None
    assigned_to_id: str | None


@dataclass(frozen=True, slots=True)
class MessageView:
    id: str
    seq: int
    author_id: str
    author_name: str
    text: str
    created_at: datetime
    monitored: bool
    files: int


@dataclass(frozen=True, slots=True)
class Found:
    """A message that holds the words, with the conversation it is in."""

    conversation_id: str
    other_name: str
    seq: int
    excerpt: str
    created_at: datetime


def _is_mine(actor: Actor) -> ColumnElement[bool]:
    """As messages.takes_part says it of one."""
    mine = or_(Conversation.practitioner_id == actor.person_id, Conversation.person_id == actor.person_id)
    return or_(mine, Conversation.practitioner_id.is_(None)) if actor.is_any(*STAFF) else mine


def _select(actor: Actor) -> Select[*tuple[Any, ...]]:
    mine = and_(_mine.conversation_id == Conversation.id, _mine.person_id == actor.person_id)
    theirs = select(func.max(_theirs.read_seq)).where(
        _theirs.conversation_id == Conversation.id, _theirs.person_id != actor.person_id
    )
    member = select(PersonRole.person_id).where(PersonRole.person_id == Conversation.person_id).exists()
    last = and_(Message.conversation_id == Conversation.id, Message.seq == Conversation.last_seq)
    return (
        select(
            Conversation,
            Message.sealed,
            Message.author_id,
            Message.files,
            _practitioner.name.label("practitioner_name"),
            _person.name.label("person_name"),
            func.coalesce(_mine.read_seq, 0).label("read_seq"),
            func.coalesce(theirs.scalar_subquery(), 0).label("other_read_seq"),
            member.label("is_member"),
        )
        .join(Message, last)
        .join(_person, _person.id == Conversation.person_id)
        .outerjoin(_practitioner, _practitioner.id == Conversation.practitioner_id)
        .outerjoin(_mine, mine)
        .where(_is_mine(actor))
    )


def _view(found: Any, actor: Actor, sealer: Sealer) -> ConversationView:
    row: Conversation = found[0]
    asks = actor.person_id == row.person_id
    return ConversationView(
        id=row.id,
        other_id=(row.practitioner_id or "") if asks else row.person_id,
        other_name=(found.practitioner_name or t(SUPPORT_NAME)) if asks else found.person_name,
        practitioner_id=row.practitioner_id,
        last_seq=row.last_seq,
        last_at=row.last_message_at,
        last_text=opened(sealer, row.id, row.last_seq, found.sealed)[:EXCERPT] or files_in_words(found.files),
        last_is_mine=found.author_id == actor.person_id,
        unread=row.last_seq - found.read_seq,
        other_read_seq=found.other_read_seq,
        unanswered=row.unanswered,
        is_enquiry=not asks and not found.is_member,
        closed_at=row.closed_at,
        assigned_to_id=row.assigned_to_id,
    )


def opened(sealer: Sealer, conversation_id: str, seq: int, sealed: bytes) -> str:
    if not sealed:
        return t(ERASED)
    try:
        return sealer.unseal(sealed, sealed_context(conversation_id, seq))
    except Unsealable:
        return t(UNREADABLE)


def files_in_words(count: int) -> str:
    return tn("%(num)s file", "%(num)s files", count) if count else ""


def told_elsewhere(sealer: Sealer, row: Message) -> str:
    """A message's words for where its files don't go; the same in every language, because they are compared there."""
    with speaking(ENGLISH):
        words = opened(sealer, row.conversation_id, row.seq, row.sealed)
    return f"{words}\n\n(Files in Holdspace: {row.files})".strip() if row.files else words


async def inbox(db: Database, rules: MessageRules, actor: Actor, wanted: Wanted) -> Page[ConversationView]:
    """This person's conversations, the one written in last first."""
    query = after(_select(actor), wanted, Conversation.last_message_at, Conversation.id)
    async with db.reading() as session:
        found = (await session.execute(query)).all()
    page = cut(found, wanted, lambda one: Place(one[0].last_message_at, one[0].id))
    return Page(tuple(_view(one, actor, rules.sealer) for one in page.rows), page.next_cursor)


async def conversation(db: Database, rules: MessageRules, actor: Actor, conversation_id: str) -> ConversationView:
    """Raises NotFound for a stranger."""
    async with db.reading() as session:
        found = (await session.execute(_select(actor).where(Conversation.id == conversation_id))).one_or_none()
    if found is None:
        raise NotFound
    return _view(found, actor, rules.sealer)


async def messages_of(
    db: Database, rules: MessageRules, actor: Actor, conversation_id: str, *, before: int | None = None, limit: int
) -> tuple[MessageView, ...]:
    """The newest `limit` messages, or those before number `before`; oldest first. Raises NotFound for a stranger."""
    async with db.reading() as session:
        mine = select(Conversation.id).where(Conversation.id == conversation_id, _is_mine(actor))
        if await session.scalar(mine) is None:
            raise NotFound
        return await messages_in(session, rules, conversation_id, before=before, limit=limit)


async def messages_in(
    session: AsyncSession, rules: MessageRules, conversation_id: str, *, before: int | None = None, limit: int
) -> tuple[MessageView, ...]:
    """The newest `limit`, oldest first. Who may see them is the caller's to know."""
    query = (
        select(Message, Person.name)
        .join(Person, Person.id == Message.author_id)
        .where(Message.conversation_id == conversation_id)
    )
    if before is not None:
        query = query.where(Message.seq < before)
    rows = (await session.execute(query.order_by(Message.seq.desc()).limit(min(limit, MOST_SHOWN)))).all()
    return tuple(_message(rules.sealer, row, name) for row, name in reversed(rows))


def _message(sealer: Sealer, row: Message, name: str) -> MessageView:
    text = opened(sealer, row.conversation_id, row.seq, row.sealed)
    return MessageView(row.id, row.seq, row.author_id, name, text, row.created_at, row.monitored, row.files)


async def unread_conversations(db: Database, actor: Actor, *, most: int = 100) -> int:
    """How many conversations hold something unread, counted no further than `most`."""
    mine = and_(_mine.conversation_id == Conversation.id, _mine.person_id == actor.person_id)
    unread = (
        select(Conversation.id)
        .outerjoin(_mine, mine)
        .where(_is_mine(actor), Conversation.last_seq > func.coalesce(_mine.read_seq, 0))
        .limit(most)
    )
    async with db.reading() as session:
        return await session.scalar(select(func.count()).select_from(unread.subquery())) or 0


async def search(db: Database, rules: MessageRules, actor: Actor, words_untrusted: str) -> tuple[Found, ...]:
    """This person's newest messages that hold all of the words, in the text or in the other's name."""
    words = words_untrusted.casefold().split()[:8]
    if not words:
        return ()
    query = (
        select(Message, Conversation.person_id, _person.name, _practitioner.name)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .join(_person, _person.id == Conversation.person_id)
        .outerjoin(_practitioner, _practitioner.id == Conversation.practitioner_id)
        .where(_is_mine(actor))
        .order_by(Message.created_at.desc(), Message.id)
        .limit(MOST_SEARCHED)
    )
    async with db.reading() as session:
        rows = (await session.execute(query)).all()
    return await asyncio.to_thread(_matching, rows, actor, rules.sealer, words)


def _matching(rows: Sequence[Any], actor: Actor, sealer: Sealer, words: list[str]) -> tuple[Found, ...]:
    found: list[Found] = []
    for row, person_id, person_name, practitioner_name in rows:
        name = (practitioner_name or t(SUPPORT_NAME)) if actor.person_id == person_id else person_name
        text = opened(sealer, row.conversation_id, row.seq, row.sealed)
        searched = f"{name}\n{text}".casefold()
        if all(word in searched for word in words):
            found.append(Found(row.conversation_id, name, row.seq, _excerpt(text, words), row.created_at))
            if len(found) == MOST_FOUND:
                break
    return tuple(found)


def _excerpt(text: str, words: list[str]) -> str:
    """The part of a text around the first word."""
    flat = " ".join(text.split())
    at = max(0, flat.casefold().find(words[0]))
    start = max(0, at - EXCERPT // 3)
    part = flat[start : start + EXCERPT]
    return f"{'…' if start else ''}{part}{'…' if start + EXCERPT < len(flat) else ''}"
