"""What people write to each other inside a session, kept with it. The text is sealed; control/chat.py has the key."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class ChatMessage(WithId, Base):
    __tablename__ = "chat_messages"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"))
    seq: Mapped[int]  # 1, 2, 3 … within the appointment
    author_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    key: Mapped[str] = mapped_column(String(200))  # the Idempotency-Key it was sent under
    sealed: Mapped[bytes] = mapped_column(LargeBinary)  # nothing: its writer was erased
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("appointment_id", "seq"),
        UniqueConstraint("appointment_id", "author_id", "key"),
    )


class ChatMark(Base):
    """How far one person's page has received, and how far the person has read."""

    __tablename__ = "chat_marks"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), primary_key=True)
    delivered: Mapped[int]
    read: Mapped[int]
