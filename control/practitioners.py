"""Practitioners: their public profile and services. Reads for the directory and the profile page, and set-up actions.

Two queries for a directory of any size. What is not published is not there for anybody else.
"""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.database import Database, new_id
from control.errors import Forbidden, Invalid, NotFound
from control.models.people import Person, PersonRole, Role
from control.models.practice import PractitionerProfile, Service
from control.models.ratings import Rating
from control.money.policy import price_allowed
from control.ratings import Summary, is_shown, summary_of

MOST_LISTED = 200
MODES = ("video", "audio", "chat")


@dataclass(frozen=True, slots=True)
class ServiceView:
    id: str
    name: str
    description: str
    mode: str
    length_minutes: int
    price_minor: int
    currency: str
    minimum_notice_minutes: int
    booking_window_days: int
    recording_offered: bool
    is_discovery: bool


@dataclass(frozen=True, slots=True)
class ProfileView:
    id: str
    name: str
    time_zone: str
    headline: str
    about: str
    modalities: tuple[str, ...]
    languages: tuple[str, ...]
    aftercare: str
    late_window_minutes: int
    late_fee_bp: int
    no_show_fee_bp: int
    rating: Summary
    services: tuple[ServiceView, ...]


@dataclass(frozen=True, slots=True)
class NewProfile:
    headline: str = ""
    about: str = ""
    modalities: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    aftercare: str = ""
    late_window_minutes: int = 24 * 60
    late_fee_bp: int = 5_000
    no_show_fee_bp: int = 10_000


@dataclass(frozen=True, slots=True)
class NewService:
    name: str
    price_minor: int
    currency: str
    description: str = ""
    mode: str = "video"
    length_minutes: int = 60
    buffer_before_minutes: int = 0
    buffer_after_minutes: int = 0
    minimum_notice_minutes: int = 120
    booking_window_days: int = 60
    recording_offered: bool = False
    is_discovery: bool = False
    other_lengths: tuple[int, ...] = ()
    """Minutes a session may be moved to instead; the price stays."""
    id: str = field(default_factory=new_id)


# -- reading -----------------------------------------------------------------------------------------------------


async def list_practitioners(db: Database) -> tuple[ProfileView, ...]:
    """Published practitioners by name."""
    async with db.reading() as session:
        found = await session.execute(
            select(Person, PractitionerProfile)
            .join(PractitionerProfile, PractitionerProfile.person_id == Person.id)
            .where(PractitionerProfile.published.is_(True))
            .order_by(Person.name, Person.id)
            .limit(MOST_LISTED)
        )
        return tuple(await _profiles(session, [(person, profile) for person, profile in found]))


async def get_profile(db: Database, practitioner_id: str) -> ProfileView:
    """Raises NotFound if there is no such published profile."""
    async with db.reading() as session:
        found = (
            await session.execute(
                select(Person, PractitionerProfile)
                .join(PractitionerProfile, PractitionerProfile.person_id == Person.id)
                .where(Person.id == practitioner_id, PractitionerProfile.published.is_(True))
            )
        ).one_or_none()
        if found is None:
            raise NotFound("practitioner_not_found", "There is no such practitioner.")
        return (await _profiles(session, [(found[0], found[1])]))[0]


async def get_service(db: Database, service_id: str) -> tuple[ProfileView, ServiceView]:
    """A service and whose it is. Raises NotFound unless both are offered."""
    async with db.reading() as session:
        owner = await session.scalar(
            select(Service.practitioner_id).where(Service.id == service_id, Service.active.is_(True))
        )
    if owner is None:
        raise NotFound("service_not_found", "This service is not offered.")
    profile = await get_profile(db, owner)
    return profile, next(one for one in profile.services if one.id == service_id)


