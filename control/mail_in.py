"""An e-mailed reply becomes a message: reading the e-mail, finding its conversation, taking off what it quotes.

It comes raw (RFC 5322) from the webhook or from a mailbox (mailbox.py). Only a reply to an address we made is taken
(reply_addresses.py), and only from the address of the person the conversation is with. Everything else is refused
with a reason that is counted and logged, never answered: answers to forged senders are how servers send spam.
Files that came with it are not taken; the message names them, so that nobody waits for what never came.
"""

import email
import email.policy
import hashlib
import html
import logging
import re
from datetime import datetime, timedelta
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import getaddresses, parseaddr
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import CursorResult, delete
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.database import Database, insert_into
from control.language import choose, speaking, t
from control.messages import MOST_TEXT_LENGTH, MessageRules, add_message
from control.models.messages import ZENDESK_COMMENT, Conversation, InboundMail
from control.models.people import Person

log = logging.getLogger(__name__)

MOST_MAIL_BYTES = 1_000_000  # read of one; words come first in it, the files behind them are not taken
MOST_NAMED = 10
MOST_PARTS = 50
REMEMBERED = timedelta(days=30)  # how long the same e-mail is known again


class Outcome(StrEnum):
    TAKEN = "taken"
    KNOWN = "known"  # came before
    UNREADABLE = "unreadable"
    NO_CONVERSATION = "no_conversation"
    WRONG_SENDER = "wrong_sender"
    AUTOMATIC = "automatic"  # an absence note or a bounce
    EMPTY = "empty"


async def take(db: Database, rules: MessageRules, raw_untrusted: bytes, *, now: datetime) -> Outcome:
    """Safe to repeat: the same e-mail is taken once."""
    mail = parse_untrusted_mail(raw_untrusted[:MOST_MAIL_BYTES])
    if mail is None or rules.replies is None:
        return Outcome.UNREADABLE
    if _is_automatic(mail):
        return Outcome.AUTOMATIC
    conversation_id = rules.replies.conversation_in(_recipients(mail))
    if conversation_id is None:
        return Outcome.NO_CONVERSATION
    text, names = own_words(_text_of(mail)), _names_of_files(mail)
    is_cut = len(raw_untrusted) > MOST_MAIL_BYTES or len(text) > MOST_TEXT_LENGTH
    if not (text or names):
        return Outcome.EMPTY
    async with db.transaction() as session:
        row = await session.get(Conversation, conversation_id, with_for_update=True)
        person = None if row is None else await session.get(Person, row.person_id)
        if row is None or person is None:
            return Outcome.NO_CONVERSATION
        if parseaddr(str(mail.get("From", "")))[1].lower() != person.email:
            return Outcome.WRONG_SENDER
        if not await _is_new(session, mail, raw_untrusted, now):
            return Outcome.KNOWN
        reader = await session.get(Person, row.practitioner_id or person.id)
        with speaking(choose(rules.languages, (reader or person).language)):
            missing = _words_for_missing(names, is_cut=is_cut)
        writer = Actor(person.id, person.role_names, person.name, person.time_zone)
        text = text[: MOST_TEXT_LENGTH - len(missing)] + missing
        written = await add_message(session, rules, writer, row, text, now=now)
        record(session, writer, "message.by_mail", f"conversation:{row.id}", {"seq": written.seq}, now=now)
    return Outcome.TAKEN


def parse_untrusted_mail(raw: bytes) -> EmailMessage | None:
    try:
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        if sum(1 for _ in mail.walk()) > MOST_PARTS:
            return None
        str(mail.get("From", ""))  # the parser reads headers when they are asked for
        _recipients(mail)
    except (MessageError, ValueError, LookupError, IndexError, AttributeError, TypeError, RecursionError):
        return None  # the standard library's parser raises all of these on damaged input
    return mail


def _recipients(mail: EmailMessage) -> str:
    headers = ("To", "Cc", "Delivered-To", "X-Original-To")
    return " ".join(
        address for _, address in getaddresses([str(one) for name in headers for one in mail.get_all(name, [])])
    )


