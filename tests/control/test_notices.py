"""Notices: rows in the change's transaction, e-mails by a real SMTP server, in-app lines in order and replayed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
import pytest_asyncio
from aiosmtpd.smtp import SMTP, Envelope
from sqlalchemy import select

from control import appointments
from control.accounts import OPERATOR
from control.config import MailSettings, Settings
from control.database import Database
from control.install import open_database
from control.language import ENGLISH
from control.models.notices import NoticeRow
from control.models.outbox import OutboxRow, OutboxState
from control.models.people import Person, Role
from control.notices.email import Letter, NotDelivered, deliver, put_together
from control.notices.kinds import NoticeKind
from control.notices.outbox import Notice, enqueue, notices_after
from control.notices.sent import page_of_outbox
from control.notices.worker import (
    FIRST_BACK_OFF,
    LEASE,
    LONGEST_BACK_OFF,
    MOST_ATTEMPTS,
    OutboxWorker,
    back_off,
)
from control.paging import Wanted
from tests.control.test_notice_words import ABOUT
from tests.helpers.browsers import Someone
from tests.helpers.clock import START, ManualClock
from tests.helpers.control import AddSomeone, NewBrowser
from tests.helpers.practice import World


@dataclass
class Mailbox:
    """What a mail server took, and how it answers."""

    port: int = 0
    taken: list[EmailMessage] = field(default_factory=list)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    answer: str = "250 OK"
    recipient_answer: str = "250 OK"

    async def handle_RCPT(
        self, _server: SMTP, _session: object, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.recipient_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return self.recipient_answer

    async def handle_DATA(self, _server: SMTP, _session: object, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            message = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.taken.append(message)
            self.filled.set()
        return self.answer


@pytest_asyncio.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """A real SMTP server on this loop."""
    box = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, hostname="mail.test", loop=loop), "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    yield box
    server.close()
    await server.wait_closed()


def _with_mail(settings: Settings, port: int) -> Settings:
    mail = MailSettings(host="127.0.0.1", port=port, security="none", sender="care@example.org", timeout_s=5)
    return settings.model_copy(update={"mail": mail})


@pytest.fixture
def worker(db: Database, settings: Settings, clock: ManualClock, mailbox: Mailbox) -> OutboxWorker:
    return OutboxWorker(db, _with_mail(settings, mailbox.port), clock)


async def _owe(db: Database, notice: Notice, clock: ManualClock) -> None:
    async with db.transaction() as session:
        await enqueue(session, notice, now=clock())


async def _rows(db: Database) -> list[OutboxRow]:
    async with db.reading() as session:
        return list(await session.scalars(select(OutboxRow).order_by(OutboxRow.created_at)))


@pytest_asyncio.fixture
async def mina(add_someone: AddSomeone) -> Someone:
    return await add_someone("Mina", Role.CLIENT, time_zone="Europe/Oslo")


# -- the worker --------------------------------------------------------------------------------------------------


async def test_an_undone_change_owes_nobody_anything(db: Database, mina: Someone, clock: ManualClock) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  what is undone needs to be done first
        async with db.transaction() as session:
            notice = Notice(NoticeKind.BOOKING_CONFIRMED, mina.actor.person_id, ABOUT)
            await enqueue(session, notice, now=clock())
            raise ZeroDivisionError
    assert await _rows(db) == []
    assert await notices_after(db, mina.actor.person_id, 0) == ()


async def test_a_booking_goes_out_once_by_smtp_with_its_invite(
    db: Database, settings: Settings, mailbox: Mailbox, mina: Someone, clock: ManualClock
) -> None:
    worker = OutboxWorker(db, _with_mail(settings, mailbox.port), clock, still_wanted={})
    await _owe(db, Notice(NoticeKind.BOOKING_CONFIRMED, mina.actor.person_id, ABOUT), clock)
    assert await worker.work_once() == 1
    assert await worker.work_once() == 0
    (message,) = mailbox.taken
    assert message["To"] == "Mina <mina@example.com>"
    assert message["From"] == "Test Row <care@example.org>"
    assert message["Subject"] == "Your session on Tue 3 Mar, 16:00 Oslo time"
    body = message.get_body(("plain",))
    assert body is not None
    assert "Individual session with Dr. Amara Okafor" in body.get_content()
    assert message.get_body(("html",)) is not None
    (attached,) = message.iter_attachments()
    assert attached.get_content_type() == "application/ics"
    (invite,) = [part for part in message.walk() if part.get_content_type() == "text/calendar"]
    assert invite.get_param("method") == "REQUEST"
    assert invite.get_payload(decode=True) == attached.get_payload(decode=True)
    assert (await _rows(db))[0].state == OutboxState.SENT


async def test_a_mail_server_that_is_away_is_tried_again_with_growing_waits(
    db: Database, settings: Settings, mina: Someone, clock: ManualClock, unused_tcp_port: int
) -> None:
    worker = OutboxWorker(db, _with_mail(settings, unused_tcp_port), clock)
    await _owe(db, Notice(NoticeKind.WELCOME, mina.actor.person_id), clock)
    waits = []
    for _ in range(3):
        assert await worker.work_once() == 1
        row = (await _rows(db))[0]
        assert (row.state, row.last_error) == (OutboxState.WAITING, "mail server not reached (SMTPConnectError)")
        waits.append(row.next_attempt_at - clock())
        assert await worker.work_once() == 0, "not before its time"
        clock.now = row.next_attempt_at
    assert waits == [FIRST_BACK_OFF, FIRST_BACK_OFF * 2, FIRST_BACK_OFF * 4]


def test_waits_grow_to_a_bound_and_stay_there() -> None:
    assert back_off(1) == FIRST_BACK_OFF
    assert back_off(MOST_ATTEMPTS) == LONGEST_BACK_OFF
    assert back_off(10_000) == LONGEST_BACK_OFF


async def test_a_letter_is_given_up_after_the_last_try_and_an_admin_sees_it(
    db: Database, worker: OutboxWorker, mailbox: Mailbox, mina: Someone, clock: ManualClock
) -> None:
    mailbox.answer = "451 try later"
    await _owe(db, Notice(NoticeKind.WELCOME, mina.actor.person_id), clock)
    for _ in range(MOST_ATTEMPTS):
        assert await worker.work_once() == 1
        clock.now += LONGEST_BACK_OFF
    assert await worker.work_once() == 0
    (letter,) = (await page_of_outbox(db, OPERATOR, Wanted(9))).rows
    assert (letter.state, letter.attempts) == (OutboxState.DEAD, MOST_ATTEMPTS)
    assert letter.last_error == "mail server answered 451"
    assert (await worker.backlog()).dead == 1


async def test_a_letter_of_facts_that_nobody_can_read_any_more_is_given_up_and_holds_up_no_other(
    db: Database, worker: OutboxWorker, mailbox: Mailbox, mina: Someone, clock: ManualClock
) -> None:
    who = mina.actor.person_id
    await _owe(db, Notice(NoticeKind.RECEIPT, who, extra={"number": "2026-7", "amount": "€65.00"}), clock)
    await _owe(db, Notice(NoticeKind.WELCOME, who), clock)
    assert await worker.work_once() == 2
    assert [message["Subject"] for message in mailbox.taken] == ["Welcome to Test Row"]
    for _ in range(MOST_ATTEMPTS - 1):
        clock.now += LONGEST_BACK_OFF
        assert await worker.work_once() == 1
    clock.now += LONGEST_BACK_OFF
    assert await worker.work_once() == 0
    (letter,) = (await page_of_outbox(db, OPERATOR, Wanted(9), state=OutboxState.DEAD)).rows
    assert (letter.kind, letter.last_error) == (NoticeKind.RECEIPT, "unexpected KeyError")


@pytest.mark.parametrize(("which", "answer"), [("answer", "554 no"), ("recipient_answer", "550 unknown")])
async def test_a_refusal_for_good_is_not_tried_again(
    db: Database, worker: OutboxWorker, mailbox: Mailbox, mina: Someone, clock: ManualClock, which: str, answer: str
) -> None:
    setattr(mailbox, which, answer)
    await _owe(db, Notice(NoticeKind.WELCOME, mina.actor.person_id), clock)
    await worker.work_once()
    assert (await _rows(db))[0].state == OutboxState.DEAD


async def test_without_a_mail_server_letters_are_kept_to_be_read_with_their_link(
    db: Database, settings: Settings, mina: Someone, clock: ManualClock
) -> None:
    worker = OutboxWorker(db, settings, clock)
    notice = Notice(NoticeKind.SIGN_IN_LINK, mina.actor.person_id, secrets={"path": "/sign-in/link/tok"})
    await _owe(db, notice, clock)
    await worker.work_once()
    (letter,) = (await page_of_outbox(db, OPERATOR, Wanted(9))).rows
    assert letter.state == OutboxState.KEPT
    assert letter.body_text is not None
    assert "/sign-in/link/tok" in letter.body_text


async def test_a_sent_link_does_not_stay_in_the_database(
    db: Database, worker: OutboxWorker, mailbox: Mailbox, mina: Someone, clock: ManualClock
) -> None:
    notice = Notice(NoticeKind.SIGN_IN_LINK, mina.actor.person_id, secrets={"path": "/sign-in/link/tok"})
    await _owe(db, notice, clock)
    await worker.work_once()
    sent = mailbox.taken[0].get_body(("plain",))
    assert sent is not None
    assert "/sign-in/link/tok" in sent.get_content()
    row = (await _rows(db))[0]
    assert row.secrets is None
    assert "tok" not in f"{row.body_text} {row.body_html} {row.facts}".replace("took", "")


async def test_what_is_no_longer_wanted_when_its_turn_comes_is_dropped(
    db: Database, settings: Settings, mailbox: Mailbox, mina: Someone, clock: ManualClock
) -> None:
    asked: list[str | None] = []

    async def cancelled(_session: Any, subject: str | None, _facts: Mapping[str, Any], _now: datetime) -> bool:
        asked.append(subject)
        return False

    worker = OutboxWorker(
        db,
        _with_mail(settings, mailbox.port),
        clock,
        still_wanted={NoticeKind.BOOKING_CONFIRMED: cancelled},
    )
    await _owe(db, Notice(NoticeKind.BOOKING_CONFIRMED, mina.actor.person_id, ABOUT), clock)
    await worker.work_once()
    assert mailbox.taken == []
    assert asked == [ABOUT.appointment_id]
    assert (await _rows(db))[0].state == OutboxState.DROPPED


async def test_a_letter_whose_worker_died_is_taken_over_under_the_same_message_id(
    db: Database, settings: Settings, worker: OutboxWorker, mailbox: Mailbox, mina: Someone, clock: ManualClock
) -> None:
    async def dies_after_sending(letter: Letter) -> None:
        await deliver(put_together(letter, "care@example.org"), _with_mail(settings, mailbox.port).mail)
        raise asyncio.CancelledError

    await _owe(db, Notice(NoticeKind.WELCOME, mina.actor.person_id), clock)
    with pytest.raises(asyncio.CancelledError):
        await OutboxWorker(db, settings, clock, deliver=dies_after_sending).work_once()
    assert await worker.work_once() == 0, "the claim still holds"
    clock.now += LEASE
    assert await worker.work_once() == 1
    first, second = mailbox.taken
    assert first["Message-ID"] == second["Message-ID"]


async def test_two_workers_never_send_the_same_letter(
    db: Database, settings: Settings, mailbox: Mailbox, mina: Someone, clock: ManualClock
) -> None:
    for _ in range(30):
        await _owe(db, Notice(NoticeKind.WELCOME, mina.actor.person_id), clock)
    workers = [OutboxWorker(db, _with_mail(settings, mailbox.port), clock) for _ in range(2)]

    async def work(worker: OutboxWorker) -> None:
        while await worker.work_once():
            pass

    await asyncio.gather(*(work(worker) for worker in workers))
    assert len(mailbox.taken) == 30
    assert len({message["Message-ID"] for message in mailbox.taken}) == 30


async def test_the_running_worker_is_woken_by_the_commit(
    db: Database,
    worker: OutboxWorker,
    mailbox: Mailbox,
    mina: Someone,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("control.notices.worker.POLL_S", 3600.0)  # polling alone would be too late
    db.subscribe(worker.after_commit)
    await worker.start()
    try:
        await _owe(db, Notice(NoticeKind.WELCOME, mina.actor.person_id), clock)
        async with asyncio.timeout(30):
            await mailbox.filled.wait()
    finally:
        await worker.close()


async def test_a_name_can_not_add_headers_to_a_letter() -> None:
    letter = Letter("id", "a@example.com", "Mina\r\nBcc: x@evil.example", "Row", "S\r\nBcc: x", "t", "<p>", START)
    with contextlib.suppress(ValueError):  # refusing is as good as folding
        message = put_together(letter, "care@example.org")
        assert message["Bcc"] is None


async def test_a_server_without_the_wanted_encryption_gets_nothing(mailbox: Mailbox) -> None:
    settings = MailSettings(host="127.0.0.1", port=mailbox.port, security="starttls", timeout_s=5)
    letter = Letter("id", "a@example.com", "A", "Row", "S", "t", "<p>", START)
    with pytest.raises(NotDelivered):
        await deliver(put_together(letter, "care@example.org"), settings)
    assert mailbox.taken == []


# -- in-app ------------------------------------------------------------------------------------------------------


async def test_numbers_follow_the_commits_without_gaps_however_many_write(
    db: Database, mina: Someone, add_someone: AddSomeone, clock: ManualClock
) -> None:
    amara = await add_someone("Amara", Role.PRACTITIONER)
    people = [mina.actor.person_id, amara.actor.person_id]

    async def tell(number: int) -> None:
        async with db.transaction() as session:
            for person in people if number % 2 else reversed(people):
                await enqueue(session, Notice(NoticeKind.SESSION_CANCELLED, person, ABOUT), now=clock())

    await asyncio.gather(*(tell(number) for number in range(20)))
    for person in people:
        seqs = [notice.seq for notice in await notices_after(db, person, 0)]
        assert seqs == list(range(1, 21))


@pytest.mark.parametrize(
    ("offered", "title"), [((ENGLISH, "de"), "Eine Sitzung wurde abgesagt"), ((ENGLISH,), "A session was cancelled")]
)
async def test_notice_speaks_its_persons_language_where_the_practice_has_it(
    db: Database, settings: Settings, mina: Someone, clock: ManualClock, offered: tuple[str, ...], title: str
) -> None:
    async with db.transaction() as session:
        (await session.get_one(Person, mina.actor.person_id)).language = "de"
    practice = settings.practice.model_copy(update={"languages": offered})
    install = open_database(settings.model_copy(update={"practice": practice}))
    await install.connect()
    await _owe(install, Notice(NoticeKind.SESSION_CANCELLED, mina.actor.person_id, ABOUT), clock)
    (told,) = await notices_after(install, mina.actor.person_id, 0)
    await install.close()
    assert told.title == title


async def test_a_notice_that_is_e_mail_only_is_not_shown_on_pages(
    db: Database, mina: Someone, clock: ManualClock
) -> None:
    await _owe(db, Notice(NoticeKind.WELCOME, mina.actor.person_id), clock)
    async with db.reading() as session:
        assert (await session.scalars(select(NoticeRow))).all() == []


async def _next(socket: Any) -> dict[str, Any]:
    message: dict[str, Any] = await asyncio.wait_for(socket.receive_json(), 5)
    return message


async def test_a_page_is_told_at_once_and_replays_what_it_missed(
    app: Any, new_browser: NewBrowser, mina: Someone, clock: ManualClock, db: Database
) -> None:
    from control.keys import DATABASE

    own = app[DATABASE]
    browser = await new_browser(mina)
    socket = await browser.live()
    assert await _next(socket) == {"type": "ready"}
    await _owe(own, Notice(NoticeKind.SESSION_STARTED, mina.actor.person_id, ABOUT), clock)
    told = await _next(socket)
    assert (told["type"], told["id"], told["kind"]) == ("notice", 1, "session_started")
    assert told["path"] == f"/sessions/{ABOUT.appointment_id}/waiting-room"
    await socket.close()
    await _owe(own, Notice(NoticeKind.SESSION_COMPLETED, mina.actor.person_id, ABOUT), clock)
    await _owe(own, Notice(NoticeKind.SESSION_CANCELLED, mina.actor.person_id, ABOUT), clock)
    again = await browser.live(after=1)
    assert [(await _next(again)).get("id") for _ in range(3)] == [2, 3, None]
    await again.close()


async def test_nobody_hears_what_is_for_somebody_else(
    app: Any, new_browser: NewBrowser, mina: Someone, add_someone: AddSomeone, clock: ManualClock
) -> None:
    from control.keys import DATABASE

    charlie = await add_someone("Charlie", Role.CLIENT)
    browser = await new_browser(charlie)
    socket = await browser.live(after=0)
    assert await _next(socket) == {"type": "ready"}
    await _owe(app[DATABASE], Notice(NoticeKind.SESSION_STARTED, mina.actor.person_id, ABOUT), clock)
    await _owe(app[DATABASE], Notice(NoticeKind.SESSION_CANCELLED, charlie.actor.person_id, ABOUT), clock)
    assert (await _next(socket))["kind"] == "session_cancelled"
    await socket.close()


async def test_a_stranger_and_a_foreign_page_get_no_live_socket(new_browser: NewBrowser, mina: Someone) -> None:
    stranger = await new_browser()
    assert (await stranger.get("/api/live", headers={"Origin": stranger.origin})).status == 401
    browser = await new_browser(mina)
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    for origin in ({"Origin": "https://evil.example"}, {}):
        answer = await browser.get("/api/live", headers={**upgrade, **origin})
        assert (answer.status, answer.code) == (403, "origin_wrong" if origin else "origin_missing")


async def test_a_page_that_talks_too_much_loses_its_socket(new_browser: NewBrowser, mina: Someone) -> None:
    socket = await (await new_browser(mina)).live()
    with contextlib.suppress(ConnectionError):
        for _ in range(300):
            await socket.send_str("x")
    async with asyncio.timeout(30):
        while not socket.closed:
            await socket.receive()


@pytest.mark.parametrize("after", ["-1", "x", "9999999999", "1.5", "٣"])
async def test_a_malformed_number_is_refused(new_browser: NewBrowser, mina: Someone, after: str) -> None:
    browser = await new_browser(mina)
    answer = await browser.get("/api/live", params={"after": after}, headers={"Origin": browser.origin})
    assert (answer.status, answer.code) == (422, "after_invalid")


# -- the outbox page's data --------------------------------------------------------------------------------------


async def test_only_an_admin_reads_the_outbox_and_each_look_is_audited(
    new_browser: NewBrowser, add_someone: AddSomeone, mina: Someone, db: Database
) -> None:
    from control.audit import entries_about

    practitioner = await new_browser(await add_someone("Amara", Role.PRACTITIONER))
    assert (await (await new_browser()).get("/api/outbox")).status == 401
    assert (await (await new_browser(mina)).get("/api/outbox")).status == 403
    assert (await practitioner.get("/api/outbox")).status == 403
    admin = await add_someone("Clara", Role.ADMIN)
    answer = await (await new_browser(admin)).get("/api/outbox")
    assert (answer.status, answer.body) == (200, {"letters": [], "next_cursor": None})
    entries = await entries_about(db, "outbox:all")
    assert [(entry.action, entry.actor_id) for entry in entries] == [("outbox.viewed", admin.actor.person_id)]


async def test_a_confirmation_of_a_session_that_was_cancelled_meanwhile_is_not_sent(
    world: World, settings: Settings, mailbox: Mailbox
) -> None:
    worker = OutboxWorker(world.db, _with_mail(settings, mailbox.port), world.clock)
    booked = await world.scheduled()
    await appointments.cancel(world.db, world.bob, booked.id, now=world.clock())
    while await worker.work_once():
        pass
    states = {(row.kind, row.person_id): row.state for row in await _rows(world.db) if row.subject_id == booked.id}
    assert states[NoticeKind.BOOKING_CONFIRMED, world.bob.person_id] == OutboxState.DROPPED
    assert states[NoticeKind.NEW_BOOKING, world.alice.person_id] == OutboxState.DROPPED
    assert states[NoticeKind.SESSION_CANCELLED, world.bob.person_id] == OutboxState.SENT
    assert states[NoticeKind.SESSION_CANCELLED, world.alice.person_id] == OutboxState.SENT
