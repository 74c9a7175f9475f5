"""Consent: a person's dated answer to one versioned text for one purpose (PRODUCT.md §1, §4).

`care` belongs to a practitioner's text: given once per version it stands for every later session, and is shown
again at each. `recording` is asked at every appointment, of everyone in it. Answers are only added; the newest one
counts, and a withdrawal is an answer. A changed text is a new version, to which nobody has agreed yet.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from control.accounts import Actor
from control.appointment_moves import load, party_in, session_facts
from control.appointment_states import ENDED, State
from control.audit import record
from control.database import Database, new_id, publish
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.lifecycle import Party
from control.models.appointments import Appointment, Guest
from control.models.consents import Consent, ConsentText
from control.models.people import Person, Role
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.session_events import ConsentChanged

PRACTICE = "practice"
"""Owner of the texts that are the same for every practitioner."""


class Purpose(StrEnum):
    CARE = "care"
    RECORDING = "recording"


class Answer(StrEnum):
    YES = "yes"
    NO = "no"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Text:
    id: str
    purpose: Purpose
    version: int
    title: str
    body: str
    video_url: str | None


@dataclass(frozen=True, slots=True)
class Given:
    """One person's newest answer for one purpose. `consent_id` is the number of the receipt."""

    consent_id: str
    person_id: str
    purpose: Purpose
    text_id: str
    text_version: int
    appointment_id: str
    answer: Answer
    answered_at: datetime


def owner_of(purpose: Purpose, practitioner_id: str) -> str:
    return practitioner_id if purpose is Purpose.CARE else PRACTICE


# -- reading -----------------------------------------------------------------------------------------------------


async def current_text(db: Database, purpose: Purpose, practitioner_id: str) -> Text:
    """The newest version. Raises NotFound if the practice has written none."""
    async with db.reading() as session:
        return await newest_text(session, purpose, practitioner_id)


async def newest_text(session: AsyncSession, purpose: Purpose, practitioner_id: str) -> Text:
    row = await session.scalar(
        select(ConsentText)
        .where(ConsentText.purpose == purpose, ConsentText.owner == owner_of(purpose, practitioner_id))
        .order_by(ConsentText.version.desc())
        .limit(1)
    )
    if row is None:
        raise NotFound("consent_text_missing", "There is no text for this consent yet.")
    return Text(row.id, Purpose(row.purpose), row.version, row.title, row.body, row.video_url)


async def standing(db: Database, appointment_id: str) -> tuple[Given, ...]:
    """The newest answers that count here: recording given at it, care to its practitioner's newest text."""
    async with db.reading() as session:
        return await standing_in(session, await load(session, appointment_id))


async def standing_in(session: AsyncSession, row: Appointment) -> tuple[Given, ...]:
    newest = aliased(ConsentText)
    newest_care = (
        select(newest.id)
        .where(newest.purpose == Purpose.CARE, newest.owner == row.practitioner_id)
        .order_by(newest.version.desc())
        .limit(1)
        .scalar_subquery()
    )
    counts = or_(
        and_(Consent.purpose == Purpose.RECORDING, Consent.appointment_id == row.id),
        and_(
            Consent.purpose == Purpose.CARE,
            Consent.text_id == newest_care,
            or_(
                Consent.person_id.in_((row.client_id, row.practitioner_id)),
                Consent.person_id.in_(select(Guest.person_id).where(Guest.appointment_id == row.id)),
            ),
        ),
    )
    last = (
        select(func.max(Consent.number).label("number"))
        .where(counts)
        .group_by(Consent.person_id, Consent.purpose)
        .subquery()
    )
    found = await session.execute(
        select(Consent, ConsentText.version)
        .join(last, last.c.number == Consent.number)
        .join(ConsentText, ConsentText.id == Consent.text_id)
    )
    return tuple(_given(consent, version) for consent, version in found)


