"""Recordings of appointments and the files a finished one has. The media itself is the recorder's, not here.

`pressed` is what the practitioner last asked for, `state` what became of it. One recording of an appointment is open
at a time; only control/recordings.py, recording_composing.py and recording_archive.py write here.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId

OPEN_STATES = "('paused', 'recording')"


class Recording(WithId, Base):
    __tablename__ = "recordings"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id"))
    practitioner_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    state: Mapped[str] = mapped_column(String(16))
    pressed: Mapped[str] = mapped_column(String(8))
    started_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]  # after a crash: the last moment that was kept
    recovered_at: Mapped[datetime | None]  # set: the server stopped while it ran
    finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None]
    complete: Mapped[bool | None]  # False: a crash cut it
    failure: Mapped[str | None] = mapped_column(Text)
    composition: Mapped[str] = mapped_column(String(16), default="none")  # recording_composing.Composition
    chapters: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)  # [{"at_ms", "title"}]
    shared_at: Mapped[datetime | None]  # with the client
    held_at: Mapped[datetime | None]  # legal hold: nothing of it is deleted
    hold_reason: Mapped[str | None] = mapped_column(Text)
    delete_after: Mapped[datetime | None] = mapped_column(index=True)
    warned_at: Mapped[datetime | None]  # the practitioner was told of the deletion to come
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "state IN ('recording', 'paused', 'finishing', 'ready', 'failed', 'deleted')", name="known_state"
        ),
        CheckConstraint("pressed IN ('on', 'paused', 'off')", name="known_press"),
        Index(
            "uq_recordings_one_open",
            "appointment_id",
            unique=True,
            sqlite_where=text(f"state IN {OPEN_STATES}"),
            postgresql_where=text(f"state IN {OPEN_STATES}"),
        ),
        Index("ix_recordings_practitioner", "practitioner_id", "started_at"),
        Index("ix_recordings_composition", "composition", "finished_at"),
    )


class RecordingFile(WithId, Base):
    """One playable file. `file_id` is the recorder's name for it, `starts_ms` where it begins in the recording."""

    __tablename__ = "recording_files"

    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.id", ondelete="CASCADE"), index=True)
    file_id: Mapped[str] = mapped_column(String(64))
    participant_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(120))
    view: Mapped[str] = mapped_column(String(16))
    mime: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    starts_ms: Mapped[int]
    duration_ms: Mapped[int]
    width: Mapped[int | None]
    height: Mapped[int | None]


class RecordingErasure(Base):
    """Somebody who took their yes back wants what was recorded of them deleted; done once the files are gone."""

    __tablename__ = "recording_erasures"

    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), primary_key=True)
    asked_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
