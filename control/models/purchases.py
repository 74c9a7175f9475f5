"""What is bought besides sessions, and papers about money: offers of credits, purchases, payouts, receipts.

A purchase is to a payment what an appointment is: the thing that is paid for. A package of credits keeps here what is
left of it; the ledger keeps the same in its own unit (control/money/credits.py).
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Date, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class CreditOffer(WithId, Base):
    """5 or 10 sessions of one service at a price its practitioner sets; the currency is the service's."""

    __tablename__ = "credit_offers"

    service_id: Mapped[str] = mapped_column(ForeignKey("services.id", ondelete="CASCADE"))
    credits: Mapped[int]
    price_minor: Mapped[int] = mapped_column(BigInteger)
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("credits IN (5, 10)", name="five_or_ten"),
        CheckConstraint("price_minor > 0", name="price"),
        UniqueConstraint("service_id", "credits"),
    )


class Purchase(WithId, Base):
    """A top-up of a wallet, or a package of credits, as it was agreed when it was begun."""

    __tablename__ = "purchases"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(8), default="open")
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    purchase_key: Mapped[str] = mapped_column(String(200))  # the Idempotency-Key it was begun under
    created_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]

    # Of a package of credits only.
    service_id: Mapped[str | None] = mapped_column(ForeignKey("services.id"))
    credits: Mapped[int] = mapped_column(default=0)
    credits_left: Mapped[int] = mapped_column(default=0)
    value_left_minor: Mapped[int] = mapped_column(BigInteger, default=0)

    __table_args__ = (
        CheckConstraint("kind IN ('top_up', 'credits')", name="known_kind"),
        CheckConstraint("state IN ('open', 'paid')", name="known_state"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("(kind = 'credits') = (service_id IS NOT NULL)", name="service_of_credits"),
        CheckConstraint("credits_left BETWEEN 0 AND credits AND value_left_minor >= 0", name="left"),
        UniqueConstraint("person_id", "purchase_key"),
        Index("ix_purchases_credits", "person_id", "service_id"),
    )


class RefundRequest(WithId, Base):
    """A client asks for money back; an admin answers."""

    __tablename__ = "refund_requests"

    payment_id: Mapped[str] = mapped_column(ForeignKey("payments.id"), index=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    destination: Mapped[str] = mapped_column(String(8))
    reason: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(8), default="open")
    answer: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None] = mapped_column(ForeignKey("people.id"))

    __table_args__ = (
        CheckConstraint("state IN ('open', 'granted', 'declined')", name="known_state"),
        CheckConstraint("destination IN ('original', 'wallet')", name="known_destination"),
        CheckConstraint("amount_minor > 0", name="amount"),
        Index(
            "uq_refund_requests_one_open",
            "payment_id",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )


class Payout(WithId, Base):
    """What an admin has paid to a practitioner outside of Holdspace, and wrote down."""

    __tablename__ = "payouts"

    practitioner_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    paid_on: Mapped[date] = mapped_column(Date)
    reference: Mapped[str] = mapped_column(String(120))
    recorded_by: Mapped[str] = mapped_column(ForeignKey("people.id"))
    payout_key: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime]

    __table_args__ = (CheckConstraint("amount_minor > 0", name="amount"),)


class Receipt(WithId, Base):
    """The paper about one payment. `issuer` is the practice as it was when the paper was first written out; amounts
    are read from the payment and its refunds.
    """

    __tablename__ = "receipts"

    number: Mapped[int] = mapped_column(unique=True)
    payment_id: Mapped[str] = mapped_column(ForeignKey("payments.id"), unique=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    issuer: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    issued_at: Mapped[datetime]
