"""The chat of a session, and how far each person has read."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    appointment = sa.ForeignKey("appointments.id", ondelete="CASCADE")
    op.create_table(
        "chat_messages",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("appointment_id", sa.String(32), appointment, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("author_id", sa.String(32), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("appointment_id", "seq"),
        sa.UniqueConstraint("appointment_id", "author_id", "key"),
    )
    op.create_table(
        "chat_marks",
        sa.Column(
            "appointment_id",
            sa.String(32),
            sa.ForeignKey("appointments.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("person_id", sa.String(32), sa.ForeignKey("people.id"), primary_key=True),
        sa.Column("delivered", sa.Integer, nullable=False),
        sa.Column("read", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("chat_marks")
    op.drop_table("chat_messages")
