"""No list costs more queries because there is more in it: each page and API list, with a little and with much."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from control import guests, practitioners
from control.accounts import Actor
from control.database import Database
from control.keys import DATABASE
from control.models.appointments import Appointment, Presence
from control.models.people import Role
from control.models.practice import AvailabilityWindow
from control.practitioners import NewProfile, NewService
from tests.helpers.practice import MONDAY, Site, World, add_person
from tests.helpers.queries import counted
from tests.web.conftest import OpenAll

LISTS = {
    "bob": ("/dashboard", "/sessions", "/sessions?show=past", "/sessions/my-bookings", "/sessions/my-bookings.csv"),
    "alice": (
        *("/therapist/dashboard", "/therapist/sessions", "/therapist/sessions?show=past&q=a", "/therapist/clients"),
        *("/professional/sessions", "/professional/sessions.csv", "/api/clients", "/api/waiting"),
        *("/therapist/availability?week=2026-03-02", "/professional/sessions/availability", "/therapist/services"),
    ),
    "dana": ("/admin/appointments", "/api/appointments", "/api/appointments.csv"),
    "charlie": ("/", "/practitioners", "/api/practitioners", "/practitioners?free=14"),
}


async def filled(world: World, first: int, count: int) -> None:
    """As many sessions of Bob's and of others', past ones, guests and people waiting; windows and practitioners."""
    async with world.db.transaction() as session:
        start = MONDAY + timedelta(days=first)
        for day in (start + timedelta(days=n) for n in range(count)):
            session.add(
                AvailabilityWindow(
                    practitioner_id=world.alice.person_id,
                    local_date=day.date().isoformat(),
                    local_start="19:00",
                    local_end="23:00",
                    time_zone="UTC",
                    starts_at=day.replace(hour=19),
                    ends_at=day.replace(hour=23),
                    created_at=world.clock(),
                )
            )
    others = await world.add_clients(count, wallet_minor=50_000, name=f"Other {first}")
    for n in range(count):
        evening = (MONDAY + timedelta(days=first + n)).replace(hour=19)
        mine = await world.scheduled(world.bob, evening)
        past = await world.scheduled(world.bob, evening + timedelta(hours=1))
        waiting = await world.scheduled(others[n], evening + timedelta(hours=2))
        invited = await guests.invite(
            world.db, world.alice, mine.id, email=f"g{first}.{n}@example.org", name="G", now=world.clock()
        )
        async with world.db.transaction() as session:
            await session.execute(update(Appointment).where(Appointment.id == past.id).values(state="completed"))
            await session.execute(update(Appointment).where(Appointment.id == waiting.id).values(state="confirmed"))
            for who in (waiting.client_id, invited.person_id):
                session.add(
                    Presence(appointment_id=waiting.id, person_id=who, role="client", connected_at=world.clock())
                )
    await more_practitioners(world, first, count)


async def more_practitioners(world: World, first: int, count: int) -> None:
    async with world.db.transaction() as session:
        for n in range(count):
            who = await add_person(session, f"Practitioner {first} {n}", Role.PRACTITIONER, now=world.clock())
            await practitioners.publish_profile(session, None, who.person_id, NewProfile(), now=world.clock())
            service = NewService("One hour", 5_000, "EUR")
            await practitioners.add_service(session, None, who.person_id, service, now=world.clock())


@pytest.mark.parametrize("name", LISTS)
async def test_more_rows_cost_no_more_queries(site: Site, open_pages: OpenAll, name: str) -> None:
    world, db = site.world, site.app[DATABASE]
    who = getattr(world, name)
    await filled(world, 2, 2)
    few = await _costs(db, open_pages, who, LISTS[name])
    await filled(world, 8, 4)
    assert await _costs(db, open_pages, who, LISTS[name]) == few


async def _costs(db: Database, open_pages: OpenAll, who: Actor, paths: tuple[str, ...]) -> dict[str, int]:
    costs = {}
    for path in paths:
        async with counted(db, requests_only=True) as found:
            page = (await open_pages(who, [path]))[path]
        assert page.status == 200, path
        assert found.count > 0, path
        costs[path] = found.count
    return costs
