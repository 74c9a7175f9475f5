"""Testimonials, the practitioner's one reply to each, and whom we invite to write. control/testimonials.py decides."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class Testimonial(WithId, Base):
    """Never edited: its author may take it back, and write another."""

    __tablename__ = "testimonials"

    practitioner_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    author_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    text: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(8))  # waiting, approved, refused
    created_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None] = mapped_column(ForeignKey("people.id"))
    reply: Mapped[str | None] = mapped_column(Text)
    replied_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("practitioner_id", "author_id"),
        CheckConstraint("state IN ('waiting', 'approved', 'refused')", name="known_state"),
        Index("ix_testimonials_state", "state", "created_at"),
    )


class TestimonialInvitation(Base):
    """From a client's first completed session with a practitioner: reminders until answered or declined."""

    __tablename__ = "testimonial_invitations"

    practitioner_id: Mapped[str] = mapped_column(ForeignKey("people.id"), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("people.id"), primary_key=True)
    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"))
    since: Mapped[datetime]
    reminders_sent: Mapped[int]
    remind_at: Mapped[datetime | None] = mapped_column(index=True)
    declined_at: Mapped[datetime | None]
