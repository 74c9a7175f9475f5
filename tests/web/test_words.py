"""How times, money and lengths are written for people."""

import ast
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from control.audit import Entry
from control.language import speaking
from control.notices.kinds import NoticeKind
from web import log_words, words
from web.setting_words import kind_words

AT = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
OSLO, LISBON = "Europe/Oslo", "Europe/Lisbon"


@pytest.mark.parametrize(
    ("minor", "currency", "written"),
    [
        (6500, "EUR", "€65.00"),
        (240_000, "INR", "₹2,400.00"),
        (7800, "JPY", "¥7,800"),
        (5, "USD", "$0.05"),
        (-4200, "GBP", "-£42.00"),
        (1200, "CHF", "12.00 CHF"),
    ],
)
def test_money_is_written_by_its_currency(minor: int, currency: str, written: str) -> None:
    assert words.money(minor, currency) == written


def test_nothing_to_pay_is_called_free() -> None:
    assert words.price(0, "EUR") == "Free"


def test_time_is_written_with_weekday_in_the_readers_zone() -> None:
    assert words.when(AT, OSLO) == "Tue 3 Mar, 16:00"


def test_other_zone_is_named_only_where_the_clocks_differ() -> None:
    assert words.other_zone(AT, OSLO, LISBON) == "15:00 Lisbon time"
    assert words.other_zone(AT, OSLO, "Europe/Berlin") == ""


def test_other_zone_names_its_day_when_that_differs() -> None:
    assert words.other_zone(AT, OSLO, "Asia/Tokyo") == "Wed 00:00 Tokyo time"


def test_clocks_that_change_are_followed() -> None:
    summer = datetime(2026, 6, 3, 15, 0, tzinfo=UTC)
    assert words.when(summer, OSLO) == "Wed 3 Jun, 17:00"
    assert words.zone_offset(OSLO, summer) == "UTC+2"
    assert words.zone_offset("Asia/Kolkata", AT) == "UTC+5:30"
    assert words.zone_offset("America/St_Johns", AT) == "UTC-3:30"


@pytest.mark.parametrize(
    ("later", "written"),
    [
        (timedelta(hours=-1), "Today, 15:00"),
        (timedelta(hours=8), "Tomorrow, 00:00"),
        (timedelta(days=-1), "Yesterday, 16:00"),
        (timedelta(days=7), "Tue 10 Mar, 16:00"),
        (timedelta(days=365), "Wed 3 Mar 2027, 16:00"),
    ],
)
def test_near_days_have_names_and_other_years_their_number(later: timedelta, written: str) -> None:
    assert words.near(AT + later, OSLO, AT) == written


def test_tenths_are_written_as_the_language_does() -> None:
    assert words.tenths(4.04) == "4.0"
    with speaking("de"):
        assert words.tenths(4.26) == "4,3"


def test_near_days_are_small_within_a_sentence_and_other_days_are_as_ever() -> None:
    assert words.near(AT, OSLO, AT, within=True) == "today, 16:00"
    assert words.near(AT + timedelta(days=7), OSLO, AT, within=True) == "Tue 10 Mar, 16:00"
    with speaking("de"):
        assert words.near(AT + timedelta(days=1), OSLO, AT, within=True) == "morgen, 16:00"


@pytest.mark.parametrize(
    ("left", "written"),
    [
        (timedelta(hours=1, minutes=32), "1 h 32 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(minutes=3, seconds=1), "4 min"),
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(days=3, hours=2), "3 days"),
        (timedelta(0), "now"),
        (timedelta(minutes=-1), "now"),
    ],
)
def test_what_is_left_is_never_said_too_short(left: timedelta, written: str) -> None:
    assert words.until(AT + left, AT) == written


@pytest.mark.parametrize(("seconds", "written"), [(0, "0:00"), (247.9, "4:07"), (3847, "1:04:07"), (-5, "0:00")])
def test_length_is_minutes_and_seconds_and_hours_from_one(seconds: float, written: str) -> None:
    assert words.clock_length(seconds) == written


def test_length_is_said_in_words_for_readers_of_the_screen() -> None:
    assert words.spoken_length(3661) == "1 hour 1 minute 1 second"
    assert words.spoken_length(0) == "0 seconds"


@pytest.mark.parametrize(
    ("name", "letters", "called"),
    [
        ("Dr. Amara Okafor", "AO", "Dr. Amara"),
        ("Mina Halvorsen", "MH", "Mina"),
        ("Elio", "E", "Elio"),
        ("…", "…", "…"),
        ("ßa", "SS", "ßa"),
    ],
)
def test_names_give_initials_and_what_somebody_is_called(name: str, letters: str, called: str) -> None:
    assert words.initials(name) == letters
    assert words.first_name(name) == called


