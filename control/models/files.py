"""Files people share inside a session. Name and content are sealed; control/files.py has the key."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class SharedFile(WithId, Base):
    __tablename__ = "shared_files"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"))
    owner_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    visible_to: Mapped[str | None] = mapped_column(ForeignKey("people.id"))  # none: everybody in the session
    key: Mapped[str] = mapped_column(String(200))  # the Idempotency-Key it was begun under; the id once withdrawn
    sealed_name: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int]
    chunk_bytes: Mapped[int]
    received: Mapped[int]  # chunks stored
    mime: Mapped[str | None] = mapped_column(String(120))  # by content, once it is whole
    has_thumbnail: Mapped[bool]
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("size > 0 AND received >= 0", name="sizes"),
        UniqueConstraint("appointment_id", "owner_id", "key"),
        Index("ix_shared_files_unfinished", "ready_at", "created_at"),
    )
