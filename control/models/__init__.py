"""Every table, one file per business noun. Importing this package registers them all on `Base.metadata`."""

from control.models import (
    appointments,
    audit,
    calendars,
    consents,
    idempotency,
    money,
    notices,
    outbox,
    people,
    practice,
    purchases,
    ratings,
    recordings,
)

__all__ = [
    "appointments",
    "audit",
    "calendars",
    "consents",
    "idempotency",
    "money",
    "notices",
    "outbox",
    "people",
    "practice",
    "purchases",
    "ratings",
    "recordings",
]
