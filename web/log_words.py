"""The audit log for people: what was done, to what, and what else is known of it. Pure functions of an entry."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from control.audit import Entry
from web.words import money, state_words, when

_DONE = {
    "appointment.book": "Booked",
    "appointment.secure": "Payment secured",
    "appointment.expire": "The hold ran out",
    "appointment.confirm": "Confirmed",
    "appointment.start": "Started",
    "appointment.complete": "Ended",
    "appointment.cancel": "Cancelled",
    "appointment.miss_by_practitioner": "Missed by the practitioner",
    "appointment.miss_by_client": "Missed by the client",
    "appointment.rate": "Rated",
    "appointment.activate": "Activated",
    "appointment.forced": "Activated by force",
    "reschedule.propose": "Another time proposed",
    "appointment.reschedule": "Moved",
    "guest.invite": "Guest invited",
    "guest.admit": "Guest let in",
    "guest.remove": "Guest's invitation taken back",
    "rating.published": "Rating made public",
}
_ID = re.compile("[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")


def done(entry: Entry) -> str:
    """Payment secured; for what has no words of its own, the log's: "wallet.top_up" as "Wallet top up"."""
    if entry.action == "consent.answer":
        purpose = {"care": "Care consent", "recording": "Recording consent"}.get(str(entry.detail.get("purpose")), "")
        return f"{purpose or 'Consent'}: {entry.detail.get('answer')}"
    return _DONE.get(entry.action, _plain(entry.action.replace(".", " ")).capitalize())


def done_to(entry: Entry) -> str:
    """Appointment ea9bda0d"""
    kind, _, which = entry.subject.partition(":")
    return f"{_plain(kind).capitalize()} {_short(which)}".strip()


def more(entry: Entry, zone: str) -> str:
    """from On hold, to Expired"""
    return ", ".join(_facts(entry, zone))


def _facts(entry: Entry, zone: str) -> Iterator[str]:
    currency = entry.detail.get("currency")
    for name, value in entry.detail.items():
        if name == "amount_minor" and currency and isinstance(value, int):
            yield money(value, str(currency))
        elif name != "currency":
            of_session = entry.action.startswith("appointment.") and name in {"from", "to"}
            yield f"{_plain(name)} {state_words(value) if of_session else _value(value, zone)}"


def _value(value: Any, zone: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(one, zone) for one in value) or "none"
    text = str(value)
    if _TIME.match(text):
        return when(datetime.fromisoformat(text), zone)
    return _plain(_short(text))


def _short(text: str) -> str:
    return text[:8] if _ID.fullmatch(text) else text


def _plain(text: str) -> str:
    return text.replace("_", " ")
