"""One e-mail before it is sent: paragraphs, perhaps rows of facts, one link; set as plain text and as HTML.

Pure. Both say exactly the same. The words themselves are in words_sessions.py, words_people.py, words_money.py and
words_messages.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from control.language import N_, locale, spoken, t
from control.money.words import spoken_money
from control.notices.kinds import NoticeKind, SessionFacts

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Reader:
    """For whom a text is written and from whom it comes."""

    name: str
    time_zone: str
    practice_name: str
    base_url: str

    def time(self, at: datetime) -> str:
        return written_time(at, self.time_zone)


@dataclass(frozen=True)
class InApp:
    """One line on a person's pages; `path` is where it leads, on this site."""

    title: str
    body: str
    path: str | None


@dataclass(frozen=True)
class Letter:
    """`link_path` None with `link_words`: the link was a secret and is left out of this copy."""

    subject: str
    paragraphs: tuple[str, ...]
    link_path: str | None = None
    link_words: str = ""
    rows: tuple[tuple[str, str], ...] = ()


WriteLetter = Callable[[Facts, Reader], Letter]
WriteLine = Callable[[Facts], InApp]
WriteSms = Callable[[Facts, Reader], str]
WritePush = Callable[[Facts], InApp]


@dataclass(frozen=True)
class Words:
    """All words of one kind, in the channels it has."""

    letter: WriteLetter | None = None
    line: WriteLine | None = None
    sms: WriteSms | None = None
    push: WritePush | None = None
    """Shown on a locked screen too: without names and without a body."""


Vocabulary = dict[NoticeKind, Words]


def about_of(facts: Facts) -> SessionFacts:
    return SessionFacts.from_json(facts["about"])


def money_of(about: SessionFacts) -> str:
    if not about.currency:
        raise ValueError("facts without an amount")  # of an older version: no letter may say 0.00 instead
    return spoken_money(about.amount_minor, about.currency)


def told_name(facts: Facts) -> str:
    return str(facts.get("from_name") or t("Somebody"))


def told_path(facts: Facts) -> str:
    return str(facts.get("path") or "/dashboard")


def written_time(at: datetime, zone: str) -> str:
    """'Tue 3 Mar, 15:00 Lisbon time'."""
    local = at.astimezone(ZoneInfo(zone))
    place = "UTC" if zone == "UTC" else t("%(place)s time", place=zone.rsplit("/", 1)[-1].replace("_", " "))
    names = locale()
    named = {
        "weekday": names.days["stand-alone"]["abbreviated"][local.weekday()],
        "day": local.day,
        "month": names.months["stand-alone"]["abbreviated"][local.month],
    }
    return f"{t('%(weekday)s %(day)s %(month)s', **named)}, {local:%H:%M} {place}"


HIDDEN = N_("(The link was taken out of this copy after sending.)")


def as_text(letter: Letter, reader: Reader, *, hidden: bool) -> str:
    parts = [t("Hello %(name)s,", name=reader.name), *letter.paragraphs]
    if letter.rows:
        width = max(len(label) for label, _ in letter.rows) + 2
        parts.append("\n".join(f"{label + ':':<{width}}{value}" for label, value in letter.rows))
    if hidden:
        parts.append(t(HIDDEN))
    elif letter.link_path:
        parts.append(f"{letter.link_words}:\n{reader.base_url}{letter.link_path}")
    return "\n\n".join([*parts, reader.practice_name]) + "\n"


def as_html(letter: Letter, reader: Reader, *, hidden: bool) -> str:
    """Inline styles only: mail programs read nothing else. The colours are the tokens' primary, ink, line and muted."""
    parts = [
        f"<p>{escape(t('Hello %(name)s,', name=reader.name))}</p>",
        *(f"<p>{escape(text)}</p>" for text in letter.paragraphs),
    ]
    if letter.rows:
        cell = "padding:6px 16px 6px 0;border-bottom:1px solid #E4E1D9;text-align:left;vertical-align:top"
        rows = "".join(
            f'<tr><th scope="row" style="{cell};font-weight:normal;color:#56656A">{escape(label)}</th>'
            f'<td style="{cell}">{escape(value)}</td></tr>'
            for label, value in letter.rows
        )
        parts.append(f'<table style="border-collapse:collapse;font:inherit">{rows}</table>')
    if hidden:
        parts.append(f"<p>{escape(t(HIDDEN))}</p>")
    elif letter.link_path:
        address = escape(reader.base_url + letter.link_path)
        parts.append(
            f'<p style="margin:24px 0"><a href="{address}" style="display:inline-block;padding:12px 20px;'
            f'border-radius:12px;background:#0E5C59;color:#FFFFFF;text-decoration:none">{escape(letter.link_words)}'
            f'</a></p><p style="font-size:14px;color:#56656A">{escape(t("Or copy this address:"))} {address}</p>'
        )
    parts.append(f'<p style="color:#56656A">{escape(reader.practice_name)}</p>')
    return (
        f'<!doctype html><html lang="{spoken().split("-")[0]}"><head><meta charset="utf-8">'
        f"<title>{escape(letter.subject)}</title></head>"
        '<body style="font:16px/1.55 sans-serif;color:#1E2A2E;max-width:34em;margin:0 auto;padding:16px">'
        + "".join(parts)
        + "</body></html>"
    )
