"""Guests: people a practitioner invites by e-mail to one appointment (PRODUCT.md §1). They pay nothing.

A guest is a person without a role here, who signs in by link, answers their own consents and waits until the
practitioner presses Admit. Who was removed finds no session any more; invited again, they wait again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control import accounts
from control.accounts import Actor
from control.appointment_moves import load, party_in, party_of, session_facts
from control.appointment_states import ENDED, State
from control.audit import record
from control.availability import lock_calendar
from control.database import Database, insert_into, new_id, publish
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.language import t
from control.lifecycle import Party
from control.models.appointments import Appointment, Guest
from control.models.people import LinkPurpose, Person
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.session_events import SessionChanged

MOST_PEOPLE = 25  # client and practitioner included
LINK_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class GuestView:
    id: str
    person_id: str
    name: str
    email: str
    created_at: datetime
    admitted_at: datetime | None


async def guests_of(db: Database, actor: Actor, appointment_id: str) -> tuple[GuestView, ...]:
    """In the order of inviting. Raises NotFound for a stranger; addresses are the practitioner's and admins' to see."""
    async with db.reading() as session:
        party = await party_in(session, actor, await load(session, appointment_id))
        found = await session.execute(
            select(Guest, Person.name, Person.email)
            .join(Person, Person.id == Guest.person_id)
            .where(Guest.appointment_id == appointment_id, Guest.removed_at.is_(None))
            .order_by(Guest.created_at, Guest.id)
        )
        shown = party in (Party.PRACTITIONER, Party.ADMIN)
        return tuple(
            GuestView(row.id, row.person_id, name, email if shown else "", row.created_at, row.admitted_at)
            for row, name, email in found
        )


async def invite(
    db: Database,
    actor: Actor,
    appointment_id: str,
    *,
    email: str,
    name: str,
    most_people: int = MOST_PEOPLE,
    now: datetime,
) -> GuestView:
    """Invite somebody; the same address again is the same guest, who gets no second letter.

    Raises Conflict("not_open" | "too_many_people") and Invalid("already_in_session").
    """
    address = accounts.normalised_email(email)
    async with db.transaction() as session:
        row = await _led(session, actor, appointment_id)
        await lock_calendar(session, row.practitioner_id)
        if row.state in ENDED or row.state == State.PENDING:
            raise Conflict("not_open", "Nobody can be invited to this session now.", status_now=row.state)
        person = await _person(session, address, name, now)
        if person.id in (row.client_id, row.practitioner_id):
            raise Invalid("already_in_session", "This person is in the session already.", pointer="/email")
        count = await session.scalar(
            select(func.count()).select_from(Guest).where(Guest.appointment_id == row.id, Guest.removed_at.is_(None))
        )
        if await _add(session, row, person, now):
            if (count or 0) + 3 > most_people:
                raise Conflict(
                    "too_many_people",
                    t("At most %(most_people)s people can be in one session.", most_people=most_people),
                )
            await _send(session, row, person, now)
            record(session, actor, "guest.invite", f"appointment:{row.id}", {"guest": person.id}, now=now)
            publish(session, SessionChanged(row.id, row.practitioner_id, row.client_id, State(row.state)))
        guest = (
            await session.scalars(
                select(Guest)
                .where(Guest.appointment_id == row.id, Guest.person_id == person.id)
                .execution_options(populate_existing=True)
            )
        ).one()
        return GuestView(guest.id, person.id, person.name, person.email, guest.created_at, guest.admitted_at)


async def _person(session: AsyncSession, address: str, name: str, now: datetime) -> Person:
    known = await accounts.find_person(session, address)
    return known or await accounts.add_person(session, email=address, name=name, roles=(), now=now)


async def _add(session: AsyncSession, row: Appointment, person: Person, now: datetime) -> bool:
    """False if they are invited already."""
    values = {"id": new_id(), "appointment_id": row.id, "person_id": person.id, "created_at": now}
    done = await session.execute(
        insert_into(session, Guest)
        .values(**values)
        .on_conflict_do_update(
            index_elements=[Guest.appointment_id, Guest.person_id],
            set_={"removed_at": None, "admitted_at": None, "created_at": now},
            where=Guest.removed_at.is_not(None),
        )
    )
    return cast(CursorResult[Any], done).rowcount == 1


async def _send(session: AsyncSession, row: Appointment, person: Person, now: datetime) -> None:
    lifetime = min(max(row.ends_at - now, accounts.LINK_LIFETIME), LINK_FOR)
    token = await accounts.issue_link(
        session, person.id, LinkPurpose.SIGN_UP, return_path=f"/sessions/{row.id}", lifetime=lifetime, now=now
    )
    about = await session_facts(session, row)
    notice = Notice(NoticeKind.GUEST_INVITED, person.id, about, secrets={"path": f"/sign-in/link/{token}"})
    await enqueue(session, notice, now=now)


async def admit(db: Database, actor: Actor, appointment_id: str, guest_id: str, *, now: datetime) -> None:
    """Let a guest in. They enter once the session runs; admitted already: nothing changes."""
    await _change(db, actor, appointment_id, guest_id, "guest.admit", {"admitted_at": now}, now)


async def remove(db: Database, actor: Actor, appointment_id: str, guest_id: str, *, now: datetime) -> None:
    """Take the invitation back; whoever is in the room leaves it. Removed already: nothing changes."""
    await _change(db, actor, appointment_id, guest_id, "guest.remove", {"removed_at": now}, now)


async def _change(
    db: Database,
    actor: Actor,
    appointment_id: str,
    guest_id: str,
    action: str,
    values: dict[str, datetime],
    now: datetime,
) -> None:
    async with db.transaction() as session:
        row = await _led(session, actor, appointment_id)
        guest = await session.get(Guest, guest_id)
        if guest is None or guest.appointment_id != row.id:
            raise NotFound
        (name,) = values
        done = await session.execute(
            update(Guest).where(Guest.id == guest_id, getattr(Guest, name).is_(None)).values(values)
        )
        if cast(CursorResult[Any], done).rowcount == 1:
            record(session, actor, action, f"appointment:{row.id}", {"guest": guest.person_id}, now=now)
            publish(session, SessionChanged(row.id, row.practitioner_id, row.client_id, State(row.state)))


async def _led(session: AsyncSession, actor: Actor, appointment_id: str) -> Appointment:
    row = await load(session, appointment_id)
    if party_of(actor, row) is Party.CLIENT:
        raise Forbidden("not_practitioner", "Only the practitioner invites and lets in guests.")
    return row
