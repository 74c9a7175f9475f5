"""Card payments: attempts at a gateway, refunds, calls with their idempotency keys, and webhook events seen."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

METHODS = "method IN ('wallet', 'free', 'stripe')"
STATES = "state IN ('starting', 'requires_action', 'held', 'earned', 'released', 'failed', 'cancelled', 'returned')"
LIVE = "state IN ('held', 'earned', 'released')"
OPEN = "state IN ('starting', 'requires_action')"
KEPT = (
    *("id", "appointment_id", "payer_id", "method", "state", "amount_minor", "currency"),
    *("kept_minor", "refunded_minor", "failure_code", "created_at", "changed_at"),
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _widen_on_postgresql()
    else:
        _rebuild_on_sqlite()
    op.create_index("ix_payments_check_at", "payments", ["check_at"])
    _unique_where("uq_payments_one_open", "payments", ["appointment_id"], OPEN)
    _refunds()
    _calls_and_events()


def downgrade() -> None:
    raise NotImplementedError("going back would forget money at a gateway: restore a backup instead")


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _unique_where(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=True, sqlite_where=where, postgresql_where=where)


def _card_columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("gateway_ref", sa.String(64)),
        sa.Column("method_token", sa.String(255)),
        sa.Column("manual_capture", sa.Boolean()),
        sa.Column("captured_minor", sa.BigInteger()),
        _moment("action_at", nullable=True),
        _moment("check_at", nullable=True),
    )


def _widen_on_postgresql() -> None:
    for column in _card_columns():
        op.add_column("payments", column)
    op.create_unique_constraint("uq_payments_gateway_ref", "payments", ["gateway_ref"])
    for name, condition in (("known_method", METHODS), ("known_state", STATES)):
        op.drop_constraint(op.f(f"ck_payments_{name}"), "payments", type_="check")
        op.create_check_constraint(op.f(f"ck_payments_{name}"), "payments", condition)


def _rebuild_on_sqlite() -> None:
    """SQLite can't change a check: the rows move to a table made anew. Nothing refers to payments yet."""
    for index in ("ix_payments_appointment_id", "ix_payments_payer_id", "uq_payments_one_held"):
        op.drop_index(index, "payments")
    op.rename_table("payments", "payments_before")
    op.create_table(
        "payments",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("appointment_id", sa.String(32), sa.ForeignKey("appointments.id"), nullable=False),
        sa.Column("payer_id", sa.String(32), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("kept_minor", sa.BigInteger()),
        sa.Column("refunded_minor", sa.BigInteger()),
        sa.Column("failure_code", sa.String(40)),
        _moment("created_at"),
        _moment("changed_at"),
        *_card_columns(),
        sa.CheckConstraint(METHODS, name=op.f("ck_payments_known_method")),
        sa.CheckConstraint(STATES, name=op.f("ck_payments_known_state")),
        sa.UniqueConstraint("gateway_ref", name="uq_payments_gateway_ref"),
    )
    names = ", ".join(KEPT)
    op.execute(f"INSERT INTO payments ({names}) SELECT {names} FROM payments_before")  # noqa: S608  our own constants
    op.drop_table("payments_before")
    op.create_index("ix_payments_appointment_id", "payments", ["appointment_id"])
    op.create_index("ix_payments_payer_id", "payments", ["payer_id"])
    _unique_where("uq_payments_one_held", "payments", ["appointment_id"], LIVE)


def _refunds() -> None:
    op.create_table(
        "refunds",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("payment_id", sa.String(32), sa.ForeignKey("payments.id"), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("reason", sa.String(24), nullable=False),
        sa.Column("gateway_ref", sa.String(64)),
        sa.Column("failure_code", sa.String(40)),
        _moment("created_at"),
        _moment("changed_at"),
        _moment("check_at", nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'sent', 'succeeded', 'failed')", name=op.f("ck_refunds_known_state")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refunds_something")),
        sa.UniqueConstraint("gateway_ref", name="uq_refunds_gateway_ref"),
    )
    op.create_index("ix_refunds_payment_id", "refunds", ["payment_id"])
    op.create_index("ix_refunds_check_at", "refunds", ["check_at"])


def _calls_and_events() -> None:
    op.create_table(
        "gateway_calls",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("payment_id", sa.String(32), sa.ForeignKey("payments.id"), nullable=False),
        sa.Column("refund_id", sa.String(32), sa.ForeignKey("refunds.id")),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.String(64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(80)),
        _moment("created_at"),
        _moment("asked_at", nullable=True),
        _moment("next_at", nullable=True),
        _moment("done_at", nullable=True),
        sa.CheckConstraint(
            "kind IN ('authorise', 'capture', 'cancel', 'refund')", name=op.f("ck_gateway_calls_known_kind")
        ),
        sa.UniqueConstraint("idempotency_key", name="uq_gateway_calls_idempotency_key"),
    )
    op.create_index("ix_gateway_calls_payment_id", "gateway_calls", ["payment_id"])
    op.create_index("ix_gateway_calls_next_at", "gateway_calls", ["next_at"])
    _unique_where("uq_gateway_calls_one_each", "gateway_calls", ["payment_id", "kind"], "kind <> 'refund'")
    op.create_table(
        "gateway_events",
        sa.Column("id", sa.String(80), primary_key=True),
        sa.Column("kind", sa.String(80), nullable=False),
        _moment("received_at"),
    )
    op.create_index("ix_gateway_events_received_at", "gateway_events", ["received_at"])
