"""Conversations between a client and a practitioner, their sealed messages, and how far each has read.

control/messages.py writes them and holds the rules; control/message_queries.py reads.
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
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
    # The help desk's: who has taken it, and that nothing more is expected.
    assigned_to_id: Mapped[str | None] = mapped_column(ForeignKey("people.id"))
    closed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("practitioner_id", "person_id"),
        Index(
            "uq_conversations_with_practice",
            "person_id",
            unique=True,
            sqlite_where=text("practitioner_id IS NULL"),
            postgresql_where=text("practitioner_id IS NULL"),
        ),
        Index("ix_conversations_person", "person_id", "last_message_at"),
        Index("ix_conversations_practitioner", "practitioner_id", "last_message_at"),
    )


class Message(WithId, Base):
    __tablename__ = "messages"

    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    seq: Mapped[int]  # 1, 2, 3 … in this conversation
    author_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)  # nothing: its writer was erased
    monitored: Mapped[bool]  # what the writer was told: staff may read no other
    files: Mapped[int] = mapped_column(default=0, server_default="0")  # how many were sent with it
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("conversation_id", "seq"),)


class ConversationReader(Base):
    __tablename__ = "conversation_readers"

    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    read_seq: Mapped[int]


class Enquiry(WithId, Base):
    """What somebody wrote on the public form, until its link proves their address: then it becomes a message."""

    __tablename__ = "enquiries"

    practitioner_id: Mapped[str | None] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    seen_notice: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


ZENDESK_COMMENT = "zendesk comment "


class InboundMail(Base):
    """What was read in, each once, however it came: e-mails by the digest of their Message-ID, Zendesk's comments by
    their number."""

    __tablename__ = "inbound_mails"

    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(index=True)


class DeskJob(WithId, Base):
    """A message that Zendesk is to be told of (zendesk_desk.py)."""

    __tablename__ = "desk_jobs"

    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    seq: Mapped[int]  # of the message
    state: Mapped[str] = mapped_column(String(8), default="waiting")  # waiting, sent, dead
    tries: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(String(200))
    ticket_id: Mapped[str | None] = mapped_column(String(24))  # once it is sent

    __table_args__ = (UniqueConstraint("conversation_id", "seq"), Index("ix_desk_jobs_due", "state", "created_at"))


class MonitoringAcknowledgement(Base):
    """Who has written after being shown which text on monitoring, and when for the first time."""

    __tablename__ = "monitoring_acknowledgements"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    text_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    acknowledged_at: Mapped[datetime]
