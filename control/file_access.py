"""Whose a file is: who may begin one where, who sees it, and who is told that it is gone.

Of a session: whom require_inside lets in, by whom it is for and since when. Of a message: who takes part in the
conversation. Of a message that is not written yet: its owner. Changes nothing but what it locks.
"""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control import message_files
from control.accounts import Actor
from control.appointment_states import State
from control.errors import Conflict, Invalid, NotFound
from control.message_events import MessageStored
from control.messages import people_of, takes_part
from control.models.appointments import Appointment
from control.models.files import SharedFile
from control.models.messages import Conversation, Message
from control.room_news import RoomNews
from control.room_people import locked_and_made_before, people_inside, require_inside

MOST_FILES = 100  # of one session
MOST_OPEN = 10  # uploads one person has begun in one session and not finished

OPEN = (State.CONFIRMED, State.IN_PROGRESS)


async def begun_before(session: AsyncSession, actor: Actor, appointment_id: str | None, key: str) -> SharedFile | None:
    """Of a session, only for those inside."""
    if appointment_id is None:
        return await message_files.begun_before(session, actor, key)
    await require_inside(session, actor, appointment_id)
    return await locked_and_made_before(session, SharedFile, SharedFile.owner_id, actor, appointment_id, key)


async def require_open(session: AsyncSession, actor: Actor, appointment_id: str | None, visible_to: str | None) -> None:
    """Raises Conflict("not_open" | "too_many_files"), Invalid("not_inside")."""
    if appointment_id is None:
        await message_files.require_room_for_one_more(session, actor)
        return
    inside = await require_inside(session, actor, appointment_id)
    if inside.row.state not in OPEN:
        raise Conflict("not_open", "Files can be shared while the session's room is open.")
    if visible_to is not None and visible_to not in await people_inside(session, inside.row):
        raise Invalid("not_inside", "This person is not in the session.", pointer="/visible_to")
    await _require_room(session, appointment_id, actor.person_id)


async def whose(session: AsyncSession, row: SharedFile) -> tuple[str, object | None]:
    """What the audit log says it belonged to, and what is told to those who saw it."""
    if row.appointment_id is not None:
        appointment = await session.get_one(Appointment, row.appointment_id)
        people = tuple(await people_inside(session, appointment))
        return f"appointment:{appointment.id}", RoomNews(appointment.id, "file_gone", {"id": row.id}, people)
    talk = await _talk_of(session, row)
    if talk is None:
        return f"person:{row.owner_id}", None
    return f"conversation:{talk.id}", MessageStored(talk.id, await people_of(session, talk), None, talk.last_seq)


async def _talk_of(session: AsyncSession, row: SharedFile) -> Conversation | None:
    """None: its message is not written yet."""
    return await session.scalar(
        select(Conversation)
        .join(Message, Message.conversation_id == Conversation.id)
        .where(Message.id == row.message_id)
    )


async def require_may_see(session: AsyncSession, actor: Actor, row: SharedFile) -> None:
    """Raises NotFound, or Forbidden as require_inside does."""
    if row.appointment_id is not None:
        inside = await require_inside(session, actor, row.appointment_id)
        seen = may_see(actor, row, inside.since)
    else:
        talk = await _talk_of(session, row)
        seen = row.owner_id == actor.person_id if talk is None else takes_part(actor, talk)
    if not seen:
        raise NotFound


def may_see(actor: Actor, row: SharedFile, since: datetime | None) -> bool:
    if row.owner_id == actor.person_id:
        return True
    if row.ready_at is None or (since is not None and row.ready_at < since):
        return False
    return row.visible_to in (None, actor.person_id)


async def own(session: AsyncSession, actor: Actor, file_id: str, *, gone_too: bool = False) -> SharedFile:
    row = await session.get(SharedFile, file_id, populate_existing=True)
    if row is None or row.owner_id != actor.person_id or (row.withdrawn_at is not None and not gone_too):
        raise NotFound
    await require_may_see(session, actor, row)
    return row


async def _require_room(session: AsyncSession, appointment_id: str, person_id: str) -> None:
    here = (
        select(func.count())
        .select_from(SharedFile)
        .where(SharedFile.appointment_id == appointment_id, SharedFile.withdrawn_at.is_(None))
    )
    begun = here.where(SharedFile.owner_id == person_id, SharedFile.ready_at.is_(None))
    if (await session.scalar(here) or 0) >= MOST_FILES or (await session.scalar(begun) or 0) >= MOST_OPEN:
        raise Conflict("too_many_files", "There are too many files here already. Withdraw one first.")
