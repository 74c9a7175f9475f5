"""Clients and client files: only their practitioner opens one, and notes are unreadable without the key."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from control import appointments, audit
from control.client_files import ClientFiles
from control.errors import Conflict, Forbidden, NotFound, Problem
from control.models.client_files import ClientNote
from control.paging import Wanted, place_of
from tests.helpers.practice import Site, World

HOUR = timedelta(hours=1)
KEY = b"k" * 32


@pytest.fixture
def files(world: World) -> ClientFiles:
    return ClientFiles(world.db, KEY)


async def test_clients_are_those_with_a_session_past_or_ahead(world: World, files: ClientFiles) -> None:
    first = await world.scheduled()
    called_off = await world.scheduled(start=world.first_start + HOUR)
    await appointments.cancel(world.db, world.bob, called_off.id, now=world.clock())  # which is no session of theirs
    ahead = await world.scheduled(start=world.first_start + 2 * HOUR)
    await world.book(world.charlie, world.first_start + 3 * HOUR)  # a hold is nobody's client yet
    world.clock.now = first.ends_at
    page = await files.clients_of(world.alice, "", Wanted(), now=world.clock())
    (bob,) = page.rows
    assert (bob.name, bob.sessions, bob.missed) == ("Bob Client", 2, 0)
    assert (bob.last_at, bob.next_at) == (first.starts_at, ahead.starts_at)
    assert (await files.clients_of(world.erin, "", Wanted(), now=world.clock())).rows == ()
    assert (await files.clients_of(world.alice, "harlie", Wanted(), now=world.clock())).rows == ()
    for who in (world.bob, world.dana):
        with pytest.raises(Forbidden):
            await files.clients_of(who, "", Wanted(), now=world.clock())


async def test_pages_of_clients_hold_each_once_by_name(world: World, files: ClientFiles) -> None:
    people = await world.add_clients(4, wallet_minor=10_000)
    for number, who in enumerate(people):
        await world.scheduled(who, world.first_start + number * HOUR)
    seen, cursor = [], None
    while True:
        page = await files.clients_of(world.alice, "", Wanted(3, place_of(cursor, str)), now=world.clock())
        seen += [one.name for one in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"Person {n}" for n in range(4)]


async def test_note_is_sealed_changed_by_version_and_deleted(world: World, files: ClientFiles) -> None:
    await world.scheduled()
    bob = world.bob.person_id
    note = await files.add_note(world.alice, bob, "Sleeps badly since March.", now=world.clock())
    async with world.db.reading() as session:
        row = await session.get_one(ClientNote, note.id)
        assert b"Sleeps" not in row.sealed
    changed = await files.change_note(world.alice, note.id, "Sleeps better.", 1, now=world.clock.forward(minutes=1))
    assert (changed.version, changed.text) == (2, "Sleeps better.")
    with pytest.raises(Conflict, match="note_changed"):
        await files.change_note(world.alice, note.id, "Sleeps not at all.", 1, now=world.clock())
    assert [one.text for one in await files.notes(world.alice, bob)] == ["Sleeps better."]
    await files.delete_note(world.alice, note.id, now=world.clock())
    assert await files.notes(world.alice, bob) == ()


async def test_note_moved_to_another_row_or_read_with_another_key_does_not_open(
    world: World, files: ClientFiles
) -> None:
    await world.scheduled()
    bob = world.bob.person_id
    one = await files.add_note(world.alice, bob, "One", now=world.clock())
    other = await files.add_note(world.alice, bob, "Other", now=world.clock())
    with pytest.raises(Problem, match="unreadable"):
        await ClientFiles(world.db, b"x" * 32).notes(world.alice, bob)
    async with world.db.transaction() as session:
        rows = {row.id: row for row in await session.scalars(select(ClientNote))}
        rows[one.id].sealed = rows[other.id].sealed
    with pytest.raises(Problem, match="unreadable"):
        await files.notes(world.alice, bob)


async def test_ten_changes_of_one_version_at_once_leave_one(world: World, files: ClientFiles) -> None:
    await world.scheduled()
    note = await files.add_note(world.alice, world.bob.person_id, "0", now=world.clock())
    found = await asyncio.gather(
        *(files.change_note(world.alice, note.id, str(n), 1, now=world.clock()) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in found) == 1
    (left,) = await files.notes(world.alice, world.bob.person_id)
    assert left.version == 2


async def test_nobody_but_its_practitioner_touches_a_file(world: World, files: ClientFiles) -> None:
    await world.scheduled()
    bob, now = world.bob.person_id, world.clock()
    note = await files.add_note(world.alice, bob, "Private", now=now)
    for who in (world.erin, world.bob, world.charlie, world.dana):
        for act in (
            files.client(who, bob, now=now),
            files.notes(who, bob),
            files.consents(who, bob),
            files.add_note(who, bob, "Mine", now=now),
        ):
            with pytest.raises((NotFound, Forbidden)):
                await act
        for touch in (files.change_note(who, note.id, "x", 1, now=now), files.delete_note(who, note.id, now=now)):
            with pytest.raises(NotFound):
                await touch
    with pytest.raises(NotFound):
        await files.client(world.alice, world.charlie.person_id, now=now)
    assert [one.text for one in await files.notes(world.alice, bob)] == ["Private"]


async def test_each_opening_is_written_down_without_words_of_the_notes(world: World, files: ClientFiles) -> None:
    await world.scheduled()
    bob = world.bob.person_id
    await files.add_note(world.alice, bob, "Secret words", now=world.clock())
    await files.client(world.alice, bob, now=world.clock.forward(minutes=1))
    entries = await audit.entries_about(world.db, f"person:{bob}")
    actions = [one.action for one in entries if one.action.startswith("client_")]
    assert actions == ["client_file.viewed", "client_note.added"]
    assert "Secret" not in str([one.detail for one in entries])


async def test_journey_over_http(site: Site) -> None:
    world = site.world
    await world.scheduled()
    bob = world.bob.person_id
    alice, stranger = await site.hand_of(world.alice), await site.hand_of(world.erin)
    status, made = await alice.post(f"/api/clients/{bob}/notes", {"text": "First words"})
    assert status == 201
    status, seen = await alice.get(f"/api/clients/{bob}")
    assert (status, [one["text"] for one in seen["notes"]]) == (200, ["First words"])
    assert (await alice.get("/api/clients?q=bob"))[1]["clients"][0]["id"] == bob
    path = f"/api/client-notes/{made['id']}"
    for hand_status in (
        await stranger.get(f"/api/clients/{bob}"),
        await stranger.post(f"/api/clients/{bob}/notes", {"text": "x"}),
        await stranger.put(path, {"text": "x", "version": 1}),
        await stranger.delete(path),
    ):
        assert hand_status[0] == 404
    assert (await alice.put(path, {"text": "", "version": 1}))[0] == 422
    assert (await alice.put(path, {"text": "x" * 20_001, "version": 1}))[0] == 422
    assert (await alice.put(path, {"text": "Second words", "version": 1}))[1]["version"] == 2
    assert (await alice.put(path, {"text": "Third", "version": 1}))[0] == 409
    assert (await alice.delete(path))[0] == 204
    assert (await alice.delete(path))[0] == 404
