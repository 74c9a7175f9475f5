"""The directory: who can be booked, narrowed by what somebody looks for, each with their first free time.

Ten queries for a directory of any size. Practitioners who missed sessions of late stand lower; names decide between
the others. Filters are pure (`fits`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select

from control.appointment_states import State
from control.availability import first_free_of_all
from control.database import Database
from control.models.appointments import Appointment
from control.money.policy import minor_from_price
from control.practitioners import ProfileView, ServiceView, list_practitioners
from control.slots import Span

LOOK_AHEAD = timedelta(days=14)
MISSED_COUNT_FOR = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class Sought:
    """Empty fields find everybody. `price` is at most that much, in each service's own currency."""

    words: str = ""
    topic: str = ""
    language: str = ""
    mode: str = ""
    price: Decimal | None = None
    within_days: int | None = None


@dataclass(frozen=True, slots=True)
class Free:
    service_id: str
    start: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """One practitioner, and when they can be had first in the next two weeks."""

    profile: ProfileView
    free: Free | None


@dataclass(frozen=True, slots=True)
class Directory:
    """`topics` and `languages` are everybody's, found or not: what a search can choose from."""

    found: tuple[Found, ...]
    topics: tuple[str, ...]
    languages: tuple[str, ...]


async def search(db: Database, sought: Sought, *, now: datetime) -> Directory:
    everybody = await list_practitioners(db)
    fitting = [one for one in everybody if fits(one, sought)]
    free = await first_free(db, fitting, sought, now=now)
    missed = await _missed(db, [one.id for one in fitting], now)
    found = [Found(one, free.get(one.id)) for one in fitting]
    if sought.within_days is not None:
        found = [one for one in found if one.free is not None]
    found.sort(key=lambda one: missed.get(one.profile.id, 0))  # stable: by name among equals
    return Directory(
        tuple(found),
        _choices(topic for one in everybody for topic in one.modalities),
        _choices(language for one in everybody for language in one.languages),
    )


async def first_free(
    db: Database, profiles: Iterable[ProfileView], sought: Sought | None = None, *, now: datetime
) -> dict[str, Free]:
    """Practitioner → what can be had first of the services that fit."""
    wanted = sought or Sought()
    services = {
        one.id: [service.id for service in one.services if _service_fits(service, wanted)]
        for one in profiles
        if one.services
    }
    ahead = LOOK_AHEAD if wanted.within_days is None else timedelta(days=wanted.within_days)
    found = await first_free_of_all(db, services, Span(now, now + ahead), now)
    return {who: Free(service_id, start) for who, (service_id, start) in found.items()}


def fits(profile: ProfileView, sought: Sought) -> bool:
    text = _searchable(profile)
    return (
        all(word in text for word in sought.words.casefold().split()[:8])
        and (not sought.topic or sought.topic.casefold() in _folded(profile.modalities))
        and (not sought.language or sought.language.casefold() in _folded(profile.languages))
        and (not (sought.mode or sought.price is not None) or any(_service_fits(s, sought) for s in profile.services))
    )


def _service_fits(service: ServiceView, sought: Sought) -> bool:
    if sought.mode and service.mode != sought.mode:
        return False
    if sought.price is None:
        return True
    most = minor_from_price(f"{sought.price:f}", service.currency)
    return most is not None and service.price_minor <= most


def _searchable(profile: ProfileView) -> str:
    services = (service.name for service in profile.services)
    parts = (profile.name, profile.headline, *profile.modalities, *profile.languages, *services)
    return "\n".join(parts).casefold()


def _folded(words: Iterable[str]) -> set[str]:
    return {word.casefold() for word in words}


def _choices(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(words), key=str.casefold))


async def _missed(db: Database, practitioner_ids: list[str], now: datetime) -> dict[str, int]:
    async with db.reading() as session:
        rows: Any = await session.execute(
            select(Appointment.practitioner_id, func.count())
            .where(
                Appointment.practitioner_id.in_(practitioner_ids),
                Appointment.state == State.NO_SHOW_PRACTITIONER,
                Appointment.starts_at > now - MISSED_COUNT_FOR,
            )
            .group_by(Appointment.practitioner_id)
        )
        return dict(rows.all())
