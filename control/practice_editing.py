"""What a practitioner writes about their own work: profile, policy, services. Actions, and what the editors are filled
with.

Nothing here moves what was agreed: appointments carry a copy of policy, price and length (booking.py). A service is
never deleted, only offered no longer. Profile and set-up actions of operators are practitioners.py.
"""

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.availability import lock_calendar
from control.database import Database
from control.errors import Conflict, Forbidden, NotFound
from control.language import t
from control.models.people import Role
from control.models.practice import PractitionerProfile, Service
from control.practitioners import NewProfile, NewService, add_service, check_service, publish_profile

MOST_SERVICES = 40


@dataclass(frozen=True, slots=True)
class MyProfile:
    """The words of a profile. `published` off: nobody finds or books the practitioner."""

    headline: str
    about: str
    modalities: tuple[str, ...]
    languages: tuple[str, ...]
    aftercare: str
    published: bool


@dataclass(frozen=True, slots=True)
class MyPolicy:
    late_window_minutes: int
    late_fee_bp: int
    no_show_fee_bp: int


@dataclass(frozen=True, slots=True)
class MyService:
    """A service with what only its owner sets; `wanted.id` is its id."""

    wanted: NewService
    active: bool


@dataclass(frozen=True, slots=True)
class MyPractice:
    profile: MyProfile
    policy: MyPolicy
    services: tuple[MyService, ...]


async def my_practice(db: Database, actor: Actor) -> MyPractice:
    """What a practitioner without a profile yet starts from are the defaults."""
    _require_practitioner(actor)
    async with db.reading() as session:
        row = await session.get(PractitionerProfile, actor.person_id)
        services = await session.scalars(
            select(Service)
            .where(Service.practitioner_id == actor.person_id)
            .order_by(Service.active.desc(), Service.name, Service.id)
        )
        shown = tuple(_my_service(one) for one in services)
    start = NewProfile()
    source = start if row is None else row
    return MyPractice(
        MyProfile(
            source.headline,
            source.about,
            tuple(source.modalities),
            tuple(source.languages),
            source.aftercare,
            published=row is not None and row.published,
        ),
        MyPolicy(source.late_window_minutes, source.late_fee_bp, source.no_show_fee_bp),
        shown,
    )


async def save_profile(db: Database, actor: Actor, wanted: MyProfile, *, now: datetime) -> None:
    await _save(db, actor, wanted, "profile.changed", now)


async def save_policy(db: Database, actor: Actor, wanted: MyPolicy, *, now: datetime) -> None:
    """For bookings from now on; those made before keep theirs."""
    await _save(db, actor, wanted, "policy.changed", now)


async def _save(db: Database, actor: Actor, wanted: MyProfile | MyPolicy, action: str, now: datetime) -> None:
    _require_practitioner(actor)
    async with db.transaction() as session:
        row = await session.get(PractitionerProfile, actor.person_id)
        if row is None:
            await publish_profile(session, actor, actor.person_id, NewProfile(), now=now)
            row = await session.get_one(PractitionerProfile, actor.person_id)
        for field in fields(wanted):
            value = getattr(wanted, field.name)
            setattr(row, field.name, list(value) if isinstance(value, tuple) else value)
        record(session, actor, action, f"person:{actor.person_id}", now=now)


async def save_new_service(db: Database, actor: Actor, wanted: NewService, *, now: datetime) -> str:
    """Raises Conflict("profile_missing" | "too_many_services") and what `check_service` raises."""
    _require_practitioner(actor)
    async with db.transaction() as session:
        if await session.get(PractitionerProfile, actor.person_id) is None:
            raise Conflict("profile_missing", "Fill in your profile first.")
        mine = await session.scalars(select(Service.id).where(Service.practitioner_id == actor.person_id))
        if len(mine.all()) >= MOST_SERVICES:
            raise Conflict(
                "too_many_services",
                t("At most %(most_services)s services can be kept. Change one instead.", most_services=MOST_SERVICES),
            )
        return await add_service(session, actor, actor.person_id, wanted, now=now)


async def change_service(db: Database, actor: Actor, wanted: NewService, *, active: bool, now: datetime) -> None:
    """Booked sessions keep what was agreed. Raises NotFound if it is not theirs."""
    _require_practitioner(actor)
    check_service(wanted)
    async with db.transaction() as session:
        await lock_calendar(session, actor.person_id)
        row = await _own_service(session, actor, wanted.id)
        for field in fields(wanted):
            value = getattr(wanted, field.name)
            setattr(row, field.name, list(value) if isinstance(value, tuple) else value)
        row.active = active
        record(session, actor, "service.changed", f"service:{wanted.id}", {"active": active}, now=now)


async def _own_service(session: AsyncSession, actor: Actor, service_id: str) -> Service:
    row = await session.get(Service, service_id, populate_existing=True)
    if row is None or row.practitioner_id != actor.person_id:
        raise NotFound("service_not_found", "You offer no such service.")
    return row


def _my_service(row: Service) -> MyService:
    values = {field.name: getattr(row, field.name) for field in fields(NewService)}
    return MyService(NewService(**(values | {"other_lengths": tuple(row.other_lengths)})), row.active)


def _require_practitioner(actor: Actor) -> None:
    if not actor.is_any(Role.PRACTITIONER):
        raise Forbidden("not_practitioner", "Only a practitioner offers sessions.")
