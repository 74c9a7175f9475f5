"""Reading recordings for pages and the API: those of a practitioner's own sessions, and those shared with their client.

Nobody else sees any: no guest, no admin, no other practitioner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.database import Database
from control.errors import NotFound
from control.models.appointments import Appointment
from control.models.people import Person
from control.models.recordings import Recording, RecordingErasure, RecordingFile
from control.recording_rows import names_of
from control.recording_rule import Composition, RecordingState

MOST_LISTED = 500

COMPOSED = "composed"
THUMBNAIL = "thumbnail"
"""Views of files that the recorder makes of everybody's."""


@dataclass(frozen=True, slots=True)
class SessionOf:
    """The appointment a recording belongs to, as far as a list needs it."""

    id: str
    service_name: str
    client_name: str
    practitioner_name: str
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class FileView:
    file_id: str
    participant_id: str
    name: str
    view: str
    kind: str
    """Media type."""
    size_bytes: int
    sha256: str
    offset_s: float
    """Where the file begins in the recording."""
    length_s: float
    width: int | None
    height: int | None
    url: str


@dataclass(frozen=True, slots=True)
class Chapter:
    at_s: float
    title: str


@dataclass(frozen=True, slots=True)
class RecordingView:
    id: str
    state: RecordingState
    session: SessionOf
    started_at: datetime
    length_s: float | None
    expires_at: datetime | None
    complete: bool | None
    failure: str | None
    files: tuple[FileView, ...]
    """Everybody's own, to be played in step."""
    composed: FileView | None
    thumbnail: FileView | None
    chapters: tuple[Chapter, ...]
    composition: Composition
    is_own: bool
    """False: the reader is the client it is shared with."""
    shared_at: datetime | None
    held_at: datetime | None
    hold_reason: str | None
    recovered_at: datetime | None
    stopped_at: datetime | None
    erased: tuple[str, ...]
    """Names of people whose part was deleted on their wish."""


async def list_recordings(db: Database, actor: Actor, *, shared: bool = False) -> tuple[RecordingView, ...]:
    """The actor's own as a practitioner, or those `shared` with them as a client. Newest first, no deleted ones."""
    whose = _shared_with(actor) if shared else Recording.practitioner_id == actor.person_id
    async with db.reading() as session:
        rows = list(
            await session.scalars(
                select(Recording)
                .join(Appointment, Appointment.id == Recording.appointment_id)
                .where(whose, Recording.state != RecordingState.DELETED)
                .order_by(Recording.started_at.desc())
                .limit(MOST_LISTED)
            )
        )
        return await _views(session, actor, rows)


async def get_recording(db: Database, actor: Actor, recording_id: str) -> RecordingView:
    """Raises NotFound for a stranger, for a client it is not shared with, and for what was deleted."""
    async with db.reading() as session:
        (view,) = await _views(session, actor, [await seen_by(session, actor, recording_id)])
    return view


async def own(session: AsyncSession, actor: Actor, recording_id: str) -> Recording:
    """Of the practitioner it belongs to, who alone may change anything about it."""
    return await _one(session, recording_id, Recording.practitioner_id == actor.person_id)


async def seen_by(session: AsyncSession, actor: Actor, recording_id: str) -> Recording:
    return await _one(session, recording_id, or_(Recording.practitioner_id == actor.person_id, _shared_with(actor)))


def _shared_with(actor: Actor) -> ColumnElement[bool]:
    return and_(
        Appointment.client_id == actor.person_id,
        Recording.shared_at.is_not(None),
        Recording.state == RecordingState.READY,
    )


async def _one(session: AsyncSession, recording_id: str, whose: ColumnElement[bool]) -> Recording:
    row: Recording | None = await session.scalar(
        select(Recording)
        .join(Appointment, Appointment.id == Recording.appointment_id)
        .where(Recording.id == recording_id, Recording.state != RecordingState.DELETED, whose)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound
    return row


async def _views(session: AsyncSession, actor: Actor, rows: Sequence[Recording]) -> tuple[RecordingView, ...]:
    files = await _files_of(session, [row.id for row in rows])
    found = await session.scalars(select(Appointment).where(Appointment.id.in_({row.appointment_id for row in rows})))
    about = {one.id: one for one in found}
    people = {person for one in about.values() for person in (one.client_id, one.practitioner_id)}
    names = await names_of(session, frozenset(people))
    erased: dict[str, list[str]] = {}
    done = select(RecordingErasure.recording_id, Person.name).join(Person, Person.id == RecordingErasure.person_id)
    for recording_id, name in await session.execute(
        done.where(RecordingErasure.recording_id.in_([row.id for row in rows]), RecordingErasure.done_at.is_not(None))
    ):
        erased.setdefault(recording_id, []).append(name)
    views = []
    for row in rows:
        one = about[row.appointment_id]
        facts = SessionOf(one.id, one.service_name, names[one.client_id], names[one.practitioner_id], one.starts_at)
        is_own = row.practitioner_id == actor.person_id
        views.append(_view(row, facts, files.get(row.id, ()), tuple(erased.get(row.id, ())), is_own=is_own))
    return tuple(views)


async def _files_of(session: AsyncSession, recording_ids: Sequence[str]) -> dict[str, list[RecordingFile]]:
    found: dict[str, list[RecordingFile]] = {}
    wanted = select(RecordingFile).where(RecordingFile.recording_id.in_(recording_ids))
    for file in await session.scalars(wanted.order_by(RecordingFile.file_id)):
        found.setdefault(file.recording_id, []).append(file)
    return found


def _view(
    row: Recording, about: SessionOf, found: Sequence[RecordingFile], erased: tuple[str, ...], *, is_own: bool
) -> RecordingView:
    files = [_file_view(row.id, file) for file in found]
    made = {file.view: file for file in files if file.view in (COMPOSED, THUMBNAIL)}
    return RecordingView(
        id=row.id,
        state=RecordingState(row.state),
        session=about,
        started_at=row.started_at,
        length_s=None if row.duration_ms is None else row.duration_ms / 1000,
        expires_at=row.delete_after,
        complete=row.complete,
        failure=row.failure,
        files=tuple(file for file in files if file.view not in made),
        composed=made.get(COMPOSED),
        thumbnail=made.get(THUMBNAIL),
        chapters=tuple(Chapter(mark["at_ms"] / 1000, mark["title"]) for mark in row.chapters),
        composition=Composition(row.composition),
        is_own=is_own,
        shared_at=row.shared_at,
        held_at=row.held_at,
        hold_reason=row.hold_reason if is_own else None,
        recovered_at=row.recovered_at,
        stopped_at=row.stopped_at,
        erased=erased,
    )


def _file_view(recording_id: str, file: RecordingFile) -> FileView:
    return FileView(
        file_id=file.file_id,
        participant_id=file.participant_id,
        name=file.name,
        view=file.view,
        kind=file.mime,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        offset_s=file.starts_ms / 1000,
        length_s=file.duration_ms / 1000,
        width=file.width,
        height=file.height,
        url=f"/api/recordings/{recording_id}/files/{file.file_id}",
    )
