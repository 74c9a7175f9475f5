"""Whom to call for urgent help, by country: control/data/help_numbers.json, each number with the page it is from.

Read once for each language. A country that is not listed gets what works in most, and where to look. What a line is
is translated; the names of services are their own.
"""

import json
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from control.countries import country_name, in_order
from control.language import N_, look_up, spoken

FILE = Path(__file__).parent / "data" / "help_numbers.json"
ELSEWHERE = ""


@dataclass(frozen=True, slots=True)
class HelpNumber:
    """A number to dial, or an address to look one up."""

    name: str
    number: str
    url: str
    source: str

    def as_json(self) -> dict[str, str]:
        shown = {"name": self.name, "number": self.number, "url": self.url}
        return {key: value for key, value in shown.items() if value}


@dataclass(frozen=True, slots=True)
class Country:
    code: str
    name: str
    verified_on: date | None
    """When somebody last compared the numbers with their sources; None: never."""
    numbers: tuple[HelpNumber, ...]


LINES = (
    N_("Ambulance, fire brigade, police"),
    N_("Ambulance, fire brigade, police, in many countries"),
    N_("Ambulance, fire brigade, police, from a mobile"),
    N_("Ambulance, fire brigade"),
    N_("Ambulance"),
    N_("Ambulance (Magen David Adom)"),
    N_("Ambulance (Red Crescent)"),
    N_("Ambulance (SAMU)"),
    N_("Ambulance (Suwa Seriya)"),
    N_("Police"),
    N_("Find a helpline"),
    N_("Find a helpline in your country"),
    N_("Mental health line"),
    N_("Psychological support line"),
    N_("SNS 24, psychological counselling"),
    N_("Suicide prevention line"),
    N_("Support line 1579"),
    N_("Support line 1925"),
)
_ELSEWHERE_NAME = N_("Another country")


@cache
def _read(language: str) -> dict[str, Country]:
    """`language` is the one that is spoken."""
    data = json.loads(FILE.read_text(encoding="utf-8"))
    listed = {code: _country(code, each, country_name(code, each["name"])) for code, each in data["countries"].items()}
    return {**listed, ELSEWHERE: _country(ELSEWHERE, data["elsewhere"], look_up(_ELSEWHERE_NAME))}


def _country(code: str, each: dict[str, Any], name: str) -> Country:
    numbers = tuple(
        HelpNumber(look_up(one["name"]), one.get("number", ""), one.get("url", ""), one["source"])
        for one in each["numbers"]
    )
    verified_on = each["verified_on"]
    return Country(code, name, date.fromisoformat(verified_on) if verified_on else None, numbers)


def help_for(code: str | None) -> Country:
    """The country's numbers, or those for elsewhere."""
    known = _read(spoken())
    return known.get((code or "").upper(), known[ELSEWHERE])


def countries() -> tuple[Country, ...]:
    """By name, "Another country" last."""
    known = _read(spoken())
    listed = (one for one in known.values() if one.code != ELSEWHERE)
    return (*sorted(listed, key=lambda one: in_order(one.name)), known[ELSEWHERE])