def test_avatar_keeps_its_colour() -> None:
    assert words.tint("Mina Halvorsen") == words.tint("Mina Halvorsen")


@pytest.mark.parametrize(
    ("hour", "said"), [(8, "Good morning"), (12, "Good afternoon"), (19, "Good evening"), (3, "Good evening")]
)
def test_greeting_follows_the_readers_clock(hour: int, said: str) -> None:
    assert words.greeting(datetime(2026, 3, 3, hour, tzinfo=UTC), "UTC") == said


@pytest.mark.parametrize(
    ("count", "written"), [(999, "999 bytes"), (1500, "1.5 kB"), (96_000_000, "96 MB"), (12 * 10**12, "12000 GB")]
)
def test_sizes_are_rounded(count: int, written: str) -> None:
    assert words.size(count) == written


def test_month_is_named() -> None:
    assert words.month(date(2026, 11, 1)) == "November 2026"


def test_written_addresses_become_links_and_nothing_else_becomes_markup() -> None:
    text = 'See https://example.org/a?b=1&c=2. <b>"x"</b> javascript:alert(1) http://x.example/">'
    shown = words.linked(text)
    assert shown.count("<a ") == 2
    assert '<a href="https://example.org/a?b=1&amp;c=2" rel="noopener noreferrer nofollow" target="_blank">' in shown
    assert "&lt;b&gt;&#34;x&#34;&lt;/b&gt; javascript:alert(1)" in shown
    assert shown.endswith("http://x.example/</a>&#34;&gt;")


def test_marks_of_written_words_are_headings_lists_and_paragraphs() -> None:
    text = "# Tonight\r\nBe slow.\nDrink water.\n\n\n- tea\n- a walk\nAnd sleep.\n \n#no heading\n-5 degrees"
    assert words.blocks(text) == [
        ("heading", ["Tonight"]),
        ("text", ["Be slow.", "Drink water."]),
        ("list", ["tea", "a walk"]),
        ("text", ["And sleep."]),
        ("text", ["#no heading", "-5 degrees"]),
    ]
    assert words.blocks(" \n\n ") == []


def _recorded_actions() -> tuple[set[str], set[str]]:
    """What control writes into the audit log: whole actions, and the beginnings of those put together there."""
    whole, begun = set(), set()
    for file in (Path(__file__).parents[2] / "control").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or "record" not in ast.unparse(call.func):
                continue
            for given in call.args:
                if isinstance(given, ast.Constant) and re.fullmatch(r"[a-z_]+\.[a-z_]+", str(given.value)):
                    whole.add(str(given.value))
                elif isinstance(given, ast.JoinedStr) and isinstance(given.values[0], ast.Constant):
                    begun.add(str(given.values[0].value))
    return whole, {one for one in begun if one.endswith(".")}


def test_the_audit_log_has_words_for_every_action() -> None:
    whole, begun = _recorded_actions()
    named = set(log_words.DONE)
    assert len(whole) > 70
    assert whole - named == {"consent.answer"}, "has words of its own"
    assert {start for start in begun if not any(one.startswith(start) for one in named)} == set()


def test_the_audit_log_is_read_in_the_readers_language() -> None:
    detail = {"from": "pending", "to": "expired", "by": "operator"}
    entry = Entry(AT, None, "appointment.expire", "appointment:" + "a" * 32, detail)
    assert log_words.more(entry, LISBON, 2026) == "from On hold, into Expired, by operator"
    with speaking("de"):
        assert log_words.done(entry) == "Die Reservierung lief ab"
        assert log_words.done_to(entry) == "Termin aaaaaaaa"
        assert log_words.more(entry, LISBON, 2026) == "von Reserviert, zu Abgelaufen, von Betrieb"
        refused = Entry(AT, None, "consent.answer", "person:" + "a" * 32, {"purpose": "recording", "answer": "no"})
        assert log_words.done(refused).endswith(": nein")


def test_kinds_of_notices_have_names() -> None:
    assert len({kind_words(kind) for kind in NoticeKind}) == len(NoticeKind)


def test_utc_is_said_once() -> None:
    assert words.zone_words("Asia/Tokyo", AT) == "Tokyo, UTC+9"
    assert words.zone_words("UTC", AT) == "UTC"
