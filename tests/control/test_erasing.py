"""Being erased: what goes, what stays without a name, what stands in the way, and who may ask for it."""

from typing import Any

import pytest
from sqlalchemy import func, select

from control import accounts, appointments, message_queries, ratings
from control.erasing import NAME
from control.errors import Conflict
from control.files import CHUNK_BYTES, Wanted
from control.keys import CHAT, ERASING, FILES, MESSAGES, PROBLEMS
from control.messages import ERASED, write_to
from control.models.files import SharedFile
from control.models.money import LedgerEntry
from control.models.my_data import PersonErasure
from control.models.outbox import OutboxRow
from control.models.people import Person, WebSession
from control.models.problems import ProblemKind, ProblemReport
from control.models.purchases import Receipt
from control.models.push import PushSubscription
from control.models.ratings import Rating
from control.paging import Wanted as PageWanted
from control.ratings import NewRating
from tests.control.test_files import picture
from tests.helpers.books import take_place
from tests.helpers.practice import Hand, Site, find_by_email

EMAIL = "bob.client@example.org"
TYPED = {"email": EMAIL, "gives_up_money": True}


async def lived(site: Site) -> str:
    """Bob has paid, come, spoken, shared, reported and rated; the session's id."""
    world, app = site.world, site.app
    view = await world.started()
    now, rules, png = world.clock(), app[MESSAGES], picture()
    seen = rules.notice.version
    await write_to(world.db, rules, world.bob, world.alice.person_id, "Secret of Bob", seen_notice=seen, now=now)
    await write_to(world.db, rules, world.alice, world.bob.person_id, "Said by Alice", seen_notice=seen, now=now)
    await app[CHAT].say(world.bob, view.id, "Bob's line", key="1", now=now)
    await app[CHAT].say(world.alice, view.id, "Alice's line", key="2", now=now)
    begun = await app[FILES].begin(world.bob, view.id, Wanted("me.png", len(png), None), key="f", now=now)
    await app[FILES].add_chunk(world.bob, begun.id, 0, png[:CHUNK_BYTES], now=now)
    await app[PROBLEMS].report(world.bob, view.id, ProblemKind.TECHNICAL, "Bob's words", None, now=now)
    await take_place(world, await appointments.get_for(world.db, world.bob, view.id))
    given = NewRating(5, "Bob was here", is_public=True, tags=("I felt heard",))
    await ratings.rate(world.db, world.bob, view.id, given, now=world.clock())
    return view.id


async def erased(site: Site) -> Hand:
    hand = await site.hand_of(site.world.bob)
    await push_to_every_session(site)
    assert (await hand.post("/api/account/erase", TYPED, key=None)) == (204, None)
    await site.app[ERASING].run_once(site.world.clock())
    return hand


async def push_to_every_session(site: Site) -> None:
    """Bob's and a stranger's devices show notices."""
    await site.hand_of(site.world.charlie)
    async with site.world.db.transaction() as session:
        for one in await session.scalars(select(WebSession)):
            keys = {"endpoint": f"https://push.example.org/{one.id}", "p256dh": "p", "auth": "a"}
            session.add(
                PushSubscription(person_id=one.person_id, session_id=one.id, created_at=site.world.clock(), **keys)
            )
    assert await pushed_to(site) == {site.world.bob.person_id, site.world.charlie.person_id}


async def pushed_to(site: Site) -> set[str]:
    async with site.world.db.reading() as session:
        return set(await session.scalars(select(PushSubscription.person_id)))


async def count(site: Site, query: Any) -> int:
    async with site.world.db.reading() as session:
        return await session.scalar(select(func.count()).select_from(query.subquery())) or 0


