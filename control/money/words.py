"""Money as people read it in notices and problems: "€50.00", "¥4,000". Pages format by the reader's locale."""

from decimal import Decimal

from babel.numbers import format_currency

from control.language import ENGLISH, locale, spoken
from control.money.policy import MINOR_DIGITS

_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "INR": "₹", "JPY": "¥"}


def money_words(amount_minor: int, currency: str) -> str:
    digits = MINOR_DIGITS.get(currency, 2)
    whole, fraction = divmod(abs(amount_minor), 10**digits)
    text = f"{whole:,}" + (f".{fraction:0{digits}d}" if digits else "")
    return f"{'−' if amount_minor < 0 else ''}{_SIGNS.get(currency, currency + ' ')}{text}"


def spoken_money(amount_minor: int, currency: str) -> str:
    """As the language that is spoken writes it: "50,00 €" in German."""
    if spoken() == ENGLISH:
        return money_words(amount_minor, currency)
    digits = MINOR_DIGITS.get(currency, 2)
    return str(format_currency(Decimal(amount_minor).scaleb(-digits), currency, locale=locale()))


def plain_amount(amount_minor: int, currency: str) -> str:
    """For files: "50.00", "4000"."""
    digits = MINOR_DIGITS.get(currency, 2)
    whole, fraction = divmod(abs(amount_minor), 10**digits)
    return f"{'-' if amount_minor < 0 else ''}{whole}" + (f".{fraction:0{digits}d}" if digits else "")
