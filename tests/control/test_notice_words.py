"""The words of notices: each kind in its channels, the same as text and as HTML, and nothing told to a passer-by."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from icalendar import Calendar

from control.language import speaking
from control.notices import calendar, texts
from control.notices.kinds import CHANNELS, Channel, NoticeKind, SessionFacts
from tests.helpers.clock import START

ABOUT = SessionFacts(
    appointment_id="0123456789abcdef0123456789abcdef",
    service_name="Individual session",
    practitioner_name="Dr. Amara Okafor",
    client_name="Mina Halvorsen",
    starts_at=START + timedelta(hours=1),
    ends_at=START + timedelta(hours=1, minutes=50),
    amount_minor=6_500,
    currency="EUR",
    reason="ill",
)
"""The session of the notices in these tests."""

READER = texts.Reader("Mina <b>", "Europe/Oslo", "Test Row", "https://x.example")
FACTS: Mapping[str, Any] = {
    "about": ABOUT.as_json(),
    "minutes": 30,
    "answer": "yes",
    "version": 4,
    "from_name": "Elio",
    "number": "2026-7",
    "transaction": "pi_1",
    "amount_minor": 6_500,
    "currency": "EUR",
    "path": "/receipts/1",
    "count": 2,
    "days": 7,
}
PRIVATE = ("Individual session", "Mina", "Amara", "Elio")
ROOT = Path(__file__).parents[2]
KINDS_OF = {channel: [kind for kind in NoticeKind if channel in CHANNELS[kind]] for channel in Channel}

# PRODUCT.md §8, row by row, and beside it what other parts of it ask for.
EVERYWHERE = {"booking_confirmed", "reminder", "session_cancelled", "sorry_cancelled"}
E_MAIL_ONLY = {
    *("sign_in_link", "welcome", "receipt", "top_up_receipt", "recording_consent_receipt", "testimonial_reminder"),
    *("enquiry_received", "enquiry_answered", "guest_invited", "account_changed"),
}
PAGES_AND_E_MAIL = {
    *("new_booking", "session_activated", "session_started", "session_completed"),
    *("client_no_show", "refund_confirmed", "reschedule_requested", "reschedule_accepted", "reschedule_rejected"),
    *("payment_confirmed", "payment_failed", "new_message", "new_enquiry", "unanswered_messages", "file_shared"),
    *("recording_ready", "recording_deleted_soon", "problem_alert", "not_activated", "payment_too_late"),
    *("export_ready", "notes_asked", "notes_answered"),
}
PUSHED_TOO = {"client_waiting", "starting_soon"}


def test_every_kind_goes_by_the_channels_the_product_names() -> None:
    def having(*channels: Channel) -> set[str]:
        return {str(kind) for kind in NoticeKind if CHANNELS[kind] == set(channels)}

    assert having(Channel.IN_APP, Channel.EMAIL, Channel.SMS) == EVERYWHERE
    assert having(Channel.IN_APP, Channel.EMAIL, Channel.PUSH) == PUSHED_TOO
    assert having(Channel.EMAIL) == E_MAIL_ONLY
    assert having(Channel.IN_APP, Channel.EMAIL) == PAGES_AND_E_MAIL
    assert having(Channel.SMS) == {"phone_code"}


def test_every_kind_has_words_for_its_channels_and_for_no_other() -> None:
    for kind in NoticeKind:
        words = texts.WORDS[kind]
        there = {Channel.EMAIL: words.letter, Channel.IN_APP: words.line, Channel.SMS: words.sms}
        there[Channel.PUSH] = words.push
        assert {channel for channel, write in there.items() if write is not None} == CHANNELS[kind], kind


def test_every_kind_is_caused_by_something() -> None:
    sources = (ROOT / "control").rglob("*.py")
    code = "\n".join(path.read_text() for path in sources if "notices" not in path.parts)
    caused = {kind for kind in NoticeKind if f"NoticeKind.{kind.name}" in code} | {NoticeKind.REMINDER}
    assert caused == set(NoticeKind)


@pytest.mark.parametrize("kind", KINDS_OF[Channel.EMAIL])
def test_every_letter_says_the_same_as_text_and_as_html(kind: NoticeKind) -> None:
    mail = texts.mail(kind, FACTS, {"path": "/sign-in/link/x"}, READER)
    assert 5 < len(mail.subject) < 120
    assert "Mina <b>" in mail.text
    assert "Mina &lt;b&gt;" in mail.html
    assert "https://x.example/" in mail.text
    words = mail.text.replace("https://x.example", "").split()
    shown = mail.html.replace("&#x27;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert [word for word in words if word.strip(":.,") not in shown] == []


@pytest.mark.parametrize("kind", KINDS_OF[Channel.IN_APP])
def test_every_line_on_pages_leads_somewhere_on_this_site(kind: NoticeKind) -> None:
    line = texts.in_app(kind, FACTS)
    assert line.title
    assert line.path is not None
    assert line.path.startswith("/")


@pytest.mark.parametrize("kind", KINDS_OF[Channel.PUSH])
def test_what_is_pushed_names_nobody(kind: NoticeKind) -> None:
    shown = texts.push(kind, FACTS)
    assert shown.body == ""
    for private in PRIVATE:
        assert private not in f"{shown.title} {shown.path}"


@pytest.mark.parametrize("kind", KINDS_OF[Channel.SMS])
def test_an_sms_is_short_and_tells_no_health_detail(kind: NoticeKind) -> None:
    text = texts.sms(kind, FACTS, {"code": "123456"}, READER)
    assert 20 < len(text) <= 320
    for private in PRIVATE:
        assert private not in text


@pytest.mark.parametrize("kind", KINDS_OF[Channel.EMAIL])
def test_no_subject_tells_what_a_session_is_for_or_with_whom(kind: NoticeKind) -> None:
    subject = texts.mail(kind, FACTS, {"path": "/x"}, READER).subject
    for private in PRIVATE:
        assert private not in subject


def test_times_are_the_readers_with_weekday_and_zone() -> None:
    assert texts.written_time(START, "Europe/Oslo") == "Tue 3 Mar, 15:00 Oslo time"
    assert texts.written_time(START, "America/Sao_Paulo") == "Tue 3 Mar, 11:00 Sao Paulo time"
    assert texts.written_time(START, "UTC") == "Tue 3 Mar, 14:00 UTC"


def test_amounts_and_invites_are_written_in_the_readers_language() -> None:
    with speaking("de"):
        receipt = texts.mail(NoticeKind.RECEIPT, FACTS, None, READER)
        assert "65,00\xa0€" in receipt.text
        assert "Zahlungsnummer:" in receipt.text
        assert "65,00\xa0€" in texts.mail(NoticeKind.BOOKING_CONFIRMED, FACTS, None, READER).text
        assert str(_event(_invite(ABOUT))["SUMMARY"]) == "Sitzung bei Test Row"
    assert "€65.00" in texts.mail(NoticeKind.RECEIPT, FACTS, None, READER).text


def test_facts_without_an_amount_are_not_said_to_be_nothing() -> None:
    older = {name: value for name, value in ABOUT.as_json().items() if name not in ("amount_minor", "currency")}
    with pytest.raises(ValueError, match="without an amount"):
        texts.mail(NoticeKind.REFUND_CONFIRMED, {"about": older | {"amount": "€65.00"}}, None, READER)


def test_facts_survive_their_way_through_json() -> None:
    assert SessionFacts.from_json(json.loads(json.dumps(ABOUT.as_json()))) == ABOUT


def _event(text: str) -> Any:
    (event,) = Calendar.from_ical(text).walk("VEVENT")
    return event


def _invite(about: SessionFacts, *, cancelled: bool = False) -> str:
    make = calendar.cancellation if cancelled else calendar.invite
    return make(
        about,
        practice_name="Test Row",
        base_url="https://x.example",
        organizer="care@example.org",
        attendee="mina@example.com",
        now=START,
    )


def test_the_invite_keeps_its_identity_while_its_sequence_grows_until_it_is_cancelled() -> None:
    moved = SessionFacts(**{**ABOUT.__dict__, "sequence": 3, "starts_at": START + timedelta(days=1)})
    first, second, last = _event(_invite(ABOUT)), _event(_invite(moved)), _event(_invite(moved, cancelled=True))
    assert str(first["UID"]) == str(second["UID"]) == str(last["UID"])
    assert (first["SEQUENCE"], second["SEQUENCE"]) == (0, 3)
    assert first["DTSTART"].dt == ABOUT.starts_at
    assert second["DTSTART"].dt == START + timedelta(days=1)
    assert "METHOD:REQUEST" in _invite(ABOUT)
    assert "METHOD:CANCEL" in _invite(moved, cancelled=True)
    assert str(last["STATUS"]) == "CANCELLED"


def test_the_invite_does_not_show_what_the_session_is_for() -> None:
    text = _invite(ABOUT)
    assert "Individual session" not in text
    assert "Amara" not in text
