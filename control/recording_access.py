"""Who looked at recordings of a person: the access log that everybody who was recorded may read about themselves.

Read from the audit log, so it goes on telling of recordings that have been deleted since. Writes nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select

from control.accounts import Actor
from control.database import Database
from control.language import N_, t
from control.models.appointments import Appointment, Guest
from control.models.audit import AuditEntry
from control.models.people import Person
from control.models.recordings import Recording
from control.paging import Page, Place, Wanted, after, cut

LOOKS = {
    "recording.viewed": N_("Watched it"),
    "recording.downloaded": N_("Downloaded it"),
    "recording.previewed": N_("Saw its small picture"),
    "recording.shared": N_("Shared it with the client"),
    "recording.unshared": N_("Stopped sharing it"),
    "recording.deleted": N_("Deleted it"),
    "recording.person_erased": N_("Deleted what was recorded of one person"),
    "recording.held": N_("Put it under a legal hold"),
    "recording.released": N_("Ended the legal hold"),
}
PRACTICE = N_("The practice's server")


@dataclass(frozen=True, slots=True)
class Look:
    at: datetime
    who: str
    is_you: bool
    what: str
    recording_id: str
    service_name: str
    starts_at: datetime
    """Of the session that was recorded."""


async def looks_at(db: Database, actor: Actor, wanted: Wanted) -> Page[Look]:
    """Newest first: every look at, and deed on, a recording of a session in which the actor took part."""
    guest = select(Guest.appointment_id).where(Guest.person_id == actor.person_id)
    took_part = or_(
        Appointment.client_id == actor.person_id,
        Appointment.practitioner_id == actor.person_id,
        Appointment.id.in_(guest),
    )
    query = (
        select(AuditEntry, Recording.id, Appointment.service_name, Appointment.starts_at, Person.name)
        .join(Recording, AuditEntry.subject == "recording:" + Recording.id)
        .join(Appointment, Appointment.id == Recording.appointment_id)
        .outerjoin(Person, Person.id == AuditEntry.actor_id)
        .where(took_part, AuditEntry.action.in_(LOOKS))
    )
    async with db.reading() as session:
        found = (await session.execute(after(query, wanted, AuditEntry.at, AuditEntry.id))).all()
    page = cut(found, wanted, lambda row: Place(row[0].at, row[0].id))
    looks = tuple(
        Look(
            at=entry.at,
            who=name or t(PRACTICE),
            is_you=entry.actor_id == actor.person_id,
            what=t(LOOKS[entry.action]),
            recording_id=recording_id,
            service_name=service_name,
            starts_at=starts_at,
        )
        for entry, recording_id, service_name, starts_at, name in page.rows
    )
    return Page(looks, page.next_cursor)
