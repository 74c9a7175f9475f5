"""Which ticket of Zendesk's a message went to: a conversation has another once the first is closed."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("desk_jobs", sa.Column("ticket_id", sa.String(24)))


def downgrade() -> None:
    op.drop_column("desk_jobs", "ticket_id")
