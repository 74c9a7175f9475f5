"""What a copy of one's data holds, part by part: JSON files with what was written, and the files themselves.

Each part reads through the functions the pages read through, as the person themselves, so it holds what they may see.
Changes nothing. control/exports.py packs it.
"""

import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

from sqlalchemy import select

from control import appointment_queries, message_queries, my_data, people, recording_access, testimonials, web_sessions
from control.accounts import Actor
from control.chat import PAGE_LINES, Chat
from control.client_files import ClientFiles
from control.database import Database
from control.files import Files, FileView
from control.language import N_, t
from control.lifecycle import Party
from control.messages import MessageRules
from control.models.appointments import Appointment, Guest
from control.models.audit import AuditEntry
from control.models.consents import Consent, ConsentText
from control.models.my_data import NoteRequest
from control.models.people import Person
from control.models.ratings import Rating
from control.money import credits, history, ledger
from control.paging import MOST_PAGE, Page, Wanted, place_of
from control.problems import Problems

T = TypeVar("T")

ABOUT = N_("""A copy of what this practice keeps on you, as of the day in the file's name.

The .json files open in any text editor. Times are in UTC; amounts are in the currency's smallest unit.

account.json      your name, address, settings, and where you are signed in
sessions.json     your sessions
consents.json     the texts you were asked about, and your answers
messages.json     your conversations
chat.json         what was written inside your sessions
files/            the files of your sessions and messages
payments.json     what you paid and got back, your wallet and credits
ratings.json      what you said about your sessions
testimonials.json what you wrote about practitioners, and their replies
problems.json     problems that you reported
notes.json        what your practitioners noted on you, where they give it out, and where they don't
access_log.json   who opened, read or watched what is yours

Recordings that were shared with you are on your account's page "Recordings". Each can be downloaded there.
""")


@dataclass(frozen=True)
class Entry:
    """A file of the copy: what is written into it, or one of the person's files."""

    path: str
    content: object = b""
    file: FileView | None = None

    def as_bytes(self) -> bytes:
        """Years of somebody's messages take their time: not for the loop."""
        if isinstance(self.content, bytes):
            return self.content
        return json.dumps(self.content, default=_plain, ensure_ascii=False, indent=1).encode()


@dataclass(frozen=True)
class Sources:
    db: Database
    rules: MessageRules
    chat: Chat
    files: Files
    problems: Problems
    client_files: ClientFiles


Part = Callable[[Sources, Actor, datetime], AsyncIterator[Entry]]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(type(value).__name__)


async def _every(page_of: Callable[[Wanted], Awaitable[Page[T]]]) -> list[T]:
    found: list[T] = []
    wanted = Wanted(MOST_PAGE)
    while True:
        page = await page_of(wanted)
        found += page.rows
        if page.next_cursor is None:
            return found
        wanted = Wanted(MOST_PAGE, place_of(page.next_cursor))


