"""Activation, reschedule requests, guests, series, time off over several days, and a practitioner's sealed notes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _reference(name: str, target: str, *, cascade: bool = False) -> sa.Column[str]:
    reference = sa.ForeignKey(target, ondelete="CASCADE" if cascade else None)
    return sa.Column(name, sa.String(32), reference, nullable=False)


def upgrade() -> None:
    for column in (
        sa.Column("left_for_s", sa.Integer, nullable=False, server_default="600"),
        sa.Column("needs_activation", sa.Boolean, nullable=False, server_default=sa.false()),
        _moment("activated_at", nullable=True),
        _moment("fee_waived_at", nullable=True),
        _moment("late_from", nullable=True),
        sa.Column("series_id", sa.String(32)),
        _moment("empty_since", nullable=True),
    ):
        op.add_column("appointments", column)
    op.create_index("ix_appointments_series_id", "appointments", ["series_id"])
    op.add_column("services", sa.Column("other_lengths", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("availability_exceptions", sa.Column("local_until", sa.String(10)))
    _reschedule_requests()
    _guests()
    op.create_table(
        "client_notes",
        sa.Column("id", sa.String(32), primary_key=True),
        _reference("practitioner_id", "people.id"),
        _reference("client_id", "people.id"),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        _moment("created_at"),
        _moment("changed_at"),
    )
    op.create_index("ix_client_notes_whose", "client_notes", ["practitioner_id", "client_id", "created_at"])


def _reschedule_requests() -> None:
    op.create_table(
        "reschedule_requests",
        sa.Column("id", sa.String(32), primary_key=True),
        _reference("appointment_id", "appointments.id", cascade=True),
        sa.Column("state", sa.String(16), nullable=False),
        _reference("asked_by", "people.id"),
        sa.Column("asked_role", sa.String(16), nullable=False),
        sa.Column("asked_late", sa.Boolean, nullable=False),
        _moment("old_starts_at"),
        _moment("old_ends_at"),
        _moment("new_starts_at"),
        _moment("new_ends_at"),
        sa.Column("reason", sa.Text, nullable=False),
        _moment("created_at"),
        _moment("decided_at", nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'accepted', 'rejected', 'withdrawn', 'expired')",
            name="ck_reschedule_requests_known_state",
        ),
        sa.CheckConstraint("new_starts_at < new_ends_at", name="ck_reschedule_requests_not_empty"),
    )
    op.create_index("ix_reschedule_requests_appointment_id", "reschedule_requests", ["appointment_id"])
    op.create_index("ix_reschedule_requests_open", "reschedule_requests", ["state", "old_starts_at"])
    where = sa.text("state = 'open'")
    op.create_index(
        "uq_reschedule_requests_one_open",
        "reschedule_requests",
        ["appointment_id"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


def _guests() -> None:
    op.create_table(
        "guests",
        sa.Column("id", sa.String(32), primary_key=True),
        _reference("appointment_id", "appointments.id", cascade=True),
        _reference("person_id", "people.id"),
        _moment("created_at"),
        _moment("admitted_at", nullable=True),
        _moment("removed_at", nullable=True),
        sa.UniqueConstraint("appointment_id", "person_id", name="uq_guests_appointment_id_person_id"),
    )
    op.create_index("ix_guests_person_id", "guests", ["person_id"])


def downgrade() -> None:
    raise NotImplementedError("going back would forget what people agreed on: restore a backup instead")
