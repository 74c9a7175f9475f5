"""How the practice's values look in JSON, and the fields requests are made of. No rules here.

Moments are RFC 3339 in UTC, money is integer minor units with its currency, states are the product's words.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

from aiohttp import web
from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from control.appointment_queries import SessionView
from control.appointment_states import State
from control.errors import Malformed
from control.keys import CASHIER
from control.language import t
from control.lifecycle import Party
from control.money.policy import share_half_even
from control.slots import Slot

ID_PATTERN = "[0-9a-f]{32}"
"""In routes: an id is never a word, so `/professional/sessions` is not `/professional/{id}`."""


def _without_controls(text: str) -> str:
    if any(ord(character) < 32 and character not in "\n\t" for character in text) or "\x7f" in text:
        raise ValueError("control characters are not text")
    return text


def _storable(moment: datetime) -> datetime:
    if not 2000 <= moment.year <= 9000:
        raise ValueError("this moment is out of range")
    return moment


Id = Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN}$")]
Text = Annotated[str, AfterValidator(_without_controls)]
Reason = Annotated[str, Field(max_length=500), AfterValidator(_without_controls)]
Clock = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Moment = Annotated[AwareDatetime, AfterValidator(_storable)]


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def maybe_iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def slot_json(slot: Slot) -> dict[str, Any]:
    return {
        "start": iso(slot.start),
        "end": iso(slot.end),
        "price_minor": slot.price_minor,
        "currency": slot.currency,
    }


def ways_to_pay(request: web.Request) -> tuple[str, ...]:
    """Every way this install takes money for a session."""
    return ("wallet", "credits", *request.app[CASHIER].methods)


def payment_json(view: SessionView, ways: Sequence[str]) -> dict[str, Any]:
    """What there is to pay, or was paid. The practitioner sees the breakdown, the client the total."""
    due = view.state is State.PENDING
    payment: dict[str, Any] = {
        "status": "due" if due else (view.payment_state or "none"),
        "method": view.payment_method,
        "amount_minor": view.price_minor,
        "currency": view.currency,
        "methods": (list(ways) if view.price_minor else ["free"]) if due else [],
        "kept_minor": view.kept_minor,
        "refund_minor": view.refund_minor,
    }
    if view.party is not Party.CLIENT:
        kept = view.price_minor if view.kept_minor is None else view.kept_minor
        fee = share_half_even(kept, view.platform_fee_bp)
        payment |= {
            "platform_fee_bp": view.platform_fee_bp,
            "platform_fee_minor": fee,
            "practitioner_receives_minor": kept - fee,
        }
    return payment


def session_json(view: SessionView, ways: Sequence[str]) -> dict[str, Any]:
    """A guest is told nothing of money."""
    shown: dict[str, Any] = {
        "id": view.id,
        "status": view.state,
        "my_role": view.party,
        "service": {"id": view.service_id, "name": view.service_name, "mode": view.mode},
        "practitioner": {
            "id": view.practitioner_id,
            "name": view.practitioner_name,
            "time_zone": view.practitioner_time_zone,
        },
        "client": {"id": view.client_id, "name": view.client_name, "time_zone": view.client_time_zone},
        "start": iso(view.starts_at),
        "end": iso(view.ends_at),
        "series_id": view.series_id,
        "recording_offered": view.recording_offered,
        "hold_expires_at": maybe_iso(view.hold_expires_at) if view.state is State.PENDING else None,
        "started_at": maybe_iso(view.started_at),
        "ended_at": maybe_iso(view.ended_at),
        "ended_by": view.ended_by,
        "reason": view.end_reason,
        "policy": {
            "late_window_minutes": view.late_window_minutes,
            "late_fee_bp": view.late_fee_bp,
            "no_show_fee_bp": view.no_show_fee_bp,
        },
        "payment": payment_json(view, ways),
    }
    if view.party is Party.GUEST:
        del shown["policy"], shown["payment"]
    if view.party is Party.ADMIN:
        shown["activation"] = {"required": view.needs_activation, "activated_at": maybe_iso(view.activated_at)}
    return shown


def day_of_query(request: web.Request, name: str) -> date:
    """`?name=YYYY-MM-DD`."""
    try:
        day = date.fromisoformat(request.query.get(name, "")[:11])
    except ValueError as error:
        raise Malformed("date_invalid", t("%(name)s is a day: YYYY-MM-DD.", name=name)) from error
    if not 2000 <= day.year <= 9000:
        raise Malformed("date_invalid", t("%(name)s is out of range.", name=name))
    return day
