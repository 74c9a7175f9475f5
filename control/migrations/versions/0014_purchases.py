"""Top-ups, packages of credits, all gateways, refunds to wallets, refund requests, reviews, payouts and receipts."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BASIS_POINTS = 10_000
METHODS = "method IN ('wallet', 'credits', 'free', 'stripe', 'razorpay', 'demo')"
STATES = "state IN ('starting', 'requires_action', 'held', 'earned', 'released', 'failed', 'cancelled', 'returned')"
LIVE = "state IN ('held', 'earned', 'released')"
OPEN = "state IN ('starting', 'requires_action')"
REFUND_STATES = "state IN ('waiting', 'sent', 'succeeded', 'failed', 'replaced')"
NOT_OVERDRAWN = "kind NOT IN ('wallet', 'credits') OR balance_minor >= 0"


def upgrade() -> None:
    _offers_and_purchases()
    if op.get_bind().dialect.name == "postgresql":
        _change_on_postgresql()
    else:
        _rebuild_on_sqlite()
    op.create_index("ix_payments_purchase_id", "payments", ["purchase_id"])
    _unique_where("uq_payments_one_open_purchase", "payments", ["purchase_id"], OPEN)
    _unique_where("uq_payments_one_held_purchase", "payments", ["purchase_id"], LIVE)
    _divide_what_was_kept()
    _requests_payouts_receipts()


def downgrade() -> None:
    raise NotImplementedError("going back would forget purchases and refunds: restore a backup instead")


# -- columns -----------------------------------------------------------------------------------------------------


def _id() -> sa.Column[object]:
    return sa.Column("id", sa.String(32), primary_key=True)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _reference(name: str, target: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.String(32), sa.ForeignKey(target), nullable=nullable)


def _amount(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _text(name: str, length: int, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _unique_where(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=True, sqlite_where=where, postgresql_where=where)


# -- new tables --------------------------------------------------------------------------------------------------


def _offers_and_purchases() -> None:
    op.create_table(
        "credit_offers",
        _id(),
        sa.Column("service_id", sa.String(32), sa.ForeignKey("services.id", ondelete="CASCADE"), nullable=False),
        sa.Column("credits", sa.Integer(), nullable=False),
        _amount("price_minor"),
        sa.Column("active", sa.Boolean(), nullable=False),
        _moment("created_at"),
        _check("credit_offers", "five_or_ten", "credits IN (5, 10)"),
        _check("credit_offers", "price", "price_minor > 0"),
        sa.UniqueConstraint("service_id", "credits", name="uq_credit_offers_service_id_credits"),
    )
    op.create_table(
        "purchases",
        _id(),
        _reference("person_id", "people.id"),
        _text("kind", 8),
        _text("state", 8),
        _amount("amount_minor"),
        _text("currency", 3),
        _text("purchase_key", 200),
        _moment("created_at"),
        _moment("paid_at", nullable=True),
        _reference("service_id", "services.id", nullable=True),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("credits_left", sa.Integer(), nullable=False),
        _amount("value_left_minor"),
        _check("purchases", "known_kind", "kind IN ('top_up', 'credits')"),
        _check("purchases", "known_state", "state IN ('open', 'paid')"),
        _check("purchases", "amount", "amount_minor > 0"),
        _check("purchases", "service_of_credits", "(kind = 'credits') = (service_id IS NOT NULL)"),
        _check("purchases", "left", "credits_left BETWEEN 0 AND credits AND value_left_minor >= 0"),
        sa.UniqueConstraint("person_id", "purchase_key", name="uq_purchases_person_id_purchase_key"),
    )
    op.create_index("ix_purchases_person_id", "purchases", ["person_id"])
    op.create_index("ix_purchases_credits", "purchases", ["person_id", "service_id"])


def _requests_payouts_receipts() -> None:
    op.create_table(
        "refund_requests",
        _id(),
        _reference("payment_id", "payments.id"),
        _reference("person_id", "people.id"),
        _amount("amount_minor"),
        _text("destination", 8),
        sa.Column("reason", sa.Text(), nullable=False),
        _text("state", 8),
        sa.Column("answer", sa.Text()),
        _moment("created_at"),
        _moment("decided_at", nullable=True),
        _reference("decided_by", "people.id", nullable=True),
        _check("refund_requests", "known_state", "state IN ('open', 'granted', 'declined')"),
        _check("refund_requests", "known_destination", "destination IN ('original', 'wallet')"),
        _check("refund_requests", "amount", "amount_minor > 0"),
    )
    op.create_index("ix_refund_requests_payment_id", "refund_requests", ["payment_id"])
    _unique_where("uq_refund_requests_one_open", "refund_requests", ["payment_id"], "state = 'open'")
    op.create_table(
        "payouts",
        _id(),
        _reference("practitioner_id", "people.id"),
        _amount("amount_minor"),
        _text("currency", 3),
        sa.Column("paid_on", sa.Date(), nullable=False),
        _text("reference", 120),
        _reference("recorded_by", "people.id"),
        sa.Column("payout_key", sa.String(200), nullable=False, unique=True),
        _moment("created_at"),
        _check("payouts", "amount", "amount_minor > 0"),
    )
    op.create_index("ix_payouts_practitioner_id", "payouts", ["practitioner_id"])
    op.create_table(
        "receipts",
        _id(),
        sa.Column("number", sa.Integer(), nullable=False, unique=True),
        sa.Column("payment_id", sa.String(32), sa.ForeignKey("payments.id"), nullable=False, unique=True),
        _reference("person_id", "people.id"),
        sa.Column("issuer", sa.JSON()),
        _moment("issued_at"),
    )
    op.create_index("ix_receipts_person_id", "receipts", ["person_id"])


# -- changed tables ----------------------------------------------------------------------------------------------


def _new_payment_columns() -> tuple[sa.Column[object], ...]:
    return (
        _reference("purchase_id", "purchases.id", nullable=True),
        _amount("fee_minor", nullable=True),
        _amount("earned_minor", nullable=True),
        _text("review", 8, nullable=True),
        sa.Column("together_s", sa.Integer()),
        _reference("credit_of", "purchases.id", nullable=True),
    )


_PAYMENT_CHECKS = {
    "known_method": METHODS,
    "for_one_thing": "(appointment_id IS NULL) <> (purchase_id IS NULL)",
    "known_review": "review IN ('needed', 'cleared')",
}


def _change_on_postgresql() -> None:
    op.drop_constraint(op.f("ck_ledger_accounts_wallet_not_overdrawn"), "ledger_accounts", type_="check")
    op.create_check_constraint(op.f("ck_ledger_accounts_not_overdrawn"), "ledger_accounts", NOT_OVERDRAWN)
    for column in _new_payment_columns():
        op.add_column("payments", column)
    op.alter_column("payments", "appointment_id", nullable=True, existing_type=sa.String(32))
    op.drop_constraint(op.f("ck_payments_known_method"), "payments", type_="check")
    for name, condition in _PAYMENT_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_payments_{name}"), "payments", condition)
    op.add_column("refunds", sa.Column("destination", sa.String(8), nullable=False, server_default="original"))
    op.alter_column("refunds", "destination", server_default=None, existing_type=sa.String(8))
    op.add_column("refunds", _reference("replaced_by", "refunds.id", nullable=True))
    op.add_column("refunds", _text("refund_key", 200, nullable=True))
    op.create_unique_constraint("uq_refunds_refund_key", "refunds", ["refund_key"])
    op.drop_constraint(op.f("ck_refunds_known_state"), "refunds", type_="check")
    op.create_check_constraint(op.f("ck_refunds_known_state"), "refunds", REFUND_STATES)
    op.create_check_constraint(
        op.f("ck_refunds_known_destination"), "refunds", "destination IN ('original', 'wallet', 'credits')"
    )


def _rebuild_on_sqlite() -> None:
    """SQLite can't change a check or a column: rows move to a table made anew under the old name (sqlite.org,
    "Making Other Kinds Of Table Schema Changes"). Foreign keys are not enforced while migrating.
    """
    kept = (
        *("id", "appointment_id", "payer_id", "method", "state", "amount_minor", "currency", "kept_minor"),
        *("refunded_minor", "failure_code", "created_at", "changed_at", "gateway_ref", "method_token"),
        *("manual_capture", "captured_minor", "action_at", "check_at"),
    )
    _move("payments", kept, *_payments_on_sqlite())
    op.create_index("ix_payments_appointment_id", "payments", ["appointment_id"])
    op.create_index("ix_payments_payer_id", "payments", ["payer_id"])
    op.create_index("ix_payments_check_at", "payments", ["check_at"])
    _unique_where("uq_payments_one_open", "payments", ["appointment_id"], OPEN)
    _unique_where("uq_payments_one_held", "payments", ["appointment_id"], LIVE)
    refund_columns = (
        *("id", "payment_id", "state", "amount_minor", "currency", "reason", "gateway_ref", "failure_code"),
        *("created_at", "changed_at", "check_at"),
    )
    _move("refunds", refund_columns, *_refunds_on_sqlite())
    op.create_index("ix_refunds_payment_id", "refunds", ["payment_id"])
    op.create_index("ix_refunds_check_at", "refunds", ["check_at"])
    _move(
        "ledger_accounts",
        ("code", "kind", "owner_id", "currency", "balance_minor"),
        sa.Column("code", sa.String(64), primary_key=True),
        _text("kind", 16),
        _reference("owner_id", "people.id", nullable=True),
        _text("currency", 3),
        _amount("balance_minor"),
        _check("ledger_accounts", "not_overdrawn", NOT_OVERDRAWN),
    )
    op.create_index("ix_ledger_accounts_owner_id", "ledger_accounts", ["owner_id"])


def _move(table: str, columns: Sequence[str], *parts: sa.schema.SchemaItem) -> None:
    op.create_table(f"{table}_new", *parts)
    names = ", ".join(columns)
    op.execute(f"INSERT INTO {table}_new ({names}) SELECT {names} FROM {table}")  # noqa: S608  our own constants
    op.drop_table(table)
    op.rename_table(f"{table}_new", table)


def _payments_on_sqlite() -> tuple[sa.schema.SchemaItem, ...]:
    return (
        _id(),
        _reference("appointment_id", "appointments.id", nullable=True),
        _reference("payer_id", "people.id"),
        _text("method", 16),
        _text("state", 16),
        _amount("amount_minor"),
        _text("currency", 3),
        _amount("kept_minor", nullable=True),
        _amount("refunded_minor", nullable=True),
        _text("failure_code", 40, nullable=True),
        _moment("created_at"),
        _moment("changed_at"),
        _text("gateway_ref", 64, nullable=True),
        _text("method_token", 255, nullable=True),
        sa.Column("manual_capture", sa.Boolean()),
        _amount("captured_minor", nullable=True),
        _moment("action_at", nullable=True),
        _moment("check_at", nullable=True),
        *_new_payment_columns(),
        _check("payments", "known_state", STATES),
        *(_check("payments", name, condition) for name, condition in _PAYMENT_CHECKS.items()),
        sa.UniqueConstraint("gateway_ref", name="uq_payments_gateway_ref"),
    )


def _refunds_on_sqlite() -> tuple[sa.schema.SchemaItem, ...]:
    return (
        _id(),
        _reference("payment_id", "payments.id"),
        _text("state", 16),
        _amount("amount_minor"),
        _text("currency", 3),
        _text("reason", 24),
        sa.Column("destination", sa.String(8), nullable=False, server_default="original"),
        _reference("replaced_by", "refunds.id", nullable=True),
        _text("refund_key", 200, nullable=True),
        _text("gateway_ref", 64, nullable=True),
        _text("failure_code", 40, nullable=True),
        _moment("created_at"),
        _moment("changed_at"),
        _moment("check_at", nullable=True),
        _check("refunds", "known_state", REFUND_STATES),
        _check("refunds", "something", "amount_minor > 0"),
        _check("refunds", "known_destination", "destination IN ('original', 'wallet', 'credits')"),
        sa.UniqueConstraint("gateway_ref", name="uq_refunds_gateway_ref"),
        sa.UniqueConstraint("refund_key", name="uq_refunds_refund_key"),
    )


def _divide_what_was_kept() -> None:
    """Fee and earnings of what was kept before these columns were there, rounded as they were booked (half-even)."""
    bind = op.get_bind()
    rows = bind.execute(
        sa.text(
            "SELECT p.id, p.kept_minor, a.platform_fee_bp FROM payments p"
            " JOIN appointments a ON a.id = p.appointment_id WHERE p.state = 'earned'"
        )
    ).all()
    for row in rows:
        fee, rest = divmod(row.kept_minor * row.platform_fee_bp, BASIS_POINTS)
        fee += rest * 2 > BASIS_POINTS or (rest * 2 == BASIS_POINTS and fee % 2 == 1)
        bind.execute(
            sa.text("UPDATE payments SET fee_minor = :fee, earned_minor = :earned WHERE id = :id"),
            {"fee": fee, "earned": row.kept_minor - fee, "id": row.id},
        )
