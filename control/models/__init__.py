"""Every table, one file per business noun. Importing this package registers them all on `Base.metadata`."""

from control.models import (
    appointments,
    audit,
    calendars,
    client_files,
    consents,
    factors,
    idempotency,
    messages,
    money,
    notices,
    outbox,
    people,
    practice,
    quality,
    ratings,
    recordings,
)

__all__ = [
    "appointments",
    "audit",
    "calendars",
    "client_files",
    "consents",
    "factors",
    "idempotency",
    "messages",
    "money",
    "notices",
    "outbox",
    "people",
    "practice",
    "quality",
    "ratings",
    "recordings",
]
