"""Countries by their ISO 3166-1 code: in English as the time zone database names them, else as Unicode's CLDR does."""

import unicodedata
from importlib.resources import files

from control.language import ENGLISH, locale, spoken


def _read() -> dict[str, str]:
    text = (files("tzdata.zoneinfo") / "iso3166.tab").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return {row[0]: row[1] for row in rows}


COUNTRIES = _read()
"""Code → English name."""


def country_name(code: str, english: str) -> str:
    return english if spoken() == ENGLISH else locale().territories.get(code, english)


def in_order(name: str) -> str:
    """Österreich stands beside Oman, not behind Zypern."""
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().casefold()


def named() -> dict[str, str]:
    """Code → name, in the order of names."""
    names = {code: country_name(code, english) for code, english in COUNTRIES.items()}
    return dict(sorted(names.items(), key=lambda pair: in_order(pair[1])))
