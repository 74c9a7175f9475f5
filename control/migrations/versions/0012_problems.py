"""Problems reported from inside sessions, and the country a client says they are in."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("appointments", sa.Column("client_country", sa.String(2)))
    op.create_table(
        "problem_reports",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column(
            "appointment_id", sa.String(32), sa.ForeignKey("appointments.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("reporter_id", sa.String(32), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("reporter_role", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("country", sa.String(2)),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("alerts", sa.Integer, nullable=False),
        sa.Column("next_alert_at", sa.DateTime(timezone=True)),
        sa.Column("taken_by", sa.String(32), sa.ForeignKey("people.id")),
        sa.Column("taken_at", sa.DateTime(timezone=True)),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("kind IN ('technical', 'unsafe', 'urgent')", name="known_kind"),
    )
    op.create_index("ix_problem_reports_appointment_id", "problem_reports", ["appointment_id"])
    op.create_index("ix_problem_reports_next_alert", "problem_reports", ["next_alert_at"])
    op.create_index("ix_problem_reports_created", "problem_reports", ["created_at"])


def downgrade() -> None:
    op.drop_table("problem_reports")
    op.drop_column("appointments", "client_country")
