"""When what may happen to an appointment, and who missed it. Pure: rows' facts and `now` in, answers out.

Every bound of PRODUCT.md §2 stands here once; actions, scheduler, pages and the waiting room ask these functions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from control.appointment_states import Event, State
from control.slots import Span


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long things are waited for; copied into each appointment, so a changed setting moves nothing agreed."""

    hold: timedelta = timedelta(minutes=10)
    opens_before: timedelta = timedelta(minutes=5)
    no_show_after: timedelta = timedelta(minutes=15)
    present_for: timedelta = timedelta(seconds=30)
    grace: timedelta = timedelta(minutes=10)
    left_for: timedelta = timedelta(minutes=10)


BOUNDS = Bounds()


class Party(StrEnum):
    """Who somebody is to one appointment; an admin may act on it without being in it."""

    CLIENT = "client"
    PRACTITIONER = "practitioner"
    ADMIN = "admin"
    GUEST = "guest"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules need to know of one appointment."""

    state: State
    starts_at: datetime
    ends_at: datetime
    started_at: datetime | None = None
    client_admitted: bool = False
    practitioner_admitted: bool = False
    hold_expires_at: datetime | None = None
    awaits_activation: bool = False
    empty_since: datetime | None = None
    """When the last of the people in a running session left; empty while somebody is there."""
    bounds: Bounds = BOUNDS


def opens_at(facts: Facts) -> datetime:
    """From here a paid appointment is confirmed, by whoever comes first."""
    return facts.starts_at - facts.bounds.opens_before


def presence_counts(facts: Facts) -> Span:
    return Span(facts.starts_at - facts.bounds.opens_before, facts.starts_at + facts.bounds.no_show_after)


def start_missed_at(facts: Facts) -> datetime:
    """A session not started by then was missed by somebody."""
    return facts.starts_at + facts.bounds.no_show_after


def client_missed_at(facts: Facts) -> datetime:
    """A client never admitted by then has missed it."""
    return max(facts.starts_at, facts.started_at or facts.starts_at) + facts.bounds.no_show_after


def no_show_from(facts: Facts) -> datetime | None:
    """From when on the practitioner may say that nobody came; None where somebody did, and where it can't be said."""
    if facts.client_admitted:
        return None
    match facts.state:
        case State.CONFIRMED:
            return start_missed_at(facts)
        case State.IN_PROGRESS:
            return client_missed_at(facts)
        case _:
            return None


def ends_by_itself_at(facts: Facts) -> datetime:
    """The end of the grace, or earlier once everybody has been gone long enough after the booked end."""
    grace = facts.ends_at + facts.bounds.grace
    if facts.empty_since is None:
        return grace
    return min(grace, max(facts.ends_at, facts.empty_since) + facts.bounds.left_for)


def was_present(stays: Iterable[Span], facts: Facts) -> bool:
    """At least `present_for` connected in all, inside the time that counts. Overlapping stays count once."""
    counted = presence_counts(facts)
    total = timedelta(0)
    reached = counted.start
    for stay in sorted(stays):
        start, end = max(stay.start, reached), min(stay.end, counted.end)
        if end > start:
            total += end - start
            reached = end
    return total >= facts.bounds.present_for


def missed_before_start(*, practitioner_present: bool, client_present: bool) -> Event:
    """A confirmed session nobody started. The client missed it only where the practitioner was there, alone."""
    if practitioner_present and not client_present:
        return Event.MISS_BY_CLIENT
    return Event.MISS_BY_PRACTITIONER


def ending(facts: Facts) -> Event:
    """What the end of a started session means: completed only if both were let in at some moment."""
    if not facts.client_admitted:
        return Event.MISS_BY_CLIENT
    if not facts.practitioner_admitted:
        return Event.MISS_BY_PRACTITIONER
    return Event.COMPLETE


@dataclass(frozen=True, slots=True)
class Seen:
    """Who was present by the log; asked for only where it decides something."""

    practitioner: bool
    client: bool


def due_since(facts: Facts) -> datetime | None:
    """From when time alone moves this appointment on, whoever notices it first. None for an ended one."""
    match facts.state:
        case State.PENDING:
            return facts.hold_expires_at
        case State.SCHEDULED:
            return facts.starts_at if facts.awaits_activation else opens_at(facts)
        case State.CONFIRMED:
            return start_missed_at(facts)
        case State.IN_PROGRESS:
            end = ends_by_itself_at(facts)
            return end if facts.client_admitted else min(end, client_missed_at(facts))
        case _:
            return None


def due_event(facts: Facts, seen: Seen) -> Event:
    """What time does to an appointment that is due by `due_since`."""
    match facts.state:
        case State.PENDING:
            return Event.EXPIRE
        case State.SCHEDULED:
            return Event.CANCEL if facts.awaits_activation else Event.CONFIRM
        case State.CONFIRMED:
            return missed_before_start(practitioner_present=seen.practitioner, client_present=seen.client)
        case State.IN_PROGRESS:
            return ending(facts)
        case _:
            raise ValueError(f"nothing is due in {facts.state}")


def can_cancel(facts: Facts, party: Party, now: datetime) -> bool:
    """Before the start by the two or an admin, after it by the practitioner. A started session ends instead."""
    if party is Party.GUEST:
        return False
    match facts.state:
        case State.PENDING:
            return party is not Party.PRACTITIONER
        case State.SCHEDULED | State.CONFIRMED:
            return now < facts.starts_at or party is Party.PRACTITIONER
        case _:
            return False


def can_reschedule(facts: Facts, party: Party, now: datetime) -> bool:
    """By the two who meet, until the start."""
    return (
        party in (Party.CLIENT, Party.PRACTITIONER)
        and facts.state in (State.SCHEDULED, State.CONFIRMED)
        and now < facts.starts_at
    )