async def _profiles(session: AsyncSession, people: list[tuple[Person, PractitionerProfile]]) -> list[ProfileView]:
    ids = [person.id for person, _ in people]
    services: dict[str, list[ServiceView]] = {}
    offered = await session.scalars(
        select(Service)
        .where(Service.practitioner_id.in_(ids), Service.active.is_(True))
        .order_by(Service.is_discovery.desc(), Service.price_minor, Service.name)
    )
    for service in offered:
        services.setdefault(service.practitioner_id, []).append(service_view(service))
    stars = await session.execute(
        select(Rating.subject_id, func.sum(Rating.stars), func.count())
        .where(Rating.subject_id.in_(ids), is_shown())
        .group_by(Rating.subject_id)
    )
    ratings = {subject: summary_of(int(total), int(count)) for subject, total, count in stars}
    return [
        ProfileView(
            id=person.id,
            name=person.name,
            time_zone=person.time_zone,
            headline=profile.headline,
            about=profile.about,
            modalities=tuple(profile.modalities),
            languages=tuple(profile.languages),
            aftercare=profile.aftercare,
            late_window_minutes=profile.late_window_minutes,
            late_fee_bp=profile.late_fee_bp,
            no_show_fee_bp=profile.no_show_fee_bp,
            rating=ratings.get(person.id, Summary(None, 0)),
            services=tuple(services.get(person.id, ())),
        )
        for person, profile in people
    ]


def service_view(service: Service) -> ServiceView:
    return ServiceView(**{name: getattr(service, name) for name in ServiceView.__dataclass_fields__})


# -- set-up ------------------------------------------------------------------------------------------------------


async def publish_profile(
    session: AsyncSession, actor: Actor | None, person_id: str, wanted: NewProfile, *, now: datetime
) -> None:
    """Make or replace the profile of a person who is a practitioner; inside the caller's transaction."""
    _require_owner(actor, person_id)
    if await session.get(PersonRole, (person_id, Role.PRACTITIONER)) is None:
        raise Invalid("not_practitioner", "Only a practitioner has a profile.")
    profile = await session.get(PractitionerProfile, person_id)
    if profile is None:
        profile = PractitionerProfile(person_id=person_id, created_at=now)
        session.add(profile)
    for name in NewProfile.__dataclass_fields__:
        value = getattr(wanted, name)
        setattr(profile, name, list(value) if isinstance(value, tuple) else value)
    record(session, actor, "profile.published", f"person:{person_id}", now=now)
    await session.flush()


async def add_service(
    session: AsyncSession, actor: Actor | None, practitioner_id: str, wanted: NewService, *, now: datetime
) -> str:
    """A new service, inside the caller's transaction; its id is returned."""
    _require_owner(actor, practitioner_id)
    check_service(wanted)
    values = {name: getattr(wanted, name) for name in NewService.__dataclass_fields__}
    session.add(Service(practitioner_id=practitioner_id, active=True, created_at=now, **values))
    record(session, actor, "service.added", f"service:{wanted.id}", now=now)
    await session.flush()
    return wanted.id


def check_service(wanted: NewService) -> None:
    """Raises Invalid("price_out_of_range" | "service_invalid" | "discovery_free")."""
    if not price_allowed(wanted.price_minor, wanted.currency):
        raise Invalid("price_out_of_range", "This price is outside of what can be charged.", pointer="/price")
    lengths = (wanted.length_minutes, *wanted.other_lengths)
    if wanted.mode not in MODES or any(not 5 <= one <= 480 for one in lengths):
        raise Invalid(
            "service_invalid",
            "A service is by video, audio or chat and lasts 5 minutes to 8 hours.",
            pointer="/lengthMinutes",
        )
    if wanted.is_discovery and wanted.price_minor:
        raise Invalid("discovery_free", "A discovery call is free.", pointer="/price")


def _require_owner(actor: Actor | None, person_id: str) -> None:
    if actor is not None and actor.person_id != person_id and not actor.is_any(Role.ADMIN):
        raise Forbidden("not_yours", "This profile is not yours.")


async def currency_of(db: Database, practitioner_id: str, service_id: str | None) -> str:
    """In which currency a window's price is meant: the service's, or the one all services share."""
    query = select(Service.currency).where(Service.practitioner_id == practitioner_id, Service.active.is_(True))
    if service_id is not None:
        query = query.where(Service.id == service_id)
    async with db.reading() as session:
        found = set(await session.scalars(query))
    if service_id is not None and not found:
        raise NotFound("service_not_found", "You offer no such service.")
    if len(found) != 1:
        raise Invalid("price_needs_service", "Name the service this price is for.", pointer="/serviceId")
    return found.pop()
