"""Reading recordings for pages and the API: a practitioner sees those of their own appointments, nobody else any."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.database import Database
from control.errors import NotFound
from control.models.appointments import Appointment
from control.models.people import Person
from control.models.recordings import Recording, RecordingFile
from control.recording_rule import RecordingState

MOST_LISTED = 500


@dataclass(frozen=True, slots=True)
class SessionOf:
    """The appointment a recording belongs to, as far as a list needs it."""

    id: str
    service_name: str
    client_name: str
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


async def list_recordings(db: Database, actor: Actor) -> tuple[RecordingView, ...]:
    """Newest first, deleted ones left out; empty for people who record nobody."""
    async with db.reading() as session:
        rows = (
            await session.execute(
                select(Recording, Appointment, Person.name)
                .join(Appointment, Appointment.id == Recording.appointment_id)
                .join(Person, Person.id == Appointment.client_id)
                .where(Recording.practitioner_id == actor.person_id, Recording.state != RecordingState.DELETED)
                .order_by(Recording.started_at.desc())
                .limit(MOST_LISTED)
            )
        ).all()
        files = await _files_of(session, [row.id for row, _, _ in rows])
    return tuple(_view(row, about, name, files.get(row.id, ())) for row, about, name in rows)


async def get_recording(db: Database, actor: Actor, recording_id: str) -> RecordingView:
    """Raises NotFound for a stranger, the client included, and for what was deleted."""
    async with db.reading() as session:
        row = await own(session, actor, recording_id)
        about = await session.get_one(Appointment, row.appointment_id)
        client = await session.get_one(Person, about.client_id)
        files = await _files_of(session, [row.id])
    return _view(row, about, client.name, files.get(row.id, ()))


async def own(session: AsyncSession, actor: Actor, recording_id: str) -> Recording:
    row = await session.get(Recording, recording_id, populate_existing=True)
    if row is None or row.practitioner_id != actor.person_id or row.state == RecordingState.DELETED:
        raise NotFound
    return row


async def _files_of(session: AsyncSession, recording_ids: Sequence[str]) -> dict[str, list[RecordingFile]]:
    found: dict[str, list[RecordingFile]] = {}
    wanted = select(RecordingFile).where(RecordingFile.recording_id.in_(recording_ids))
    for file in await session.scalars(wanted.order_by(RecordingFile.file_id)):
        found.setdefault(file.recording_id, []).append(file)
    return found


def _view(row: Recording, about: Appointment, client_name: str, files: Sequence[RecordingFile]) -> RecordingView:
    return RecordingView(
        id=row.id,
        state=RecordingState(row.state),
        session=SessionOf(about.id, about.service_name, client_name, about.starts_at),
        started_at=row.started_at,
        length_s=None if row.duration_ms is None else row.duration_ms / 1000,
        expires_at=row.delete_after,
        complete=row.complete,
        failure=row.failure,
        files=tuple(_file_view(row.id, file) for file in files),
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
