"""Erasing somebody on their own wish: what they wrote and who they are goes, what must be kept loses their name.

    asked on /account/erase ─▶ one transaction: words, ways to sign in, name and address ─▶ PersonErasure row
                                └▶ run_once (the scheduler's errand): files, copies, recordings ─▶ done

A crash after the transaction leaves the row not done, and the next round goes on. What stays and why is KEPT, which
the page says before. Clients and guests only: who works here hands their work over first.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control import testimonials, web_sessions
from control.accounts import Actor, normalised_email
from control.appointment_states import OPEN
from control.audit import record
from control.chat import Chat
from control.database import Database
from control.errors import Conflict, Invalid, NotFound
from control.exports import Exports
from control.files import Files
from control.language import N_
from control.messages import blank_words_of
from control.models.appointments import Appointment, Guest, JoinToken, RescheduleRequest
from control.models.factors import Passkey, PhoneProof, RecoveryCode, TotpSecret
from control.models.idempotency import KeptAnswer
from control.models.messages import ConversationReader, Enquiry, MonitoringAcknowledgement
from control.models.money import LedgerAccount
from control.models.my_data import NoteRequest, PersonErasure
from control.models.notices import NoticeRow
from control.models.outbox import OutboxRow
from control.models.people import Credential, OneTimeLink, Person, PersonRole, Role, WebSession
from control.models.problems import ProblemReport
from control.models.push import PushSubscription
from control.models.ratings import Rating
from control.recording_archive import Archive

log = logging.getLogger(__name__)

NAME = "Erased person"
MOST_AT_ONCE = 10

GOES = (
    (
        N_("Your account"),
        N_("Name, e-mail address, telephone number, country, passwords, passkeys, and every open sign-in."),
    ),
    (
        N_("What you wrote"),
        N_("Messages, lines in session chats, testimonials, your words in ratings and problem reports."),
    ),
    (N_("What you shared"), N_("Your files, and the copies of your data.")),
    (N_("What was recorded of you"), N_("Your picture and sound in recordings that are still kept.")),
    (N_("Notices"), N_("Every notice and letter that this server has kept for you.")),
)
KEPT = (
    (N_("Receipts, payments and the name on them"), N_("Tax law obliges the practice to keep them for years.")),
    (
        N_("The dates of your sessions, without your name"),
        N_("Payments and your practitioner's calendar refer to them."),
    ),
    (N_("Your answers to consent texts, without your name"), N_("They prove what was allowed, and when.")),
    (
        N_("Your practitioner's own notes"),
        N_("Professions that care for people must keep them. Ask your practitioner."),
    ),
    (N_("What others wrote to you"), N_("It is theirs.")),
    (N_("Recordings under a legal hold"), N_("They may not be deleted before the hold ends; then your part goes too.")),
    (N_("The log of who did what"), N_("It names you by a number. Without it nobody could be held to account.")),
)
_OWN_ROWS: tuple[Any, ...] = (
    *(NoticeRow, OutboxRow, Credential, OneTimeLink, WebSession, TotpSecret, Passkey, RecoveryCode, PhoneProof),
    *(KeptAnswer, MonitoringAcknowledgement, ConversationReader, Enquiry, JoinToken, PersonRole, PushSubscription),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands in the way, and what would be lost."""

    works_here: bool
    sessions_ahead: int
    money: tuple[tuple[int, str], ...]
    """(amount, currency) of wallets that are not empty; credits count under their own unit."""

    @property
    def is_free(self) -> bool:
        return not self.works_here and not self.sessions_ahead


