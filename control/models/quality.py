"""What a session's connections were like: about a minute of one person's per row. Written by control/quality.py."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class SessionQuality(WithId, Base):
    """Means over `samples` measurements, except where a name says otherwise. Numbers only, nothing of what was said."""

    __tablename__ = "session_quality"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"))
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    from_at: Mapped[datetime]
    until_at: Mapped[datetime]
    samples: Mapped[int]
    loss_in: Mapped[float]
    loss_out: Mapped[float]
    jitter_ms: Mapped[float]
    round_trip_ms: Mapped[float | None]
    mos: Mapped[float]
    worst_mos: Mapped[float]
    freezes: Mapped[int]  # of the pictures this person saw; a sum, as the next
    frozen_ms: Mapped[int]

    __table_args__ = (
        CheckConstraint("samples > 0", name="samples"),
        Index("ix_session_quality_appointment", "appointment_id", "person_id", "from_at"),
    )
