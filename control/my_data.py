"""What a person may ask about their own data: to what they agreed and still agree, and who looked at it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import literal, or_, select

from control.accounts import Actor
from control.consents import Answer, Purpose
from control.database import Database
from control.desk import MONITORED_READ
from control.models.appointments import Appointment
from control.models.audit import AuditEntry
from control.models.consents import Consent, ConsentText
from control.models.messages import Conversation
from control.models.people import Person
from control.models.recordings import Recording

MOST_SHOWN = 200
RECORDING_VIEWED = "recording.viewed"
READS = (MONITORED_READ, RECORDING_VIEWED)
"""The actions of the audit log by which somebody has seen what is of one person."""


@dataclass(frozen=True, slots=True)
class ConsentLine:
    """One answer a person gave. `stands`: a yes that holds now, and can be taken back."""

    id: str
    purpose: Purpose
    answer: Answer
    answered_at: datetime
    title: str
    version: int
    appointment_id: str
    session_at: datetime
    practitioner_name: str
    stands: bool


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody saw something of a person's."""

    name: str
    action: str
    at: datetime


async def consent_lines(db: Database, actor: Actor) -> tuple[ConsentLine, ...]:
    """Every answer, the newest first. Care is agreed to once per practitioner, recording at each appointment."""
    query = (
        select(Consent, ConsentText, Appointment, Person.name)
        .join(ConsentText, ConsentText.id == Consent.text_id)
        .join(Appointment, Appointment.id == Consent.appointment_id)
        .join(Person, Person.id == Appointment.practitioner_id)
        .where(Consent.person_id == actor.person_id)
        .order_by(Consent.number.desc())
        .limit(MOST_SHOWN)
    )
    async with db.reading() as session:
        found = (await session.execute(query)).all()
    lines: list[ConsentLine] = []
    seen: set[tuple[str, str]] = set()
    for consent, text, appointment, name in found:
        about = appointment.practitioner_id if consent.purpose == Purpose.CARE else appointment.id
        newest = (consent.purpose, about) not in seen
        seen.add((consent.purpose, about))
        lines.append(
            ConsentLine(
                id=consent.id,
                purpose=Purpose(consent.purpose),
                answer=Answer(consent.answer),
                answered_at=consent.answered_at,
                title=text.title,
                version=text.version,
                appointment_id=appointment.id,
                session_at=appointment.starts_at,
                practitioner_name=name,
                stands=newest and consent.answer == Answer.YES,
            )
        )
    return tuple(lines)


async def looks_at(db: Database, actor: Actor) -> tuple[Look, ...]:
    """Who else read this person's messages or saw a recording of their sessions, the newest first."""
    talks = select(literal("conversation:") + Conversation.id).where(
        or_(Conversation.person_id == actor.person_id, Conversation.practitioner_id == actor.person_id)
    )
    recordings = (
        select(literal("recording:") + Recording.id)
        .join(Appointment, Appointment.id == Recording.appointment_id)
        .where(Appointment.client_id == actor.person_id)
    )
    query = (
        select(AuditEntry, Person.name)
        .join(Person, Person.id == AuditEntry.actor_id)
        .where(
            AuditEntry.action.in_(READS),
            AuditEntry.actor_id != actor.person_id,
            or_(AuditEntry.subject.in_(talks), AuditEntry.subject.in_(recordings)),
        )
        .order_by(AuditEntry.at.desc(), AuditEntry.id)
        .limit(MOST_SHOWN)
    )
    async with db.reading() as session:
        return tuple(Look(name, entry.action, entry.at) for entry, name in await session.execute(query))