async def _account(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    me = await people.get_person(src.db, actor.person_id)
    devices = await web_sessions.devices_of(src.db, actor.person_id, now=now)
    yield Entry("read-me.txt", t(ABOUT).encode())
    yield Entry("account.json", {"account": me, "signed_in_on": devices})


async def _sessions(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    found: dict[str, Any] = {}
    for party in (Party.CLIENT, Party.PRACTITIONER):

        async def page_of(wanted: Wanted, party: Party = party) -> Page[Any]:
            return await appointment_queries.page_for(src.db, actor, party, appointment_queries.ALL, wanted, now=now)

        rows = [_plain(one) for one in await _every(page_of)]
        found[f"as_{party}"] = [{name: row[name] for name in row if name != "facts"} for row in rows]  # said twice
    yield Entry("sessions.json", found)


async def _consents(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    query = (
        select(Consent, ConsentText)
        .join(ConsentText, ConsentText.id == Consent.text_id)
        .where(Consent.person_id == actor.person_id)
        .order_by(Consent.number)
    )
    async with src.db.reading() as session:
        found = (await session.execute(query)).all()
    answers = [
        {
            "receipt": one.id,
            "purpose": one.purpose,
            "answer": one.answer,
            "at": one.answered_at,
            "session": one.appointment_id,
            "text": one.text_id,
        }
        for one, _ in found
    ]
    texts = {text.id: {"title": text.title, "version": text.version, "body": text.body} for _, text in found}
    yield Entry("consents.json", {"answers": answers, "texts": texts})


async def _messages(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    plain = Actor(actor.person_id, frozenset(), actor.name, actor.time_zone)  # staff's shared inbox is not theirs

    async def page_of(wanted: Wanted) -> Page[message_queries.ConversationView]:
        return await message_queries.inbox(src.db, src.rules, plain, wanted)

    talks = []
    for talk in await _every(page_of):
        said: list[message_queries.MessageView] = []
        before: int | None = None
        while before is None or before > 1:
            shown = await message_queries.messages_of(
                src.db, src.rules, plain, talk.id, before=before, limit=message_queries.MOST_SHOWN
            )
            if not shown:
                break
            said = [*shown, *said]
            before = shown[0].seq
        talks.append({"with": talk.other_name, "messages": said})
    yield Entry("messages.json", talks)


async def _own_sessions(src: Sources, actor: Actor) -> list[str]:
    """In which they took part; as a guest, from Admit on."""
    async with src.db.reading() as session:
        mine = (Appointment.client_id == actor.person_id) | (Appointment.practitioner_id == actor.person_id)
        own = await session.scalars(select(Appointment.id).where(mine).order_by(Appointment.starts_at))
        guest = select(Guest.appointment_id).where(
            Guest.person_id == actor.person_id, Guest.removed_at.is_(None), Guest.admitted_at.is_not(None)
        )
        return [*own, *await session.scalars(guest)]


async def _chat(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    found = {}
    for appointment_id in await _own_sessions(src, actor):
        lines: list[Any] = []
        while True:
            shown = (await src.chat.history(actor, appointment_id, after=lines[-1].seq if lines else 0)).lines
            lines += shown
            if len(shown) < PAGE_LINES:
                break
        if lines:
            found[appointment_id] = lines
    yield Entry("chat.json", found)


async def _files(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    for one in await src.files.of_person(actor):
        yield Entry(f"files/{one.at:%Y-%m-%d}-{one.id[:8]}-{one.name}", file=one)


async def _payments(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    async def page_of(wanted: Wanted) -> Page[history.Paid]:
        return await history.paid_by(src.db, actor.person_id, wanted, within=timedelta(0), now=now)

    found = {
        "payments": await _every(page_of),
        "balances": await ledger.balances(src.db, actor.person_id),
        "credits": await credits.held_by(src.db, actor.person_id),
    }
    yield Entry("payments.json", found)


async def _ratings(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    async with src.db.reading() as session:
        rows = (await session.scalars(select(Rating).where(Rating.author_id == actor.person_id))).all()
    shown = ("appointment_id", "stars", "feedback", "is_public", "would_recommend", "tags", "created_at")
    yield Entry("ratings.json", [{name: getattr(row, name) for name in shown} for row in rows])
    yield Entry("testimonials.json", await testimonials.written_by(src.db, actor))


async def _problems(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    yield Entry("problems.json", await src.problems.reported_by(actor))


async def _notes(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    """Only what their practitioner has given out."""
    query = (
        select(NoteRequest, Person.name)
        .join(Person, Person.id == NoteRequest.practitioner_id)
        .where(NoteRequest.client_id == actor.person_id)
    )
    async with src.db.reading() as session:
        asked = (await session.execute(query)).all()
    words = {
        None: t("Asked, not answered yet."),
        "refused": t("The practitioner does not give them out."),
        "given": t("Given out."),
    }
    found = []
    for row, name in asked:
        given = await src.client_files.given_notes(row.practitioner_id, row.client_id) if row.answer == "given" else ()
        found.append({"practitioner": name, "asked_at": row.asked_at, "answer": words[row.answer], "notes": given})
    yield Entry("notes.json", found)


async def _access(src: Sources, actor: Actor, now: datetime) -> AsyncIterator[Entry]:
    async def looks(wanted: Wanted) -> Page[recording_access.Look]:
        return await recording_access.looks_at(src.db, actor, wanted)

    query = (
        select(AuditEntry.at, AuditEntry.action, Person.name)
        .outerjoin(Person, Person.id == AuditEntry.actor_id)
        .where(AuditEntry.subject == f"person:{actor.person_id}")
        .order_by(AuditEntry.at)
    )
    async with src.db.reading() as session:
        account = [{"at": at, "what": what, "who": who} for at, what, who in await session.execute(query)]
    found = {
        "messages_read_by_staff": await my_data.staff_looks(src.db, actor, most=None),
        "recordings": await _every(looks),
        "account_and_file": account,
    }
    yield Entry("access_log.json", found)


PARTS: tuple[Part, ...] = (
    *(_account, _sessions, _consents, _messages, _chat, _payments, _ratings, _problems, _notes, _access),
    _files,
)
"""The files last: they take the longest."""
