"""Shares of a price: half-even, always adding up, late or not at the exact second."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.money.policy import (
    Outcome,
    Policy,
    is_late,
    minor_from_price,
    price_allowed,
    settle,
    share_half_even,
)

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
DAY = timedelta(hours=24)


def test_fifty_euros_pay_five_to_the_platform_and_forty_five_to_the_practitioner() -> None:
    parts = settle(5_000, Outcome.COMPLETED, Policy())
    assert (parts.kept_minor, parts.refund_minor, parts.platform_minor, parts.practitioner_minor) == (
        5_000,
        0,
        500,
        4_500,
    )


def test_late_cancellation_keeps_half_and_the_platforms_fee_is_of_that_half() -> None:
    parts = settle(5_000, Outcome.CANCELLED_LATE, Policy())
    assert (parts.kept_minor, parts.refund_minor, parts.platform_minor, parts.practitioner_minor) == (
        2_500,
        2_500,
        250,
        2_250,
    )


def test_released_price_goes_back_whole() -> None:
    parts = settle(5_000, Outcome.RELEASED, Policy())
    assert (parts.kept_minor, parts.refund_minor, parts.platform_minor, parts.practitioner_minor) == (0, 5_000, 0, 0)


@pytest.mark.parametrize(
    ("amount", "bp", "share"),
    [(5, 1_000, 0), (15, 1_000, 2), (25, 1_000, 2), (35, 1_000, 4), (24, 1_000, 2), (26, 1_000, 3), (1, 10_000, 1)],
)
def test_ties_go_to_the_even_minor_unit(amount: int, bp: int, share: int) -> None:
    assert share_half_even(amount, bp) == share


@given(st.integers(0, 10**9), st.sampled_from(Outcome), st.integers(0, 10_000), st.integers(0, 10_000))
def test_shares_add_up_to_the_price_and_none_is_negative(price: int, outcome: Outcome, fee: int, late: int) -> None:
    parts = settle(price, outcome, Policy(late_fee_bp=late, no_show_fee_bp=late, platform_fee_bp=fee))
    assert parts.kept_minor + parts.refund_minor == price
    assert parts.platform_minor + parts.practitioner_minor == parts.kept_minor
    assert min(parts.kept_minor, parts.refund_minor, parts.platform_minor, parts.practitioner_minor) >= 0


def test_exactly_twenty_four_hours_before_is_not_late() -> None:
    assert not is_late(START, START - DAY, Policy())
    assert is_late(START, START - DAY + timedelta(microseconds=1), Policy())


@pytest.mark.parametrize(
    ("amount", "currency", "allowed"),
    [
        (0, "EUR", True),
        (99, "EUR", False),
        (100, "EUR", True),
        (25_000, "GBP", True),
        (25_001, "USD", False),
        (4_999, "INR", False),
        (2_000_000, "INR", True),
        (99, "JPY", False),
        (40_000, "JPY", True),
        (40_001, "JPY", False),
        (100, "CHF", False),
        (-100, "EUR", False),
    ],
)
def test_price_limits_hold_per_currency(amount: int, currency: str, allowed: bool) -> None:
    assert price_allowed(amount, currency) is allowed


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("50", "EUR", 5_000),
        ("50.5", "EUR", 5_050),
        ("50.05", "EUR", 5_005),
        ("0", "EUR", 0),
        ("50.005", "EUR", None),
        ("4000", "JPY", 4_000),
        ("4000.5", "JPY", None),
        ("-5", "EUR", None),
        ("٥", "EUR", None),
        ("1e3", "EUR", None),
        ("", "EUR", None),
        (".5", "EUR", None),
        ("5", "CHF", None),
    ],
)
def test_price_as_people_write_it_is_read_exactly_or_not_at_all(text: str, currency: str, minor: int | None) -> None:
    assert minor_from_price(text, currency) == minor
