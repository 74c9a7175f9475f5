"""What a practitioner offers: the public profile with its policy, the services, and windows of time.

Slots are never stored: control/slots.py computes them. Windows keep the wall time that was written beside the
moments it meant, so a page shows what the practitioner typed.
"""

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class PractitionerProfile(Base):
    __tablename__ = "practitioner_profiles"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    headline: Mapped[str] = mapped_column(String(160), default="")
    about: Mapped[str] = mapped_column(Text, default="")
    modalities: Mapped[list[str]]
    languages: Mapped[list[str]]
    aftercare: Mapped[str] = mapped_column(Text, default="")
    published: Mapped[bool] = mapped_column(default=True)
    # Copied into each appointment at booking; changing them moves nothing agreed before.
    late_window_minutes: Mapped[int] = mapped_column(default=24 * 60)
    late_fee_bp: Mapped[int] = mapped_column(default=5_000)
    no_show_fee_bp: Mapped[int] = mapped_column(default=10_000)
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("late_fee_bp BETWEEN 0 AND 10000", name="late_fee"),
        CheckConstraint("no_show_fee_bp BETWEEN 0 AND 10000", name="no_show_fee"),
        CheckConstraint("late_window_minutes >= 0", name="late_window"),
    )


class Service(WithId, Base):
    __tablename__ = "services"

    practitioner_id: Mapped[str] = mapped_column(
        ForeignKey("practitioner_profiles.person_id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str] = mapped_column(Text, default="")
    mode: Mapped[str] = mapped_column(String(8), default="video")
    length_minutes: Mapped[int] = mapped_column(default=60)
    other_lengths: Mapped[list[int]] = mapped_column(JSON, default=list)  # minutes a session may be moved to instead
    price_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    buffer_before_minutes: Mapped[int] = mapped_column(default=0)
    buffer_after_minutes: Mapped[int] = mapped_column(default=0)
    minimum_notice_minutes: Mapped[int] = mapped_column(default=120)
    booking_window_days: Mapped[int] = mapped_column(default=60)
    recording_offered: Mapped[bool] = mapped_column(default=False)
    is_discovery: Mapped[bool] = mapped_column(default=False)
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("mode IN ('video', 'audio', 'chat')", name="known_mode"),
        CheckConstraint("length_minutes BETWEEN 5 AND 480", name="length"),
        CheckConstraint("price_minor >= 0", name="price"),
        CheckConstraint("buffer_before_minutes >= 0 AND buffer_after_minutes >= 0", name="buffers"),
    )


class AvailabilityWindow(WithId, Base):
    """A one-off window. Weekly rules are expanded beside these by control/weekly.py, never stored as rows here."""

    __tablename__ = "availability_windows"

    practitioner_id: Mapped[str] = mapped_column(ForeignKey("practitioner_profiles.person_id", ondelete="CASCADE"))
    service_id: Mapped[str | None] = mapped_column(ForeignKey("services.id", ondelete="CASCADE"))
    local_date: Mapped[str] = mapped_column(String(10))  # YYYY-MM-DD
    local_start: Mapped[str] = mapped_column(String(5))  # HH:mm
    local_end: Mapped[str] = mapped_column(String(5))
    time_zone: Mapped[str] = mapped_column(String(64))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    price_minor: Mapped[int | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("starts_at < ends_at", name="not_empty"),
        Index("ix_availability_windows_when", "practitioner_id", "starts_at"),
    )


class AvailabilityRule(WithId, Base):
    """The same wall times every week. They stay in the zone they were written in."""

    __tablename__ = "availability_rules"

    practitioner_id: Mapped[str] = mapped_column(ForeignKey("practitioner_profiles.person_id", ondelete="CASCADE"))
    service_id: Mapped[str | None] = mapped_column(ForeignKey("services.id", ondelete="CASCADE"))
    weekday: Mapped[int]  # Monday is 0
    local_start: Mapped[str] = mapped_column(String(5))
    local_end: Mapped[str] = mapped_column(String(5))  # 00:00 is the midnight that ends the day
    time_zone: Mapped[str] = mapped_column(String(64))
    price_minor: Mapped[int | None]
    valid_from: Mapped[str] = mapped_column(String(10))
    valid_until: Mapped[str | None] = mapped_column(String(10))  # the last day, included
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("weekday BETWEEN 0 AND 6", name="weekday"),
        CheckConstraint("local_start < local_end OR local_end = '00:00'", name="not_empty"),
        CheckConstraint("valid_until IS NULL OR valid_from <= valid_until", name="validity"),
        Index("ix_availability_rules_whose", "practitioner_id", "weekday"),
    )


class AvailabilityException(WithId, Base):
    """Time that is not offered whatever rules and windows say: a day or several, or part of one (with wall times)."""

    __tablename__ = "availability_exceptions"

    practitioner_id: Mapped[str] = mapped_column(ForeignKey("practitioner_profiles.person_id", ondelete="CASCADE"))
    local_date: Mapped[str] = mapped_column(String(10))
    local_until: Mapped[str | None] = mapped_column(String(10))  # the last day of several, included
    local_start: Mapped[str | None] = mapped_column(String(5))
    local_end: Mapped[str | None] = mapped_column(String(5))
    time_zone: Mapped[str] = mapped_column(String(64))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(String(120), default="")
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("starts_at < ends_at", name="not_empty"),
        CheckConstraint("(local_start IS NULL) = (local_end IS NULL)", name="whole_or_part"),
        Index("ix_availability_exceptions_when", "practitioner_id", "starts_at"),
    )
