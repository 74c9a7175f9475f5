"""Clients & client files: whom a practitioner has sessions with, and the notes they keep on each.

Only that practitioner reads a client's file; notes are sealed before they are stored, and each look at a file is
written down. Notes change by version, so that two open pages never overwrite each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Select, and_, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_queries import led_by
from control.appointment_states import OPEN, State
from control.audit import record
from control.consents import Purpose
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, NotFound
from control.language import t
from control.models.appointments import Appointment
from control.models.client_files import ClientNote
from control.models.consents import Consent, ConsentText
from control.models.people import Person, Role
from control.paging import Page, Place, Wanted, after, cut
from control.sealing import Sealer

MOST_NOTES = 500  # on one client


@dataclass(frozen=True, slots=True)
class ClientView:
    """`missed` are sessions they did not come to."""

    id: str
    name: str
    time_zone: str
    sessions: int
    missed: int
    last_at: datetime | None
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class NoteView:
    id: str
    text: str
    version: int
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class ConsentView:
    """One answer of the client at one of the practitioner's sessions."""

    purpose: Purpose
    answer: str
    text_version: int
    answered_at: datetime
    appointment_id: str


class ClientFiles:
    """One per application; holds nothing but the key."""

    def __init__(self, db: Database, master_key: bytes) -> None:
        self._db = db
        self._sealer = Sealer(master_key, "client notes")

    async def clients_of(self, actor: Actor, text: str, wanted: Wanted, *, now: datetime) -> Page[ClientView]:
        """By name. One query; `text` is looked for in names."""
        _require_practitioner(actor)
        query = _clients(actor, now)
        if text:
            query = query.where(Person.name.icontains(text, autoescape=True))
        query = after(query, wanted, func.lower(Person.name), Person.id, descending=False)
        async with self._db.reading() as session:
            rows = [_client_view(row) for row in await session.execute(query)]
        return cut(rows, wanted, lambda row: Place(row.name.lower(), row.id))

    async def client(self, actor: Actor, client_id: str, *, now: datetime) -> ClientView:
        """Opens the file. Raises NotFound unless they have had a session together, or have one ahead."""
        _require_practitioner(actor)
        async with self._db.transaction() as session:
            row = (await session.execute(_clients(actor, now).where(Person.id == client_id))).one_or_none()
            if row is None:
                raise NotFound
            record(session, actor, "client_file.viewed", f"person:{client_id}", now=now)
            return _client_view(row)

    async def notes(self, actor: Actor, client_id: str) -> tuple[NoteView, ...]:
        """The newest first."""
        async with self._db.reading() as session:
            await _require_client(session, actor, client_id)
            return await self._notes(session, actor.person_id, client_id)

    async def given_notes(self, practitioner_id: str, client_id: str) -> tuple[NoteView, ...]:
        """For the client's own copy. That the practitioner gives them out is the caller's to know."""
        async with self._db.reading() as session:
            return await self._notes(session, practitioner_id, client_id)

    async def _notes(self, session: AsyncSession, practitioner_id: str, client_id: str) -> tuple[NoteView, ...]:
        rows = await session.scalars(
            select(ClientNote)
            .where(ClientNote.practitioner_id == practitioner_id, ClientNote.client_id == client_id)
            .order_by(ClientNote.created_at.desc(), ClientNote.id)
        )
        return tuple(self._view(row) for row in rows)

    async def add_note(self, actor: Actor, client_id: str, text: str, *, now: datetime) -> NoteView:
        async with self._db.transaction() as session:
            await _require_client(session, actor, client_id)
            count = await session.scalar(
                select(func.count())
                .select_from(ClientNote)
                .where(ClientNote.practitioner_id == actor.person_id, ClientNote.client_id == client_id)
            )
            if (count or 0) >= MOST_NOTES:
                raise Conflict(
                    "too_many_notes",
                    t("At most %(most_notes)s notes can be kept on one client.", most_notes=MOST_NOTES),
                )
            note_id = new_id()
            row = ClientNote(
                id=note_id,
                practitioner_id=actor.person_id,
                client_id=client_id,
                sealed=self._sealer.seal(text, note_id),
                version=1,
                created_at=now,
                changed_at=now,
            )
            session.add(row)
            record(session, actor, "client_note.added", f"person:{client_id}", {"note": note_id}, now=now)
            return self._view(row)

    async def change_note(self, actor: Actor, note_id: str, text: str, version: int, *, now: datetime) -> NoteView:
        """Raises Conflict("note_changed") if it is not `version` any more."""
        async with self._db.transaction() as session:
            row = await _own(session, actor, note_id)
            changed = await session.execute(
                update(ClientNote)
                .where(ClientNote.id == note_id, ClientNote.version == version)
                .values(sealed=self._sealer.seal(text, note_id), version=version + 1, changed_at=now)
                .execution_options(synchronize_session=False)
            )
            if cast(CursorResult[Any], changed).rowcount != 1:
                raise Conflict("note_changed", "This note was changed elsewhere. Load the page again.")
            record(session, actor, "client_note.changed", f"person:{row.client_id}", {"note": note_id}, now=now)
            await session.refresh(row)
            return self._view(row)

    async def delete_note(self, actor: Actor, note_id: str, *, now: datetime) -> None:
        async with self._db.transaction() as session:
            row = await _own(session, actor, note_id)
            await session.execute(delete(ClientNote).where(ClientNote.id == note_id))
            record(session, actor, "client_note.deleted", f"person:{row.client_id}", {"note": note_id}, now=now)

    async def consents(self, actor: Actor, client_id: str) -> Sequence[ConsentView]:
        """What the client answered at this practitioner's sessions, the newest first."""
        async with self._db.reading() as session:
            await _require_client(session, actor, client_id)
            found = await session.execute(
                select(Consent, ConsentText.version)
                .join(ConsentText, ConsentText.id == Consent.text_id)
                .join(Appointment, Appointment.id == Consent.appointment_id)
                .where(Consent.person_id == client_id, Appointment.practitioner_id == actor.person_id)
                .order_by(Consent.number.desc())
                .limit(100)
            )
            return [
                ConsentView(Purpose(one.purpose), one.answer, version, one.answered_at, one.appointment_id)
                for one, version in found
            ]

    def _view(self, row: ClientNote) -> NoteView:
        text = self._sealer.unseal(row.sealed, row.id)
        return NoteView(row.id, text, row.version, row.created_at, row.changed_at)


