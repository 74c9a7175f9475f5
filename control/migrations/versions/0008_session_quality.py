"""What a session's connections were like, a minute of one person per row."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "session_quality",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column(
            "appointment_id", sa.String(32), sa.ForeignKey("appointments.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("person_id", sa.String(32), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("samples", sa.Integer, nullable=False),
        sa.Column("loss_in", sa.Double, nullable=False),
        sa.Column("loss_out", sa.Double, nullable=False),
        sa.Column("jitter_ms", sa.Double, nullable=False),
        sa.Column("round_trip_ms", sa.Double),
        sa.Column("mos", sa.Double, nullable=False),
        sa.Column("worst_mos", sa.Double, nullable=False),
        sa.Column("freezes", sa.Integer, nullable=False),
        sa.Column("frozen_ms", sa.Integer, nullable=False),
        sa.CheckConstraint("samples > 0", name="samples"),
    )
    op.create_index("ix_session_quality_appointment", "session_quality", ["appointment_id", "person_id", "from_at"])


def downgrade() -> None:
    op.drop_table("session_quality")
