"""Testimonials: a client's words on a practitioner, shown once an admin has approved them (PRODUCT.md §4, 8).

    completed session ─▶ invitation ─▶ reminder after [3] and [10] days, until answered or declined
    leave ─▶ waiting ─▶ approved, on the profile ─▶ the practitioner may reply once
                 └────▶ refused, seen by nobody           (taken back by the author at any time)

Nobody edits the words, not the author either. Distinct from ratings: no stars, no session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, Select, and_, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from control.accounts import Actor
from control.appointment_moves import load, party_of, session_facts
from control.appointment_states import State
from control.audit import record
from control.database import Database, insert_into, new_id
from control.errors import Conflict, Forbidden, NotFound
from control.lifecycle import Party
from control.models.appointments import Appointment
from control.models.people import Person, Role
from control.models.testimonials import Testimonial, TestimonialInvitation
from control.notices.outbox import Notice, NoticeKind, enqueue

MOST_TEXT = 1_000
MOST_REPLY = 600
MOST_SHOWN = 50
MOST_AT_ONCE = 100

_author = aliased(Person)
_practitioner = aliased(Person)


@dataclass(frozen=True, slots=True)
class TestimonialView:
    id: str
    author_name: str
    practitioner_id: str
    practitioner_name: str
    text: str
    state: str
    created_at: datetime
    reply: str | None
    replied_at: datetime | None


@dataclass(frozen=True, slots=True)
class Mine:
    """Where a client stands with a practitioner: what they have left, and whether they said no."""

    left: TestimonialView | None
    declined: bool


# -- the client ------------------------------------------------------------------------------------------------------


async def leave(db: Database, actor: Actor, appointment_id: str, text: str, *, now: datetime) -> TestimonialView:
    """After a completed session; one per practitioner. Raises Conflict("not_completed" | "left_already")."""
    async with db.transaction() as session:
        row = await _completed(session, actor, appointment_id)
        before = await session.scalar(_pair(row.practitioner_id, actor.person_id))
        if before is not None:
            if before.text == text:
                return await _one(session, before.id)
            raise Conflict("left_already", "You have left one already. Take it back to write another.")
        made = Testimonial(
            id=new_id(),
            practitioner_id=row.practitioner_id,
            author_id=actor.person_id,
            text=text,
            state="waiting",
            created_at=now,
        )
        session.add(made)
        await session.flush()
        record(session, actor, "testimonial.left", f"testimonial:{made.id}", now=now)
        return await _one(session, made.id)


async def take_back(db: Database, actor: Actor, testimonial_id: str, *, now: datetime) -> None:
    async with db.transaction() as session:
        gone = await session.execute(
            delete(Testimonial).where(Testimonial.id == testimonial_id, Testimonial.author_id == actor.person_id)
        )
        if cast(CursorResult[Any], gone).rowcount != 1:
            raise NotFound
        record(session, actor, "testimonial.taken_back", f"testimonial:{testimonial_id}", now=now)


async def decline(db: Database, actor: Actor, appointment_id: str, *, now: datetime) -> None:
    """No reminders about this practitioner any more."""
    async with db.transaction() as session:
        row = await _completed(session, actor, appointment_id)
        await _invite(session, row, now, None)
        whose = (row.practitioner_id, actor.person_id)
        found = await session.get_one(TestimonialInvitation, whose, with_for_update=True)
        found.declined_at, found.remind_at = found.declined_at or now, None


async def mine(db: Database, actor: Actor, practitioner_id: str) -> Mine:
    async with db.reading() as session:
        row = await session.scalar(_pair(practitioner_id, actor.person_id))
        invited = await session.get(TestimonialInvitation, (practitioner_id, actor.person_id))
        left = None if row is None else await _one(session, row.id)
    return Mine(left, invited is not None and invited.declined_at is not None)


async def _completed(session: AsyncSession, actor: Actor, appointment_id: str) -> Appointment:
    row = await load(session, appointment_id)
    if party_of(actor, row) is not Party.CLIENT:
        raise Forbidden("not_client", "Only the session's client can leave a testimonial.")
    if row.state != State.COMPLETED:
        raise Conflict("not_completed", "A testimonial can be left once the session has taken place.")
    # One after the other: each pair has one. Not in the way of rows that refer to this person, as the scheduler's do.
    await session.get(Person, actor.person_id, with_for_update={"key_share": True})
    return row


def _pair(practitioner_id: str, author_id: str) -> Select[Testimonial]:
    return select(Testimonial).where(Testimonial.practitioner_id == practitioner_id, Testimonial.author_id == author_id)


# -- admins, the practitioner, and everybody ---------------------------------------------------------------------------


async def decide(db: Database, actor: Actor, testimonial_id: str, *, approve: bool, now: datetime) -> TestimonialView:
    """May be decided anew later. By an admin, and never by its practitioner."""
    if not actor.is_any(Role.ADMIN):
        raise Forbidden("role_missing", "Testimonials are approved by an admin.")
    async with db.transaction() as session:
        row = await session.get(Testimonial, testimonial_id, with_for_update=True)
        if row is None:
            raise NotFound
        if actor.person_id in (row.practitioner_id, row.author_id):
            raise Forbidden("own_testimonial", "Another admin has to decide on this one.")
        state = "approved" if approve else "refused"
        if row.state != state:
            row.state, row.decided_at, row.decided_by = state, now, actor.person_id
            record(session, actor, f"testimonial.{state}", f"testimonial:{row.id}", now=now)
        await session.flush()
        return await _one(session, row.id)


async def reply(db: Database, actor: Actor, testimonial_id: str, text: str, *, now: datetime) -> TestimonialView:
    """Once, to an approved one of one's own. Raises NotFound, Conflict("replied_already")."""
    async with db.transaction() as session:
        row = await session.get(Testimonial, testimonial_id, with_for_update=True)
        if row is None or row.practitioner_id != actor.person_id or row.state != "approved":
            raise NotFound
        if row.reply is not None and row.reply != text:
            raise Conflict("replied_already", "You have replied to this one. A reply stands as it is.")
        if row.reply is None:
            row.reply, row.replied_at = text, now
            record(session, actor, "testimonial.replied", f"testimonial:{row.id}", now=now)
        await session.flush()
        return await _one(session, row.id)


