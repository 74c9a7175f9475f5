"""The words about money: receipts, payments that worked or did not, refunds.

A receipt is told `number`, `rows` (pairs of label and value, as they are to be read) and `path`, its page here.
"""

from control.notices.kinds import NoticeKind
from control.notices.letters import Facts, InApp, Letter, Reader, Vocabulary, Words, about_of


def _rows(facts: Facts) -> tuple[tuple[str, str], ...]:
    return tuple((str(label), str(value)) for label, value in facts.get("rows", ()))


def _receipt(facts: Facts, reader: Reader) -> Letter:
    number = f" {facts['number']}" if facts.get("number") else ""
    amount = f" for {facts['amount']}" if facts.get("amount") else ""
    return Letter(
        f"Your receipt{number} from {reader.practice_name}",
        (f"Here is your receipt{amount}. You find it in your account at any time.",),
        str(facts.get("path") or "/wallet"),
        "See the receipt",
        _rows(facts),
    )


def _top_up_receipt(facts: Facts, reader: Reader) -> Letter:
    number = f" {facts['number']}" if facts.get("number") else ""
    return Letter(
        f"Your receipt{number} from {reader.practice_name}",
        (f"{facts.get('amount', 'Your payment')} has been added to your wallet. Here is your receipt.",),
        str(facts.get("path") or "/wallet"),
        "See the receipt",
        _rows(facts),
    )


def _payment_confirmed(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        "Your payment is confirmed",
        (f"We have {about.amount or 'your payment'} for your session on {reader.time(about.starts_at)}.",),
        f"/sessions/{about.appointment_id}",
        "See your session",
    )


def _would_lapse(facts: Facts, reader: Reader) -> Letter:
    """The session stays, and is to be moved to a time until which the card's bank won't hold its money."""
    about = about_of(facts)
    return Letter(
        "Please choose another way to pay",
        (
            f"Your session on {reader.time(about.starts_at)} is to be moved, but your card's bank won't hold the money"
            " until the new time.",
            "The session stays where it is until then. Pay it in another way and it can be moved; what is reserved on"
            " your card is let go, and you never pay twice.",
        ),
        _another_way(facts),
        "Choose another way",
    )


def _another_way(facts: Facts) -> str:
    return f"/book/{facts['service_id']}?appointment={about_of(facts).appointment_id}"


def _payment_failed(facts: Facts, reader: Reader) -> Letter:
    if facts.get("would_lapse"):
        return _would_lapse(facts, reader)
    about = about_of(facts)
    return Letter(
        "Your payment did not go through",
        (
            f"The payment for your session on {reader.time(about.starts_at)} was refused, and nothing was taken.",
            "While the time is held for you, you can try again or choose another way to pay.",
        ),
        f"/sessions/{about.appointment_id}",
        "Try again",
    )


_WHERE = {
    "wallet": ("It is in your wallet now.",),
    "credits": ("Your credit is back and can be used for another session.",),
}


def _amount(facts: Facts) -> str:
    """Of a refund: for a session by its facts, for a purchase by itself."""
    return about_of(facts).amount if "about" in facts else str(facts["amount"])


def _refund_confirmed(facts: Facts, reader: Reader) -> Letter:
    what = f" for your session on {reader.time(about_of(facts).starts_at)}" if "about" in facts else ""
    return Letter(
        f"Your refund of {_amount(facts)}",
        (f"{_amount(facts)}{what} has been refunded.", *_WHERE.get(str(facts.get("to")), ())),
        _refund_path(facts),
        "See the details",
        _rows(facts),
    )


def _refund_path(facts: Facts) -> str:
    return f"/sessions/{about_of(facts).appointment_id}" if "about" in facts else "/wallet"


def _payment_too_late(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    booked = bool(facts.get("booked"))
    why = (
        f"A second payment came in for your session on {reader.time(about.starts_at)}, which was paid already."
        if booked
        else f"Your payment for {reader.time(about.starts_at)} with {about.practitioner_name} "
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


def _line(title: str, facts: Facts, body: str) -> InApp:
    return InApp(title, body, f"/sessions/{about_of(facts).appointment_id}")


WORDS: Vocabulary = {
    NoticeKind.RECEIPT: Words(_receipt),
    NoticeKind.TOP_UP_RECEIPT: Words(_top_up_receipt),
    NoticeKind.PAYMENT_CONFIRMED: Words(
        _payment_confirmed,
        lambda facts: _line("Your payment is confirmed", facts, about_of(facts).amount),
    ),
    NoticeKind.PAYMENT_FAILED: Words(
        _payment_failed,
        lambda facts: (
            InApp("Please choose another way to pay", "Your card's bank won't hold the money", _another_way(facts))
            if facts.get("would_lapse")
            else _line("Your payment did not go through", facts, "Nothing was taken")
        ),
    ),
    NoticeKind.REFUND_CONFIRMED: Words(
        _refund_confirmed,
        lambda facts: InApp("Your refund is on its way", _amount(facts), _refund_path(facts)),
    ),
    NoticeKind.PAYMENT_TOO_LATE: Words(
        _payment_too_late,
        lambda facts: _line(
            "Sorry, we are giving your payment back", facts, f"{about_of(facts).amount} goes back the way you paid"
        ),
    ),
}
