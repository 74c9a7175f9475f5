"""What people ask about their own data: a copy of all of it, a practitioner's notes on them, and to be erased."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class DataExport(WithId, Base):
    """One copy of everything of a person, made in the background. Its content is sealed on disk (file_store.py)."""

    __tablename__ = "data_exports"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(8))  # waiting, making, ready, failed, gone
    file_id: Mapped[str | None] = mapped_column(String(32))  # of this attempt: a second one writes elsewhere
    parts_done: Mapped[int]
    parts: Mapped[int]
    size: Mapped[int]
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)

    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'making', 'ready', 'failed', 'gone')", name="known_state"),
        Index("ix_data_exports_person", "person_id", "created_at"),
        Index(
            "uq_data_exports_one_under_way",
            "person_id",
            unique=True,
            sqlite_where=text("state IN ('waiting', 'making')"),
            postgresql_where=text("state IN ('waiting', 'making')"),
        ),
    )


class NoteRequest(WithId, Base):
    """A client asks for what a practitioner has noted on them; the practitioner decides."""

    __tablename__ = "note_requests"

    practitioner_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    client_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    asked_at: Mapped[datetime]
    answer: Mapped[str | None] = mapped_column(String(8))  # given, refused
    answered_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("practitioner_id", "client_id"),
        CheckConstraint("answer IN ('given', 'refused')", name="known_answer"),
    )


class PersonErasure(Base):
    """Somebody was erased. The row leads the work that is left on disk, and keeps what receipts must go on saying."""

    __tablename__ = "person_erasures"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(120))  # on receipts only
    email: Mapped[str] = mapped_column(String(254))  # the same
    asked_at: Mapped[datetime]
    done_at: Mapped[datetime | None] = mapped_column(index=True)
