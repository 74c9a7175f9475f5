"""Credits: sessions of one service bought 5 or 10 together. What a package has left, taken one by one and given back.

    bought ──take──▶ held by an appointment ──┬─▶ spent      its value is divided like any price
                        ▲──── given back ─────┘              nothing was kept: the credit comes back, not money

Each credit has a value: the package's price divided over it so that nothing is lost to rounding. The money stands in
escrow from the purchase on. Works in the caller's transaction; the package's row is the lock.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.language import t
from control.models.money import Payment
from control.models.people import Person
from control.models.practice import Service
from control.models.purchases import CreditOffer, Purchase
from control.money import ledger
from control.money.policy import CREDIT_PACKAGES, package_price_allowed


@dataclass(frozen=True, slots=True)
class Taken:
    purchase_id: str
    value_minor: int


async def take(
    session: AsyncSession, person_id: str, service_id: str, currency: str, payment_id: str, *, now: datetime
) -> Taken:
    """One credit for `payment_id`, of the oldest package. Raises Conflict("insufficient_funds")."""
    package = await session.scalar(
        select(Purchase)
        .where(
            Purchase.person_id == person_id,
            Purchase.service_id == service_id,
            Purchase.currency == currency,
            Purchase.state == "paid",
            Purchase.credits_left > 0,
        )
        .order_by(Purchase.paid_at, Purchase.id)
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if package is None:
        raise Conflict("insufficient_funds", "You have no credit left for this.")
    value = package.value_left_minor // package.credits_left
    package.credits_left -= 1
    package.value_left_minor -= value
    await session.flush()
    lines = {ledger.credits_of(person_id, service_id): -1, ledger.escrow(ledger.CREDIT_UNIT): 1}
    await ledger.post(session, f"credit_hold:{payment_id}", lines, appointment_id=None, now=now)
    return Taken(package.id, value)


async def give_back(session: AsyncSession, payment: Payment, *, spent: bool = False, now: datetime) -> None:
    """The credit that `payment` held, or (`spent`) had used up, is the client's again with all of its value."""
    package = await _package_of(session, payment)
    origin = ledger.issued() if spent else ledger.escrow(ledger.CREDIT_UNIT)
    lines = {origin: -1, ledger.credits_of(package.person_id, package.service_id or ""): 1}
    if await ledger.post(session, f"credit_release:{payment.id}", lines, appointment_id=None, now=now):
        package.credits_left += 1
        package.value_left_minor += payment.amount_minor
        await session.flush()


async def spend(session: AsyncSession, payment: Payment, *, now: datetime) -> None:
    lines = {ledger.escrow(ledger.CREDIT_UNIT): -1, ledger.issued(): 1}
    await ledger.post(session, f"credit_spent:{payment.id}", lines, appointment_id=None, now=now)


async def _package_of(session: AsyncSession, payment: Payment) -> Purchase:
    return await session.get_one(Purchase, payment.credit_of, with_for_update=True, populate_existing=True)


# -- what practitioners offer ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OfferView:
    id: str
    service_id: str
    service_name: str
    practitioner_id: str
    practitioner_name: str
    credits: int
    price_minor: int
    single_minor: int
    currency: str


async def set_offer(
    db: Database, actor: Actor, service_id: str, credits: int, price_minor: int | None, *, now: datetime
) -> None:
    """Offer that package at that price, or (None) no longer. Packages sold before stay as they were."""
    if credits not in CREDIT_PACKAGES:
        raise Invalid("credits_invalid", "A package has 5 or 10 sessions.", pointer="/credits")
    async with db.transaction() as session:
        service = await session.get(Service, service_id)
        if service is None:
            raise NotFound
        if service.practitioner_id != actor.person_id:
            raise Forbidden("not_yours", "Only its practitioner sets the price of a service.")
        if price_minor is not None and not package_price_allowed(price_minor, credits, service.currency):
            raise Invalid(
                "price_invalid", t("This is no price for %(credits)s sessions.", credits=credits), pointer="/price"
            )
        if service.price_minor == 0 and price_minor is not None:
            raise Invalid("service_free", "This service is free: there is nothing to buy.")
        offer = await session.scalar(
            select(CreditOffer)
            .where(CreditOffer.service_id == service_id, CreditOffer.credits == credits)
            .with_for_update()
        )
        if offer is None:
            if price_minor is None:
                return
            offer = CreditOffer(id=new_id(), service_id=service_id, credits=credits, created_at=now)
            session.add(offer)
        offer.active = price_minor is not None
        offer.price_minor = price_minor if price_minor is not None else offer.price_minor
        detail = {"credits": credits, "price_minor": price_minor}
        record(session, actor, "credits.offer", f"service:{service_id}", detail, now=now)


async def offers(
    db: Database, *, practitioner_id: str | None = None, service_id: str | None = None
) -> tuple[OfferView, ...]:
    query = (
        select(CreditOffer, Service, Person.name)
        .join(Service, Service.id == CreditOffer.service_id)
        .join(Person, Person.id == Service.practitioner_id)
        .where(CreditOffer.active, Service.active)
        .order_by(Person.name, Service.name, CreditOffer.credits)
    )
    if practitioner_id is not None:
        query = query.where(Service.practitioner_id == practitioner_id)
    if service_id is not None:
        query = query.where(Service.id == service_id)
    async with db.reading() as session:
        return tuple(
            OfferView(
                offer.id, service.id, service.name, service.practitioner_id, name, offer.credits, offer.price_minor,
                service.price_minor, service.currency,
            )
            for offer, service, name in (await session.execute(query)).all()
        )  # fmt: skip


# -- what clients have -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreditView:
    """What somebody has left of one service."""

    service_id: str
    service_name: str
    practitioner_id: str
    practitioner_name: str
    left: int
    of: int


async def held_by(db: Database, person_id: str, service_id: str | None = None) -> tuple[CreditView, ...]:
    """Packages with something left, added up by service."""
    query = (
        select(Purchase, Service.name, Service.practitioner_id, Person.name)
        .join(Service, Service.id == Purchase.service_id)
        .join(Person, Person.id == Service.practitioner_id)
        .where(Purchase.person_id == person_id, Purchase.state == "paid", Purchase.credits_left > 0)
        .order_by(Person.name, Service.name, Purchase.paid_at)
    )
    if service_id is not None:
        query = query.where(Purchase.service_id == service_id)
    found: dict[str, CreditView] = {}
    async with db.reading() as session:
        for package, service, practitioner_id, practitioner in (await session.execute(query)).all():
            of_service = package.service_id or ""
            before = found.get(of_service)
            left, of = (before.left, before.of) if before else (0, 0)
            found[of_service] = CreditView(
                of_service,
                service,
                practitioner_id,
                practitioner,
                left + package.credits_left,
                of + package.credits,
            )
    return tuple(found.values())
