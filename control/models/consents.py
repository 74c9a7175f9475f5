"""Consent: texts by purpose and version, and people's dated answers to them. Answers are only ever added.

What somebody agrees to now is their newest answer; a withdrawal is an answer too, so the history stays whole.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId, new_id


class ConsentText(WithId, Base):
    """A text is never edited: a changed one is the next version. `owner` is a practitioner's id or "practice"."""

    __tablename__ = "consent_texts"

    purpose: Mapped[str] = mapped_column(String(16))
    owner: Mapped[str] = mapped_column(String(32))
    version: Mapped[int]
    title: Mapped[str] = mapped_column(String(160))
    body: Mapped[str] = mapped_column(Text)
    video_url: Mapped[str | None] = mapped_column(String(400))
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("purpose", "owner", "version"),
        CheckConstraint("purpose IN ('care', 'recording')", name="known_purpose"),
    )


class Consent(Base):
    __tablename__ = "consents"

    # The order of answers is the order of these numbers: two answers may share a moment.
    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    id: Mapped[str] = mapped_column(String(32), unique=True, default=new_id)  # the receipt's number for people
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    purpose: Mapped[str] = mapped_column(String(16))
    text_id: Mapped[str] = mapped_column(ForeignKey("consent_texts.id"))
    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id"))
    answer: Mapped[str] = mapped_column(String(16))
    answered_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("answer IN ('yes', 'no', 'withdrawn')", name="known_answer"),
        Index("ix_consents_person_text", "person_id", "text_id"),
        Index("ix_consents_appointment", "appointment_id", "purpose"),
    )
