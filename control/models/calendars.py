"""Calendars outside: the feed in which a practitioner reads bookings elsewhere, and the one busy times come from."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class CalendarFeed(Base):
    """Its address is made from `nonce` and a key of the install: a copy of the database opens no feed."""

    __tablename__ = "calendar_feeds"

    practitioner_id: Mapped[str] = mapped_column(
        ForeignKey("practitioner_profiles.person_id", ondelete="CASCADE"), primary_key=True
    )
    nonce: Mapped[str] = mapped_column(String(32), unique=True)
    created_at: Mapped[datetime]


class ImportedCalendar(Base):
    """One per practitioner. `read_at` is the last good reading, whose busy times are kept until the next one."""

    __tablename__ = "imported_calendars"

    practitioner_id: Mapped[str] = mapped_column(
        ForeignKey("practitioner_profiles.person_id", ondelete="CASCADE"), primary_key=True
    )
    address: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(8))  # waiting, read, failed
    failure: Mapped[str | None] = mapped_column(String(40))
    next_try_at: Mapped[datetime]
    tried_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'read', 'failed')", name="known_state"),
        Index("ix_imported_calendars_next", "next_try_at"),
    )


class BusyTime(WithId, Base):
    """A span the imported calendar marks as busy: only when, never what."""

    __tablename__ = "busy_times"

    practitioner_id: Mapped[str] = mapped_column(ForeignKey("practitioner_profiles.person_id", ondelete="CASCADE"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("starts_at < ends_at", name="not_empty"),
        Index("ix_busy_times_when", "practitioner_id", "ends_at"),
    )
