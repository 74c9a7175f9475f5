"""Files sent with messages: each is sent by itself first, and becomes the message's when that is written.

    Files.begin without a session ─▶ chunks ─▶ whole: its owner's alone ─▶ attach, in the message's own transaction
                                                 └ a day old and in no message: Files.forget_unfinished

Once attached they are seen by whoever takes part in the conversation. Staff who read it as monitored messages see that
there are files, and not what they are. control/files.py keeps and hands out what is in them.
"""

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import CursorResult, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.errors import Conflict
from control.models.files import SharedFile
from control.models.people import Person

MOST_OF_A_MESSAGE = 10
MOST_UNATTACHED = 20  # of one person: what they chose and have not sent yet


async def begun_before(session: AsyncSession, actor: Actor, key: str) -> SharedFile | None:
    """Lock this person, so that two tries under one key are decided one after the other; what it began already."""
    await session.execute(select(Person.id).where(Person.id == actor.person_id).with_for_update())
    known: SharedFile | None = await session.scalar(_unattached(actor).where(SharedFile.key == key))
    return known


async def require_room_for_one_more(session: AsyncSession, actor: Actor) -> None:
    waiting = _unattached(actor).with_only_columns(func.count())
    if (await session.scalar(waiting) or 0) >= MOST_UNATTACHED:
        raise Conflict("too_many_files", "Too many files wait for their message. Send it first, or take some out.")


def _unattached(actor: Actor) -> Select[Any]:
    return select(SharedFile).where(
        SharedFile.owner_id == actor.person_id,
        SharedFile.appointment_id.is_(None),
        SharedFile.message_id.is_(None),
        SharedFile.withdrawn_at.is_(None),
    )


async def attach(session: AsyncSession, actor: Actor, message_id: str, file_ids: Sequence[str]) -> None:
    """Raises Conflict("file_not_there") unless each is this person's, whole and in no message yet."""
    attached = await session.execute(
        update(SharedFile)
        .where(
            SharedFile.id.in_(file_ids),
            SharedFile.owner_id == actor.person_id,
            SharedFile.appointment_id.is_(None),
            SharedFile.message_id.is_(None),
            SharedFile.ready_at.is_not(None),
            SharedFile.withdrawn_at.is_(None),
        )
        .values(message_id=message_id, key=SharedFile.id)
        .execution_options(synchronize_session=False)
    )
    if cast(CursorResult[Any], attached).rowcount != len(file_ids):
        raise Conflict(
            "file_not_there", "A file of this message is not there any more. Take it out and choose it again."
        )
