"""What is bought besides sessions: money for one's wallet, and packages of credits.

    open ──▶ paid     by a gateway (cards.py tells when the money is there) or, for credits, from the wallet

A purchase is begun once under its Idempotency-Key and may be paid by any number of attempts, of which one counts. It
never runs out: money that comes late still buys what was agreed.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.models.money import Payment
from control.models.people import Role
from control.models.practice import Service
from control.models.purchases import CreditOffer, Purchase
from control.money import ledger, receipts
from control.money.payments import Method, PaymentState
from control.money.policy import TOP_UP_LIMITS_MINOR, top_up_allowed


@dataclass(frozen=True, slots=True)
class PurchaseView:
    id: str
    kind: str
    state: str
    amount_minor: int
    currency: str
    credits: int
    credits_left: int
    service_id: str | None
    service_name: str | None
    created_at: datetime
    paid_at: datetime | None


async def begin_top_up(
    db: Database, actor: Actor, amount_minor: int, currency: str, *, key: str, now: datetime
) -> PurchaseView:
    if not actor.is_any(Role.CLIENT):
        raise Forbidden("not_client", "A wallet belongs to a client's account.")
    if currency not in TOP_UP_LIMITS_MINOR:
        raise Invalid("currency_unknown", "Wallets are kept in EUR, USD, GBP, INR and JPY.", pointer="/currency")
    if not top_up_allowed(amount_minor, currency):
        least, most = TOP_UP_LIMITS_MINOR[currency]
        raise Invalid(
            "amount_invalid",
            "This amount can't be put into a wallet.",
            pointer="/amount_minor",
            least_minor=least,
            most_minor=most,
        )
    fresh = Purchase(kind="top_up", amount_minor=amount_minor, currency=currency)
    return await _begin(db, actor, fresh, key, now)


async def begin_credits(db: Database, actor: Actor, offer_id: str, *, key: str, now: datetime) -> PurchaseView:
    if not actor.is_any(Role.CLIENT):
        raise Forbidden("not_client", "Credits belong to a client's account.")
    async with db.reading() as session:
        found = (
            await session.execute(
                select(CreditOffer, Service)
                .join(Service, Service.id == CreditOffer.service_id)
                .where(CreditOffer.id == offer_id, CreditOffer.active, Service.active)
            )
        ).one_or_none()
    if found is None:
        raise NotFound("offer_unknown", "These sessions are not offered any more.")
    offer, service = found
    if service.practitioner_id == actor.person_id:
        raise Forbidden("own_service", "This is your own service.")
    fresh = Purchase(
        kind="credits",
        amount_minor=offer.price_minor,
        currency=service.currency,
        service_id=service.id,
        credits=offer.credits,
    )
    return await _begin(db, actor, fresh, key, now)


async def _begin(db: Database, actor: Actor, fresh: Purchase, key: str, now: datetime) -> PurchaseView:
    """The purchase of this key, made if there is none."""
    async with db.transaction() as session:
        found = await session.scalar(
            select(Purchase).where(Purchase.person_id == actor.person_id, Purchase.purchase_key == key)
        )
        if found is None:
            fresh.id, fresh.person_id, fresh.purchase_key = new_id(), actor.person_id, key
            fresh.state, fresh.created_at = "open", now
            fresh.credits = fresh.credits or 0
            fresh.credits_left = fresh.value_left_minor = 0
            session.add(fresh)
            await session.flush()
            found = fresh
        elif _what(found) != _what(fresh):
            raise Invalid("idempotency_key_reused", "This key was used for another purchase.")
        return await _view(session, found)


def _what(one: Purchase) -> tuple[str, int, str, str | None]:
    return one.kind, one.amount_minor, one.currency, one.service_id


async def get_for(db: Database, actor: Actor, purchase_id: str) -> PurchaseView:
    """Raises NotFound for anybody but its buyer."""
    async with db.reading() as session:
        found = await session.get(Purchase, purchase_id)
        if found is None or found.person_id != actor.person_id:
            raise NotFound
        return await _view(session, found)


async def _view(session: AsyncSession, one: Purchase) -> PurchaseView:
    name = await session.scalar(select(Service.name).where(Service.id == one.service_id)) if one.service_id else None
    return PurchaseView(
        one.id,
        one.kind,
        one.state,
        one.amount_minor,
        one.currency,
        one.credits,
        one.credits_left,
        one.service_id,
        name,
        one.created_at,
        one.paid_at,
    )


# -- paying ------------------------------------------------------------------------------------------------------


async def pay_from_wallet(db: Database, actor: Actor, purchase_id: str, *, now: datetime) -> PurchaseView:
    """Credits bought with what is in the wallet. Bought already: returned as it is."""
    async with db.transaction() as session:
        purchase = await locked(session, purchase_id)
        if purchase.person_id != actor.person_id:
            raise NotFound
        if purchase.kind != "credits":
            raise Invalid("payment_method_invalid", "A wallet can't be filled from itself.")
        if purchase.state == "open":
            payment = Payment(
                id=new_id(),
                purchase_id=purchase.id,
                payer_id=purchase.person_id,
                method=Method.WALLET,
                state=PaymentState.STARTING,
                amount_minor=purchase.amount_minor,
                currency=purchase.currency,
                created_at=now,
                changed_at=now,
            )
            if await session.scalar(
                select(Payment.id).where(
                    Payment.purchase_id == purchase.id,
                    Payment.state.in_((PaymentState.STARTING, PaymentState.REQUIRES_ACTION)),
                )
            ):
                raise Conflict("payment_under_way", "Another payment for this has been begun. Finish it first.")
            session.add(payment)
            await session.flush()
            await deliver(session, purchase, payment, now=now)
        return await _view(session, purchase)


async def locked(session: AsyncSession, purchase_id: str) -> Purchase:
    found = await session.get(Purchase, purchase_id, with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound
    return found


async def deliver(session: AsyncSession, purchase: Purchase, payment: Payment, *, now: datetime) -> None:
    """The money of `payment` is there: hand out what it buys. Raises Conflict("insufficient_funds") for a wallet."""
    payment.state, payment.changed_at, payment.failure_code = PaymentState.EARNED, now, None
    payment.kept_minor, payment.refunded_minor = payment.amount_minor, 0
    purchase.state, purchase.paid_at = "paid", now
    currency, amount, person_id = payment.currency, payment.amount_minor, purchase.person_id
    by_wallet = payment.method == Method.WALLET
    origin = ledger.wallet(person_id, currency) if by_wallet else ledger.transit(currency)
    target = ledger.wallet(person_id, currency) if purchase.kind == "top_up" else ledger.escrow(currency)
    if purchase.kind == "credits":
        purchase.credits_left, purchase.value_left_minor = purchase.credits, amount
    await session.flush()
    await ledger.post(session, f"hold:{payment.id}", {origin: -amount, target: amount}, appointment_id=None, now=now)
    if purchase.kind == "credits":
        lines = {
            ledger.issued(): -purchase.credits,
            ledger.credits_of(person_id, purchase.service_id or ""): purchase.credits,
        }
        await ledger.post(session, f"credits:{payment.id}", lines, appointment_id=None, now=now)
    receipts.owe(session, payment, top_up=purchase.kind == "top_up", now=now)
    detail = {"kind": purchase.kind, "amount_minor": amount, "currency": currency, "method": payment.method}
    record(session, None, "purchase.paid", f"purchase:{purchase.id}", detail, now=now)
