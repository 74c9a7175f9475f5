"""Looks into the practice's mailbox for replies, by IMAP (RFC 9051) over TLS: an errand of the scheduler's.

Unread e-mails are handed to mail_in.py and marked as read, whatever became of them; a crash between the two brings
one again, which mail_in knows. The standard library's client blocks, so a round runs in a thread.
"""

import asyncio
import imaplib
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from control.config import MessageSettings
from control.mail_in import MOST_MAIL_BYTES, Outcome

log = logging.getLogger(__name__)

MOST_AT_ONCE = 50  # e-mails of one round; the rest waits for the next
TIMEOUT_S = 30.0

Take = Callable[[bytes, datetime], Awaitable[Outcome]]


class Mailbox:
    def __init__(self, settings: MessageSettings, take: Take, *, tls: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._take = take
        self._tls = tls or ssl.create_default_context()
        self._looked_at: datetime | None = None

    async def look(self, now: datetime) -> int:
        """How many e-mails there were; 0 if it is not time yet, or the server can't be reached (logged)."""
        settings = self._settings
        every = timedelta(seconds=settings.imap_seconds)
        if self._looked_at is not None and now - self._looked_at < every:
            return 0
        self._looked_at = now
        try:
            mails = await asyncio.to_thread(self._fetch)
        except (OSError, imaplib.IMAP4.error) as error:
            log.warning("mailbox not reached reason=%s", type(error).__name__)
            return 0
        for number, raw in mails:
            outcome = Outcome.UNREADABLE if raw is None else await self._take(raw, now)
            log.info("mail in outcome=%s number=%s", outcome, number)
        try:
            await asyncio.to_thread(self._mark_read, [number for number, _ in mails])
        except (OSError, imaplib.IMAP4.error) as error:
            log.warning("mailbox not marked reason=%s", type(error).__name__)
        return len(mails)

    @contextmanager
    def _opened(self) -> Iterator[imaplib.IMAP4_SSL]:
        settings = self._settings
        password = settings.imap_password.get_secret_value() if settings.imap_password else ""
        with imaplib.IMAP4_SSL(
            settings.imap_host or "", settings.imap_port, ssl_context=self._tls, timeout=TIMEOUT_S
        ) as client:
            client.login(settings.imap_username, password)
            client.select("INBOX")
            yield client

    def _fetch(self) -> list[tuple[str, bytes | None]]:
        """(uid, the e-mail) of what is unread; None for one that the server didn't give."""
        with self._opened() as client:
            return list(self._unread(client))

    def _unread(self, client: imaplib.IMAP4_SSL) -> Iterator[tuple[str, bytes | None]]:
        _, found = client.uid("SEARCH", "UNSEEN")
        for uid in (found[0] or b"").split()[:MOST_AT_ONCE]:
            number = uid.decode("ascii", "replace")
            # One byte more than is taken says that there is more.
            _, answer = client.uid("FETCH", number, f"(BODY.PEEK[]<0.{MOST_MAIL_BYTES + 1}>)")
            raw = next((part[1] for part in answer if isinstance(part, tuple)), None)
            yield number, raw

    def _mark_read(self, numbers: list[str]) -> None:
        if not numbers:
            return
        with self._opened() as client:
            client.uid("STORE", ",".join(numbers), "+FLAGS", r"(\Seen)")
