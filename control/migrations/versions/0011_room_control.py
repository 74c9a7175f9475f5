"""Who was asked out of a running session, and whether visitors may share their screens."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("appointments", sa.Column("client_sent_out_at", sa.DateTime(timezone=True)))
    op.add_column(
        "appointments", sa.Column("visitors_may_share", sa.Boolean, nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    op.drop_column("appointments", "visitors_may_share")
    op.drop_column("appointments", "client_sent_out_at")
