"""Whom to call for urgent help, by country: control/data/help_numbers.json, each number with the page it is from.

Read once and checked then. A country that is not listed gets what works in most, and where to look.
"""

import json
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

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


@cache
def _read() -> dict[str, Country]:
    data = json.loads(FILE.read_text(encoding="utf-8"))
    found = {code: _country(code, each) for code, each in data["countries"].items()}
    return {**found, ELSEWHERE: _country(ELSEWHERE, data["elsewhere"])}


def _country(code: str, each: dict[str, Any]) -> Country:
    numbers = tuple(
        HelpNumber(one["name"], one.get("number", ""), one.get("url", ""), one["source"]) for one in each["numbers"]
    )
    verified_on = each["verified_on"]
    return Country(code, each["name"], date.fromisoformat(verified_on) if verified_on else None, numbers)


def help_for(code: str | None) -> Country:
    """The country's numbers, or those for elsewhere."""
    return _read().get((code or "").upper(), _read()[ELSEWHERE])


def countries() -> tuple[Country, ...]:
    """By name, "Another country" last."""
    listed = (one for one in _read().values() if one.code != ELSEWHERE)
    return (*sorted(listed, key=lambda one: one.name), _read()[ELSEWHERE])
