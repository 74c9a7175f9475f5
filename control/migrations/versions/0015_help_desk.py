"""The help desk: enquiries that wait for their proof, who has taken what, e-mails that were read in."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WITH_PRACTICE = sa.text("practitioner_id IS NULL")


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _person(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(32), sa.ForeignKey("people.id", ondelete="CASCADE"), nullable=nullable)


def upgrade() -> None:
    with op.batch_alter_table("conversations") as table:
        table.add_column(
            sa.Column(
                "assigned_to_id",
                sa.String(32),
                sa.ForeignKey("people.id", name="fk_conversations_assigned_to_id_people"),
            )
        )
        table.add_column(_moment("closed_at", nullable=True))
    op.create_index(
        "uq_conversations_with_practice",
        "conversations",
        ["person_id"],
        unique=True,
        sqlite_where=WITH_PRACTICE,
        postgresql_where=WITH_PRACTICE,
    )
    op.create_table(
        "enquiries",
        sa.Column("id", sa.String(32), primary_key=True),
        _person("practitioner_id", nullable=True),
        _person("person_id"),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("seen_notice", sa.String(16), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        _moment("created_at"),
        _moment("expires_at"),
    )
    op.create_index("ix_enquiries_expires_at", "enquiries", ["expires_at"])
    op.create_table(
        "inbound_mails",
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        _moment("received_at"),
    )
    op.create_index("ix_inbound_mails_received_at", "inbound_mails", ["received_at"])


def downgrade() -> None:
    op.drop_table("inbound_mails")
    op.drop_table("enquiries")
    op.drop_index("uq_conversations_with_practice", "conversations")
    with op.batch_alter_table("conversations") as table:
        table.drop_column("closed_at")
        table.drop_column("assigned_to_id")
