"""What a person may ask about their own data: to what they agreed and still agree, and which staff read their messages.

Who watched recordings is recording_access.py's.
"""

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

MOST_SHOWN = 200


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
class StaffLook:
    """Somebody of the staff read a conversation of a person's."""

    name: str
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


async def staff_looks(db: Database, actor: Actor, *, most: int | None = MOST_SHOWN) -> tuple[StaffLook, ...]:
    """Who of the staff read this person's messages, the newest first."""
    talks = select(literal("conversation:") + Conversation.id).where(
        or_(Conversation.person_id == actor.person_id, Conversation.practitioner_id == actor.person_id)
    )
    query = (
        select(Person.name, AuditEntry.at)
        .join(Person, Person.id == AuditEntry.actor_id)
        .where(AuditEntry.action == MONITORED_READ, AuditEntry.subject.in_(talks))
        .order_by(AuditEntry.at.desc(), AuditEntry.id)
        .limit(most)
    )
    async with db.reading() as session:
        return tuple(StaffLook(name, at) for name, at in await session.execute(query))
