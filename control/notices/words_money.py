"""The words about money: receipts, payments that worked or did not, refunds.

A receipt is told `number`, `amount_minor`, `currency`, `transaction` and `path`, its page here.
"""

from control.language import N_, t
from control.money.words import spoken_money
from control.notices.kinds import NoticeKind
from control.notices.letters import Facts, InApp, Letter, Reader, Vocabulary, Words, about_of, money_of, told_path


def _receipt(facts: Facts, reader: Reader) -> Letter:
    return Letter(
        _receipt_title(facts, reader),
        (t("Here is your receipt for %(amount)s. You find it in your account at any time.", amount=_amount(facts)),),
        told_path(facts),
        t("See the receipt"),
        _receipt_rows(facts),
    )


def _top_up_receipt(facts: Facts, reader: Reader) -> Letter:
    return Letter(
        _receipt_title(facts, reader),
        (t("%(amount)s has been added to your wallet. Here is your receipt.", amount=_amount(facts)),),
        told_path(facts),
        t("See the receipt"),
        _receipt_rows(facts),
    )


def _receipt_title(facts: Facts, reader: Reader) -> str:
    return t(
        "Your receipt %(number)s from %(practice_name)s", number=facts["number"], practice_name=reader.practice_name
    )


def _receipt_rows(facts: Facts) -> tuple[tuple[str, str], ...]:
    return (
        (t("Receipt"), str(facts["number"])),
        (t("Amount"), _amount(facts)),
        (t("Transaction"), str(facts["transaction"])),
    )


def _payment_confirmed(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("Your payment is confirmed"),
        (
            t(
                "We have %(payment)s for your session on %(time)s.",
                payment=money_of(about) if about.amount_minor else t("your payment"),
                time=reader.time(about.starts_at),
            ),
        ),
        f"/sessions/{about.appointment_id}",
        t("See your session"),
    )


def _would_lapse(facts: Facts, reader: Reader) -> Letter:
    """The session stays, and is to be moved to a time until which the card's bank won't hold its money."""
    about = about_of(facts)
    return Letter(
        t("Please choose another way to pay"),
        (
            t(
                "Your session on %(time)s is to be moved, but your card's bank won't hold the money "
                "until the new time.",
                time=reader.time(about.starts_at),
            ),
            t(
                "The session stays where it is until then. Pay it in another way and it can be "
                "moved; what is reserved on your card is let go, and you never pay twice."
            ),
        ),
        _another_way(facts),
        t("Choose another way"),
    )


def _another_way(facts: Facts) -> str:
    return f"/book/{facts['service_id']}?appointment={about_of(facts).appointment_id}"


def _payment_failed(facts: Facts, reader: Reader) -> Letter:
    if facts.get("would_lapse"):
        return _would_lapse(facts, reader)
    about = about_of(facts)
    return Letter(
        t("Your payment did not go through"),
        (
            t(
                "The payment for your session on %(time)s was refused, and nothing was taken.",
                time=reader.time(about.starts_at),
            ),
            t("While the time is held for you, you can try again or choose another way to pay."),
        ),
        f"/sessions/{about.appointment_id}",
        t("Try again"),
    )


_WHERE = {
    "wallet": (N_("It is in your wallet now."),),
    "credits": (N_("Your credit is back and can be used for another session."),),
}


def _amount(facts: Facts) -> str:
    """Of a refund: for a session by its facts, for a purchase by itself."""
    return money_of(about_of(facts)) if "about" in facts else spoken_money(facts["amount_minor"], facts["currency"])


def _refund_confirmed(facts: Facts, reader: Reader) -> Letter:
    what = (
        t(" for your session on %(starts_at)s", starts_at=reader.time(about_of(facts).starts_at))
        if "about" in facts
        else ""
    )
    return Letter(
        t("Your refund of %(amount)s", amount=_amount(facts)),
        (
            t("%(amount)s%(what)s has been refunded.", amount=_amount(facts), what=what),
            *map(t, _WHERE.get(str(facts.get("to")), ())),
        ),
        _refund_path(facts),
        t("See the details"),
    )


def _refund_path(facts: Facts) -> str:
    return f"/sessions/{about_of(facts).appointment_id}" if "about" in facts else "/wallet"


def _payment_too_late(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    booked = bool(facts.get("booked"))
    why = (
        t(
            "A second payment came in for your session on %(time)s, which was paid already.",
            time=reader.time(about.starts_at),
        )
        if booked
        else t(
            "Your payment for %(time)s with %(practitioner_name)s reached us after the time was "
            "no longer held for you.",
            time=reader.time(about.starts_at),
            practitioner_name=about.practitioner_name,
        )
    )
    other = () if booked else (t("We are sorry. The times that are free now are on the booking page."),)
    free = f"/book/{facts['service_id']}" if "service_id" in facts else "/practitioners"
    return Letter(
        t("Sorry, we are giving your payment back"),
        (
            why,
            t("All of %(amount)s goes back the way you paid without you doing anything.", amount=money_of(about)),
            *other,
        ),
        f"/sessions/{about.appointment_id}" if booked else free,
        t("See your session") if booked else t("See free times"),
    )


def _line(title: str, facts: Facts, body: str) -> InApp:
    return InApp(title, body, f"/sessions/{about_of(facts).appointment_id}")


WORDS: Vocabulary = {
    NoticeKind.RECEIPT: Words(_receipt),
    NoticeKind.TOP_UP_RECEIPT: Words(_top_up_receipt),
    NoticeKind.PAYMENT_CONFIRMED: Words(
        _payment_confirmed,
        lambda facts: _line(t("Your payment is confirmed"), facts, money_of(about_of(facts))),
    ),
    NoticeKind.PAYMENT_FAILED: Words(
        _payment_failed,
        lambda facts: (
            InApp(
                t("Please choose another way to pay"), t("Your card's bank won't hold the money"), _another_way(facts)
            )
            if facts.get("would_lapse")
            else _line(t("Your payment did not go through"), facts, t("Nothing was taken"))
        ),
    ),
    NoticeKind.REFUND_CONFIRMED: Words(
        _refund_confirmed,
        lambda facts: InApp(t("Your refund is on its way"), _amount(facts), _refund_path(facts)),
    ),
    NoticeKind.PAYMENT_TOO_LATE: Words(
        _payment_too_late,
        lambda facts: _line(
            t("Sorry, we are giving your payment back"),
            facts,
            t("%(amount)s goes back the way you paid", amount=money_of(about_of(facts))),
        ),
    ),
}
