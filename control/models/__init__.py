"""Every table, one file per business noun. Importing this package registers them all on `Base.metadata`."""

from control.models import (
    appointments,
    audit,
    calendars,
    chat,
    client_files,
    consents,
    factors,
    idempotency,
    money,
    notices,
    outbox,
    people,
    practice,
    problems,
    ratings,
    recordings,
)

__all__ = [
    "appointments",
    "audit",
    "calendars",
    "chat",
    "client_files",
    "consents",
    "factors",
    "idempotency",
    "money",
    "notices",
    "outbox",
    "people",
    "practice",
    "problems",
    "ratings",
    "recordings",
]
