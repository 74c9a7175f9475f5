"""Weekly rules, exceptions, the private feed of bookings, and the calendar busy times are read from."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _practitioner(*, primary_key: bool = False) -> sa.Column[str]:
    reference = sa.ForeignKey("practitioner_profiles.person_id", ondelete="CASCADE")
    return sa.Column("practitioner_id", sa.String(32), reference, nullable=False, primary_key=primary_key)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "availability_rules",
        sa.Column("id", sa.String(32), primary_key=True),
        _practitioner(),
        sa.Column("service_id", sa.String(32), sa.ForeignKey("services.id", ondelete="CASCADE")),
        sa.Column("weekday", sa.Integer, nullable=False),
        sa.Column("local_start", sa.String(5), nullable=False),
        sa.Column("local_end", sa.String(5), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("price_minor", sa.Integer),
        sa.Column("valid_from", sa.String(10), nullable=False),
        sa.Column("valid_until", sa.String(10)),
        _moment("created_at"),
        sa.CheckConstraint("weekday BETWEEN 0 AND 6", name="weekday"),
        sa.CheckConstraint("local_start < local_end OR local_end = '00:00'", name="not_empty"),
        sa.CheckConstraint("valid_until IS NULL OR valid_from <= valid_until", name="validity"),
    )
    op.create_index("ix_availability_rules_whose", "availability_rules", ["practitioner_id", "weekday"])
    op.create_table(
        "availability_exceptions",
        sa.Column("id", sa.String(32), primary_key=True),
        _practitioner(),
        sa.Column("local_date", sa.String(10), nullable=False),
        sa.Column("local_start", sa.String(5)),
        sa.Column("local_end", sa.String(5)),
        sa.Column("time_zone", sa.String(64), nullable=False),
        _moment("starts_at"),
        _moment("ends_at"),
        sa.Column("reason", sa.String(120), nullable=False),
        _moment("created_at"),
        sa.CheckConstraint("starts_at < ends_at", name="not_empty"),
        sa.CheckConstraint("(local_start IS NULL) = (local_end IS NULL)", name="whole_or_part"),
    )
    op.create_index("ix_availability_exceptions_when", "availability_exceptions", ["practitioner_id", "starts_at"])
    op.create_table(
        "calendar_feeds",
        _practitioner(primary_key=True),
        sa.Column("nonce", sa.String(32), nullable=False, unique=True),
        _moment("created_at"),
    )
    op.create_table(
        "imported_calendars",
        _practitioner(primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("failure", sa.String(40)),
        _moment("next_try_at"),
        _moment("tried_at", nullable=True),
        _moment("read_at", nullable=True),
        _moment("created_at"),
        sa.CheckConstraint("state IN ('waiting', 'read', 'failed')", name="known_state"),
    )
    op.create_index("ix_imported_calendars_next", "imported_calendars", ["next_try_at"])
    op.create_table(
        "busy_times",
        sa.Column("id", sa.String(32), primary_key=True),
        _practitioner(),
        _moment("starts_at"),
        _moment("ends_at"),
        sa.CheckConstraint("starts_at < ends_at", name="not_empty"),
    )
    op.create_index("ix_busy_times_when", "busy_times", ["practitioner_id", "ends_at"])


def downgrade() -> None:
    raise NotImplementedError("going back would forget when practitioners are free: restore a backup instead")
