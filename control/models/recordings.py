"""Recordings of appointments and the files a finished one has. The media itself is the recorder's, not here.

`pressed` is what the practitioner last asked for, `state` what became of it. One recording of an appointment is open
at a time; only control/recordings.py writes here.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, text
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
    stopped_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None]
    complete: Mapped[bool | None]  # False: a crash cut it
    failure: Mapped[str | None] = mapped_column(Text)
    delete_after: Mapped[datetime | None] = mapped_column(index=True)
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
