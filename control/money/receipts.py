"""Receipts: one numbered paper per payment; an invoice where the practice is set up for it.

The number is given as the last step of the transaction that secures the money, so numbers have no gaps and their lock
is short. Amounts are read from the payment and its refunds whenever the paper is looked at; the practice's name and
tax details are kept as they were when it was first written out.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.config import PracticeSettings
from control.database import Database, before_commit, new_id
from control.errors import NotFound
from control.language import N_, look_up, t
from control.models.appointments import Appointment
from control.models.money import Payment, Refund
from control.models.my_data import PersonErasure
from control.models.people import Person, Role
from control.models.practice import Service
from control.models.purchases import Purchase, Receipt
from control.money.gateway_work import RefundState
from control.money.policy import BASIS_POINTS
from control.notices.letters import written_time
from control.notices.outbox import Notice, NoticeKind, enqueue

_NUMBER_LOCK = 7_271_844  # any fixed number: receipts of two processes are numbered one after the other
_OWED = "holdspace_receipts"


@dataclass(frozen=True, slots=True)
class _Owed:
    payment_id: str
    person_id: str
    amount_minor: int
    currency: str
    top_up: bool
    transaction: str


def owe(session: AsyncSession, payment: Payment, *, top_up: bool = False, now: datetime) -> None:
    """`payment` has been secured: its payer gets a receipt. Once per payment, however often it is said."""
    waiting: list[_Owed] = session.info.setdefault(_OWED, [])
    if not waiting:

        async def issue(last: AsyncSession) -> None:
            await _issue(last, last.info.pop(_OWED, []), now)

        before_commit(session, issue)
    transaction = payment.gateway_ref or payment.id
    waiting.append(_Owed(payment.id, payment.payer_id, payment.amount_minor, payment.currency, top_up, transaction))


async def _issue(session: AsyncSession, waiting: list[_Owed], now: datetime) -> None:
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _NUMBER_LOCK})
    known = set(
        await session.scalars(
            select(Receipt.payment_id).where(Receipt.payment_id.in_([one.payment_id for one in waiting]))
        )
    )
    number = await session.scalar(select(func.coalesce(func.max(Receipt.number), 0))) or 0
    for one in waiting:
        if one.payment_id in known:
            continue
        known.add(one.payment_id)
        number += 1
        receipt = Receipt(id=new_id(), number=number, payment_id=one.payment_id, person_id=one.person_id, issued_at=now)
        session.add(receipt)
        kind = NoticeKind.TOP_UP_RECEIPT if one.top_up else NoticeKind.RECEIPT
        facts = {
            "number": printed_number(receipt),
            "amount_minor": one.amount_minor,
            "currency": one.currency,
            "transaction": one.transaction,
            "path": f"/receipts/{receipt.id}",
            "receipt_id": receipt.id,
        }
        await enqueue(session, Notice(kind, one.person_id, None, facts), now=now)
    await session.flush()


# -- reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    at: datetime
    words: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Paper:
    """A receipt with everything that stands on it, in the reader's language; pages and PDF write the same."""

    id: str
    number: str
    is_invoice: bool
    issuer_name: str
    issuer_address: str
    issuer_tax_number: str
    issuer_contact: str
    payer_name: str
    payer_email: str
    time_zone: str
    issued_at: datetime
    what: str
    when: str
    method: str
    transaction: str
    status: str
    currency: str
    amount_minor: int
    refunds: tuple[Line, ...]
    total_minor: int
    vat_bp: int
    vat_minor: int
    """Part of the total: prices are what people pay."""
    is_demo: bool

    @property
    def title(self) -> str:
        return t("Invoice") if self.is_invoice else t("Receipt")

    @property
    def file_name(self) -> str:
        return f"{'invoice' if self.is_invoice else 'receipt'}-{self.number}.pdf"


async def paper_for(db: Database, actor: Actor | None, receipt_id: str, practice: PracticeSettings) -> Paper:
    """For its payer and for admins; `actor` None is the post. Raises NotFound for anybody else."""
    async with db.reading() as session:
        receipt = await session.get(Receipt, receipt_id)
        if receipt is None:
            raise NotFound
        if actor is not None and actor.person_id != receipt.person_id and not actor.is_any(Role.ADMIN):
            raise NotFound
    issuer = receipt.issuer or await _keep_issuer(db, receipt_id, practice)
    async with db.reading() as session:
        payment = await session.get_one(Payment, receipt.payment_id)
        payer = await session.get_one(Person, receipt.person_id)
        erased = await session.get(PersonErasure, receipt.person_id)
        what, when = await _what(session, payment, payer.time_zone)
        refunds = tuple(
            Line(row.changed_at, look_up(_REFUND_WORDS.get(row.state, N_("Refunded"))), row.amount_minor)
            for row in await session.scalars(
                select(Refund)
                .where(Refund.payment_id == payment.id, Refund.state != RefundState.REPLACED)
                .order_by(Refund.created_at)
            )
        )
    paper = _paper(receipt, issuer, payment, payer, what, when, refunds)
    # The paper goes on naming who paid, as tax law wants it, after the person was erased.
    return paper if erased is None else replace(paper, payer_name=erased.name, payer_email=erased.email)


