"""Recordings: composition, chapters, sharing, legal hold, notice before deletion, recovery, people's erasures."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    for column in (
        sa.Column("composition", sa.String(16), nullable=False, server_default="none"),
        sa.Column("chapters", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("hold_reason", sa.Text),
        *(_moment(name) for name in ("shared_at", "held_at", "warned_at", "recovered_at")),
    ):
        op.add_column("recordings", column)
    op.create_index("ix_recordings_composition", "recordings", ["composition", "finished_at"])
    op.create_table(
        "recording_erasures",
        sa.Column("recording_id", sa.String(32), sa.ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("person_id", sa.String(32), sa.ForeignKey("people.id"), primary_key=True),
        _moment("asked_at", nullable=False),
        _moment("done_at"),
    )