class Erasing:
    """One per application; holds no state."""

    def __init__(self, db: Database, chat: Chat, files: Files, exports: Exports, archive: Archive) -> None:
        self._db = db
        self._chat = chat
        self._files = files
        self._exports = exports
        self._archive = archive

    async def standing(self, actor: Actor) -> Standing:
        async with self._db.reading() as session:
            return await _standing(session, actor)

    async def erase(self, actor: Actor, email_typed: str, *, gives_up_money: bool, now: datetime) -> None:
        """For good. Raises Invalid("email_differs"), Conflict("works_here" | "sessions_ahead" | "money_left")."""
        async with self._db.transaction() as session:
            person = await session.get(Person, actor.person_id, with_for_update=True)
            if person is None or await session.get(PersonErasure, actor.person_id) is not None:
                raise NotFound
            if normalised_email(email_typed) != person.email:
                raise Invalid("email_differs", "This is not your account's address.", pointer="/email")
            _require_free(await _standing(session, actor), gives_up_money=gives_up_money)
            session.add(PersonErasure(person_id=person.id, name=person.name, email=person.email, asked_at=now))
            await blank_words_of(session, person.id)
            await self._chat.blank_words_of(session, person.id)
            await testimonials.forget_person(session, person.id)
            await _take_out_of_sessions(session, person.id, now)
            await web_sessions.revoke_all(session, person.id, now=now)
            for table in _OWN_ROWS:
                await session.execute(delete(table).where(table.person_id == person.id))
            await session.execute(delete(NoteRequest).where(NoteRequest.client_id == person.id))
            await _take_off_name(session, person.id)
            record(session, actor, "person.erased", f"person:{person.id}", now=now)
        log.info("person erased person=%s", actor.person_id[:8])

    async def run_once(self, now: datetime) -> int:
        """What is left on disk of people who were erased; how many are done now."""
        async with self._db.reading() as session:
            open_ones = select(PersonErasure.person_id).where(PersonErasure.done_at.is_(None)).limit(MOST_AT_ONCE)
            ids: Sequence[str] = (await session.scalars(open_ones)).all()
        done = 0
        for person_id in ids:
            await self._files.forget_person(person_id, now)
            await self._exports.forget(person_id)
            if not await self._archive.forget_person(person_id):
                continue
            async with self._db.transaction() as session:
                await session.execute(
                    update(PersonErasure).where(PersonErasure.person_id == person_id).values(done_at=now)
                )
                record(session, None, "person.erasure_done", f"person:{person_id}", now=now)
            done += 1
        return done


async def _standing(session: AsyncSession, actor: Actor) -> Standing:
    works = select(PersonRole.role).where(PersonRole.person_id == actor.person_id, PersonRole.role != Role.CLIENT)
    ahead = select(func.count()).where(Appointment.client_id == actor.person_id, Appointment.state.in_(OPEN))
    money = select(LedgerAccount.balance_minor, LedgerAccount.currency).where(
        LedgerAccount.owner_id == actor.person_id, LedgerAccount.balance_minor > 0
    )
    return Standing(
        works_here=await session.scalar(works.limit(1)) is not None,
        sessions_ahead=await session.scalar(ahead) or 0,
        money=tuple((int(amount), currency) for amount, currency in await session.execute(money)),
    )


def _require_free(standing: Standing, *, gives_up_money: bool) -> None:
    if standing.works_here:
        raise Conflict("works_here", "You work in this practice. An admin has to take your roles from you first.")
    if standing.sessions_ahead:
        raise Conflict("sessions_ahead", "You have sessions ahead. Cancel them first, or come back after them.")
    if standing.money and not gives_up_money:
        raise Conflict("money_left", "Money or credits are left. Ask for them back first, or give them up.")


async def _take_out_of_sessions(session: AsyncSession, person_id: str, now: datetime) -> None:
    """The words in appointments, ratings and reports; what they count for stays."""
    mine = Appointment.client_id == person_id
    wrote = (mine, Appointment.ended_by == "client")
    await session.execute(update(Appointment).where(*wrote).values(end_reason=None))
    await session.execute(update(Appointment).where(mine).values(client_country=None))
    asked = RescheduleRequest.asked_by == person_id
    await session.execute(update(RescheduleRequest).where(asked).values(reason=""))
    rated = Rating.author_id == person_id
    await session.execute(update(Rating).where(rated).values(feedback="", is_public=False, tags=[]))
    await session.execute(update(ProblemReport).where(ProblemReport.reporter_id == person_id).values(sealed=None))
    guest = (Guest.person_id == person_id, Guest.removed_at.is_(None))
    await session.execute(update(Guest).where(*guest).values(removed_at=now))


async def _take_off_name(session: AsyncSession, person_id: str) -> None:
    nothing = dict.fromkeys(("email_proven_at", "country", "phone", "phone_proven_at", "second_factor_at"))
    await session.execute(
        update(Person)
        .where(Person.id == person_id)
        .values(
            name=NAME,
            email=f"erased-{person_id}@erased.invalid",
            time_zone="UTC",
            wants_sms=False,
            wants_testimonial_reminders=False,
            **nothing,
        )
        .execution_options(synchronize_session=False)
    )
