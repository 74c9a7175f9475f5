"""Money's tables: the append-only double-entry ledger, payments (one row per attempt), and what gateways are asked.

What is bought besides sessions, and papers about money (receipts, payouts), are in models/purchases.py.

The database refuses to change or delete a ledger transaction or entry (migration 0002). An account that belongs
to a person keeps its balance beside its entries, so that spending it is one conditional update; the practice's
own accounts are sums, because one shared row would make every booking wait for every other.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class LedgerAccount(Base):
    __tablename__ = "ledger_accounts"

    code: Mapped[str] = mapped_column(String(64), primary_key=True)  # "wallet:<person>:EUR", "escrow:EUR"
    kind: Mapped[str] = mapped_column(String(16))
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("people.id"), index=True)
    currency: Mapped[str] = mapped_column(String(3))
    balance_minor: Mapped[int] = mapped_column(BigInteger, default=0)  # kept only where there is an owner

    __table_args__ = (CheckConstraint("kind NOT IN ('wallet', 'credits') OR balance_minor >= 0", name="not_overdrawn"),)


class LedgerTransaction(WithId, Base):
    __tablename__ = "ledger_transactions"

    # What it books, once: "hold:<payment>", "settle:<payment>". The same work done twice meets this key.
    key: Mapped[str] = mapped_column(String(80), unique=True)
    appointment_id: Mapped[str | None] = mapped_column(ForeignKey("appointments.id"), index=True)
    created_at: Mapped[datetime]


class LedgerEntry(WithId, Base):
    """One side of a transaction: what is added to (or, negative, taken from) an account."""

    __tablename__ = "ledger_entries"

    transaction_id: Mapped[str] = mapped_column(ForeignKey("ledger_transactions.id"), index=True)
    account_code: Mapped[str] = mapped_column(ForeignKey("ledger_accounts.code"), index=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))

    __table_args__ = (CheckConstraint("amount_minor <> 0", name="not_zero"),)


class Payment(WithId, Base):
    """One attempt to pay one appointment, or one purchase (a top-up or a package of credits)."""

    __tablename__ = "payments"

    appointment_id: Mapped[str | None] = mapped_column(ForeignKey("appointments.id"), index=True)
    purchase_id: Mapped[str | None] = mapped_column(ForeignKey("purchases.id"), index=True)
    payer_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    method: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    kept_minor: Mapped[int | None] = mapped_column(BigInteger)
    refunded_minor: Mapped[int | None] = mapped_column(BigInteger)
    # How what is kept was divided; both shrink when some of it is given back later.
    fee_minor: Mapped[int | None] = mapped_column(BigInteger)
    earned_minor: Mapped[int | None] = mapped_column(BigInteger)
    review: Mapped[str | None] = mapped_column(String(8))  # of a very short session: "needed", then "cleared"
    together_s: Mapped[int | None]  # how long both were in the room, of a completed session
    credit_of: Mapped[str | None] = mapped_column(ForeignKey("purchases.id"))  # the package a credit was taken from
    failure_code: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]

    # Of card payments only.
    gateway_ref: Mapped[str | None] = mapped_column(String(64), unique=True)  # the gateway's id of this attempt
    method_token: Mapped[str | None] = mapped_column(String(255))  # the payer's choice of card; no card data
    manual_capture: Mapped[bool | None]
    captured_minor: Mapped[int | None] = mapped_column(BigInteger)  # what the gateway has really taken
    action_at: Mapped[datetime | None]  # when the payer's bank asked them something; extends the hold once
    check_at: Mapped[datetime | None] = mapped_column(index=True)  # when the poller looks at the gateway next

    __table_args__ = (
        CheckConstraint("method IN ('wallet', 'credits', 'free', 'stripe', 'razorpay', 'demo')", name="known_method"),
        CheckConstraint("(appointment_id IS NULL) <> (purchase_id IS NULL)", name="for_one_thing"),
        CheckConstraint("review IN ('needed', 'cleared')", name="known_review"),
        CheckConstraint(
            "state IN ('starting', 'requires_action', 'held', 'earned', 'released', 'failed', 'cancelled', 'returned')",
            name="known_state",
        ),
        # One attempt at a time may still turn into money.
        Index(
            "uq_payments_one_open",
            "appointment_id",
            unique=True,
            sqlite_where=text("state IN ('starting', 'requires_action')"),
            postgresql_where=text("state IN ('starting', 'requires_action')"),
        ),
        Index(
            "uq_payments_one_open_purchase",
            "purchase_id",
            unique=True,
            sqlite_where=text("state IN ('starting', 'requires_action')"),
            postgresql_where=text("state IN ('starting', 'requires_action')"),
        ),
        Index(
            "uq_payments_one_held_purchase",
            "purchase_id",
            unique=True,
            sqlite_where=text("state IN ('held', 'earned', 'released')"),
            postgresql_where=text("state IN ('held', 'earned', 'released')"),
        ),
        # Paid once: a second attempt cannot be held while, or after, one was.
        Index(
            "uq_payments_one_held",
            "appointment_id",
            unique=True,
            sqlite_where=text("state IN ('held', 'earned', 'released')"),
            postgresql_where=text("state IN ('held', 'earned', 'released')"),
        ),
    )


class Refund(WithId, Base):
    """Money that goes back to somebody: one row per refund, stored before a gateway is asked.

    To a wallet, or as a credit, it is there at once. `failed` is owed until an admin sends it again, which replaces
    this row by another.
    """

    __tablename__ = "refunds"

    payment_id: Mapped[str] = mapped_column(ForeignKey("payments.id"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    reason: Mapped[str] = mapped_column(String(24))
    destination: Mapped[str] = mapped_column(String(8), default="original")
    refund_key: Mapped[str | None] = mapped_column(String(200), unique=True)  # the Idempotency-Key it was asked under
    replaced_by: Mapped[str | None] = mapped_column(ForeignKey("refunds.id"))
    gateway_ref: Mapped[str | None] = mapped_column(String(64), unique=True)
    failure_code: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    check_at: Mapped[datetime | None] = mapped_column(index=True)

    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'sent', 'succeeded', 'failed', 'replaced')", name="known_state"),
        CheckConstraint("destination IN ('original', 'wallet', 'credits')", name="known_destination"),
        CheckConstraint("amount_minor > 0", name="something"),
    )


class GatewayCall(WithId, Base):
    """One thing a gateway is to do, with its idempotency key, stored before it is asked and until it is done."""

    __tablename__ = "gateway_calls"

    payment_id: Mapped[str] = mapped_column(ForeignKey("payments.id"), index=True)
    refund_id: Mapped[str | None] = mapped_column(ForeignKey("refunds.id"))
    kind: Mapped[str] = mapped_column(String(16))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    idempotency_key: Mapped[str] = mapped_column(String(64), unique=True)
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[datetime]
    asked_at: Mapped[datetime | None]
    next_at: Mapped[datetime | None] = mapped_column(index=True)  # empty once it is done
    done_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("kind IN ('authorise', 'capture', 'cancel', 'refund')", name="known_kind"),
        # Asked once for each: the authorisation, the end of it, each refund.
        Index(
            "uq_gateway_calls_one_each",
            "payment_id",
            "kind",
            unique=True,
            sqlite_where=text("kind <> 'refund'"),
            postgresql_where=text("kind <> 'refund'"),
        ),
    )


class GatewayEvent(Base):
    """That a webhook's event was worked on: stored in the same transaction as its work."""

    __tablename__ = "gateway_events"

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    kind: Mapped[str] = mapped_column(String(80))
    received_at: Mapped[datetime] = mapped_column(index=True)
