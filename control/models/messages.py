"""Conversations between a client and a practitioner, their sealed messages, and how far each has read.

control/messages.py writes them and holds the rules; control/message_queries.py reads.
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class Conversation(WithId, Base):
    __tablename__ = "conversations"

    practitioner_id: Mapped[str | None] = mapped_column(ForeignKey("people.id"))  # none: with the practice itself
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"))  # the client, or who asks
    last_seq: Mapped[int]
    last_message_at: Mapped[datetime]
    # The person's messages since the last answer: how many, and when the practitioner is reminded of them.
    unanswered: Mapped[int]
    unanswered_since: Mapped[datetime | None]
    remind_at: Mapped[datetime | None] = mapped_column(index=True)
    reminders_sent: Mapped[int]
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("practitioner_id", "person_id"),
        Index("ix_conversations_person", "person_id", "last_message_at"),
        Index("ix_conversations_practitioner", "practitioner_id", "last_message_at"),
    )


class Message(WithId, Base):
    __tablename__ = "messages"

    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    seq: Mapped[int]  # 1, 2, 3 … in this conversation
    author_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    monitored: Mapped[bool]  # what the writer was told: staff may read no other
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("conversation_id", "seq"),)


class ConversationReader(Base):
    __tablename__ = "conversation_readers"

    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    read_seq: Mapped[int]


class MonitoringAcknowledgement(Base):
    """Who has written after being shown which text on monitoring, and when for the first time."""

    __tablename__ = "monitoring_acknowledgements"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    text_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    acknowledged_at: Mapped[datetime]
