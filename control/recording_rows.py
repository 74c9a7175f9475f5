"""The rows of recordings: what a press stores, the open one of an appointment, a finished file's.

Everything works on the caller's open transaction; control/recordings.py composes it with the recorder.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import load, party_of
from control.appointment_states import State
from control.audit import record
from control.database import new_id
from control.errors import Conflict, Forbidden
from control.lifecycle import Party
from control.models.appointments import Appointment
from control.models.people import Person
from control.models.recordings import Recording, RecordingFile
from control.recording_ports import Finished, FinishedFile
from control.recording_rule import Pressed, RecordingState

OPEN = (RecordingState.RECORDING, RecordingState.PAUSED)


def check_press(actor: Actor, row: Appointment, pressed: Pressed) -> None:
    if party_of(actor, row) is not Party.PRACTITIONER:
        raise Forbidden("not_practitioner", "Only the practitioner starts and stops a recording.")
    if pressed is Pressed.OFF:
        return
    if row.state != State.IN_PROGRESS:
        raise Conflict("not_in_progress", "A session can be recorded while it runs.", status_now=row.state)
    if not row.recording_offered:
        raise Conflict("recording_not_offered", "This session is not recorded.")


async def store_press(
    session: AsyncSession, actor: Actor, appointment_id: str, pressed: Pressed, now: datetime
) -> None:
    row = await load(session, appointment_id)
    check_press(actor, row, pressed)
    recording = await open_recording(session, appointment_id)
    if recording is None:
        if pressed is Pressed.OFF:
            return
        if pressed is Pressed.PAUSED:
            raise Conflict("not_recording", "Nothing is being recorded.")
        recording = new_recording(row, pressed, now)
        session.add(recording)
    elif recording.pressed == pressed:
        return
    recording.pressed = pressed
    words = {Pressed.ON: "record_pressed", Pressed.PAUSED: "pause_pressed", Pressed.OFF: "stop_pressed"}
    record(session, actor, f"recording.{words[pressed]}", f"recording:{recording.id}", {}, now=now)


def new_recording(row: Appointment, pressed: Pressed, now: datetime) -> Recording:
    return Recording(
        id=new_id(),
        appointment_id=row.id,
        practitioner_id=row.practitioner_id,
        state=RecordingState.PAUSED,
        pressed=pressed,
        started_at=now,
    )


async def open_recording(session: AsyncSession, appointment_id: str) -> Recording | None:
    found: Recording | None = await session.scalar(
        select(Recording).where(Recording.appointment_id == appointment_id, Recording.state.in_(OPEN))
    )
    return found


async def names_of(session: AsyncSession, person_ids: frozenset[str]) -> dict[str, str]:
    found = await session.execute(select(Person.id, Person.name).where(Person.id.in_(person_ids)))
    return {row.id: row.name for row in found}


def file_rows(recording_id: str, finished: Finished) -> list[RecordingFile]:
    """Everything it has now, the small picture and the composed file among them."""
    found = (*finished.files, finished.thumbnail, finished.composed)
    return [_file_row(recording_id, file) for file in found if file is not None]


def _file_row(recording_id: str, file: FinishedFile) -> RecordingFile:
    return RecordingFile(
        recording_id=recording_id,
        file_id=file.file_id,
        participant_id=file.participant,
        name=file.display_name,
        view=file.view,
        mime=file.mime,
        size_bytes=file.size,
        sha256=file.sha256,
        starts_ms=file.starts_ms,
        duration_ms=file.duration_ms,
        width=file.width,
        height=file.height,
    )
