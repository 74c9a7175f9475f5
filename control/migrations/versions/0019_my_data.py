"""Copies of one's data, requests for notes, erasures."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

UNDER_WAY = sa.text("state IN ('waiting', 'making')")


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "data_exports",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("person_id", sa.String(32), sa.ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("file_id", sa.String(32)),
        sa.Column("parts_done", sa.Integer, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("ready_at", moment),
        sa.Column("expires_at", moment),
        sa.CheckConstraint("state IN ('waiting', 'making', 'ready', 'failed', 'gone')", name="known_state"),
    )
    op.create_index("ix_data_exports_expires_at", "data_exports", ["expires_at"])
    op.create_index("ix_data_exports_person", "data_exports", ["person_id", "created_at"])
    op.create_index(
        "uq_data_exports_one_under_way",
        "data_exports",
        ["person_id"],
        unique=True,
        sqlite_where=UNDER_WAY,
        postgresql_where=UNDER_WAY,
    )
    op.create_table(
        "note_requests",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("practitioner_id", sa.String(32), sa.ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
        sa.Column("client_id", sa.String(32), sa.ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
        sa.Column("asked_at", moment, nullable=False),
        sa.Column("answer", sa.String(8)),
        sa.Column("answered_at", moment),
        sa.UniqueConstraint("practitioner_id", "client_id"),
        sa.CheckConstraint("answer IN ('given', 'refused')", name="known_answer"),
    )
    op.create_index("ix_note_requests_client_id", "note_requests", ["client_id"])
    op.create_table(
        "person_erasures",
        sa.Column("person_id", sa.String(32), sa.ForeignKey("people.id"), primary_key=True),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("asked_at", moment, nullable=False),
        sa.Column("done_at", moment),
    )
    op.create_index("ix_person_erasures_done_at", "person_erasures", ["done_at"])


def downgrade() -> None:
    op.drop_table("person_erasures")
    op.drop_table("note_requests")
    op.drop_table("data_exports")
