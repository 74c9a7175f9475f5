"""Testimonials, and whom we invite to write one."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    moment, person = sa.DateTime(timezone=True), sa.String(32)
    op.create_table(
        "testimonials",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("practitioner_id", person, sa.ForeignKey("people.id"), nullable=False),
        sa.Column("author_id", person, sa.ForeignKey("people.id"), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("decided_at", moment),
        sa.Column("decided_by", person, sa.ForeignKey("people.id")),
        sa.Column("reply", sa.Text),
        sa.Column("replied_at", moment),
        sa.UniqueConstraint("practitioner_id", "author_id"),
        sa.CheckConstraint("state IN ('waiting', 'approved', 'refused')", name="known_state"),
    )
    op.create_index("ix_testimonials_state", "testimonials", ["state", "created_at"])
    op.create_table(
        "testimonial_invitations",
        sa.Column("practitioner_id", person, sa.ForeignKey("people.id"), primary_key=True),
        sa.Column("client_id", person, sa.ForeignKey("people.id"), primary_key=True),
        sa.Column(
            "appointment_id", sa.String(32), sa.ForeignKey("appointments.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("since", moment, nullable=False),
        sa.Column("reminders_sent", sa.Integer, nullable=False),
        sa.Column("remind_at", moment),
        sa.Column("declined_at", moment),
    )
    op.create_index("ix_testimonial_invitations_remind_at", "testimonial_invitations", ["remind_at"])


def downgrade() -> None:
    op.drop_table("testimonial_invitations")
    op.drop_table("testimonials")
