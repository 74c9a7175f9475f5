"""Ratings: one per person and completed appointment. What is public of them is decided in control/ratings.py."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class Rating(WithId, Base):
    __tablename__ = "ratings"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id"))
    author_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    subject_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    author_role: Mapped[str] = mapped_column(String(16))
    stars: Mapped[int]
    feedback: Mapped[str] = mapped_column(Text, default="")
    is_public: Mapped[bool]
    # Three stars or fewer become public only by a second, separate confirmation.
    publication_confirmed_at: Mapped[datetime | None]
    would_recommend: Mapped[bool | None]
    tags: Mapped[list[str]]
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("appointment_id", "author_id"),
        CheckConstraint("stars BETWEEN 1 AND 5", name="stars"),
        Index("ix_ratings_subject", "subject_id", "is_public"),
    )
