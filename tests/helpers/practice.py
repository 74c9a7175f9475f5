"""A small practice for tests: Alice who owns, Bob who takes part, Charlie the stranger, Dana the admin; a manual clock.

`World` holds people and services as actions see them; `Hand` is one signed-in person's HTTP client. A conftest takes
the fixtures by `from tests.helpers.practice import *`, beside those of control.py and databases.py.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control import accounts, appointments, consents, practitioners
from control.accounts import Actor
from control.appointment_queries import SessionView
from control.booking import Wanted
from control.consents import PRACTICE, Purpose
from control.database import Database, new_id
from control.models.consents import ConsentText
from control.models.people import Person, Role
from control.models.practice import AvailabilityRule, AvailabilityWindow
from control.money.payments import Method, top_up
from control.practitioners import NewProfile, NewService
from tests.helpers.browsers import Answer, Browser, open_browser
from tests.helpers.clock import ManualClock

__all__ = ["site", "world"]

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ORIGIN = "http://localhost:8080"
WALLET_MINOR = 100_000


@dataclass
class World:
    db: Database
    clock: ManualClock
    alice: Actor
    bob: Actor
    charlie: Actor
    dana: Actor
    erin: Actor
    service_id: str
    free_service_id: str
    care_text_id: str
    recording_text_id: str

    @property
    def first_start(self) -> datetime:
        """Alice's first slot: 14:00 of the clock's first day, in UTC."""
        return MONDAY.replace(hour=14)

    async def add_clients(self, count: int, *, wallet_minor: int = 0, name: str = "Person") -> list[Actor]:
        async with self.db.transaction() as session:
            clients = [await add_person(session, f"{name} {n}", Role.CLIENT, now=self.clock()) for n in range(count)]
            for client in clients:
                if wallet_minor:
                    key = client.person_id
                    await top_up(session, None, key, wallet_minor, "EUR", key=key, now=self.clock())
        return clients

    async def book(
        self, who: Actor | None = None, start: datetime | None = None, service_id: str | None = None
    ) -> SessionView:
        wanted = Wanted(service_id or self.service_id, start or self.first_start, ZoneInfo("Europe/Oslo"), uuid4().hex)
        return await appointments.book(self.db, who or self.bob, wanted, now=self.clock())

    async def scheduled(self, who: Actor | None = None, start: datetime | None = None) -> SessionView:
        booked = await self.book(who, start)
        return await appointments.pay(self.db, who or self.bob, booked.id, Method.WALLET, now=self.clock())

    async def confirmed(self) -> SessionView:
        """Booked, paid, and the clock at five minutes before the start."""
        view = await self.scheduled()
        self.clock.now = view.starts_at - timedelta(minutes=5)
        await appointments.catch_up(self.db, view.id, now=self.clock())
        return await appointments.get_for(self.db, self.bob, view.id)

    async def started(self) -> SessionView:
        view = await self.confirmed()
        self.clock.now = view.starts_at
        return await appointments.start(self.db, self.alice, view.id, now=self.clock())

    async def offer_mondays(self, until: str | None = None) -> None:
        """Alice's Monday afternoons from the second week on, by a weekly rule; `until` is the last day, included."""
        async with self.db.transaction() as session:
            session.add(
                AvailabilityRule(
                    practitioner_id=self.alice.person_id,
                    weekday=0,
                    local_start="14:00",
                    local_end="18:00",
                    time_zone="Europe/Lisbon",
                    valid_from="2026-03-09",
                    valid_until=until,
                    created_at=self.clock(),
                )
            )

    async def agreed_to_recording(self, appointment_id: str) -> dict[str, consents.Given]:
        """Per person the standing yes; nobody else is in it."""
        given = await consents.standing(self.db, appointment_id)
        yes = (one for one in given if one.purpose is Purpose.RECORDING and one.answer is consents.Answer.YES)
        return {one.person_id: one for one in yes}

    async def consent(
        self, who: Actor, appointment_id: str, purpose: Purpose, said: consents.Answer = consents.Answer.YES
    ) -> consents.Given:
        text_id = self.care_text_id if purpose is Purpose.CARE else self.recording_text_id
        return await consents.answer(self.db, who, appointment_id, purpose, said, text_id, now=self.clock())


async def add_person(session: AsyncSession, name: str, *roles: Role, zone: str = "UTC", now: datetime) -> Actor:
    person = await accounts.add_person(
        session,
        email=f"{name.lower().replace(' ', '.')}@example.org",
        name=name,
        roles=roles,
        time_zone=zone,
        proven=True,
        now=now,
    )
    return Actor(person.id, frozenset(roles), name, zone)


