"""The directory: what a search finds, who is free first, and that its cost does not grow with the practitioners."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from control import directory, practitioners
from control.appointment_states import State
from control.directory import Sought
from control.models.appointments import Appointment
from control.models.people import Role
from control.models.practice import AvailabilityWindow, PractitionerProfile
from control.practitioners import NewProfile, NewService
from tests.helpers.practice import MONDAY, Site, World, add_person
from tests.helpers.queries import counted


async def names(world: World, sought: Sought) -> list[str]:
    found = await directory.search(world.db, sought, now=world.clock())
    return [one.profile.name for one in found.found]


async def with_frida(world: World) -> str:
    """Talks in Norwegian about grief, by chat, cheaply, and is free on Wednesday."""
    profile = NewProfile(headline="Quiet", modalities=("Grief", "Loss"), languages=("Norsk", "English"))
    async with world.db.transaction() as session:
        frida = await add_person(session, "Frida Far", Role.PRACTITIONER, now=world.clock())
        await practitioners.publish_profile(session, None, frida.person_id, profile, now=world.clock())
        service = NewService("Letters", 2_000, "EUR", mode="chat", length_minutes=30)
        await practitioners.add_service(session, None, frida.person_id, service, now=world.clock())
        start = MONDAY + timedelta(days=2)
        session.add(
            AvailabilityWindow(
                practitioner_id=frida.person_id,
                local_date="2026-03-04",
                local_start="09:00",
                local_end="10:00",
                time_zone="UTC",
                starts_at=start,
                ends_at=start + timedelta(hours=1),
                created_at=world.clock(),
            )
        )
    return frida.person_id


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        (Sought(), ["Alice Owner", "Erin Other", "Frida Far"]),
        (Sought(words="FRIDA"), ["Frida Far"]),
        (Sought(words="letters norsk"), ["Frida Far"]),
        (Sought(words="individual"), ["Alice Owner"]),
        (Sought(topic="grief"), ["Frida Far"]),
        (Sought(topic="grie"), []),
        (Sought(language="english"), ["Frida Far"]),
        (Sought(mode="chat"), ["Frida Far"]),
        (Sought(mode="video"), ["Alice Owner"]),
        (Sought(mode="audio"), []),
        (Sought(price=Decimal(20)), ["Alice Owner", "Frida Far"]),  # Alice's discovery call is free
        (Sought(mode="chat", price=Decimal("19.99")), []),
        (Sought(within_days=1), ["Alice Owner"]),
        (Sought(within_days=7), ["Alice Owner", "Frida Far"]),
        (Sought(mode="chat", within_days=7), ["Frida Far"]),
    ],
)
async def test_search_narrows_by_words_topic_language_way_price_and_time(
    world: World, sought: Sought, found: list[str]
) -> None:
    await with_frida(world)
    assert await names(world, sought) == found


async def test_topics_and_languages_to_choose_from_are_everybodys(world: World) -> None:
    await with_frida(world)
    found = await directory.search(world.db, Sought(words="alice"), now=world.clock())
    assert (found.topics, found.languages) == (("Grief", "Loss"), ("English", "Norsk"))


async def test_next_free_time_is_of_a_service_that_fits_and_not_taken(world: World) -> None:
    found = await directory.search(world.db, Sought(price=Decimal(0)), now=world.clock())
    assert found.found[0].free is not None
    assert found.found[0].free.service_id == world.free_service_id
    await world.scheduled()
    found = await directory.search(world.db, Sought(words="individual"), now=world.clock())
    assert found.found[0].free is not None
    assert found.found[0].free.start == world.first_start + timedelta(hours=1)


async def test_practitioner_who_missed_a_session_of_late_stands_lower(world: World) -> None:
    view = await world.scheduled()
    for starts_at, order in (
        (world.clock() - timedelta(days=10), ["Erin Other", "Alice Owner"]),
        (world.clock() - timedelta(days=200), ["Alice Owner", "Erin Other"]),
    ):
        async with world.db.transaction() as session:
            length = view.ends_at - view.starts_at
            values = {"starts_at": starts_at, "busy_from": starts_at, "ends_at": starts_at + length}
            values |= {"busy_until": starts_at + length, "state": State.NO_SHOW_PRACTITIONER}
            await session.execute(update(Appointment).values(values))
        assert await names(world, Sought()) == order


async def test_unpublished_practitioner_is_not_there(world: World) -> None:
    async with world.db.transaction() as session:
        await session.execute(update(PractitionerProfile).values(published=False))
    assert await names(world, Sought()) == []


async def test_directory_asks_the_same_number_of_queries_for_many(world: World) -> None:
    async with counted(world.db) as few:
        await directory.search(world.db, Sought(), now=world.clock())
    await with_frida(world)
    async with counted(world.db) as many:
        await directory.search(world.db, Sought(), now=world.clock())
    assert many.count == few.count


async def test_search_over_http_refuses_what_it_does_not_know(site: Site) -> None:
    hand = await site.hand_of(None)
    status, answer = await hand.get("/api/practitioners?query=individual&mode=video&price=50&freeWithin=7")
    assert (status, [one["name"] for one in answer["practitioners"]]) == (200, ["Alice Owner"])
    assert answer["practitioners"][0]["next_free"]["service_id"] == site.world.free_service_id
    for query in ("mode=x", "price=-1", "price=NaN", "freeWithin=0", "freeWithin=61", "page=1", "query=" + "x" * 201):
        status, problem = await hand.get(f"/api/practitioners?{query}")
        assert (status, problem["code"]) == (400, "query_invalid"), query
