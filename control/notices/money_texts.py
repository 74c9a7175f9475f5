"""The sentences about money: payment, receipt, refund. Values for texts.py, which sets them; pure.

Facts either tell of a session ("about") or carry "amount" as it is to be read.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from control.notices.kinds import NoticeKind, SessionFacts
from control.notices.times import written_time


class Letter(NamedTuple):
    subject: str
    paragraphs: tuple[str, ...]
    link_path: str
    link_words: str


class Line(NamedTuple):
    title: str
    body: str
    path: str | None


Facts = Mapping[str, Any]


def letter(kind: NoticeKind, facts: Facts, zone: str) -> Letter | None:
    """None: not about money."""
    make = _LETTERS.get(kind)
    return make(facts, zone) if make is not None else None


def line(kind: NoticeKind, facts: Facts) -> Line | None:
    make = _LINES.get(kind)
    return make(facts) if make is not None else None


def _about(facts: Facts) -> SessionFacts | None:
    return SessionFacts.from_json(facts["about"]) if "about" in facts else None


def _amount(facts: Facts) -> str:
    about = _about(facts)
    return about.amount if about is not None and about.amount else str(facts.get("amount", ""))


def _session(facts: Facts) -> SessionFacts:
    return SessionFacts.from_json(facts["about"])


def _payment_confirmed(facts: Facts, zone: str) -> Letter:
    about = _session(facts)
    return Letter(
        f"Your payment of {about.amount}",
        (
            f"Your payment of {about.amount} for {written_time(about.starts_at, zone)} with {about.practitioner_name} "
            "has arrived. It is held until the session has taken place.",
            "The receipt comes in a letter of its own.",
        ),
        f"/sessions/{about.appointment_id}",
        "See your session",
    )


def _payment_failed(facts: Facts, zone: str) -> Letter:
    about = _session(facts)
    return Letter(
        "Your payment did not work",
        (
            f"The payment of {about.amount} for {written_time(about.starts_at, zone)} with {about.practitioner_name} "
            "was not accepted. Nothing was charged.",
            "While the time is still held for you, you can try again or pay in another way.",
        ),
        f"/book/{facts['service_id']}?appointment={about.appointment_id}&step=pay&terms=yes",
        "Try again",
    )


def _receipt(facts: Facts, _zone: str) -> Letter:
    return Letter(
        f"Your receipt for {facts['amount']}",
        (f"Here is the receipt for your payment of {facts['amount']}. It is attached, and always in your account.",),
        f"/receipts/{facts['receipt_id']}",
        "See the receipt",
    )


def _top_up_receipt(facts: Facts, _zone: str) -> Letter:
    return Letter(
        f"Your wallet: {facts['amount']} added",
        (
            f"{facts['amount']} is in your wallet now and can be used for any session.",
            "The receipt is attached, and always in your account.",
        ),
        f"/receipts/{facts['receipt_id']}",
        "See the receipt",
    )


_WHERE = {
    "wallet": "It is in your wallet now.",
    "credits": "Your credit is back and can be used for another session.",
}


def _refund_confirmed(facts: Facts, zone: str) -> Letter:
    amount, about = _amount(facts), _about(facts)
    what = f" for your session on {written_time(about.starts_at, zone)}" if about is not None else ""
    where = _WHERE.get(str(facts.get("to", "")), "It goes back the way you paid; banks take a few days to show it.")
    return Letter(
        f"Your refund of {amount}",
        (f"{amount}{what} has been refunded.", where),
        f"/sessions/{about.appointment_id}" if about is not None else "/wallet",
        "See the details",
    )


def _payment_too_late(facts: Facts, zone: str) -> Letter:
    about = _session(facts)
    booked = bool(facts.get("booked"))
    why = (
        f"A second payment came in for your session on {written_time(about.starts_at, zone)}, which was paid already."
        if booked
        else f"Your payment for {written_time(about.starts_at, zone)} with {about.practitioner_name} "
        "reached us after the time was no longer held for you."
    )
    other = () if booked else ("We are sorry. The times that are free now are on the booking page.",)
    free = f"/book/{facts['service_id']}" if "service_id" in facts else "/practitioners"
    return Letter(
        "Sorry, we are giving your payment back",
        (why, f"All of {about.amount} goes back the way you paid without you doing anything.", *other),
        f"/sessions/{about.appointment_id}" if booked else free,
        "See your session" if booked else "See free times",
    )


_LETTERS: dict[NoticeKind, Callable[[Facts, str], Letter]] = {
    NoticeKind.PAYMENT_CONFIRMED: _payment_confirmed,
    NoticeKind.PAYMENT_FAILED: _payment_failed,
    NoticeKind.RECEIPT: _receipt,
    NoticeKind.TOP_UP_RECEIPT: _top_up_receipt,
    NoticeKind.REFUND_CONFIRMED: _refund_confirmed,
    NoticeKind.PAYMENT_TOO_LATE: _payment_too_late,
}


def _confirmed_line(facts: Facts) -> Line:
    about = _session(facts)
    return Line("Your payment has arrived", about.amount, f"/sessions/{about.appointment_id}")


def _failed_line(facts: Facts) -> Line:
    about = _session(facts)
    path = f"/book/{facts['service_id']}?appointment={about.appointment_id}&step=pay&terms=yes"
    return Line("Your payment did not work", "Nothing was charged. You can try again.", path)


def _refund_line(facts: Facts) -> Line:
    about = _about(facts)
    path = f"/sessions/{about.appointment_id}" if about is not None else "/wallet"
    return Line("Your refund is on its way", _amount(facts), path)


def _too_late_line(facts: Facts) -> Line:
    about = _session(facts)
    return Line(
        "Sorry, we are giving your payment back",
        f"{about.amount} goes back the way you paid",
        f"/sessions/{about.appointment_id}",
    )


_LINES: dict[NoticeKind, Callable[[Facts], Line]] = {
    NoticeKind.PAYMENT_CONFIRMED: _confirmed_line,
    NoticeKind.PAYMENT_FAILED: _failed_line,
    NoticeKind.REFUND_CONFIRMED: _refund_line,
    NoticeKind.PAYMENT_TOO_LATE: _too_late_line,
}
