"""The audit log: who did and who read what. Rows are only ever added; the database itself refuses anything else."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class AuditEntry(WithId, Base):
    __tablename__ = "audit_entries"

    at: Mapped[datetime] = mapped_column(index=True)
    actor_id: Mapped[str | None] = mapped_column(ForeignKey("people.id"), index=True)  # none: the system itself
    action: Mapped[str] = mapped_column(String(64))  # "recording.viewed"
    subject: Mapped[str] = mapped_column(String(120), index=True)  # "appointment:<id>"
    detail: Mapped[dict[str, Any]]
