"""A client asks for what practitioners noted on them; each practitioner decides, and the client is told.

Notes themselves are control/client_files.py's; what was given out goes into the client's next copy (export_parts.py).
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.database import Database, new_id
from control.errors import NotFound
from control.models.client_files import ClientNote
from control.models.my_data import NoteRequest
from control.models.people import Person
from control.notices.outbox import Notice, NoticeKind, enqueue


@dataclass(frozen=True, slots=True)
class Asked:
    practitioner_name: str
    asked_at: datetime
    answer: str | None
    """given, refused, or None: not yet."""


async def ask_for_notes(session: AsyncSession, actor: Actor, *, now: datetime) -> None:
    """Part of asking for a copy. Who was asked before is not asked again."""
    before = select(NoteRequest.practitioner_id).where(NoteRequest.client_id == actor.person_id)
    keeping = await session.scalars(
        select(ClientNote.practitioner_id)
        .where(ClientNote.client_id == actor.person_id, ClientNote.practitioner_id.not_in(before))
        .distinct()
    )
    for practitioner_id in keeping.all():
        session.add(NoteRequest(id=new_id(), practitioner_id=practitioner_id, client_id=actor.person_id, asked_at=now))
        facts = {"from_name": actor.name, "path": f"/therapist/clients/{actor.person_id}"}
        await enqueue(session, Notice(NoticeKind.NOTES_ASKED, practitioner_id, extra=facts), now=now)


async def asked_by(db: Database, actor: Actor) -> tuple[Asked, ...]:
    query = (
        select(Person.name, NoteRequest.asked_at, NoteRequest.answer)
        .join(Person, Person.id == NoteRequest.practitioner_id)
        .where(NoteRequest.client_id == actor.person_id)
        .order_by(NoteRequest.asked_at, NoteRequest.id)
    )
    async with db.reading() as session:
        return tuple(Asked(*row) for row in await session.execute(query))


async def asked_of(db: Database, actor: Actor, client_id: str) -> Asked | None:
    """What this client asked of this practitioner."""
    async with db.reading() as session:
        row = await _find(session, actor, client_id)
        return None if row is None else Asked(actor.name, row.asked_at, row.answer)


async def answer(db: Database, actor: Actor, client_id: str, *, give: bool, now: datetime) -> None:
    """May be changed later. Raises NotFound unless this practitioner was asked."""
    async with db.transaction() as session:
        row = await _find(session, actor, client_id)
        if row is None:
            raise NotFound
        said = "given" if give else "refused"
        if row.answer == said:
            return
        row.answer, row.answered_at = said, now
        record(session, actor, f"notes.{said}", f"person:{client_id}", now=now)
        facts = {"from_name": actor.name, "path": "/account/data"}
        await enqueue(session, Notice(NoticeKind.NOTES_ANSWERED, client_id, extra=facts), now=now)


async def _find(session: AsyncSession, actor: Actor, client_id: str) -> NoteRequest | None:
    return await session.scalar(
        select(NoteRequest).where(NoteRequest.practitioner_id == actor.person_id, NoteRequest.client_id == client_id)
    )
