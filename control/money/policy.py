"""How much of a price is kept, refunded, earned and taken as fee. Pure, integer minor units (PRODUCT.md §3).

The policy is copied into the appointment when it is booked: a later change of the practitioner's terms moves
nothing that was agreed before. Rounding is half-even, once per share, and the shares always add up.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

BASIS_POINTS = 10_000  # one whole; integers so that no share is ever a float
PLATFORM_FEE_BP = 1_000  # 10 % of what the practitioner's side keeps; taken from it, never added to the price

PRICE_LIMITS_MINOR: dict[str, tuple[int, int]] = {
    "EUR": (100, 25_000),
    "USD": (100, 25_000),
    "GBP": (100, 25_000),
    "INR": (5_000, 2_000_000),
    "JPY": (100, 40_000),
}
"""Least and greatest price per currency, in minor units; zero (free) is allowed besides."""

TOP_UP_LIMITS_MINOR: dict[str, tuple[int, int]] = {
    "EUR": (500, 100_000),
    "USD": (500, 100_000),
    "GBP": (500, 100_000),
    "INR": (10_000, 5_000_000),
    "JPY": (500, 100_000),
}
"""Least and greatest top-up of a wallet: a few sessions, so that a slipped key is noticed."""

CREDIT_PACKAGES = (5, 10)

MINOR_DIGITS = {"EUR": 2, "USD": 2, "GBP": 2, "INR": 2, "JPY": 0}


class Outcome(StrEnum):
    """How an appointment ended, as far as money is concerned."""

    COMPLETED = "completed"
    RELEASED = "released"  # practitioner or practice cancelled or missed it, or the client cancelled in time
    CANCELLED_LATE = "cancelled_late"
    CLIENT_NO_SHOW = "client_no_show"


@dataclass(frozen=True, slots=True)
class Policy:
    late_window: timedelta = timedelta(hours=24)
    late_fee_bp: int = 5_000
    no_show_fee_bp: int = BASIS_POINTS
    platform_fee_bp: int = PLATFORM_FEE_BP


@dataclass(frozen=True, slots=True)
class Settlement:
    """`kept_minor + refund_minor` is the price; `platform_minor + practitioner_minor` is what was kept."""

    kept_minor: int
    refund_minor: int
    platform_minor: int
    practitioner_minor: int


def share_half_even(amount_minor: int, bp: int) -> int:
    """`amount × bp / 10000`, ties to the even minor unit."""
    whole, rest = divmod(amount_minor * bp, BASIS_POINTS)
    if rest * 2 > BASIS_POINTS or (rest * 2 == BASIS_POINTS and whole % 2):
        whole += 1
    return whole


def is_late(starts_at: datetime, now: datetime, policy: Policy) -> bool:
    """Less than the window before the start is late; exactly the window is not."""
    return starts_at - now < policy.late_window


def settle(price_minor: int, outcome: Outcome, policy: Policy) -> Settlement:
    kept_bp = {
        Outcome.COMPLETED: BASIS_POINTS,
        Outcome.RELEASED: 0,
        Outcome.CANCELLED_LATE: policy.late_fee_bp,
        Outcome.CLIENT_NO_SHOW: policy.no_show_fee_bp,
    }[outcome]
    kept = share_half_even(price_minor, kept_bp)
    platform = share_half_even(kept, policy.platform_fee_bp)
    return Settlement(kept, price_minor - kept, platform, kept - platform)


def price_allowed(amount_minor: int, currency: str) -> bool:
    limits = PRICE_LIMITS_MINOR.get(currency)
    return limits is not None and (amount_minor == 0 or limits[0] <= amount_minor <= limits[1])


def package_price_allowed(price_minor: int, credits: int, currency: str) -> bool:
    """Each credit of it costs what a session may cost, and is not free."""
    limits = PRICE_LIMITS_MINOR.get(currency)
    return limits is not None and limits[0] * credits <= price_minor <= limits[1] * credits


def top_up_allowed(amount_minor: int, currency: str) -> bool:
    limits = TOP_UP_LIMITS_MINOR.get(currency)
    return limits is not None and limits[0] <= amount_minor <= limits[1]


def minor_from_price(price: str, currency: str) -> int | None:
    """Minor units of a decimal as people and JSON write it ("50", "50.00"); None if it is no such amount."""
    digits = MINOR_DIGITS.get(currency)
    whole, point, fraction = price.partition(".")
    if digits is None or not whole.isascii() or not whole.isdigit() or len(whole) > 9:
        return None
    if point and (not fraction.isascii() or not fraction.isdigit() or len(fraction) > digits):
        return None
    return int(whole + fraction.ljust(digits, "0"))
