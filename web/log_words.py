"""The audit log for people: what was done, to what, and what else is known of it. Pure functions of an entry."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from control.audit import Entry
from control.language import N_, look_up, t
from web.words import money, state_words, when

_DONE = {
    "appointment.book": N_("Booked"),
    "appointment.secure": N_("Payment secured"),
    "appointment.expire": N_("The hold ran out"),
    "appointment.confirm": N_("Confirmed"),
    "appointment.start": N_("Started"),
    "appointment.complete": N_("Ended"),
    "appointment.cancel": N_("Cancelled"),
    "appointment.miss_by_practitioner": N_("Missed by the practitioner"),
    "appointment.miss_by_client": N_("Missed by the client"),
    "appointment.rate": N_("Rated"),
    "appointment.activate": N_("Activated"),
    "appointment.forced": N_("Activated by force"),
    "reschedule.propose": N_("Another time proposed"),
    "appointment.reschedule": N_("Moved"),
    "guest.invite": N_("Guest invited"),
    "guest.admit": N_("Guest let in"),
    "guest.remove": N_("Guest's invitation taken back"),
    "rating.published": N_("Rating made public"),
}
_ID = re.compile("[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")


def done(entry: Entry) -> str:
    if entry.action == "consent.answer":
        purpose = {"care": t("Care consent"), "recording": t("Recording consent")}.get(
            str(entry.detail.get("purpose")), ""
        )
        return f"{purpose or 'Consent'}: {entry.detail.get('answer')}"
    return look_up(_DONE.get(entry.action, entry.action.replace(".", " ").replace("_", " ").capitalize()))


def done_to(entry: Entry) -> str:
    """Appointment ea9bda0d"""
    kind, _, which = entry.subject.partition(":")
    return f"{_plain(kind).capitalize()} {_short(which)}".strip()


def more(entry: Entry, zone: str, this_year: int) -> str:
    """from On hold, to Expired"""
    return ", ".join(_facts(entry, zone, this_year))


def _facts(entry: Entry, zone: str, this_year: int) -> Iterator[str]:
    currency = entry.detail.get("currency")
    for name, value in entry.detail.items():
        if name == "amount_minor" and currency and isinstance(value, int):
            yield money(value, str(currency))
        elif name != "currency":
            of_session = entry.action.startswith("appointment.") and name in {"from", "to"}
            yield f"{_plain(name)} {state_words(value) if of_session else _value(value, zone, this_year)}"


def _value(value: Any, zone: str, this_year: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(one, zone, this_year) for one in value) or "none"
    text = str(value)
    if _TIME.match(text):
        return when(datetime.fromisoformat(text), zone, this_year=this_year)
    return _plain(_short(text))


def _short(text: str) -> str:
    return text[:8] if _ID.fullmatch(text) else text


def _plain(text: str) -> str:
    return text.replace("_", " ")
