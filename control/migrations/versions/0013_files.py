"""Files shared inside sessions."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "shared_files",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column(
            "appointment_id", sa.String(32), sa.ForeignKey("appointments.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("owner_id", sa.String(32), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("visible_to", sa.String(32), sa.ForeignKey("people.id")),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("sealed_name", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("chunk_bytes", sa.Integer, nullable=False),
        sa.Column("received", sa.Integer, nullable=False),
        sa.Column("mime", sa.String(120)),
        sa.Column("has_thumbnail", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True)),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("size > 0 AND received >= 0", name="sizes"),
        sa.UniqueConstraint("appointment_id", "owner_id", "key"),
    )
    op.create_index("ix_shared_files_owner_id", "shared_files", ["owner_id"])
    op.create_index("ix_shared_files_unfinished", "shared_files", ["ready_at", "created_at"])


def downgrade() -> None:
    op.drop_table("shared_files")
