"""Who is inside one session: what is written, shared and reported there is theirs, and nobody else's.

Practitioner and client always, guests from Admit on. An admin may act on an appointment but is not inside it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from control.accounts import Actor
from control.appointment_moves import guest_of, load, party_in
from control.errors import Forbidden
from control.lifecycle import Party
from control.models.appointments import Appointment, Guest
from control.models.chat import ChatMessage
from control.models.files import SharedFile
from control.models.people import Person

Made = TypeVar("Made", ChatMessage, SharedFile)


@dataclass(frozen=True, slots=True)
class Inside:
    """One person's standing inside one session."""

    row: Appointment
    party: Party
    since: datetime | None = None
    """Of a guest: when they were let in. What was said before is not theirs to know."""


async def require_inside(session: AsyncSession, actor: Actor, appointment_id: str) -> Inside:
    """Raises NotFound for a stranger, Forbidden("not_in_session" | "not_admitted")."""
    row = await load(session, appointment_id)
    party = await party_in(session, actor, row)
    if party is Party.ADMIN:
        raise Forbidden("not_in_session", "This belongs to the people in the session.")
    if party is Party.GUEST:
        guest = await guest_of(session, row.id, actor.person_id)
        if guest is None or guest.admitted_at is None:
            raise Forbidden("not_admitted", "The practitioner has not let you in yet.")
        return Inside(row, party, guest.admitted_at)
    return Inside(row, party)


async def locked_and_made_before(
    session: AsyncSession, made: type[Made], by: InstrumentedAttribute[str], actor: Actor, appointment_id: str, key: str
) -> Made | None:
    """Lock the session, so that what follows is decided one after the other; what this person's `key` made already."""
    await session.execute(select(Appointment.id).where(Appointment.id == appointment_id).with_for_update())
    earlier = select(made).where(made.appointment_id == appointment_id, by == actor.person_id, made.key == key)
    return await session.scalar(earlier)


async def people_inside(session: AsyncSession, row: Appointment) -> dict[str, str]:
    """Ids and names: practitioner, client, then the guests let in."""
    guests = await session.scalars(
        select(Guest.person_id)
        .where(Guest.appointment_id == row.id, Guest.removed_at.is_(None), Guest.admitted_at.is_not(None))
        .order_by(Guest.created_at)
    )
    ids = (row.practitioner_id, row.client_id, *guests)
    found = await session.execute(select(Person.id, Person.name).where(Person.id.in_(ids)))
    names = {one.id: one.name for one in found}
    return {one: names[one] for one in ids}