async def standing_of(db: Database, appointment_ids: Iterable[str]) -> Mapping[str, tuple[Given, ...]]:
    """`standing` of several appointments, each present. Three queries, however many they are."""
    async with db.reading() as session:
        rows = (await session.scalars(select(Appointment).where(Appointment.id.in_(tuple(appointment_ids))))).all()
        newest: dict[str, str] = {}
        texts = await session.execute(
            select(ConsentText.owner, ConsentText.id)
            .where(ConsentText.purpose == Purpose.CARE, ConsentText.owner.in_({row.practitioner_id for row in rows}))
            .order_by(ConsentText.version)
        )
        newest.update((owner, text_id) for owner, text_id in texts)
        asked = and_(Consent.purpose == Purpose.RECORDING, Consent.appointment_id.in_({row.id for row in rows}))
        invited = select(Guest.person_id).where(Guest.appointment_id.in_({row.id for row in rows}))
        people = {row.client_id for row in rows} | {row.practitioner_id for row in rows}
        care = and_(
            Consent.purpose == Purpose.CARE,
            Consent.text_id.in_(newest.values()),
            or_(Consent.person_id.in_(people), Consent.person_id.in_(invited)),
        )
        found = await session.execute(
            select(Consent, ConsentText.version)
            .join(ConsentText, ConsentText.id == Consent.text_id)
            .where(or_(asked, care))
            .order_by(Consent.number)
        )
        last = {
            (one.person_id, one.purpose, one.text_id if one.purpose == Purpose.CARE else one.appointment_id): _given(
                one, version
            )
            for one, version in found
        }
    return {
        row.id: tuple(given for (_, _, at), given in last.items() if at in (row.id, newest.get(row.practitioner_id)))
        for row in rows
    }


def _given(consent: Consent, version: int) -> Given:
    return Given(
        consent.id,
        consent.person_id,
        Purpose(consent.purpose),
        consent.text_id,
        version,
        consent.appointment_id,
        Answer(consent.answer),
        consent.answered_at,
    )


def answer_of(given: tuple[Given, ...], person_id: str, purpose: Purpose) -> Given | None:
    return next((one for one in given if one.person_id == person_id and one.purpose is purpose), None)


async def history_of(db: Database, actor: Actor) -> tuple[Given, ...]:
    """Every answer a person ever gave, newest first."""
    async with db.reading() as session:
        found = await session.execute(
            select(Consent, ConsentText.version)
            .join(ConsentText, ConsentText.id == Consent.text_id)
            .where(Consent.person_id == actor.person_id)
            .order_by(Consent.number.desc())
            .limit(500)
        )
        return tuple(_given(consent, version) for consent, version in found)


# -- answering ---------------------------------------------------------------------------------------------------


async def answer(
    db: Database,
    actor: Actor,
    appointment_id: str,
    purpose: Purpose,
    said: Answer,
    text_id: str,
    *,
    now: datetime,
) -> Given:
    """Keep an answer to the text the person has just seen; the same answer again returns the one that stands.

    Raises Conflict("text_changed") if that text is not the newest one any more, Conflict("not_open") before the
    session is paid and after it has ended.
    """
    async with db.transaction() as session:
        row = await _answerable(session, actor, appointment_id, purpose, said)
        text = await newest_text(session, purpose, row.practitioner_id)
        if text.id != text_id:
            raise Conflict("text_changed", "This text has changed. Please read it again.", text_id=text.id)
        before = answer_of(await standing_in(session, row), actor.person_id, purpose)
        if before is not None and before.answer is said and before.appointment_id == row.id:
            return before
        return await _keep(session, actor, row, text, said, now)


async def withdraw(db: Database, actor: Actor, appointment_id: str, purpose: Purpose, *, now: datetime) -> Given:
    """Take a yes back, at any time, also during the session. Raises Conflict("nothing_to_withdraw")."""
    async with db.transaction() as session:
        row = await _locked(session, appointment_id)
        if await party_in(session, actor, row) is Party.ADMIN:
            raise NotFound
        before = answer_of(await standing_in(session, row), actor.person_id, purpose)
        if before is not None and before.answer is Answer.WITHDRAWN:
            return before
        if before is None or before.answer is not Answer.YES:
            raise Conflict("nothing_to_withdraw", "You have not agreed to this.")
        text = await session.get_one(ConsentText, before.text_id)
        seen = Text(text.id, purpose, text.version, text.title, text.body, text.video_url)
        return await _keep(session, actor, row, seen, Answer.WITHDRAWN, now)


