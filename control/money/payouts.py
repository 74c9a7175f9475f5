"""What practitioners have earned, and what an admin has paid them outside of Holdspace and written down here.

    earned by a session ──▶ balance ──┬─▶ can be paid out ──▶ payout (ledger: earnings → paid_out)
                                      └─▶ waits: a session together for less than half of its length, not looked at yet

Holdspace moves no money itself. Later refunds may make a balance negative; then nothing can be paid out.
"""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.models.appointments import Appointment
from control.models.money import LedgerAccount, Payment
from control.models.people import Person, Role
from control.models.purchases import Payout
from control.money import ledger
from control.money.payments import PaymentState, Review
from control.money.policy import MINOR_DIGITS, share_half_even

MOST_ROWS = 500


@dataclass(frozen=True, slots=True)
class Due:
    """One practitioner's balance in one currency."""

    practitioner_id: str
    practitioner_name: str
    currency: str
    balance_minor: int
    waiting_minor: int

    @property
    def payable_minor(self) -> int:
        return max(0, self.balance_minor - self.waiting_minor)


async def due(db: Database, practitioner_id: str | None = None) -> tuple[Due, ...]:
    query = (
        select(LedgerAccount, Person.name)
        .join(Person, Person.id == LedgerAccount.owner_id)
        .where(LedgerAccount.kind == ledger.Kind.EARNINGS)
        .order_by(Person.name, LedgerAccount.currency)
    )
    if practitioner_id is not None:
        query = query.where(LedgerAccount.owner_id == practitioner_id)
    async with db.reading() as session:
        waiting = await _waiting(session, practitioner_id)
        return tuple(
            Due(
                account.owner_id or "",
                name,
                account.currency,
                account.balance_minor,
                waiting.get((account.owner_id or "", account.currency), 0),
            )
            for account, name in (await session.execute(query)).all()
        )


async def _waiting(session: AsyncSession, practitioner_id: str | None) -> dict[tuple[str, str], int]:
    query = (
        select(Appointment.practitioner_id, Payment.currency, func.sum(Payment.earned_minor))
        .join(Appointment, Appointment.id == Payment.appointment_id)
        .where(Payment.review == Review.NEEDED, Payment.state == PaymentState.EARNED)
        .group_by(Appointment.practitioner_id, Payment.currency)
    )
    if practitioner_id is not None:
        query = query.where(Appointment.practitioner_id == practitioner_id)
    return {(who, currency): int(total or 0) for who, currency, total in await session.execute(query)}


@dataclass(frozen=True, slots=True)
class NewPayout:
    practitioner_id: str
    amount_minor: int
    currency: str
    paid_on: date
    reference: str


async def record_payout(db: Database, actor: Actor, new: NewPayout, *, key: str, now: datetime) -> str:
    """Write down that it was paid; the same key writes it once. Raises Conflict("more_than_payable")."""
    if not actor.is_any(Role.ADMIN):
        raise Forbidden("not_admin", "Payouts are recorded by an admin.")
    if new.paid_on > now.date():
        raise Invalid("date_future", "A payout is written down when it has been made.", pointer="/paid_on")
    if new.currency not in MINOR_DIGITS:
        raise Invalid("currency_unknown", "There are earnings in EUR, USD, GBP, INR and JPY only.", pointer="/currency")
    async with db.transaction() as session:
        code = ledger.earnings(new.practitioner_id, new.currency).code
        account = await session.get(LedgerAccount, code, with_for_update=True, populate_existing=True)
        known: str | None = await session.scalar(select(Payout.id).where(Payout.payout_key == key))
        if known is not None:
            return known
        if account is None:
            raise NotFound("nothing_earned", "This person has earned nothing in this currency.")
        waiting = (await _waiting(session, new.practitioner_id)).get((new.practitioner_id, new.currency), 0)
        payable = max(0, account.balance_minor - waiting)
        if new.amount_minor > payable:
            raise Conflict(
                "more_than_payable",
                "That is more than can be paid out now.",
                payable_minor=payable,
                waiting_minor=waiting,
            )
        payout = Payout(
            id=new_id(),
            practitioner_id=new.practitioner_id,
            amount_minor=new.amount_minor,
            currency=new.currency,
            paid_on=new.paid_on,
            reference=new.reference,
            recorded_by=actor.person_id,
            payout_key=key,
            created_at=now,
        )
        session.add(payout)
        await session.flush()
        lines = {
            ledger.earnings(new.practitioner_id, new.currency): -new.amount_minor,
            ledger.paid_out(new.currency): new.amount_minor,
        }
        await ledger.post(session, f"payout:{payout.id}", lines, appointment_id=None, now=now)
        detail = {"amount_minor": new.amount_minor, "currency": new.currency, "payout": payout.id}
        record(session, actor, "payout.recorded", f"person:{new.practitioner_id}", detail, now=now)
        return payout.id