async def find_by_email(db: Database, email: str) -> Actor | None:
    async with db.reading() as session:
        person = await session.scalar(select(Person).where(Person.email == email))
        return None if person is None else accounts.as_actor(person)


async def found_practice(db: Database, clock: ManualClock) -> World:
    """Alice offers a paid session of 50 + 10 minutes and a free call; she is free this and the next afternoon."""
    now = clock()
    async with db.transaction() as session:
        alice = await add_person(session, "Alice Owner", Role.PRACTITIONER, zone="Europe/Lisbon", now=now)
        bob = await add_person(session, "Bob Client", Role.CLIENT, zone="Europe/Oslo", now=now)
        charlie = await add_person(session, "Charlie Stranger", Role.CLIENT, now=now)
        dana = await add_person(session, "Dana Admin", Role.ADMIN, now=now)
        erin = await add_person(session, "Erin Other", Role.PRACTITIONER, now=now)
        for who in (alice, erin):
            await practitioners.publish_profile(session, None, who.person_id, NewProfile(), now=now)
        paid = NewService(
            "Individual session", 5_000, "EUR", length_minutes=50, buffer_after_minutes=10, recording_offered=True
        )
        free = NewService("Discovery call", 0, "EUR", length_minutes=20, is_discovery=True)
        for service in (paid, free):
            await practitioners.add_service(session, None, alice.person_id, service, now=now)
        await top_up(session, None, bob.person_id, WALLET_MINOR, "EUR", key="bob", now=now)
        session.add_all(_afternoon(alice, MONDAY + timedelta(days=n), now) for n in range(2))
        care = _text(Purpose.CARE, alice.person_id, now)
        recording = _text(Purpose.RECORDING, PRACTICE, now)
        session.add_all((care, recording))
    return World(db, clock, alice, bob, charlie, dana, erin, paid.id, free.id, care.id, recording.id)


def _afternoon(who: Actor, day: datetime, now: datetime) -> AvailabilityWindow:
    return AvailabilityWindow(
        id=new_id(),
        practitioner_id=who.person_id,
        local_date=day.date().isoformat(),
        local_start="14:00",
        local_end="18:00",
        time_zone=who.time_zone,
        starts_at=day.replace(hour=14),
        ends_at=day.replace(hour=18),
        created_at=now,
    )


def _text(purpose: Purpose, owner: str, now: datetime) -> ConsentText:
    return ConsentText(
        id=new_id(), purpose=purpose, owner=owner, version=1, title="A text", body="What this is.", created_at=now
    )


class Hand:
    """One signed-in person's requests, as their pages send them: (status, body) back."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    async def get(self, path: str) -> tuple[int, Any]:
        return _both(await self.browser.get(path))

    async def delete(self, path: str) -> tuple[int, Any]:
        return _both(await self.browser.delete(path))

    async def put(self, path: str, body: Any) -> tuple[int, Any]:
        return _both(await self.browser.send("PUT", path, body))

    async def post(self, path: str, body: Any = None, *, key: str | None = "fresh") -> tuple[int, Any]:
        """`key` "fresh" makes a new Idempotency-Key, None sends none."""
        sent = {} if key is None else {"Idempotency_Key": uuid4().hex if key == "fresh" else key}
        return _both(await self.browser.post(path, body, **sent))


def _both(answer: Answer) -> tuple[int, Any]:
    return answer.status, answer.body


@dataclass
class Site:
    """The whole application over a world's database."""

    app: web.Application
    world: World
    server: TestServer
    opened: list[Browser] = field(default_factory=list)

    async def hand_of(self, who: Actor | None) -> Hand:
        browser = await open_browser(self.server, ORIGIN)
        self.opened.append(browser)
        if who is not None:
            async with self.world.db.transaction() as session:
                signed_in = accounts._open_session(session, who.person_id, device="", now=self.world.clock())
            browser.headers["Cookie"] = f"holdspace={signed_in.token}"
        return Hand(browser)


@pytest.fixture
def world(request: pytest.FixtureRequest, db: Database, clock: ManualClock) -> World:
    """Founded once (databases.py); the test's database is a copy."""
    clock.now = MONDAY
    _, found = request.getfixturevalue("sqlite_practice" if db.is_sqlite else "postgres_practice")
    return replace(found, db=db, clock=clock)


@pytest_asyncio.fixture
async def site(world: World, server: TestServer, app: web.Application) -> AsyncIterator[Site]:
    opened = Site(app, world, server)
    yield opened
    for browser in opened.opened:
        await browser.client.session.close()
