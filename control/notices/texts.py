"""Every sentence Holdspace sends: per kind of notice a subject, a plain text, its HTML, and the in-app line.

Pure: facts in, words out. No health detail in a subject line, no emphasis by capitals, times with weekday and zone.
The HTML says exactly what the plain text says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from control.notices import money_texts
from control.notices.kinds import NoticeKind, SessionFacts
from control.notices.times import written_time


@dataclass(frozen=True)
class Reader:
    """For whom a text is written and from whom it comes."""

    name: str
    time_zone: str
    practice_name: str
    base_url: str


@dataclass(frozen=True)
class Mail:
    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class InApp:
    title: str
    body: str
    path: str | None


@dataclass(frozen=True)
class _Letter:
    """A mail before it is set: paragraphs, and one link as a button."""

    subject: str
    paragraphs: tuple[str, ...]
    link_path: str | None = None
    link_words: str = ""


def mail(kind: NoticeKind, facts: Mapping[str, Any], secrets: Mapping[str, str] | None, reader: Reader) -> Mail:
    """`secrets` None sets the text for the record after sending: the link is left out."""
    of_money = money_texts.letter(kind, facts, reader.time_zone)
    letter = _Letter(*of_money) if of_money is not None else _LETTERS[kind](facts, secrets, reader)
    hidden = kind == NoticeKind.SIGN_IN_LINK and secrets is None
    return Mail(letter.subject, _as_text(letter, reader, hidden=hidden), _as_html(letter, reader, hidden=hidden))


def in_app(kind: NoticeKind, facts: Mapping[str, Any]) -> InApp:
    """The short line for a person's open pages. Times are left to the page, which knows the reader's zone."""
    of_money = money_texts.line(kind, facts)
    return InApp(*of_money) if of_money is not None else _LINES[kind](SessionFacts.from_json(facts["about"]))


# -- letters -----------------------------------------------------------------------------------------------------


def _sign_in_link(facts: Mapping[str, Any], secrets: Mapping[str, str] | None, reader: Reader) -> _Letter:
    minutes = facts.get("minutes", 30)
    opening = (
        f"Welcome to {reader.practice_name}. With this link you confirm your address and sign in."
        if facts.get("first")
        else f"Here is your link to sign in to {reader.practice_name}."
    )
    return _Letter(
        f"Your sign-in link for {reader.practice_name}",
        (opening, f"It works once, within {minutes} minutes. If you did not ask for it, nothing needs to be done."),
        (secrets or {}).get("path"),
        "Sign in",
    )


def _welcome(_facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, reader: Reader) -> _Letter:
    return _Letter(
        f"Welcome to {reader.practice_name}",
        (
            "Your address is confirmed and your account is ready.",
            "You can find a practitioner, book a session and see everything about your sessions in your account.",
        ),
        "/practitioners",
        "Find a practitioner",
    )


def _booking_confirmed(facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, reader: Reader) -> _Letter:
    about = SessionFacts.from_json(facts["about"])
    paid = (f"{about.amount} is held and is paid when the session has taken place.",) if about.amount else ()
    return _Letter(
        f"Your session on {written_time(about.starts_at, reader.time_zone)}",
        (
            f"{about.service_name} with {about.practitioner_name}, {written_time(about.starts_at, reader.time_zone)}, "
            f"{_minutes(about)} minutes.",
            *paid,
            "The invitation for your calendar is attached. The waiting room opens a few minutes before the start.",
        ),
        f"/sessions/{about.appointment_id}",
        "See your session",
    )


def _new_booking(facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, reader: Reader) -> _Letter:
    about = SessionFacts.from_json(facts["about"])
    return _Letter(
        f"New booking on {written_time(about.starts_at, reader.time_zone)}",
        (
            f"{about.client_name} booked {about.service_name}, {written_time(about.starts_at, reader.time_zone)}, "
            f"{_minutes(about)} minutes.",
            "The invitation for your calendar is attached.",
        ),
        f"/sessions/{about.appointment_id}",
        "See the booking",
    )


def _client_waiting(facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, reader: Reader) -> _Letter:
    about = SessionFacts.from_json(facts["about"])
    return _Letter(
        "Your client is waiting",
        (f"{about.client_name} is in the waiting room for {written_time(about.starts_at, reader.time_zone)}.",),
        "/therapist/dashboard",
        "Open your dashboard",
    )


def _session_started(facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, _reader: Reader) -> _Letter:
    about = SessionFacts.from_json(facts["about"])
    return _Letter(
        "Your session has started",
        (f"{about.practitioner_name} has started your session. You can come in now.",),
        f"/sessions/{about.appointment_id}/waiting-room",
        "Come in",
    )


def _session_completed(facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, _reader: Reader) -> _Letter:
    about = SessionFacts.from_json(facts["about"])
    return _Letter(
        "After your session",
        (
            "Just checking in: be gentle to yourself, drink some water, take the time you need.",
            "If you like, tell us how it was.",
        ),
        f"/sessions/{about.appointment_id}/afterwards",
        "How was it?",
    )


def _session_cancelled(facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, reader: Reader) -> _Letter:
    about = SessionFacts.from_json(facts["about"])
    reason = (f"The reason given: {about.reason}",) if about.reason else ()
    money = (f"{about.amount} goes back to where it came from.",) if about.amount else ()
    return _Letter(
        f"Cancelled: your session on {written_time(about.starts_at, reader.time_zone)}",
        (
            f"The session of {about.client_name} with {about.practitioner_name} on "
            f"{written_time(about.starts_at, reader.time_zone)} has been cancelled.",
            *reason,
            *money,
            "The attached file takes it out of your calendar.",
        ),
        f"/sessions/{about.appointment_id}",
        "See the details",
    )


def _sorry_cancelled(facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, reader: Reader) -> _Letter:
    about = SessionFacts.from_json(facts["about"])
    money = (f"{about.amount} is refunded in full, you need to do nothing.",) if about.amount else ()
    return _Letter(
        "Sorry, your session has been cancelled",
        (
            f"{about.practitioner_name} did not come to your session on "
            f"{written_time(about.starts_at, reader.time_zone)}. We are sorry for the time you waited.",
            *money,
            "You can book another time with one click.",
        ),
        f"/sessions/{about.appointment_id}/missed",
        "Book another time",
    )


def _client_no_show(facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, reader: Reader) -> _Letter:
    about = SessionFacts.from_json(facts["about"])
    money = (f"By the terms of your booking {about.amount} is kept for the time held for you.",) if about.amount else ()
    return _Letter(
        "We missed you",
        (
            f"{about.practitioner_name} waited for you on {written_time(about.starts_at, reader.time_zone)}, "
            "and the session has ended without you. We hope you are well.",
            *money,
            "You can book another time whenever you like.",
        ),
        f"/sessions/{about.appointment_id}",
        "See the details",
    )


def _starting_soon(facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, reader: Reader) -> _Letter:
    about = SessionFacts.from_json(facts["about"])
    return _Letter(
        "Your session starts soon",
        (
            f"{about.client_name} and {about.practitioner_name}, {written_time(about.starts_at, reader.time_zone)}.",
            "The waiting room is open. Come in when you are ready.",
        ),
        f"/sessions/{about.appointment_id}",
        "Come in",
    )


def _recording_receipt(facts: Mapping[str, Any], _secrets: Mapping[str, str] | None, reader: Reader) -> _Letter:
    about = SessionFacts.from_json(facts["about"])
    said = "agreed" if facts.get("answer") == "yes" else "did not agree"
    return _Letter(
        "Your answer about recording",
        (
            f"You {said} to the recording of your session with {about.practitioner_name} on "
            f"{written_time(about.starts_at, reader.time_zone)}"
            + (f" (text version {facts['version']})." if "version" in facts else "."),
            "You can change your answer at any time, also during the session.",
        ),
        f"/sessions/{about.appointment_id}/recording-consent",
        "See or change your answer",
    )


def _minutes(about: SessionFacts) -> int:
    return round((about.ends_at - about.starts_at).total_seconds() / 60)


_LETTERS: dict[NoticeKind, Callable[[Mapping[str, Any], Mapping[str, str] | None, Reader], _Letter]] = {
    NoticeKind.SIGN_IN_LINK: _sign_in_link,
    NoticeKind.WELCOME: _welcome,
    NoticeKind.BOOKING_CONFIRMED: _booking_confirmed,
    NoticeKind.NEW_BOOKING: _new_booking,
    NoticeKind.CLIENT_WAITING: _client_waiting,
    NoticeKind.SESSION_STARTED: _session_started,
    NoticeKind.SESSION_COMPLETED: _session_completed,
    NoticeKind.SESSION_CANCELLED: _session_cancelled,
    NoticeKind.SORRY_CANCELLED: _sorry_cancelled,
    NoticeKind.CLIENT_NO_SHOW: _client_no_show,
    NoticeKind.STARTING_SOON: _starting_soon,
    NoticeKind.RECORDING_CONSENT_RECEIPT: _recording_receipt,
}

# -- in-app lines ------------------------------------------------------------------------------------------------

_LINES: dict[NoticeKind, Callable[[SessionFacts], InApp]] = {
    NoticeKind.BOOKING_CONFIRMED: lambda about: InApp(
        "Your session is booked",
        f"{about.service_name} with {about.practitioner_name}",
        f"/sessions/{about.appointment_id}",
    ),
    NoticeKind.NEW_BOOKING: lambda about: InApp(
        "New booking", f"{about.client_name}, {about.service_name}", f"/sessions/{about.appointment_id}"
    ),
    NoticeKind.CLIENT_WAITING: lambda about: InApp("Your client is waiting", about.client_name, "/therapist/dashboard"),
    NoticeKind.SESSION_STARTED: lambda about: InApp(
        "Your session has started",
        f"{about.practitioner_name} is ready for you",
        f"/sessions/{about.appointment_id}/waiting-room",
    ),
    NoticeKind.SESSION_COMPLETED: lambda about: InApp(
        "Your session has ended", "Be gentle to yourself", f"/sessions/{about.appointment_id}/afterwards"
    ),
    NoticeKind.SESSION_CANCELLED: lambda about: InApp(
        "A session was cancelled",
        f"{about.client_name} with {about.practitioner_name}",
        f"/sessions/{about.appointment_id}",
    ),
    NoticeKind.SORRY_CANCELLED: lambda about: InApp(
        "Sorry, your session has been cancelled",
        f"{about.practitioner_name} did not come",
        f"/sessions/{about.appointment_id}/missed",
    ),
    NoticeKind.CLIENT_NO_SHOW: lambda about: InApp(
        "We missed you",
        f"Your session with {about.practitioner_name} ended without you",
        f"/sessions/{about.appointment_id}",
    ),
    NoticeKind.STARTING_SOON: lambda about: InApp(
        "Your session starts soon",
        f"{about.client_name} and {about.practitioner_name}",
        f"/sessions/{about.appointment_id}",
    ),
}

# -- setting a letter --------------------------------------------------------------------------------------------

_HIDDEN = "(The link was taken out of this copy after sending.)"


def _as_text(letter: _Letter, reader: Reader, *, hidden: bool) -> str:
    lines = [f"Hello {reader.name},", *letter.paragraphs]
    if hidden:
        lines.append(_HIDDEN)
    elif letter.link_path:
        lines.append(f"{letter.link_words}: {reader.base_url}{letter.link_path}")
    return "\n\n".join([*lines, reader.practice_name]) + "\n"


def _as_html(letter: _Letter, reader: Reader, *, hidden: bool) -> str:
    """Inline styles only: mail programs read nothing else. The colours are the tokens' primary and ink."""
    parts = [f"<p>Hello {escape(reader.name)},</p>", *(f"<p>{escape(text)}</p>" for text in letter.paragraphs)]
    if hidden:
        parts.append(f"<p>{escape(_HIDDEN)}</p>")
    elif letter.link_path:
        address = escape(reader.base_url + letter.link_path)
        parts.append(
            f'<p><a href="{address}" style="display:inline-block;padding:12px 20px;border-radius:12px;'
            f'background:#0E5C59;color:#FFFFFF;text-decoration:none">{escape(letter.link_words)}</a></p>'
        )
    parts.append(f'<p style="color:#56656A">{escape(reader.practice_name)}</p>')
    return (
        '<!doctype html><html lang="en"><body style="font:16px/1.55 sans-serif;color:#1E2A2E;max-width:34em">'
        + "".join(parts)
        + "</body></html>"
    )