@dataclass(frozen=True, slots=True)
class PayoutView:
    id: str
    practitioner_id: str
    practitioner_name: str
    amount_minor: int
    currency: str
    paid_on: date
    reference: str
    created_at: datetime


async def payouts(db: Database, practitioner_id: str | None = None) -> tuple[PayoutView, ...]:
    """The newest first."""
    query = (
        select(Payout, Person.name)
        .join(Person, Person.id == Payout.practitioner_id)
        .order_by(Payout.paid_on.desc(), Payout.created_at.desc())
        .limit(MOST_ROWS)
    )
    if practitioner_id is not None:
        query = query.where(Payout.practitioner_id == practitioner_id)
    async with db.reading() as session:
        return tuple(
            PayoutView(
                row.id,
                row.practitioner_id,
                name,
                row.amount_minor,
                row.currency,
                row.paid_on,
                row.reference,
                row.created_at,
            )
            for row, name in (await session.execute(query)).all()
        )


# -- short sessions ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShortSession:
    payment_id: str
    appointment_id: str
    practitioner_name: str
    client_name: str
    service_name: str
    starts_at: datetime
    booked_minutes: int
    together_minutes: int
    earned_minor: int
    kept_minor: int
    currency: str


async def short_sessions(db: Database) -> tuple[ShortSession, ...]:
    """Completed, together for less than half of the time, and not looked at yet; the oldest first."""
    async with db.reading() as session:
        rows = (
            await session.execute(
                select(Payment, Appointment)
                .join(Appointment, Appointment.id == Payment.appointment_id)
                .where(Payment.review == Review.NEEDED, Payment.state == PaymentState.EARNED)
                .order_by(Appointment.starts_at)
                .limit(MOST_ROWS)
            )
        ).all()
        ids = {one for _, row in rows for one in (row.client_id, row.practitioner_id)}
        found = await session.execute(select(Person.id, Person.name).where(Person.id.in_(ids)))
        names: dict[str, str] = dict(found.all())
        return tuple(
            ShortSession(
                payment.id,
                row.id,
                names[row.practitioner_id],
                names[row.client_id],
                row.service_name,
                row.starts_at,
                round((row.ends_at - row.starts_at).total_seconds() / 60),
                (payment.together_s or 0) // 60,
                payment.earned_minor or 0,
                payment.kept_minor or 0,
                payment.currency,
            )
            for payment, row in rows
        )


async def clear_short_session(db: Database, actor: Actor, payment_id: str, *, now: datetime) -> None:
    """An admin has looked: its earnings can be paid out. Cleared already: nothing is done."""
    if not actor.is_any(Role.ADMIN):
        raise Forbidden("not_admin", "Short sessions are looked at by an admin.")
    async with db.transaction() as session:
        payment = await session.get(Payment, payment_id)
        if payment is None or payment.review is None:
            raise NotFound
        await session.execute(
            update(Payment)
            .where(Payment.id == payment_id, Payment.review == Review.NEEDED)
            .values(review=Review.CLEARED)
        )
        record(session, actor, "payout.cleared", f"payment:{payment_id}", now=now)


# -- what a practitioner sees ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Earned:
    appointment_id: str
    service_name: str
    client_name: str
    starts_at: datetime
    state: str
    """Of the payment: held, earned, released."""
    price_minor: int
    kept_minor: int
    fee_minor: int
    earned_minor: int
    currency: str
    waits: bool


async def earned_by(db: Database, practitioner_id: str) -> tuple[Earned, ...]:
    """Each paid session with its breakdown, the newest first. What is held shows what it will bring."""
    async with db.reading() as session:
        rows = await session.execute(
            select(Payment, Appointment, Person.name)
            .join(Appointment, Appointment.id == Payment.appointment_id)
            .join(Person, Person.id == Appointment.client_id)
            .where(
                Appointment.practitioner_id == practitioner_id,
                Payment.state.in_((PaymentState.HELD, PaymentState.EARNED, PaymentState.RELEASED)),
                Payment.amount_minor > 0,
            )
            .order_by(Appointment.starts_at.desc())
            .limit(MOST_ROWS)
        )
        found = []
        for payment, row, name in rows.all():
            held = payment.state == PaymentState.HELD
            kept = payment.amount_minor if held else payment.kept_minor or 0
            fee = share_half_even(kept, row.platform_fee_bp) if held else payment.fee_minor or 0
            found.append(
                Earned(
                    row.id,
                    row.service_name,
                    name,
                    row.starts_at,
                    payment.state,
                    payment.amount_minor,
                    kept,
                    fee,
                    kept - fee if held else payment.earned_minor or 0,
                    payment.currency,
                    payment.review == Review.NEEDED,
                )
            )
        return tuple(found)
