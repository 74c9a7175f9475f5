"""The outbox: one row per e-mail, SMS or push that a stored change owes somebody, with what became of it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class OutboxState(StrEnum):
    WAITING = "waiting"  # due at next_attempt_at
    SENDING = "sending"  # a worker has it until claimed_until
    SENT = "sent"
    KEPT = "kept"  # no gateway configured: to be read on the outbox page
    DROPPED = "dropped"  # its reason was gone when its turn came
    DEAD = "dead"  # given up; an admin sees it


class OutboxChannel(StrEnum):
    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"  # to one device, named in the facts
    PLANNED = "planned"  # at its time it becomes what the kind's channels are then


class OutboxRow(WithId, Base):
    __tablename__ = "outbox"

    kind: Mapped[str] = mapped_column(String(40))
    channel: Mapped[str] = mapped_column(String(8), default=OutboxChannel.EMAIL)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    subject_id: Mapped[str | None] = mapped_column(String(32), index=True)
    facts: Mapped[dict[str, Any]]
    secrets: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # one-time links; erased once sent
    had_secrets: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(String(8), default=OutboxState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(index=True)
    next_attempt_at: Mapped[datetime]
    claimed_until: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(String(300))
    # As it was written, for the outbox page; filled when its turn comes.
    to_address: Mapped[str | None] = mapped_column(String(254))
    subject_line: Mapped[str | None] = mapped_column(String(200))
    body_text: Mapped[str | None] = mapped_column(Text)
    body_html: Mapped[str | None] = mapped_column(Text)
    calendar: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("ix_outbox_due", "state", "next_attempt_at"),)
