"""Second factors, proven telephone numbers, people's settings, sessions of apps, SMS in the outbox."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _person(*, primary_key: bool = False) -> sa.Column[str]:
    reference = sa.ForeignKey("people.id", ondelete="CASCADE")
    return sa.Column("person_id", sa.String(32), reference, nullable=False, primary_key=primary_key)


def upgrade() -> None:
    people: tuple[sa.Column[Any], ...] = (
        sa.Column("language", sa.String(12), nullable=False, server_default="en-GB"),
        sa.Column("country", sa.String(2)),
        sa.Column("phone", sa.String(16)),
        _moment("phone_proven_at", nullable=True),
        sa.Column("wants_sms", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("wants_testimonial_reminders", sa.Boolean, nullable=False, server_default=sa.true()),
        _moment("second_factor_at", nullable=True),
    )
    sessions: tuple[sa.Column[Any], ...] = (
        sa.Column("kind", sa.String(8), nullable=False, server_default="browser"),
        _moment("second_factor_at", nullable=True),
        sa.Column("factor_tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("challenge", sa.String(100)),
        _moment("challenge_until", nullable=True),
    )
    for table, columns in (("people", people), ("web_sessions", sessions)):
        for column in columns:
            op.add_column(table, column)
    op.add_column("outbox", sa.Column("had_secrets", sa.Boolean, nullable=False, server_default=sa.false()))
    _factors()


def _factors() -> None:
    op.create_table(
        "totp_secrets",
        _person(primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        _moment("created_at"),
        _moment("confirmed_at", nullable=True),
        sa.Column("last_step", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "passkeys",
        sa.Column("id", sa.String(32), primary_key=True),
        _person(),
        sa.Column("credential_id", sa.String(1400), nullable=False, unique=True),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("sign_count", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        _moment("created_at"),
        _moment("last_used_at", nullable=True),
    )
    op.create_index("ix_passkeys_person_id", "passkeys", ["person_id"])
    op.create_table(
        "recovery_codes",
        sa.Column("id", sa.String(32), primary_key=True),
        _person(),
        sa.Column("code_hash", sa.String(64), nullable=False),
        _moment("created_at"),
        _moment("used_at", nullable=True),
    )
    op.create_index("ix_recovery_codes_person_id", "recovery_codes", ["person_id"])
    op.create_table(
        "phone_proofs",
        _person(primary_key=True),
        sa.Column("phone", sa.String(16), nullable=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        _moment("created_at"),
        _moment("expires_at"),
    )


def downgrade() -> None:
    for table in ("phone_proofs", "recovery_codes", "passkeys", "totp_secrets"):
        op.drop_table(table)
    op.drop_column("outbox", "had_secrets")
    for name in ("challenge_until", "challenge", "factor_tries", "second_factor_at", "kind"):
        op.drop_column("web_sessions", name)
    for name in (
        "second_factor_at",
        "wants_testimonial_reminders",
        "wants_sms",
        "phone_proven_at",
        "phone",
        "country",
        "language",
    ):
        op.drop_column("people", name)