async def listed(db: Database, actor: Actor, state: str = "waiting") -> tuple[TestimonialView, ...]:
    if not actor.is_any(Role.ADMIN):
        raise Forbidden("role_missing", "Testimonials are approved by an admin.")
    return await _many(db, _select().where(Testimonial.state == state))


async def written_by(db: Database, actor: Actor) -> tuple[TestimonialView, ...]:
    return await _many(db, _select().where(Testimonial.author_id == actor.person_id))


async def of_practitioner(db: Database, practitioner_id: str) -> tuple[TestimonialView, ...]:
    """What is public, the newest first."""
    approved = (Testimonial.practitioner_id == practitioner_id, Testimonial.state == "approved")
    return await _many(db, _select().where(*approved))


def _select() -> Select[*tuple[Any, ...]]:
    return (
        select(Testimonial, _author.name, _practitioner.name)
        .join(_author, _author.id == Testimonial.author_id)
        .join(_practitioner, _practitioner.id == Testimonial.practitioner_id)
        .order_by(Testimonial.created_at.desc(), Testimonial.id)
        .limit(MOST_SHOWN)
    )


async def _many(db: Database, query: Select[*tuple[Any, ...]]) -> tuple[TestimonialView, ...]:
    async with db.reading() as session:
        return tuple(_view(*row) for row in await session.execute(query))


async def _one(session: AsyncSession, testimonial_id: str) -> TestimonialView:
    query = _select().where(Testimonial.id == testimonial_id).execution_options(populate_existing=True)
    return _view(*(await session.execute(query)).one())


def _view(row: Testimonial, author: str, practitioner: str) -> TestimonialView:
    """By the first name only."""
    return TestimonialView(
        row.id,
        author.split(" ")[0],
        row.practitioner_id,
        practitioner,
        row.text,
        row.state,
        row.created_at,
        row.reply,
        row.replied_at,
    )


# -- inviting: errands of the scheduler's ----------------------------------------------------------------------------


async def remind(db: Database, after: Sequence[timedelta], now: datetime) -> int:
    """Invite after first completed sessions, and remind of what is due; how many reminders that were."""
    if not after:
        return 0
    async with db.transaction() as session:
        await _invite_first(session, after[0], now)
        due = await session.scalars(
            select(TestimonialInvitation)
            .where(TestimonialInvitation.remind_at <= now)
            .order_by(TestimonialInvitation.remind_at)
            .limit(MOST_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        sent = 0
        for row in due.all():
            sent += await _remind(session, row, after, now)
        return sent


async def _invite_first(session: AsyncSession, first: timedelta, now: datetime) -> None:
    invited = exists().where(
        TestimonialInvitation.practitioner_id == Appointment.practitioner_id,
        TestimonialInvitation.client_id == Appointment.client_id,
    )
    recent = and_(Appointment.ended_at > now - first, Appointment.ended_at <= now)
    rows = await session.scalars(
        select(Appointment)
        .where(Appointment.state == State.COMPLETED, recent, ~invited)
        .order_by(Appointment.ended_at)
        .limit(MOST_AT_ONCE)
    )
    for row in rows.all():
        since = row.ended_at or now
        await _invite(session, row, since, since + first)


async def _invite(session: AsyncSession, row: Appointment, since: datetime, remind_at: datetime | None) -> None:
    """Nothing for a pair that has been invited, or has declined, in the meantime."""
    values = {"practitioner_id": row.practitioner_id, "client_id": row.client_id, "appointment_id": row.id}
    invitation = insert_into(session, TestimonialInvitation)
    await session.execute(
        invitation.values(**values, since=since, reminders_sent=0, remind_at=remind_at).on_conflict_do_nothing()
    )


async def _remind(session: AsyncSession, row: TestimonialInvitation, after: Sequence[timedelta], now: datetime) -> bool:
    row.reminders_sent += 1
    later = [row.since + wait for wait in after[row.reminders_sent :]]
    row.remind_at = later[0] if later else None
    wants = select(Person.id).where(Person.id == row.client_id, Person.wants_testimonial_reminders.is_(True))
    answered = await session.scalar(_pair(row.practitioner_id, row.client_id)) is not None
    if answered or await session.scalar(wants) is None:
        row.remind_at = None
        return False
    about = await session_facts(session, await load(session, row.appointment_id))
    await enqueue(session, Notice(NoticeKind.TESTIMONIAL_REMINDER, row.client_id, about), now=now)
    return True


async def forget_person(session: AsyncSession, person_id: str) -> None:
    """Somebody is erased."""
    await session.execute(delete(Testimonial).where(Testimonial.author_id == person_id))
    gone = update(TestimonialInvitation).where(TestimonialInvitation.client_id == person_id)
    await session.execute(gone.values(remind_at=None))
