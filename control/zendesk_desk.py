"""The help desk on Zendesk: what is written here becomes comments of a ticket, what is answered there comes back.

    message of an enquiry, or to the practice ─▶ job row, same transaction ─▶ run_once ─▶ ticket, comment
    webhook "ticket n changed" ─▶ its comments are fetched ─▶ new ones become messages

The conversation here is whole without Zendesk. While Zendesk can't be reached jobs wait, in order, with back-off; after
FALL_BACK_AFTER tries the answer leaves by our own e-mail and its comment is told there later as an internal one, so
nobody waits for Zendesk and nobody is written to twice.
"""

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor, add_person, find_person
from control.config import ZendeskSettings
from control.database import Database, insert_into
from control.errors import NotFound
from control.message_queries import SUPPORT_NAME, told_elsewhere
from control.messages import MOST_TEXT_LENGTH, MessageRules, add_message, mail_answer
from control.models.messages import ZENDESK_COMMENT, Conversation, DeskJob, InboundMail, Message
from control.models.my_data import PersonErasure
from control.models.people import Person
from control.zendesk import Comment, NotReached, Ticket, Zendesk

log = logging.getLogger(__name__)

FIRST_BACK_OFF = timedelta(seconds=30)
LONGEST_BACK_OFF = timedelta(hours=1)
FALL_BACK_AFTER = 3  # tries, about two minutes: then the answer leaves by our own e-mail
MOST_TRIES = 48  # at an hour each, about two days; then the job is given up
MOST_AT_ONCE = 20
DESK_EMAIL = "help-desk@zendesk.invalid"
"""Under this address stands who answers in Zendesk: nobody can sign in with it."""


_Words = tuple[bool, str]
"""Whether the ticket's requester said it, and what: by this a comment is told from another."""


@dataclass(frozen=True)
class _Work:
    job_id: str
    tries: int
    conversation: Conversation
    message: Message
    text: str
    person: Person

    @property
    def by_person(self) -> bool:
        return self.message.author_id == self.person.id


