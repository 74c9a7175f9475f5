"""Recordings and their files; at most one open recording per appointment."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

OPEN = "state IN ('paused', 'recording')"


def upgrade() -> None:
    op.create_table(
        "recordings",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("appointment_id", sa.String(32), sa.ForeignKey("appointments.id"), nullable=False),
        sa.Column("practitioner_id", sa.String(32), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("pressed", sa.String(8), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("duration_ms", sa.Integer),
        sa.Column("complete", sa.Boolean),
        sa.Column("failure", sa.Text),
        sa.Column("delete_after", sa.DateTime(timezone=True), index=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "state IN ('recording', 'paused', 'finishing', 'ready', 'failed', 'deleted')", name="known_state"
        ),
        sa.CheckConstraint("pressed IN ('on', 'paused', 'off')", name="known_press"),
    )
    op.create_index(
        "uq_recordings_one_open",
        "recordings",
        ["appointment_id"],
        unique=True,
        sqlite_where=sa.text(OPEN),
        postgresql_where=sa.text(OPEN),
    )
    op.create_index("ix_recordings_practitioner", "recordings", ["practitioner_id", "started_at"])
    op.create_table(
        "recording_files",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column(
            "recording_id",
            sa.String(32),
            sa.ForeignKey("recordings.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("file_id", sa.String(64), nullable=False),
        sa.Column("participant_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("view", sa.String(16), nullable=False),
        sa.Column("mime", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("starts_ms", sa.Integer, nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
    )


def downgrade() -> None:
    raise NotImplementedError("going back would forget which recordings exist: restore a backup instead")
