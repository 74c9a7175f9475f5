"""Money's tables: the append-only double-entry ledger, and payments, one row per attempt.

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

    __table_args__ = (CheckConstraint("kind <> 'wallet' OR balance_minor >= 0", name="wallet_not_overdrawn"),)


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
    """One attempt to pay one appointment."""

    __tablename__ = "payments"

    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointments.id"), index=True)
    payer_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    method: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    kept_minor: Mapped[int | None] = mapped_column(BigInteger)
    refunded_minor: Mapped[int | None] = mapped_column(BigInteger)
    failure_code: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("method IN ('wallet', 'free')", name="known_method"),
        CheckConstraint("state IN ('held', 'earned', 'released', 'failed')", name="known_state"),
        # Paid once: a second attempt cannot be held while, or after, one was.
        Index(
            "uq_payments_one_held",
            "appointment_id",
            unique=True,
            sqlite_where=text("state IN ('held', 'earned', 'released')"),
            postgresql_where=text("state IN ('held', 'earned', 'released')"),
        ),
    )