def _is_automatic(mail: EmailMessage) -> bool:
    """RFC 3834: what a machine sent is never answered to, and never taken."""
    submitted = str(mail.get("Auto-Submitted", "no")).strip().lower()
    return submitted != "no" or mail.get_content_type() == "multipart/report" or mail.get("X-Autoreply") is not None


def _text_of(mail: EmailMessage) -> str:
    """The plain text; of an e-mail that has only HTML, its words."""
    try:
        part = mail.get_body(preferencelist=("plain", "html"))
        if part is None:
            return ""
        content = part.get_content()
    except (LookupError, ValueError, KeyError, AttributeError):
        return ""
    text = content.replace("\r\n", "\n") if isinstance(content, str) else ""
    if part.get_content_type() == "text/html":
        text = _words_of_html(text)
    return "".join(" " if one.isspace() and one not in "\n\t" else one for one in text if _is_written(one))


def _is_written(one: str) -> bool:
    return one.isprintable() or one.isspace()


def _words_of_html(text: str) -> str:
    """Line breaks and paragraphs stay; those of the source are spaces, as in a mail program."""
    text = re.sub(r"(?is)<(script|style|title|blockquote)\b.*?(</\1>|$)", " ", text)
    text = re.sub(r"(?i)<br\b[^>]*>|</?(p|div|li|ul|ol|table|tr|h[1-6])\b[^>]*>", "\v", re.sub(r"\s+", " ", text))
    text = re.sub(r"(?i)</?t[dh]\b[^>]*>", " ", text)
    lines = html.unescape(re.sub(r"<[^>]*>?", "", text)).split("\v")
    return "\n".join(" ".join(line.split()) for line in lines)


def _names_of_files(mail: EmailMessage) -> list[str]:
    """Pictures among the HTML, such as a signature's, are no files."""
    if mail.get_content_type() == "multipart/related":
        return []
    try:
        names = [part.get_filename() for part in mail.iter_attachments()]
    except (LookupError, ValueError, AttributeError, TypeError):
        return []
    return ["".join(one for one in name if one.isprintable())[:100] for name in names if name]


def _words_for_missing(names: list[str], *, is_cut: bool) -> str:
    if names:
        listed = ", ".join(names[:MOST_NAMED])
        said = t(
            "(Files of this e-mail that were not taken: %(names)s. They can be sent from an account.)", names=listed
        )
    elif is_cut:
        said = t("(This e-mail was too long; its end is missing.)")
    else:
        return ""
    return f"\n\n{said}"


_QUOTE_BEGINS = re.compile(
    r"(^|\n)[^\n]{0,200}(<[^>\n]+@[^>\n]+>|\d{4})[^\n]{0,80}:[ \t]*\n+(?=>)"  # On … somebody <address> wrote:
    r"|\n-- \n|\n_{10,}\n|\n-{3,} ?original message",
    re.IGNORECASE,
)


def own_words(text: str) -> str:
    """What the sender wrote, without the letter it answers and without the signature."""
    text = text.replace("\r\n", "\n")
    begins = _QUOTE_BEGINS.search("\n" + text)
    kept = ("\n" + text)[: begins.start()] if begins else text
    lines = [line for line in kept.split("\n") if not line.startswith(">")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


async def _is_new(session: AsyncSession, mail: EmailMessage, raw: bytes, now: datetime) -> bool:
    name = str(mail.get("Message-ID", "")).strip().encode("utf-8", "replace") or raw
    added = await session.execute(
        insert_into(session, InboundMail)
        .values(fingerprint=hashlib.sha256(name).hexdigest(), received_at=now)
        .on_conflict_do_nothing()
    )
    return cast(CursorResult[Any], added).rowcount == 1


async def forget_old(db: Database, now: datetime) -> None:
    """An errand of the scheduler's. Zendesk's comments stay known: each look at a ticket brings all of them again."""
    of_zendesk = InboundMail.fingerprint.startswith(ZENDESK_COMMENT)
    async with db.transaction() as session:
        await session.execute(delete(InboundMail).where(InboundMail.received_at < now - REMEMBERED, ~of_zendesk))