async def test_words_files_name_and_ways_to_sign_in_are_gone(site: Site) -> None:
    world = site.world
    session_id = await lived(site)
    hand = await erased(site)
    assert (await hand.get("/api/account"))[0] == 401
    [talk] = (await message_queries.inbox(world.db, site.app[MESSAGES], world.alice, PageWanted())).rows
    said = await message_queries.messages_of(world.db, site.app[MESSAGES], world.alice, talk.id, limit=9)
    assert [(one.author_name, one.text) for one in said] == [(NAME, ERASED), ("Alice Owner", "Said by Alice")]
    lines = (await site.app[CHAT].history(world.alice, session_id)).lines
    assert [(one.name, one.text) for one in lines] == [(NAME, ERASED), ("Alice Owner", "Alice's line")]
    assert await site.app[FILES].of_session(world.alice, session_id) == ()
    bob = world.bob.person_id
    async with world.db.reading() as session:
        person = await session.get_one(Person, bob)
        assert (person.name, person.role_names, person.email) == (NAME, frozenset(), f"erased-{bob}@erased.invalid")
        [rating] = await session.scalars(select(Rating))
        assert (rating.stars, rating.feedback, rating.is_public, rating.tags) == (5, "", False, [])
        [report] = await session.scalars(select(ProblemReport))
        assert report.sealed is None
        [file] = await session.scalars(select(SharedFile))
        assert (file.withdrawn_at is not None, file.sealed_name) == (True, b"")
    assert await count(site, select(OutboxRow).where(OutboxRow.person_id == bob)) == 0
    assert await pushed_to(site) == {world.charlie.person_id}
    assert await ratings.reviews(world.db, world.alice.person_id) == ()


async def test_nobody_can_write_to_who_is_erased(site: Site) -> None:
    await lived(site)
    await erased(site)
    world, rules = site.world, site.app[MESSAGES]
    with pytest.raises(Conflict, match="person_erased"):
        await write_to(world.db, rules, world.alice, world.bob.person_id, "Hello?", now=world.clock())


async def test_money_and_receipts_stay_and_go_on_naming_who_paid(site: Site) -> None:
    world = site.world
    await lived(site)
    entries = await count(site, select(LedgerEntry))
    async with world.db.reading() as session:
        receipt_id = await session.scalar(select(Receipt.id).where(Receipt.person_id == world.bob.person_id).limit(1))
    assert receipt_id
    await erased(site)
    assert await count(site, select(LedgerEntry)) == entries
    dana = await site.hand_of(world.dana)
    page = await dana.browser.get(f"/receipts/{receipt_id}")
    assert page.status == 200
    assert "Bob Client" in page.text
    people = await dana.browser.get("/admin/people")
    assert "Bob Client" not in people.text


async def test_what_is_left_on_disk_is_done_after_a_crash(site: Site) -> None:
    """The action alone, as if the process had ended before the scheduler's errand."""
    world = site.world
    await lived(site)
    await site.app[ERASING].erase(world.bob, EMAIL, gives_up_money=True, now=world.clock())
    await site.app[ERASING].run_once(world.clock())
    async with world.db.reading() as session:
        row = await session.get_one(PersonErasure, world.bob.person_id)
    assert row.done_at is not None
    assert await site.app[ERASING].run_once(world.clock()) == 0


async def test_what_stands_in_the_way_is_said_and_nothing_changes(site: Site) -> None:
    world = site.world
    await world.scheduled()
    bob, alice, dana, charlie = [await site.hand_of(who) for who in (world.bob, world.alice, world.dana, world.charlie)]
    wrong = {"email": "charlie.stranger@example.org"}
    for hand, body, wanted in (
        (bob, TYPED, (409, "sessions_ahead")),
        (alice, {"email": "alice.owner@example.org"}, (409, "works_here")),
        (dana, {"email": "dana.admin@example.org"}, (409, "works_here")),
        (charlie, TYPED, (422, "email_differs")),
        (charlie, {"email": "no address"}, (422, "email_invalid")),
        (charlie, {**wrong, "more": 1}, (422, "body_invalid")),
    ):
        status, told = await hand.post("/api/account/erase", body, key=None)
        assert (status, told["code"]) == wanted
    nobody = await site.hand_of(None)
    assert (await nobody.post("/api/account/erase", TYPED, key=None))[0] == 401
    assert await count(site, select(PersonErasure)) == 0
    assert (await charlie.post("/api/account/erase", wrong, key=None))[0] == 204
    assert (await bob.get("/api/account"))[0] == 200


async def test_money_left_is_given_up_only_by_saying_so(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    status, told = await bob.post("/api/account/erase", {"email": EMAIL}, key=None)
    assert (status, told["code"]) == (409, "money_left")
    page = await bob.browser.get("/account/erase")
    assert "What must be kept, and why" in page.text
    assert "€1,000.00" in page.text
    assert (await bob.post("/api/account/erase", TYPED, key=None))[0] == 204


async def test_address_is_free_for_a_new_account(site: Site) -> None:
    world = site.world
    await erased(site)
    await accounts.sign_up(
        world.db, email=EMAIL, name="Bob Again", time_zone="UTC", return_path=None, now=world.clock()
    )
    again = await find_by_email(world.db, EMAIL)
    assert again is not None
    assert again.person_id != world.bob.person_id
