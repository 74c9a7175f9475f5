"""People, sessions, audit log, outbox and in-app notices."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from control.database import UtcDateTime

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    _people()
    _audit()
    _outbox()
    op.create_table(
        "notices",
        sa.Column("person_id", sa.String(32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("body", sa.String(500), nullable=False),
        sa.Column("path", sa.String(300)),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("read_at", UtcDateTime()),
        sa.Column("id", sa.String(32), primary_key=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], ondelete="CASCADE"),
        sa.UniqueConstraint("person_id", "seq"),
    )


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("email", sa.String(254), nullable=False, unique=True),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("email_proven_at", UtcDateTime()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_notice_seq", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("is_demo", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("id", sa.String(32), primary_key=True),
    )
    op.create_table(
        "person_roles",
        sa.Column("person_id", sa.String(32), primary_key=True),
        sa.Column("role", sa.String(16), primary_key=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], ondelete="CASCADE"),
        sa.CheckConstraint("role IN ('client', 'practitioner', 'support', 'admin')", name="known_role"),
    )
    op.create_table(
        "credentials",
        sa.Column("person_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("secret_hash", sa.String(255), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("id", sa.String(32), primary_key=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], ondelete="CASCADE"),
        sa.UniqueConstraint("person_id", "kind"),
    )
    op.create_table(
        "one_time_links",
        sa.Column("person_id", sa.String(32), nullable=False, index=True),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("return_path", sa.String(400)),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime()),
        sa.Column("id", sa.String(32), primary_key=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], ondelete="CASCADE"),
    )
    op.create_table(
        "web_sessions",
        sa.Column("person_id", sa.String(32), nullable=False, index=True),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_seen_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime()),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("id", sa.String(32), primary_key=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], ondelete="CASCADE"),
    )


def _audit() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("at", UtcDateTime(), nullable=False, index=True),
        sa.Column("actor_id", sa.String(32), index=True),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(120), nullable=False, index=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("id", sa.String(32), primary_key=True),
        sa.ForeignKeyConstraint(["actor_id"], ["people.id"]),
    )
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_entries_no_{change.lower()} BEFORE {change} ON audit_entries "
                "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE ON audit_entries "
            "FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()"
        )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("channel", sa.String(8), nullable=False),
        sa.Column("person_id", sa.String(32), nullable=False, index=True),
        sa.Column("subject_id", sa.String(32), index=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.JSON()),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False, index=True),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=False),
        sa.Column("claimed_until", UtcDateTime()),
        sa.Column("sent_at", UtcDateTime()),
        sa.Column("last_error", sa.String(300)),
        sa.Column("to_address", sa.String(254)),
        sa.Column("subject_line", sa.String(200)),
        sa.Column("body_text", sa.Text()),
        sa.Column("body_html", sa.Text()),
        sa.Column("calendar", sa.Text()),
        sa.Column("id", sa.String(32), primary_key=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], ondelete="CASCADE"),
        sa.Index("ix_outbox_due", "state", "next_attempt_at"),
    )


def downgrade() -> None:
    raise NotImplementedError("going back would drop people and the audit log: restore a backup instead")