class ZendeskDesk:
    def __init__(self, db: Database, rules: MessageRules, zendesk: Zendesk, practice_name: str) -> None:
        self._db = db
        self._rules = rules
        self._zendesk = zendesk
        self._practice_name = practice_name

    async def close(self) -> None:
        await self._zendesk.close()

    async def run_once(self, now: datetime) -> int:
        """The jobs that are due, the oldest first; a conversation's later ones wait for its earlier."""
        async with self._db.reading() as session:
            due = await session.execute(
                select(DeskJob.id, DeskJob.conversation_id, DeskJob.next_attempt_at)
                .where(DeskJob.state == "waiting")
                .order_by(DeskJob.created_at, DeskJob.seq)
                .limit(500)
            )
            waiting = due.all()
        heads: dict[str, tuple[str, datetime]] = {}
        for job_id, conversation_id, at in waiting:
            heads.setdefault(conversation_id, (job_id, at))
        ready = [job_id for job_id, at in heads.values() if at <= now][:MOST_AT_ONCE]
        for job_id in ready:
            await self._do(job_id, now)
        return len(ready)

    async def _do(self, job_id: str, now: datetime) -> None:
        work = await self._load(job_id)
        if work is None:
            return
        try:
            ticket = await self._send(work)
        except NotReached as error:
            await self._put_off(work, error, now)
            return
        async with self._db.transaction() as session:
            await _settle(session, job_id, state="sent", ticket_id=ticket.id, last_error=None)

    async def _load(self, job_id: str) -> _Work | None:
        """None, and the job is given up, where the person has been erased: nothing more of them goes anywhere."""
        async with self._db.transaction() as session:
            job = await session.get_one(DeskJob, job_id)
            row = await session.get_one(Conversation, job.conversation_id)
            if await session.get(PersonErasure, row.person_id) is not None:
                await _settle(session, job_id, state="dead", last_error="the person was erased")
                return None
            message = (
                await session.scalars(select(Message).where(Message.conversation_id == row.id, Message.seq == job.seq))
            ).one()
            person = await session.get_one(Person, row.person_id)
        text = told_elsewhere(self._rules.sealer, message)
        return _Work(job.id, job.tries, row, message, text, person)

    async def _send(self, work: _Work) -> Ticket:
        """The ticket it is in: opened with it, commented, or found to have it from a try whose answer was lost."""
        row = work.conversation
        # What our own e-mail has carried meanwhile must not be sent to the person again.
        public = work.by_person or work.tries < FALL_BACK_AFTER
        ticket = await self._zendesk.find_ticket(row.id)
        if ticket is None and not work.by_person:
            raise NotReached("no ticket that can be written in", permanent=True)
        if ticket is None:
            ticket = await self._zendesk.open_ticket(
                row.id,
                f"Enquiry at {self._practice_name}",
                work.person.name,
                work.person.email,
                work.text,
                public=public,
                key=work.job_id,
            )
        elif not await self._is_there(work, ticket):
            await self._zendesk.comment(ticket, work.text, by_requester=work.by_person, public=public)
        log.info("zendesk told conversation=%s seq=%d", row.id[:8], work.message.seq)
        return ticket

    async def _is_there(self, work: _Work, ticket: Ticket) -> bool:
        comments = await self._zendesk.comments(ticket.id)
        async with self._db.reading() as session:
            told = await self._told(session, work.conversation, ticket, DeskJob.state == "sent")
            others = await _not_of(session, told, Counter(), ticket, comments)
        return _words(work.text, by_person=work.by_person) in [_words_of(one, ticket) for one in others]

    async def _put_off(self, work: _Work, error: NotReached, now: datetime) -> None:
        tries = work.tries + 1
        state = "dead" if error.permanent or tries >= MOST_TRIES else "waiting"
        wait = min(FIRST_BACK_OFF * (1 << min(tries - 1, 12)), LONGEST_BACK_OFF)
        if error.retry_after_s is not None:
            wait = max(wait, timedelta(seconds=min(error.retry_after_s, 3_600)))
        log.info("zendesk not reached job=%s tries=%d reason=%s", work.job_id[:8], tries, error)
        falls_back = tries == FALL_BACK_AFTER or (state == "dead" and tries < FALL_BACK_AFTER)
        async with self._db.transaction() as session:
            values = {"state": state, "tries": tries, "next_attempt_at": now + wait, "last_error": str(error)[:200]}
            if await _settle(session, work.job_id, **values) and falls_back and not work.by_person:
                row = await session.get_one(Conversation, work.conversation.id)
                author = await session.get_one(Person, work.message.author_id)
                await mail_answer(session, self._rules, row, author.name, work.text, now=now)

    # -- coming back ---------------------------------------------------------------------------------------------

    async def take(self, ticket_id: str, now: datetime) -> int:
        """Fetch a ticket's comments and keep what is new; how many that were. Raises NotReached, NotFound."""
        ticket, conversation_id = await self._zendesk.ticket(ticket_id)
        comments = await self._zendesk.comments(ticket.id)
        async with self._db.transaction() as session:
            row = await session.get(Conversation, conversation_id, with_for_update=True)
            if row is None or await session.get(PersonErasure, row.person_id) is not None:
                raise NotFound
            # One that waits may have arrived, its answer lost or on its way; so may one given up after several tries.
            unsure = or_(DeskJob.state == "waiting", and_(DeskJob.state == "dead", DeskJob.tries > 1))
            perhaps = await self._told(session, row, ticket, unsure)
            told = await self._told(session, row, ticket, DeskJob.state == "sent")
            new = [one for one in await _not_of(session, told, perhaps, ticket, comments) if one.public]
            return sum([await self._keep(session, row, ticket, one, now) for one in new])

    async def _told(
        self, session: AsyncSession, row: Conversation, ticket: Ticket, which: ColumnElement[bool]
    ) -> Counter[_Words]:
        """What was written here and went to this ticket: each stands for one of its comments.

        Where none is noted the job waits, or is from before tickets were noted.
        """
        here = or_(DeskJob.ticket_id == ticket.id, DeskJob.ticket_id.is_(None))
        went = select(DeskJob.seq).where(DeskJob.conversation_id == row.id, here, which)
        rows = await session.scalars(select(Message).where(Message.conversation_id == row.id, Message.seq.in_(went)))
        return Counter(
            _words(told_elsewhere(self._rules.sealer, one), by_person=one.author_id == row.person_id) for one in rows
        )

    async def _keep(
        self, session: AsyncSession, row: Conversation, ticket: Ticket, comment: Comment, now: datetime
    ) -> bool:
        text = comment.body.strip()[:MOST_TEXT_LENGTH]
        added = await session.execute(
            insert_into(session, InboundMail)
            .values(fingerprint=_fingerprint(comment), received_at=now)
            .on_conflict_do_nothing()
        )
        if cast(CursorResult[Any], added).rowcount != 1 or not text:
            return False
        by_person = comment.author_id == ticket.requester_id
        person = await session.get_one(Person, row.person_id) if by_person else await _desk_person(session, now)
        writer = Actor(person.id, person.role_names, person.name, person.time_zone)
        await add_message(session, self._rules, writer, row, text, from_zendesk=True, now=now)
        return True


