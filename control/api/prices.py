"""Reads the price of open time as people write it, "75.00", in the currency its services are sold in."""

from decimal import Decimal

from control.accounts import Actor
from control.database import Database
from control.errors import Invalid
from control.language import t
from control.money.policy import minor_from_price
from control.practitioners import currency_of


async def window_price(db: Database, actor: Actor, price: Decimal | None, service_id: str | None) -> int | None:
    """Minor units; None for the service's own price. Raises Invalid("price_invalid" | "price_needs_service")."""
    if price is None:
        return None
    currency = await currency_of(db, actor.person_id, service_id)
    price_minor = minor_from_price(f"{price:f}", currency)
    if price_minor is None:
        raise Invalid("price_invalid", t("This is no amount in %(currency)s.", currency=currency), pointer="/price")
    return price_minor
