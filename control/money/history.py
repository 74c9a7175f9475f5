"""What somebody has paid, or tried to: each attempt with what it was for, its refunds, its receipt. Reads only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select

from control.database import Database
from control.models.appointments import Appointment
from control.models.money import Payment, Refund
from control.models.people import Person
from control.models.purchases import Purchase, Receipt, RefundRequest
from control.money.gateway_work import RefundState
from control.money.payments import OPEN, PaymentState
from control.money.refund_requests import what_for
from control.paging import Page, Place, Wanted, after, cut

FIRST = Wanted()


@dataclass(frozen=True, slots=True)
class Back:
    id: str
    state: str
    amount_minor: int
    destination: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Paid:
    id: str
    state: str
    method: str
    what: str
    appointment_id: str | None
    purchase_id: str | None
    amount_minor: int
    kept_minor: int | None
    refunded_minor: int | None
    currency: str
    failure_code: str | None
    created_at: datetime
    receipt_id: str | None
    ask_until: datetime | None
    """Until when the payer can ask for the money back; None where there is nothing to ask, or it was asked."""
    asked: str | None
    """The state of the newest request for it."""
    refunds: tuple[Back, ...]
    is_top_up: bool


async def paid_by(
    db: Database, person_id: str, wanted: Wanted = FIRST, *, within: timedelta, now: datetime
) -> Page[Paid]:
    """The newest first; five queries whatever the number of rows."""
    query = select(Payment).where(Payment.payer_id == person_id, Payment.amount_minor > 0)
    async with db.reading() as session:
        found = (await session.scalars(after(query, wanted, Payment.created_at, Payment.id))).all()
        cut_off = cut(found, wanted, lambda row: Place(row.created_at, row.id))
        payments = cut_off.rows
        ids = [one.id for one in payments]
        words = await what_for(session, payments)
        backs: dict[str, list[Back]] = {}
        for row in await session.scalars(
            select(Refund)
            .where(Refund.payment_id.in_(ids), Refund.state != RefundState.REPLACED)
            .order_by(Refund.created_at)
        ):
            back = Back(row.id, row.state, row.amount_minor, row.destination, row.created_at)
            backs.setdefault(row.payment_id, []).append(back)
        papers = await session.execute(select(Receipt.payment_id, Receipt.id).where(Receipt.payment_id.in_(ids)))
        receipts: dict[str, str] = dict(papers.all())
        requests = await session.execute(
            select(RefundRequest.payment_id, RefundRequest.state)
            .where(RefundRequest.payment_id.in_(ids))
            .order_by(RefundRequest.created_at)
        )
        asked: dict[str, str] = dict(requests.all())
        ended = await session.execute(
            select(Payment.id, Appointment.ended_at, Purchase.paid_at, Purchase.kind)
            .outerjoin(Appointment, Appointment.id == Payment.appointment_id)
            .outerjoin(Purchase, Purchase.id == Payment.purchase_id)
            .where(Payment.id.in_(ids))
        )
        since = {row.id: (row.ended_at or row.paid_at, row.kind) for row in ended}
    rows = tuple(
        Paid(
            one.id,
            one.state,
            one.method,
            words[one.id],
            one.appointment_id,
            one.purchase_id,
            one.amount_minor,
            one.kept_minor,
            one.refunded_minor,
            one.currency,
            one.failure_code,
            one.created_at,
            receipts.get(one.id),
            _until(one, since[one.id][0], within, now) if asked.get(one.id) != "open" else None,
            asked.get(one.id),
            tuple(backs.get(one.id, ())),
            since[one.id][1] == "top_up",
        )
        for one in payments
    )
    return Page(rows, cut_off.next_cursor)


def _until(payment: Payment, since: datetime | None, within: timedelta, now: datetime) -> datetime | None:
    if payment.state != PaymentState.EARNED or not payment.kept_minor or since is None:
        return None
    return since + within if now <= since + within else None


async def was_refused(db: Database, *, appointment_id: str | None = None, purchase_id: str | None = None) -> bool:
    """The newest attempt to pay it was refused, and nothing was taken."""
    newest = (
        select(Payment.state, Payment.failure_code)
        .where(Payment.appointment_id == appointment_id, Payment.purchase_id == purchase_id)
        .order_by(Payment.created_at.desc(), Payment.id)
        .limit(1)
    )
    async with db.reading() as session:
        found = (await session.execute(newest)).one_or_none()
    return found is not None and found.failure_code is not None and found.state in (*OPEN, PaymentState.FAILED)


async def page_after(db: Database, payment_id: str) -> str:
    """Where a payer who comes back from a gateway's own page goes on."""
    async with db.reading() as session:
        payment = await session.get_one(Payment, payment_id)
        if payment.purchase_id is not None:
            return f"/wallet/pay/{payment.purchase_id}"
        row = await session.get_one(Appointment, payment.appointment_id)
        return f"/book/{row.service_id}?appointment={row.id}&step=pay&terms=yes"


# -- for the admin's page ----------------------------------------------------------------------------------------

MOST_FOUND = 20


@dataclass(frozen=True, slots=True)
class Found:
    id: str
    payer_name: str
    what: str
    method: str
    state: str
    amount_minor: int
    kept_minor: int
    currency: str
    created_at: datetime


async def find(db: Database, text: str) -> tuple[Found, ...]:
    """Payments of which something may go back: by a part of the payer's name or e-mail, or how an id begins."""
    named = func.lower(Person.name + " " + Person.email).contains(text.lower(), autoescape=True)
    numbered = [
        column.startswith(text.lower(), autoescape=True)
        for column in (Payment.id, Payment.appointment_id, Payment.gateway_ref)
    ]
    query = (
        select(Payment, Person.name)
        .join(Person, Person.id == Payment.payer_id)
        .where(Payment.state == PaymentState.EARNED, Payment.kept_minor > 0, or_(named, *numbered))
        .order_by(Payment.created_at.desc(), Payment.id)
        .limit(MOST_FOUND)
    )
    async with db.reading() as session:
        rows = (await session.execute(query)).all()
        words = await what_for(session, [payment for payment, _ in rows])
        return tuple(
            Found(
                one.id,
                name,
                words[one.id],
                one.method,
                one.state,
                one.amount_minor,
                one.kept_minor or 0,
                one.currency,
                one.created_at,
            )
            for one, name in rows
        )
