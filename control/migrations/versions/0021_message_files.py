"""Files sent with messages: in no session, and in no message until it is written."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

IN_NO_SESSION = sa.text("appointment_id IS NULL")


def _altered() -> AbstractContextManager[BatchOperations]:
    """SQLite makes the table anew and would forget the check."""
    check = sa.CheckConstraint("size > 0 AND received >= 0", name=op.f("ck_shared_files_sizes"))
    return op.batch_alter_table("shared_files", table_args=(check,))


def upgrade() -> None:
    op.add_column("messages", sa.Column("files", sa.Integer, nullable=False, server_default="0"))
    with _altered() as table:
        table.alter_column("appointment_id", existing_type=sa.String(32), nullable=True)
        message = sa.ForeignKey("messages.id", name="fk_shared_files_message_id_messages", ondelete="CASCADE")
        table.add_column(sa.Column("message_id", sa.String(32), message))
    op.create_index("ix_shared_files_message_id", "shared_files", ["message_id"])
    op.create_index(
        "uq_shared_files_in_no_session",
        "shared_files",
        ["owner_id", "key"],
        unique=True,
        sqlite_where=IN_NO_SESSION,
        postgresql_where=IN_NO_SESSION,
    )


def downgrade() -> None:
    op.execute("DELETE FROM shared_files WHERE appointment_id IS NULL")
    op.drop_index("uq_shared_files_in_no_session", "shared_files")
    op.drop_index("ix_shared_files_message_id", "shared_files")
    with _altered() as table:
        table.drop_constraint("fk_shared_files_message_id_messages", type_="foreignkey")
        table.drop_column("message_id")
        table.alter_column("appointment_id", existing_type=sa.String(32), nullable=False)
    op.drop_column("messages", "files")
