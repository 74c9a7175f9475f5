"""A client asks for money back within some days; an admin grants it (refunds.refund) or declines with an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.language import t
from control.models.appointments import Appointment
from control.models.money import Payment, Refund
from control.models.people import Person, Role
from control.models.practice import Service
from control.models.purchases import Purchase, RefundRequest
from control.money import refunds
from control.money.gateway_work import Destination, RefundState
from control.money.payments import PaymentState


@dataclass(frozen=True, slots=True)
class RequestView:
    id: str
    payment_id: str
    person_name: str
    what: str
    amount_minor: int
    currency: str
    destination: Destination
    reason: str
    state: str
    answer: str
    created_at: datetime
    decided_at: datetime | None


async def ask(
    db: Database,
    actor: Actor,
    payment_id: str,
    amount_minor: int | None,
    to: Destination,
    reason: str,
    *,
    within: timedelta,
    now: datetime,
) -> str:
    """The id of the request, the one that stands open if there is one.

    Raises NotFound for anybody but the payer, Conflict("too_late_to_ask" | "not_refundable"), Invalid.
    """
    async with db.transaction() as session:
        payment = await session.get(Payment, payment_id, with_for_update=True)
        if payment is None or payment.payer_id != actor.person_id:
            raise NotFound
        known: str | None = await session.scalar(
            select(RefundRequest.id).where(RefundRequest.payment_id == payment_id, RefundRequest.state == "open")
        )
        if known is not None:
            return known
        since = await asked_from(session, payment)
        if since is None or now - since > within:
            raise Conflict(
                "too_late_to_ask",
                f"Money can be asked back within {within.days} days. Write to us all the same if something went wrong.",
            )
        if to is Destination.CREDITS:
            raise Invalid("destination_invalid", "It goes back the way it came, or into the wallet.", pointer="/to")
    plan = await refunds.preview(db, actor, payment_id, amount_minor, to)
    async with db.transaction() as session:
        request = RefundRequest(
            id=new_id(),
            payment_id=payment_id,
            person_id=actor.person_id,
            amount_minor=plan.amount_minor,
            destination=to,
            reason=reason,
            state="open",
            created_at=now,
        )
        await session.get_one(Payment, payment_id, with_for_update=True)
        known = await session.scalar(
            select(RefundRequest.id).where(RefundRequest.payment_id == payment_id, RefundRequest.state == "open")
        )
        if known is not None:
            return known
        session.add(request)
        record(session, actor, "refund.asked", f"payment:{payment_id}", {"amount_minor": plan.amount_minor}, now=now)
        return request.id


async def asked_from(session: AsyncSession, payment: Payment) -> datetime | None:
    """The moment from which the days to ask are counted; None while there is nothing to ask back."""
    if payment.state != PaymentState.EARNED:
        return None
    if payment.appointment_id is not None:
        ended: datetime | None = await session.scalar(
            select(Appointment.ended_at).where(Appointment.id == payment.appointment_id)
        )
        return ended
    paid: datetime | None = await session.scalar(select(Purchase.paid_at).where(Purchase.id == payment.purchase_id))
    return paid


async def decline(db: Database, actor: Actor, request_id: str, answer: str, *, now: datetime) -> None:
    """Declined or granted already: nothing is done."""
    if not actor.is_any(Role.ADMIN):
        raise Forbidden("not_admin", "Refunds are decided by an admin.")
    async with db.transaction() as session:
        found = await session.get(RefundRequest, request_id)
        if found is None:
            raise NotFound
        await session.execute(
            update(RefundRequest)
            .where(RefundRequest.id == request_id, RefundRequest.state == "open")
            .values(state="declined", answer=answer, decided_at=now, decided_by=actor.person_id)
        )
        record(session, actor, "refund.declined", f"payment:{found.payment_id}", {"request": request_id}, now=now)


# -- for the admin's page ----------------------------------------------------------------------------------------

MOST_ROWS = 200


async def requests(db: Database, *, open_only: bool = False) -> tuple[RequestView, ...]:
    """The newest first, what stands open before the rest."""
    query = (
        select(RefundRequest, Person.name, Payment)
        .join(Person, Person.id == RefundRequest.person_id)
        .join(Payment, Payment.id == RefundRequest.payment_id)
        .order_by(RefundRequest.state != "open", RefundRequest.created_at.desc())
        .limit(MOST_ROWS)
    )
    if open_only:
        query = query.where(RefundRequest.state == "open")
    async with db.reading() as session:
        rows = (await session.execute(query)).all()
        words = await what_for(session, [payment for _, _, payment in rows])
        return tuple(
            RequestView(
                row.id,
                row.payment_id,
                name,
                words[payment.id],
                row.amount_minor,
                payment.currency,
                Destination(row.destination),
                row.reason,
                row.state,
                row.answer or "",
                row.created_at,
                row.decided_at,
            )
            for row, name, payment in rows
        )


@dataclass(frozen=True, slots=True)
class FailedRefund:
    id: str
    payment_id: str
    person_name: str
    what: str
    method: str
    amount_minor: int
    currency: str
    failure_code: str
    changed_at: datetime


async def failed(db: Database) -> tuple[FailedRefund, ...]:
    """Refunds that a bank has refused and nobody has sent again."""
    async with db.reading() as session:
        rows = (
            await session.execute(
                select(Refund, Payment, Person.name)
                .join(Payment, Payment.id == Refund.payment_id)
                .join(Person, Person.id == Payment.payer_id)
                .where(Refund.state == RefundState.FAILED)
                .order_by(Refund.changed_at)
                .limit(MOST_ROWS)
            )
        ).all()
        words = await what_for(session, [payment for _, payment, _ in rows])
        return tuple(
            FailedRefund(
                refund.id,
                payment.id,
                name,
                words[payment.id],
                payment.method,
                refund.amount_minor,
                refund.currency,
                refund.failure_code or "refused",
                refund.changed_at,
            )
            for refund, payment, name in rows
        )


async def what_for(session: AsyncSession, payments: Sequence[Payment]) -> dict[str, str]:
    """What each payment was for, in a few words; two queries whatever their number."""
    sessions = await session.execute(
        select(Appointment.id, Appointment.service_name, Person.name)
        .join(Person, Person.id == Appointment.practitioner_id)
        .where(Appointment.id.in_([one.appointment_id for one in payments if one.appointment_id]))
    )
    bought = await session.execute(
        select(Purchase.id, Purchase.kind, Purchase.credits, Service.name)
        .outerjoin(Service, Service.id == Purchase.service_id)
        .where(Purchase.id.in_([one.purchase_id for one in payments if one.purchase_id]))
    )
    words = {
        row.id: t("%(service_name)s with %(practitioner_name)s", service_name=row[1], practitioner_name=row.name)
        for row in sessions
    }
    words |= {
        row.id: t("Money for the wallet")
        if row.kind == "top_up"
        else t("%(credits)s sessions: %(service_name)s", credits=row.credits, service_name=row.name)
        for row in bought
    }
    return {one.id: words.get(one.appointment_id or one.purchase_id or "", "") for one in payments}
