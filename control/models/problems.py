"""What people reported from inside a session, who took it, and when it is told again. The words are sealed."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class ProblemKind(StrEnum):
    TECHNICAL = "technical"
    UNSAFE = "unsafe"
    URGENT = "urgent"


class ProblemReport(WithId, Base):
    __tablename__ = "problem_reports"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"), index=True)
    reporter_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    reporter_role: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    country: Mapped[str | None] = mapped_column(String(2))  # as stated, ISO 3166-1
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    alerts: Mapped[int]
    next_alert_at: Mapped[datetime | None]  # none once somebody has taken it
    taken_by: Mapped[str | None] = mapped_column(ForeignKey("people.id"))
    taken_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("kind IN ('technical', 'unsafe', 'urgent')", name="known_kind"),
        Index("ix_problem_reports_next_alert", "next_alert_at"),
        Index("ix_problem_reports_created", "created_at"),
    )
