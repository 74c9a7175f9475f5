"""Every sentence Holdspace sends, by kind: an e-mail's subject, plain text and HTML, the in-app line, the SMS,
the push.

Pure: facts in, words out. No health detail in a subject line or an SMS, no emphasis by capitals, times with weekday
and zone. The words stand in words_*.py; this file is what the rest of control calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from control.notices import words_messages, words_money, words_people, words_sessions
from control.notices.kinds import NoticeKind
from control.notices.letters import InApp, Reader, Vocabulary, as_html, as_text, written_time

__all__ = ["WORDS", "InApp", "Mail", "Reader", "in_app", "mail", "sms", "written_time"]

MOST_SMS_LENGTH = 320  # characters: two parts of a long message, each of which costs money

WORDS: Vocabulary = {**words_people.WORDS, **words_sessions.WORDS, **words_money.WORDS, **words_messages.WORDS}

_WITH_SECRET = frozenset({NoticeKind.SIGN_IN_LINK, NoticeKind.GUEST_INVITED, NoticeKind.ENQUIRY_RECEIVED})


@dataclass(frozen=True)
class Mail:
    subject: str
    text: str
    html: str


def mail(kind: NoticeKind, facts: Mapping[str, Any], secrets: Mapping[str, str] | None, reader: Reader) -> Mail:
    """`secrets` None sets the text for the record after sending: the link is left out."""
    write = WORDS[kind].letter
    if write is None:
        raise ValueError(f"{kind} has no e-mail")
    letter = write({**facts, **(secrets or {})}, reader)
    hidden = kind in _WITH_SECRET and secrets is None
    if kind in _WITH_SECRET and secrets is not None:
        letter = replace(letter, link_path=secrets.get("path"))
    return Mail(letter.subject, as_text(letter, reader, hidden=hidden), as_html(letter, reader, hidden=hidden))


def in_app(kind: NoticeKind, facts: Mapping[str, Any]) -> InApp:
    """The short line for a person's open pages. Times are left to the page, which knows the reader's zone."""
    write = WORDS[kind].line
    if write is None:
        raise ValueError(f"{kind} has no line on pages")
    return write(facts)


def push(kind: NoticeKind, facts: Mapping[str, Any]) -> InApp:
    write = WORDS[kind].push
    if write is None:
        raise ValueError(f"{kind} is not pushed")
    return write(facts)


def sms(kind: NoticeKind, facts: Mapping[str, Any], secrets: Mapping[str, str] | None, reader: Reader) -> str:
    """`secrets` None writes it for the record: the code is left out."""
    write = WORDS[kind].sms
    if write is None:
        raise ValueError(f"{kind} has no SMS")
    return write({**facts, **(secrets or {})}, reader)[:MOST_SMS_LENGTH]