async def _not_of(
    session: AsyncSession,
    told: Counter[_Words],
    perhaps: Counter[_Words],
    ticket: Ticket,
    comments: Sequence[Comment],
) -> list[Comment]:
    """Those that were neither told from here (some only perhaps) nor taken before.

    What was told is looked for under its author first, then under any: in Zendesk a ticket may get another requester.
    """
    before = await session.scalars(
        select(InboundMail.fingerprint).where(InboundMail.fingerprint.in_(map(_fingerprint, comments)))
    )
    known = set(before)
    unknown = [one for one in comments if _fingerprint(one) not in known]
    others = _without(unknown, told, lambda one: _words_of(one, ticket))
    others = _without(others, perhaps, lambda one: _words_of(one, ticket))
    by_anybody = Counter(text for _, text in told.elements())
    return _without(others, by_anybody, lambda one: _words_of(one, ticket)[1])


def _without(comments: Sequence[Comment], told: Counter[Any], key: Callable[[Comment], Hashable]) -> list[Comment]:
    """Each of `told` stands for one comment; what stands for none is left in it."""
    left = []
    for one in comments:
        if told[key(one)]:
            told[key(one)] -= 1
        else:
            left.append(one)
    return left


async def _settle(session: AsyncSession, job_id: str, **values: Any) -> bool:
    changed = await session.execute(
        update(DeskJob).where(DeskJob.id == job_id, DeskJob.state == "waiting").values(**values)
    )
    return cast(CursorResult[Any], changed).rowcount == 1


async def _desk_person(session: AsyncSession, now: datetime) -> Person:
    found = await find_person(session, DESK_EMAIL)
    return found or await add_person(session, email=DESK_EMAIL, name=SUPPORT_NAME, roles=(), now=now)


def _fingerprint(comment: Comment) -> str:
    return f"{ZENDESK_COMMENT}{comment.id}"


def _words(text: str, *, by_person: bool) -> _Words:
    """Zendesk changes the white space of what it is given."""
    return by_person, " ".join(text.split())


def _words_of(comment: Comment, ticket: Ticket) -> _Words:
    return _words(comment.body, by_person=comment.author_id == ticket.requester_id)


def desk_from(zendesk: ZendeskSettings, db: Database, rules: MessageRules, practice_name: str) -> ZendeskDesk | None:
    """None without Zendesk's address and token: then the help desk is ours alone."""
    if zendesk.url is None or zendesk.token is None:
        return None
    client = Zendesk(zendesk.url, zendesk.email, zendesk.token.get_secret_value())
    return ZendeskDesk(db, rules, client, practice_name)
