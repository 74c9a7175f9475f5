"""Which problem reports a person must not know of, wherever one leaves a trace: lists, the audit log, the outbox.

"I feel uncomfortable or unsafe" never reaches the practitioner of that session, even as an admin of the practice.
"""

from sqlalchemy import Select, select

from control.accounts import Actor
from control.models.appointments import Appointment
from control.models.problems import ProblemKind, ProblemReport


def kept_from(reader: Actor) -> Select[str]:
    """The ids of these reports."""
    return (
        select(ProblemReport.id)
        .join(Appointment, Appointment.id == ProblemReport.appointment_id)
        .where(Appointment.practitioner_id == reader.person_id, ProblemReport.reporter_id != reader.person_id)
        .where(ProblemReport.kind == ProblemKind.UNSAFE)
    )