_REFUND_WORDS = {
    "waiting": N_("Refund on its way"),
    "sent": N_("Refund on its way"),
    "failed": N_("Refund being looked into"),
}
_METHOD_WORDS = {
    "wallet": N_("Wallet"),
    "credits": N_("Credit of a package"),
    "stripe": N_("Card (Stripe)"),
    "razorpay": "Razorpay",
    "demo": N_("Test gateway: no real money"),
    "free": N_("Free"),
}


def printed_number(receipt: Receipt) -> str:
    return f"{receipt.issued_at.year}-{receipt.number:06d}"


async def _keep_issuer(db: Database, receipt_id: str, practice: PracticeSettings) -> dict[str, Any]:
    async with db.transaction() as session:
        receipt = await session.get_one(Receipt, receipt_id, with_for_update=True, populate_existing=True)
        if receipt.issuer is None:
            receipt.issuer = {
                "name": practice.name,
                "address": practice.address,
                "tax_number": practice.tax_number,
                "vat_bp": practice.vat_basis_points,
                "contact": practice.contact_email,
            }
        return dict(receipt.issuer)


async def _what(session: AsyncSession, payment: Payment, zone: str) -> tuple[str, str]:
    if payment.appointment_id is not None:
        row = await session.get_one(Appointment, payment.appointment_id)
        practitioner = await session.get_one(Person, row.practitioner_id)
        minutes = round((row.ends_at - row.starts_at) / timedelta(minutes=1))
        bought = N_("%(service)s with %(practitioner)s, %(minutes)s minutes")
        names = {"service": row.service_name, "practitioner": practitioner.name, "minutes": minutes}
        return t(bought, **names), written_time(row.starts_at, zone)
    purchase = await session.get_one(Purchase, payment.purchase_id)
    if purchase.kind == "top_up":
        return t("Money for your wallet"), ""
    service = await session.get_one(Service, purchase.service_id)
    practitioner = await session.get_one(Person, service.practitioner_id)
    names = {"credits": purchase.credits, "service": service.name, "practitioner": practitioner.name}
    return t("%(credits)s sessions: %(service)s with %(practitioner)s", **names), ""


def _paper(
    receipt: Receipt,
    issuer: dict[str, Any],
    payment: Payment,
    payer: Person,
    what: str,
    when: str,
    refunds: tuple[Line, ...],
) -> Paper:
    total = payment.amount_minor if payment.kept_minor is None else payment.kept_minor
    let_go = payment.amount_minor - total - sum(one.amount_minor for one in refunds)
    if let_go > 0:  # released from a hold: it never left the payer, or went back into the wallet
        words = t("Released to your wallet") if payment.method == "wallet" else t("Released, never taken")
        refunds = (*refunds, Line(payment.changed_at, words, let_go))
    vat_bp = int(issuer.get("vat_bp") or 0)
    is_invoice = bool(issuer.get("address") and issuer.get("tax_number") and issuer.get("vat_bp") is not None)
    return Paper(
        id=receipt.id,
        number=printed_number(receipt),
        is_invoice=is_invoice,
        issuer_name=issuer["name"],
        issuer_address=issuer.get("address") or "",
        issuer_tax_number=issuer.get("tax_number") or "",
        issuer_contact=issuer.get("contact") or "",
        payer_name=payer.name,
        payer_email=payer.email,
        time_zone=payer.time_zone,
        issued_at=receipt.issued_at,
        what=what,
        when=when,
        method=look_up(_METHOD_WORDS.get(payment.method, payment.method)),
        transaction=payment.gateway_ref or payment.id,
        status=t("Held until the session has taken place") if payment.state == "held" else t("Paid"),
        currency=payment.currency,
        amount_minor=payment.amount_minor,
        refunds=refunds,
        total_minor=total,
        vat_bp=vat_bp if is_invoice else 0,
        vat_minor=included_vat(total, vat_bp) if is_invoice else 0,
        is_demo=payment.method == "demo",
    )


def included_vat(total_minor: int, vat_bp: int) -> int:
    """The tax that is in `total_minor`, ties to the even unit."""
    over = BASIS_POINTS + vat_bp
    whole, rest = divmod(total_minor * vat_bp, over)
    if rest * 2 > over or (rest * 2 == over and whole % 2):
        whole += 1
    return whole
