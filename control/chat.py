"""The chat of one session: written while its room is open, read by the people inside it, then and afterwards.

A line is stored before anybody is told; its number within the appointment is its place. Sent again under the same key
it is the same line. Texts are sealed (control/sealing.py); news carry them to connected pages only.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_states import State
from control.database import Database, publish
from control.errors import Conflict, Invalid
from control.language import t
from control.messages import ERASED
from control.models.appointments import Appointment
from control.models.chat import ChatMark, ChatMessage
from control.models.people import Person
from control.room_news import RoomNews
from control.room_people import locked_and_made_before, people_inside, require_inside
from control.sealing import Sealer

MOST_CHARACTERS = 4_000
MOST_LINES = 2_000  # of one session: two hours at a line every four seconds
PAGE_LINES = 100

OPEN = (State.CONFIRMED, State.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Line:
    id: str
    seq: int
    person_id: str
    name: str
    text: str
    at: datetime

    def as_json(self) -> dict[str, Any]:
        at = self.at.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {
            "id": self.id,
            "seq": self.seq,
            "person": self.person_id,
            "name": self.name,
            "text": self.text,
            "at": at,
        }


@dataclass(frozen=True, slots=True)
class Mark:
    """How far somebody has got: lines up to `delivered` reached their page, those up to `read` were seen."""

    person_id: str
    delivered: int
    read: int

    def as_json(self) -> dict[str, Any]:
        return {"person": self.person_id, "delivered": self.delivered, "read": self.read}


@dataclass(frozen=True, slots=True)
class History:
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    has_earlier: bool
    may_write: bool


class Chat:
    """One per application; holds the key and no state."""

    def __init__(self, db: Database, master_key: bytes) -> None:
        self._db = db
        self._sealer = Sealer(master_key, "session chat")

    async def say(self, actor: Actor, appointment_id: str, text: str, *, key: str, now: datetime) -> Line:
        """Raises Conflict("not_open" | "chat_full"), Invalid("text_empty" | "idempotency_key_reused")."""
        if not text.strip():
            raise Invalid("text_empty", "Write something first.", pointer="/text")
        async with self._db.transaction() as session:
            inside = await require_inside(session, actor, appointment_id)
            by = ChatMessage.author_id
            known = await locked_and_made_before(session, ChatMessage, by, actor, appointment_id, key)
            if known is not None:
                line = self._line(known, actor.name)
                if line.text != text:
                    raise Invalid("idempotency_key_reused", "This key was used for another message.")
                return line
            if inside.row.state not in OPEN:
                raise Conflict("not_open", "You can write here while the session's room is open.")
            last = await _last(session, appointment_id)
            if last >= MOST_LINES:
                raise Conflict("chat_full", "This chat is full. Please go on by speaking.")
            row = ChatMessage(
                appointment_id=appointment_id,
                seq=last + 1,
                author_id=actor.person_id,
                key=key,
                sealed=self._sealer.seal(text, _context(appointment_id, last + 1, actor.person_id)),
                created_at=now,
            )
            session.add(row)
            await session.flush()
            line = self._line(row, actor.name)
            to = tuple(await people_inside(session, inside.row))
            publish(session, RoomNews(appointment_id, "chat", line.as_json(), to))
        return line

    async def history(
        self, actor: Actor, appointment_id: str, *, after: int | None = None, before: int | None = None
    ) -> History:
        """The newest lines (since Admit, for a guest); those in front of `before`, or those that follow `after`."""
        async with self._db.reading() as session:
            inside = await require_inside(session, actor, appointment_id)
            chosen = select(ChatMessage, Person.name).join(Person, Person.id == ChatMessage.author_id)
            chosen = chosen.where(ChatMessage.appointment_id == appointment_id).limit(PAGE_LINES)
            if inside.since is not None:
                chosen = chosen.where(ChatMessage.created_at >= inside.since)
            if after is not None:
                chosen = chosen.where(ChatMessage.seq > after).order_by(ChatMessage.seq)
            elif before is not None:
                chosen = chosen.where(ChatMessage.seq < before).order_by(ChatMessage.seq.desc())
            else:
                chosen = chosen.order_by(ChatMessage.seq.desc())
            found = (await session.execute(chosen)).all()
            marks = await session.scalars(select(ChatMark).where(ChatMark.appointment_id == appointment_id))
            lines = sorted((self._line(row, name) for row, name in found), key=lambda line: line.seq)
            return History(
                lines=tuple(lines),
                marks=tuple(Mark(mark.person_id, mark.delivered, mark.read) for mark in marks),
                has_earlier=len(lines) == PAGE_LINES and after is None,
                may_write=inside.row.state in OPEN,
            )

    async def mark(self, actor: Actor, appointment_id: str, *, delivered: int, read: int) -> Mark:
        """Marks only move forward, and never beyond what was written."""
        async with self._db.transaction() as session:
            inside = await require_inside(session, actor, appointment_id)
            await session.execute(select(Appointment.id).where(Appointment.id == appointment_id).with_for_update())
            last = await _last(session, appointment_id)
            mark = await session.get(ChatMark, (appointment_id, actor.person_id), populate_existing=True)
            if mark is None:
                mark = ChatMark(appointment_id=appointment_id, person_id=actor.person_id, delivered=0, read=0)
                session.add(mark)
            before = (mark.delivered, mark.read)
            mark.read = max(mark.read, min(read, last))
            mark.delivered = max(mark.delivered, mark.read, min(delivered, last))
            said = Mark(actor.person_id, mark.delivered, mark.read)
            if before != (mark.delivered, mark.read):
                to = tuple(await people_inside(session, inside.row))
                publish(session, RoomNews(appointment_id, "chat_mark", said.as_json(), to))
        return said

    async def blank_words_of(self, session: AsyncSession, person_id: str) -> None:
        """Somebody is erased: their lines keep their places and lose their words."""
        await session.execute(update(ChatMessage).where(ChatMessage.author_id == person_id).values(sealed=b""))

    def _line(self, row: ChatMessage, name: str) -> Line:
        context = _context(row.appointment_id, row.seq, row.author_id)
        text = self._sealer.unseal(row.sealed, context) if row.sealed else t(ERASED)
        return Line(row.id, row.seq, row.author_id, name, text, row.created_at)


async def _last(session: AsyncSession, appointment_id: str) -> int:
    last = select(func.max(ChatMessage.seq)).where(ChatMessage.appointment_id == appointment_id)
    return await session.scalar(last) or 0


def _context(appointment_id: str, seq: int, author_id: str) -> str:
    return f"{appointment_id} {seq} {author_id}"
