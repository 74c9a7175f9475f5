"""The outbox worker: takes due rows, asks whether they are still wanted, writes e-mail, SMS or push, sends it.

    waiting ──claim──▶ sending ──▶ sent | kept | dropped
       ▲                  │
       └── back-off ──────┴──▶ dead (refused for good, or tried MOST_ATTEMPTS times)

A claim is a conditional update with a lease, so any number of processes may run a worker. A crash between the mail
server's "taken" and our commit sends a letter twice, with the same Message-ID: never zero times. What was planned
for its time (a reminder) is not sent but enqueued then, in all channels its kind has.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from sqlalchemy import CursorResult, and_, func, or_, select, update

from control import push as devices
from control.config import Settings
from control.database import Database
from control.language import choose, speaking
from control.models.outbox import OutboxChannel, OutboxRow, OutboxState
from control.models.people import Person
from control.money.receipt_pdf import receipt_pdf
from control.money.receipts import paper_for
from control.notices import calendar, email, push, sms, texts
from control.notices.kinds import CANCELLATIONS, INVITES, NoticeKind, SessionFacts
from control.notices.outbox import Notice, OutboxFilled, enqueue
from control.notices.relevance import STILL_WANTED, StillWanted

log = logging.getLogger(__name__)

BATCH = 20
RECEIPTS = (NoticeKind.RECEIPT, NoticeKind.TOP_UP_RECEIPT)
LEASE = timedelta(minutes=3)  # longer than the longest delivery (mail.timeout_s ≤ 120 s)
FIRST_BACK_OFF = timedelta(seconds=30)
LONGEST_BACK_OFF = timedelta(hours=2)
MOST_ATTEMPTS = 9  # 30 s doubling to 2 h: about 6 h in all
POLL_S = 5.0  # for retries and for rows of other processes; new rows of this one wake the worker at once

Deliver = Callable[[email.Letter], Awaitable[None]]

OpenSecrets = Callable[[Mapping[str, str]], Mapping[str, str]]


@dataclass(frozen=True)
class Backlog:
    waiting: int
    dead: int
    lag_s: float
    """Age of the oldest row that is due."""


@dataclass(frozen=True)
class _Outcome:
    state: OutboxState
    error: str | None = None
    retry_at: datetime | None = None
    written: "_Written | None" = None
    then: Notice | None = None
    """What a planned row becomes."""


@dataclass(frozen=True)
class _Written:
    """A row's words: what is sent, and what stays on the outbox page once it was sent."""

    address: str
    subject: str
    text: str
    html: str | None
    calendar: str | None
    send: Callable[[], Awaitable[None]]
    without_secrets: tuple[str, str | None]


class _NotWanted(Exception):
    """Whoever should have got it wants it no more; the words say why."""


