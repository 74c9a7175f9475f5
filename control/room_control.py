"""What the practitioner decides inside a running session: who is in, who waits, who may share their screen.

Whoever is asked out waits until they are let in again; a guest's invitation stays. The hub moves people after the
commit. Muting somebody changes nothing stored, so only the right to do it is checked here.
"""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import guest_of, load, party_in
from control.appointment_states import State
from control.audit import record
from control.database import Database, publish
from control.errors import Conflict, Forbidden, NotFound
from control.lifecycle import Party
from control.models.appointments import Appointment, Guest
from control.session_events import SessionChanged


async def let_in(db: Database, actor: Actor, appointment_id: str, person_id: str, *, now: datetime) -> None:
    """Admit a guest, or whoever was asked out. Inside already: nothing changes. NotFound for who has no place."""
    await _place(db, actor, appointment_id, person_id, inside=True, now=now)


async def send_out(db: Database, actor: Actor, appointment_id: str, person_id: str, *, now: datetime) -> None:
    """Back to the waiting room. There already: nothing changes."""
    await _place(db, actor, appointment_id, person_id, inside=False, now=now)


async def _place(
    db: Database, actor: Actor, appointment_id: str, person_id: str, *, inside: bool, now: datetime
) -> None:
    async with db.transaction() as session:
        row = await _led(session, actor, appointment_id)
        if person_id == row.client_id:
            stamp = None if inside else now
            column = Appointment.client_sent_out_at
            fits = column.is_not(None) if inside else column.is_(None)
            change = update(Appointment).where(Appointment.id == row.id, fits).values(client_sent_out_at=stamp)
        else:
            guest = await guest_of(session, row.id, person_id)
            if guest is None:
                raise NotFound
            stamp = now if inside else None
            fits = Guest.admitted_at.is_(None) if inside else Guest.admitted_at.is_not(None)
            change = update(Guest).where(Guest.id == guest.id, fits).values(admitted_at=stamp)
        done = await session.execute(change.execution_options(synchronize_session=False))
        if cast(CursorResult[Any], done).rowcount == 1:
            action = "room.let_in" if inside else "room.send_out"
            record(session, actor, action, f"appointment:{row.id}", {"person": person_id}, now=now)
            _tell(session, row)


async def allow_sharing(db: Database, actor: Actor, appointment_id: str, *, allowed: bool, now: datetime) -> None:
    """Whether client and guests may share their screens."""
    async with db.transaction() as session:
        row = await _led(session, actor, appointment_id)
        done = await session.execute(
            update(Appointment)
            .where(Appointment.id == row.id, Appointment.visitors_may_share.is_not(allowed))
            .values(visitors_may_share=allowed)
            .execution_options(synchronize_session=False)
        )
        if cast(CursorResult[Any], done).rowcount == 1:
            record(session, actor, "room.sharing", f"appointment:{row.id}", {"allowed": allowed}, now=now)
            _tell(session, row)


async def require_lead(db: Database, actor: Actor, appointment_id: str) -> None:
    """Raises NotFound for a stranger, Forbidden for whoever else is not the practitioner, Conflict("not_open")."""
    async with db.reading() as session:
        await _led(session, actor, appointment_id)


async def _led(session: AsyncSession, actor: Actor, appointment_id: str) -> Appointment:
    row = await load(session, appointment_id)
    if await party_in(session, actor, row) is not Party.PRACTITIONER:
        raise Forbidden("not_practitioner", "Only the practitioner leads the session.")
    if row.state not in (State.CONFIRMED, State.IN_PROGRESS):
        raise Conflict("not_open", "The session's room is not open.", status_now=row.state)
    return row


def _tell(session: AsyncSession, row: Appointment) -> None:
    publish(session, SessionChanged(row.id, row.practitioner_id, row.client_id, State(row.state)))
