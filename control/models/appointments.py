"""Appointments, requests to move them, guests, who was connected when, join tokens, and the scheduler's lease.

The database itself refuses two appointments that keep overlapping time of one practitioner, and a second one in
progress (migration 0002); `busy_from` and `busy_until` are the span with buffers. Only the action functions
write here, by conditional updates on `state` and `version`.
"""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class Appointment(WithId, Base):
    __tablename__ = "appointments"

    practitioner_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    client_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    state: Mapped[str] = mapped_column(String(24))
    version: Mapped[int] = mapped_column(default=1)

    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    busy_from: Mapped[datetime]
    busy_until: Mapped[datetime]
    client_time_zone: Mapped[str] = mapped_column(String(64))

    # As agreed at booking: neither the service nor the policy changes them later.
    service_name: Mapped[str] = mapped_column(String(120))
    mode: Mapped[str] = mapped_column(String(8))
    recording_offered: Mapped[bool]
    price_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    platform_fee_bp: Mapped[int]
    late_window_minutes: Mapped[int]
    late_fee_bp: Mapped[int]
    no_show_fee_bp: Mapped[int]
    opens_before_s: Mapped[int]
    no_show_after_s: Mapped[int]
    present_for_s: Mapped[int]
    grace_s: Mapped[int]
    left_for_s: Mapped[int] = mapped_column(default=600)
    needs_activation: Mapped[bool] = mapped_column(default=False)  # hidden from the practitioner until an admin acts

    due_at: Mapped[datetime | None]  # when time alone moves it on (lifecycle.due_since); the scheduler's one index
    hold_expires_at: Mapped[datetime | None]
    booking_key: Mapped[str | None] = mapped_column(String(200))  # the Idempotency-Key it was booked under
    created_at: Mapped[datetime]
    scheduled_at: Mapped[datetime | None]
    activated_at: Mapped[datetime | None]
    confirmed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(String(16))  # client, practitioner, admin or system
    end_reason: Mapped[str | None] = mapped_column(Text)
    kept_minor: Mapped[int | None]
    refund_minor: Mapped[int | None]
    fee_waived_at: Mapped[datetime | None]
    late_from: Mapped[datetime | None]  # the earlier start that still counts after a late reschedule
    series_id: Mapped[str | None] = mapped_column(String(32), index=True)

    empty_since: Mapped[datetime | None]  # of a running session that everybody has left
    client_country: Mapped[str | None] = mapped_column(String(2))  # where they said they are, for help numbers
    client_waiting_told_at: Mapped[datetime | None]
    client_admitted_at: Mapped[datetime | None]
    practitioner_admitted_at: Mapped[datetime | None]
    client_sent_out_at: Mapped[datetime | None]  # back to the waiting room until the practitioner lets them in again
    visitors_may_share: Mapped[bool] = mapped_column(default=False)  # their screens; the practitioner always may
    calendar_sequence: Mapped[int] = mapped_column(default=0)  # RFC 5545 SEQUENCE; the UID is the id

    __table_args__ = (
        CheckConstraint(
            "state IN ('pending', 'scheduled', 'confirmed', 'in_progress', 'completed', 'expired', 'cancelled',"
            " 'no_show_client', 'no_show_practitioner')",
            name="known_state",
        ),
        CheckConstraint("busy_from <= starts_at AND starts_at < ends_at AND ends_at <= busy_until", name="span"),
        CheckConstraint("price_minor >= 0", name="price"),
        CheckConstraint("practitioner_id <> client_id", name="two_people"),
        UniqueConstraint("client_id", "booking_key"),
        Index(
            "uq_appointments_one_in_progress",
            "practitioner_id",
            unique=True,
            sqlite_where=text("state = 'in_progress'"),
            postgresql_where=text("state = 'in_progress'"),
        ),
        Index("ix_appointments_practitioner_start", "practitioner_id", "starts_at"),
        Index("ix_appointments_client_start", "client_id", "starts_at"),
        Index("ix_appointments_due", "due_at"),
    )


class RescheduleRequest(WithId, Base):
    """A proposal of one of the two to move an appointment. At most one is open."""

    __tablename__ = "reschedule_requests"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    asked_by: Mapped[str] = mapped_column(ForeignKey("people.id"))
    asked_role: Mapped[str] = mapped_column(String(16))
    asked_late: Mapped[bool]  # inside the late window of the start as it was
    old_starts_at: Mapped[datetime]
    old_ends_at: Mapped[datetime]
    new_starts_at: Mapped[datetime]
    new_ends_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("state IN ('open', 'accepted', 'rejected', 'withdrawn', 'expired')", name="known_state"),
        CheckConstraint("new_starts_at < new_ends_at", name="not_empty"),
        Index(
            "uq_reschedule_requests_one_open",
            "appointment_id",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        Index("ix_reschedule_requests_open", "state", "old_starts_at"),
    )


class Guest(WithId, Base):
    """Somebody the practitioner has invited to one appointment. Removed ones stay, for what they answered."""

    __tablename__ = "guests"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"))
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    created_at: Mapped[datetime]
    admitted_at: Mapped[datetime | None]  # the practitioner pressed Admit
    removed_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("appointment_id", "person_id"),)


class Presence(WithId, Base):
    """One stay of one person's socket. Open while `disconnected_at` is empty."""

    __tablename__ = "presence"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"))
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    role: Mapped[str] = mapped_column(String(16))
    connected_at: Mapped[datetime]
    admitted_at: Mapped[datetime | None]
    disconnected_at: Mapped[datetime | None]
    reason: Mapped[str | None] = mapped_column(String(24))

    __table_args__ = (Index("ix_presence_appointment_person", "appointment_id", "person_id"),)


class JoinToken(Base):
    """That a token's number was given out, and whether it was used. The token itself is never stored."""

    __tablename__ = "join_tokens"

    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"))
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class Lease(Base):
    """Work that one process does at a time. A holder that stops renewing loses it when it runs out."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    renewed_at: Mapped[datetime]
    expires_at: Mapped[datetime]