async def _locked(session: AsyncSession, appointment_id: str) -> Appointment:
    """One answer after the other: the same one given twice at once is kept once."""
    row = await load(session, appointment_id)
    await session.refresh(row, with_for_update=True)
    return row


async def _answerable(
    session: AsyncSession, actor: Actor, appointment_id: str, purpose: Purpose, said: Answer
) -> Appointment:
    row = await _locked(session, appointment_id)
    party = await party_in(session, actor, row)
    if party is Party.ADMIN:
        raise NotFound
    if row.state in ENDED or row.state == State.PENDING:
        raise Conflict("not_open", "This can't be answered now.", status_now=row.state)
    if purpose is Purpose.CARE:
        if party not in (Party.CLIENT, Party.GUEST):
            raise Forbidden("not_client", "This consent is the client's.")
        if said is not Answer.YES:
            raise Invalid("answer_invalid", "This consent is given or not given.")
    elif not row.recording_offered:
        raise Conflict("recording_not_offered", "This session is not recorded.")
    return row


async def _keep(
    session: AsyncSession, actor: Actor, row: Appointment, text: Text, said: Answer, now: datetime
) -> Given:
    consent = Consent(
        id=new_id(),
        person_id=actor.person_id,
        purpose=text.purpose,
        text_id=text.id,
        appointment_id=row.id,
        answer=said,
        answered_at=now,
    )
    session.add(consent)
    await session.flush()
    if text.purpose is Purpose.RECORDING and actor.person_id != row.practitioner_id:
        about = await session_facts(session, row)
        extra = {"answer": said, "version": text.version, "consent_id": consent.id}
        await enqueue(session, Notice(NoticeKind.RECORDING_CONSENT_RECEIPT, actor.person_id, about, extra), now=now)
    detail = {"purpose": text.purpose, "answer": said, "text_version": text.version}
    record(session, actor, "consent.answer", f"appointment:{row.id}", detail, now=now)
    publish(session, ConsentChanged(row.id, actor.person_id, text.purpose, said))
    return Given(consent.id, actor.person_id, text.purpose, text.id, text.version, row.id, said, now)


async def publish_text(
    db: Database,
    actor: Actor | None,
    purpose: Purpose,
    owner: str,
    *,
    title: str,
    body: str,
    video_url: str | None = None,
    now: datetime,
) -> Text:
    """A new version. By the owning practitioner, an admin, or the system (demo, set-up).

    The same words again are refused: everybody would be asked anew for nothing.
    """
    if actor is not None and not actor.is_any(Role.ADMIN) and actor.person_id != owner:
        raise Forbidden("not_yours", "This text is not yours.")
    async with db.transaction() as session:
        if owner != PRACTICE and await session.get(Person, owner) is None:
            raise NotFound
        own = select(ConsentText).where(ConsentText.purpose == purpose, ConsentText.owner == owner)
        last = await session.scalar(own.order_by(ConsentText.version.desc()).limit(1))
        if last is not None and (last.title, last.body, last.video_url) == (title, body, video_url):
            raise Invalid("text_unchanged", "This is word for word the text that is in force: change it first.")
        row = ConsentText(
            id=new_id(),
            purpose=purpose,
            owner=owner,
            version=(last.version if last else 0) + 1,
            title=title,
            body=body,
            video_url=video_url,
            created_at=now,
        )
        session.add(row)
        record(session, actor, "consent.text", f"consent_text:{row.id}", {"version": row.version}, now=now)
        return Text(row.id, purpose, row.version, title, body, video_url)