def _require_practitioner(actor: Actor) -> None:
    if not actor.is_any(Role.PRACTITIONER):
        raise Forbidden("not_practitioner", "Only a practitioner has clients.")


def _clients(actor: Actor, now: datetime) -> Select[*tuple[Any, ...]]:
    """One row per client: how many sessions, the last one whose time came and the next one. Cancelled ones are none."""
    ahead = and_(Appointment.state.in_(OPEN), Appointment.ends_at > now)
    over = and_(Appointment.state != State.CANCELLED, or_(Appointment.state.not_in(OPEN), Appointment.ends_at <= now))
    return (
        select(
            Person.id,
            Person.name,
            Person.time_zone,
            func.sum(case((Appointment.state != State.CANCELLED, 1), else_=0)).label("sessions"),
            func.sum(case((Appointment.state == State.NO_SHOW_CLIENT, 1), else_=0)).label("missed"),
            func.max(case((over, Appointment.starts_at))).label("last_at"),
            func.min(case((ahead, Appointment.starts_at))).label("next_at"),
        )
        .join(Appointment, Appointment.client_id == Person.id)
        .where(led_by(actor))
        .group_by(Person.id, Person.name, Person.time_zone)
    )


def _client_view(row: Any) -> ClientView:
    return ClientView(row.id, row.name, row.time_zone, int(row.sessions), int(row.missed), row.last_at, row.next_at)


async def _require_client(session: AsyncSession, actor: Actor, client_id: str) -> None:
    _require_practitioner(actor)
    known = select(Appointment.id).where(led_by(actor), Appointment.client_id == client_id).limit(1)
    if await session.scalar(known) is None:
        raise NotFound


async def _own(session: AsyncSession, actor: Actor, note_id: str) -> ClientNote:
    row = await session.get(ClientNote, note_id)
    if row is None or row.practitioner_id != actor.person_id:
        raise NotFound
    return row
