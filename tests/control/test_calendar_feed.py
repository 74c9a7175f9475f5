"""The private feed of bookings: who can read it, what it says, and what it never says."""

from datetime import timedelta
from typing import Any

import pytest
from icalendar import Calendar

from control.appointment_states import State
from control.calendar_feed import feed_text
from control.keys import INSTALL_KEYS
from control.models.appointments import Appointment
from control.models.people import Person
from tests.helpers.practice import Hand, Site

FEED = "/api/calendar-feed"


async def made(hand: Hand) -> str:
    """A path: the address without the server's name."""
    status, answer = await hand.post(FEED)
    assert status == 201
    return "/calendar/" + str(answer["address"]).rsplit("/", 1)[1]


async def read(site: Site, path: str) -> tuple[int, str]:
    await site.hand_of(None)
    answer = await site.opened[-1].get(path)
    return answer.status, answer.text


async def events(site: Site, path: str) -> list[Any]:
    status, text = await read(site, path)
    assert status == 200
    return list(Calendar.from_ical(text).walk("VEVENT"))


async def test_feed_has_bookings_with_stable_ids_and_forgets_cancelled_ones(site: Site) -> None:
    world = site.world
    path = await made(await site.hand_of(world.alice))
    assert await events(site, path) == []
    first = await world.scheduled()
    await world.scheduled(start=world.first_start + timedelta(hours=1))
    await world.book(start=world.first_start + timedelta(hours=2))  # only held
    uids = [str(event["UID"]) for event in await events(site, path)]
    assert uids[0] == f"session-{first.id}@localhost"
    assert len(uids) == 2
    world.clock.forward(minutes=1)
    assert [str(event["UID"]) for event in await events(site, path)] == uids
    async with world.db.transaction() as session:
        (await session.get_one(Appointment, first.id)).state = State.CANCELLED
    found = await events(site, path)
    assert [str(event["UID"]) for event in found] == uids[1:]
    assert found[0].decoded("dtstart") == world.first_start + timedelta(hours=1)


async def test_feed_says_neither_who_comes_nor_what_for(site: Site) -> None:
    world = site.world
    path = await made(await site.hand_of(world.alice))
    await world.scheduled()
    _, text = await read(site, path)
    for secret in ("Bob", "Client", "Individual", "example.org", "Alice"):
        assert secret not in text


@pytest.mark.parametrize("hers", ["de", "fr"])
async def test_feed_speaks_its_owner_s_language_only_where_the_practice_offers_it(site: Site, hers: str) -> None:
    world = site.world
    path = await made(await site.hand_of(world.alice))
    async with world.db.transaction() as session:
        (await session.get_one(Person, world.alice.person_id)).language = hers
    assert "Sessions at" in (await read(site, path))[1]
    both = await feed_text(
        world.db,
        path.removeprefix("/calendar/").removesuffix(".ics"),
        site.app[INSTALL_KEYS].session_secret,
        practice_name="Linden Row",
        base_url="https://row.example",
        languages=("en-GB", "de"),
        now=world.clock(),
    )
    assert ("Sitzungen bei Linden Row" if hers == "de" else "Sessions at Linden Row") in both.decode()


async def test_renewed_or_revoked_address_opens_nothing_any_more(site: Site) -> None:
    alice = await site.hand_of(site.world.alice)
    first = await made(alice)
    second = await made(alice)
    assert first != second
    assert (await read(site, first))[0] == 404
    assert (await read(site, second))[0] == 200
    assert (await alice.get(FEED))[1]["address"].endswith(second)
    assert (await alice.delete(FEED))[0] == 204
    assert (await read(site, second))[0] == 404
    assert (await alice.get(FEED))[1] == {"address": None}


async def test_address_that_was_guessed_or_changed_opens_nothing(site: Site) -> None:
    path = await made(await site.hand_of(site.world.alice))
    token = path.removeprefix("/calendar/").removesuffix(".ics")
    other = token[:-1] + ("0" if token[-1] != "0" else "1")
    for wrong in (other, token[:32] + "0" * 32, "0" * 64, token[:-1], token.upper(), token + "0"):
        if wrong != token:
            assert (await read(site, f"/calendar/{wrong}.ics"))[0] == 404


async def test_each_practitioner_reads_only_their_own(site: Site) -> None:
    await site.world.scheduled()
    assert await events(site, await made(await site.hand_of(site.world.erin))) == []


async def test_stranger_and_wrong_role_have_no_feed(site: Site) -> None:
    for who, expected in ((None, 401), (site.world.bob, 403), (site.world.dana, 403)):
        hand = await site.hand_of(who)
        answers = (await hand.get(FEED), await hand.post(FEED), await hand.delete(FEED))
        assert [status for status, _ in answers] == [expected] * 3