class OutboxWorker:
    def __init__(
        self,
        db: Database,
        settings: Settings,
        clock: Callable[[], datetime],
        *,
        deliver: Deliver | None = None,
        still_wanted: Mapping[NoticeKind, StillWanted] = STILL_WANTED,
        open_secrets: OpenSecrets = dict,
        push_sender: push.Sender | None = None,
    ) -> None:
        """`open_secrets` makes of a row's secrets what the words are told: sealed texts are opened."""
        self._db = db
        self._settings = settings
        self._clock = clock
        self._deliver = deliver or self._by_smtp
        self._gateways = {
            OutboxChannel.EMAIL: deliver is not None or settings.mail.host is not None,
            OutboxChannel.SMS: settings.sms.gateway != "none",
            OutboxChannel.PUSH: True,
        }
        self._push_sender = push_sender
        self._still_wanted = still_wanted
        self._open_secrets = open_secrets
        self._filled = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def after_commit(self, events: Sequence[object]) -> None:
        """The listener for `Database.subscribe`."""
        if any(isinstance(happened, OutboxFilled) for happened in events):
            self._filled.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="outbox")

    async def close(self) -> None:
        """A delivery can swallow its cancelling (asyncio.wait_for in Python 3.11), so the loop is told too."""
        self._closing = True
        self._filled.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while not self._closing:
            self._filled.clear()
            try:
                while not self._closing and await self.work_once():
                    pass
            except Exception:
                log.exception("outbox round failed")
            try:
                async with asyncio.timeout(POLL_S):
                    await self._filled.wait()
            except TimeoutError:
                pass

    async def work_once(self) -> int:
        """Bring every row that is due now one step further; how many there were."""
        rows = await self._claim(self._clock())
        for row in rows:
            try:
                outcome = await self._try(row)
            except Exception as error:
                # Such as facts of an older version. The next row must not wait for this one.
                log.exception("not written row=%s kind=%s attempt=%d", row.id[:8], row.kind, row.attempts)
                outcome = self._not_sent(row, f"unexpected {type(error).__name__}")
            await self._settle(row, outcome)
        return len(rows)

    async def backlog(self) -> Backlog:
        now = self._clock()
        async with self._db.reading() as session:
            found = await session.execute(select(OutboxRow.state, func.count()).group_by(OutboxRow.state))
            counts: dict[str, int] = dict(found.all())
            oldest = await session.scalar(
                select(func.min(OutboxRow.next_attempt_at)).where(
                    OutboxRow.state == OutboxState.WAITING, OutboxRow.next_attempt_at <= now
                )
            )
        lag_s = (now - oldest).total_seconds() if oldest is not None else 0.0
        return Backlog(counts.get(OutboxState.WAITING, 0), counts.get(OutboxState.DEAD, 0), lag_s)

    async def _claim(self, now: datetime) -> Sequence[OutboxRow]:
        due = or_(
            and_(OutboxRow.state == OutboxState.WAITING, OutboxRow.next_attempt_at <= now),
            and_(OutboxRow.state == OutboxState.SENDING, OutboxRow.claimed_until <= now),
        )
        async with self._db.reading() as session:
            anything = await session.scalar(select(OutboxRow.id).where(due).limit(1))
        if anything is None:
            return ()
        async with self._db.transaction() as session:
            ids = select(OutboxRow.id).where(due).order_by(OutboxRow.next_attempt_at).limit(BATCH)
            if not self._db.is_sqlite:
                ids = ids.with_for_update(skip_locked=True)
            claimed = await session.scalars(
                update(OutboxRow)
                .where(OutboxRow.id.in_(ids.scalar_subquery()))
                .values(state=OutboxState.SENDING, claimed_until=now + LEASE, attempts=OutboxRow.attempts + 1)
                .returning(OutboxRow)
            )
            return claimed.all()

    async def _try(self, row: OutboxRow) -> _Outcome:
        now = self._clock()
        kind, channel = NoticeKind(row.kind), OutboxChannel(row.channel)
        async with self._db.reading() as session:
            person = await session.get(Person, row.person_id)
            hook = self._still_wanted.get(kind)
            if person is None:
                return _Outcome(OutboxState.DROPPED, "the person is gone")
            if kind in self._settings.notices.off:
                return _Outcome(OutboxState.DROPPED, "this kind of notice is switched off")
            if hook is not None and not await hook(session, row.subject_id, row.facts, now):
                return _Outcome(OutboxState.DROPPED, "no longer wanted")
        if channel is OutboxChannel.PLANNED:
            about = SessionFacts.from_json(row.facts["about"])
            return _Outcome(OutboxState.SENT, then=Notice(kind, person.id, about))
        try:
            written = await self._write(row, kind, channel, person)
            if not self._gateways[channel]:
                return _Outcome(OutboxState.KEPT, written=written)
            await written.send()
        except _NotWanted as why:
            return _Outcome(OutboxState.DROPPED, str(why))
        except email.NotDelivered as error:
            log.info("not delivered row=%s channel=%s attempt=%d reason=%s", row.id[:8], channel, row.attempts, error)
            return self._not_sent(row, str(error), written, for_good=error.permanent)
        return _Outcome(OutboxState.SENT, written=written)

    def _not_sent(
        self, row: OutboxRow, error: str, written: _Written | None = None, *, for_good: bool = False
    ) -> _Outcome:
        if for_good or row.attempts >= MOST_ATTEMPTS:
            return _Outcome(OutboxState.DEAD, error, written=written)
        return _Outcome(OutboxState.WAITING, error, retry_at=self._clock() + back_off(row.attempts))

    async def _write(self, row: OutboxRow, kind: NoticeKind, channel: OutboxChannel, person: Person) -> _Written:
        with speaking(choose(self._settings.practice.languages, person.language)):
            if channel is OutboxChannel.EMAIL:
                return await self._mail(row, kind, person)
            return await self._push(row, kind) if channel is OutboxChannel.PUSH else self._sms(row, kind, person)

    def _reader(self, person: Person) -> texts.Reader:
        return texts.Reader(
            person.name, person.time_zone, self._settings.practice.name, self._settings.server.public_url
        )

    async def _mail(self, row: OutboxRow, kind: NoticeKind, person: Person) -> _Written:
        reader = self._reader(person)
        mail = texts.mail(kind, row.facts, self._open_secrets(row.secrets or {}), reader)
        ics, method = self._invite(row, kind, person)
        letter = email.Letter(
            message_id=row.id,
            to_address=person.email,
            to_name=person.name,
            from_name=self._settings.practice.name,
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            written_at=row.created_at,
            calendar=ics,
            calendar_method=method,
            pdf=await self._receipt(row) if kind in RECEIPTS and "receipt_id" in row.facts else None,
            reply_to=row.facts.get("reply_to"),
        )
        record = texts.mail(kind, row.facts, None, reader)

        async def send() -> None:
            await self._deliver(letter)

        return _Written(person.email, mail.subject, mail.text, mail.html, ics, send, (record.text, record.html))

    async def _receipt(self, row: OutboxRow) -> tuple[str, bytes]:
        """As it stands now: a letter sent late shows what was refunded meanwhile."""
        paper = await paper_for(self._db, None, row.facts["receipt_id"], self._settings.practice)
        return paper.file_name, await asyncio.to_thread(receipt_pdf, paper)

    def _sms(self, row: OutboxRow, kind: NoticeKind, person: Person) -> _Written:
        """To the number in the facts (a code proves it), else to the proven one, if it still is."""
        proven = person.phone if person.phone_proven_at is not None and person.wants_sms else None
        number = row.facts.get("to_number") or proven
        if number is None:
            raise _NotWanted("no proven number, or SMS are not wanted any more")
        reader = self._reader(person)
        text = texts.sms(kind, row.facts, row.secrets, reader)

        async def send() -> None:
            await sms.deliver(sms.Sms(number, text), self._settings.sms)

        kept = texts.sms(kind, row.facts, None, reader)
        return _Written(number, f"SMS: {kind.replace('_', ' ')}", text, None, None, send, (kept, None))

    async def _push(self, row: OutboxRow, kind: NoticeKind) -> _Written:
        sender, now = self._push_sender, self._clock()
        async with self._db.reading() as session:
            device = await devices.device_of(session, row.facts["device"], now)
        if device is None or sender is None:
            raise _NotWanted("this device wants no notices any more")
        text = texts.push(kind, row.facts)
        shown = {"kind": str(kind), "title": text.title, "path": text.path or "/"}

        async def send() -> None:
            try:
                await push.deliver(device, shown, sender, self._settings.push, now=now)
            except push.DeviceGone:
                await devices.forget(self._db, row.facts["device"])
                raise _NotWanted("this device is gone") from None

        host = urlsplit(device.endpoint).hostname or ""
        return _Written(host, f"Push: {text.title}", text.title, None, None, send, (text.title, None))

    def _invite(self, row: OutboxRow, kind: NoticeKind, person: Person) -> tuple[str | None, str]:
        if kind not in INVITES | CANCELLATIONS:
            return None, "REQUEST"
        make, method = (calendar.invite, "REQUEST") if kind in INVITES else (calendar.cancellation, "CANCEL")
        ics = make(
            SessionFacts.from_json(row.facts["about"]),
            practice_name=self._settings.practice.name,
            base_url=self._settings.server.public_url,
            organizer=self._settings.mail.sender,
            attendee=person.email,
            now=row.created_at,
        )
        return ics, method

    async def _settle(self, row: OutboxRow, outcome: _Outcome) -> None:
        """Only the claim's holder settles: a row whose lease another process took over is left to it."""
        now = self._clock()
        values: dict[str, Any] = {"state": outcome.state, "claimed_until": None, "last_error": outcome.error}
        if outcome.retry_at is not None:
            values["next_attempt_at"] = outcome.retry_at
        if outcome.state in {OutboxState.SENT, OutboxState.KEPT}:
            values["sent_at"] = now
        written = outcome.written
        if written is not None:
            # Kept to be read, it needs its link; once it left (or never will), the link has no business here.
            kept = outcome.state is OutboxState.KEPT
            text, html = (written.text, written.html) if kept else written.without_secrets
            values |= {
                "to_address": written.address,
                "subject_line": written.subject[:200],
                "body_text": text,
                "body_html": html,
                "calendar": written.calendar,
            }
        if outcome.state is not OutboxState.WAITING:
            values["secrets"] = None  # a kept letter's text holds the link already; nothing else needs it
        async with self._db.transaction() as session:
            settled = await session.execute(
                update(OutboxRow)
                .where(
                    OutboxRow.id == row.id,
                    OutboxRow.state == OutboxState.SENDING,
                    OutboxRow.attempts == row.attempts,
                )
                .values(**values)
            )
            if outcome.then is not None and cast(CursorResult[Any], settled).rowcount == 1:
                await enqueue(session, outcome.then, now=now)
        if outcome.state is OutboxState.DEAD:
            log.warning("given up row=%s kind=%s reason=%s", row.id[:8], row.kind, outcome.error)

    async def _by_smtp(self, letter: email.Letter) -> None:
        settings = self._settings.mail
        await email.deliver(email.put_together(letter, settings.sender), settings)


def back_off(attempts: int) -> timedelta:
    """How long to wait after that many tries: 30 s, doubling, up to 2 h."""
    doublings = min(attempts - 1, 16)  # far past the longest wait already
    return min(FIRST_BACK_OFF * (1 << doublings), LONGEST_BACK_OFF)
