"""Conversations with sealed messages, how far each person has read, and who was told of monitoring."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _person(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(32), sa.ForeignKey("people.id"), nullable=nullable)


def _key(name: str, target: str) -> sa.Column[str]:
    reference = sa.ForeignKey(target, ondelete="CASCADE")
    return sa.Column(name, sa.String(32), reference, primary_key=True)


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(32), primary_key=True),
        _person("practitioner_id", nullable=True),
        _person("person_id"),
        sa.Column("last_seq", sa.Integer, nullable=False),
        _moment("last_message_at"),
        sa.Column("unanswered", sa.Integer, nullable=False),
        _moment("unanswered_since", nullable=True),
        _moment("remind_at", nullable=True),
        sa.Column("reminders_sent", sa.Integer, nullable=False),
        _moment("created_at"),
        sa.UniqueConstraint("practitioner_id", "person_id"),
    )
    op.create_index("ix_conversations_person", "conversations", ["person_id", "last_message_at"])
    op.create_index("ix_conversations_practitioner", "conversations", ["practitioner_id", "last_message_at"])
    op.create_index("ix_conversations_remind_at", "conversations", ["remind_at"])
    conversation = sa.ForeignKey("conversations.id", ondelete="CASCADE")
    op.create_table(
        "messages",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("conversation_id", sa.String(32), conversation, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        _person("author_id"),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("monitored", sa.Boolean, nullable=False),
        _moment("created_at"),
        sa.UniqueConstraint("conversation_id", "seq"),
    )
    op.create_table(
        "conversation_readers",
        _key("conversation_id", "conversations.id"),
        _key("person_id", "people.id"),
        sa.Column("read_seq", sa.Integer, nullable=False),
    )
    op.create_table(
        "monitoring_acknowledgements",
        _key("person_id", "people.id"),
        sa.Column("text_version", sa.String(16), primary_key=True),
        _moment("acknowledged_at"),
    )


def downgrade() -> None:
    for table in ("monitoring_acknowledgements", "conversation_readers", "messages", "conversations"):
        op.drop_table(table)
