"""The life of an appointment as a table: which event leads from which state to which (PRODUCT.md §2).

Pure words and one literal table. Whether an event may happen now and by whom is control/lifecycle.py; what
happens with it (money, notices) is in the actions of control/appointments.py and control/booking.py.
"""

from enum import StrEnum


class State(StrEnum):
    PENDING = "pending"
    SCHEDULED = "scheduled"
    CONFIRMED = "confirmed"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    NO_SHOW_CLIENT = "no_show_client"
    NO_SHOW_PRACTITIONER = "no_show_practitioner"


class Event(StrEnum):
    SECURE = "secure"  # money is held, or nothing is to be paid
    EXPIRE = "expire"  # the hold ran out
    CONFIRM = "confirm"
    START = "start"
    COMPLETE = "complete"
    CANCEL = "cancel"
    RESCHEDULE = "reschedule"  # both agreed on another time
    MISS_BY_PRACTITIONER = "miss_by_practitioner"
    MISS_BY_CLIENT = "miss_by_client"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.PENDING, Event.SECURE): State.SCHEDULED,
    (State.PENDING, Event.EXPIRE): State.EXPIRED,
    (State.PENDING, Event.CANCEL): State.CANCELLED,
    (State.SCHEDULED, Event.CONFIRM): State.CONFIRMED,
    (State.SCHEDULED, Event.CANCEL): State.CANCELLED,
    (State.SCHEDULED, Event.RESCHEDULE): State.SCHEDULED,
    (State.CONFIRMED, Event.START): State.IN_PROGRESS,
    (State.CONFIRMED, Event.CANCEL): State.CANCELLED,
    (State.CONFIRMED, Event.RESCHEDULE): State.SCHEDULED,
    (State.CONFIRMED, Event.MISS_BY_PRACTITIONER): State.NO_SHOW_PRACTITIONER,
    (State.CONFIRMED, Event.MISS_BY_CLIENT): State.NO_SHOW_CLIENT,
    (State.IN_PROGRESS, Event.COMPLETE): State.COMPLETED,
    (State.IN_PROGRESS, Event.MISS_BY_PRACTITIONER): State.NO_SHOW_PRACTITIONER,
    (State.IN_PROGRESS, Event.MISS_BY_CLIENT): State.NO_SHOW_CLIENT,
}

SLOT_HOLDING = (State.PENDING, State.SCHEDULED, State.CONFIRMED, State.IN_PROGRESS)
"""States that keep the practitioner's time; the database's overlap rules name the same four (migration 0002)."""

OPEN = SLOT_HOLDING
ENDED = tuple(state for state in State if state not in OPEN)


def next_state(state: State, event: Event) -> State | None:
    """None: the event has no meaning in this state."""
    return TRANSITIONS.get((state, event))


def sources_of(event: Event) -> tuple[State, ...]:
    return tuple(state for state, known in TRANSITIONS if known is event)
