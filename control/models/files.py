"""Files people share in a session or send with a message. Name and content are sealed; control/files.py has the key."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class SharedFile(WithId, Base):
    __tablename__ = "shared_files"

    # Of a session, or of a message; of neither until the message is written.
    appointment_id: Mapped[str | None] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"))
    message_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), index=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    visible_to: Mapped[str | None] = mapped_column(ForeignKey("people.id"))  # none: everybody in the session
    key: Mapped[str] = mapped_column(
        String(200)
    )  # the Idempotency-Key it was begun under; the id once withdrawn or attached
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
        Index(
            "uq_shared_files_in_no_session",
            "owner_id",
            "key",
            unique=True,
            sqlite_where=text("appointment_id IS NULL"),
            postgresql_where=text("appointment_id IS NULL"),
        ),
        Index("ix_shared_files_unfinished", "ready_at", "created_at"),
    )
