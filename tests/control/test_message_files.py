"""Files sent with messages: one's own until the message is written, then of both; never of staff who monitor."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from control import accounts, desk, message_queries, messages
from control.accounts import Actor
from control.errors import Conflict, Invalid, NotFound
from control.files import CHUNK_BYTES, FORGOTTEN, Files, FileView, Wanted
from control.keys import FILES, MESSAGES
from control.message_events import MessageStored
from control.message_files import MOST_OF_A_MESSAGE, MOST_UNATTACHED
from control.messages import Written
from control.models.files import SharedFile
from control.models.messages import Message
from control.paging import Wanted as PageWanted
from tests.control.test_files import PDF, content, headers, picture
from tests.control.test_messages import MONITORED, RULES
from tests.helpers.practice import Site, World

KEY = b"k" * 32


@pytest.fixture
def files(world: World, tmp_path: Path) -> Files:
    return Files(world.db, tmp_path / "files", KEY, most_bytes=25_000_000, chunk_bytes=CHUNK_BYTES)


async def chosen(files: Files, world: World, who: Actor, data: bytes = PDF, name: str = "letter.pdf") -> FileView:
    key = f"{name} {world.clock().isoformat()}"
    begun = await files.begin(who, None, Wanted(name, len(data)), key=key, now=world.clock())
    return await files.add_chunk(who, begun.id, 0, data, now=world.clock())


async def write(world: World, who: Actor, to: Actor, text: str, *sent: FileView) -> Written:
    ids = [one.id for one in sent]
    seen = MONITORED.version
    return await messages.write_to(
        world.db, RULES, who, to.person_id, text, seen_notice=seen, files=ids, now=world.clock()
    )


async def test_file_is_its_owners_alone_until_the_message_is_written_and_then_of_both(
    world: World, files: Files
) -> None:
    one = await chosen(files, world, world.bob)
    assert (one.is_ready, one.mime, one.appointment_id) == (True, "application/pdf", None)
    with pytest.raises(NotFound):
        await files.get(world.alice, one.id)
    assert await files.of_person(world.bob) == ()
    written = await write(world, world.bob, world.alice, "See the letter", one)
    assert await content(files, await files.get(world.alice, one.id)) == PDF
    assert {view.name for view in (await files.of_messages([written.id]))[written.id]} == {"letter.pdf"}
    for who in (world.alice, world.bob):
        [seen] = await files.of_person(who)
        assert seen.path.startswith(f"/messages/{written.conversation_id}")
    for stranger in (world.charlie, world.erin, world.dana):
        with pytest.raises(NotFound):
            await files.get(stranger, one.id)
        assert await files.of_person(stranger) == ()
    for stranger in (world.alice, world.charlie):
        with pytest.raises(NotFound):
            await files.withdraw(stranger, one.id, now=world.clock())


async def test_message_may_be_a_file_without_words_and_an_empty_one_is_refused(world: World, files: Files) -> None:
    await write(world, world.bob, world.alice, "", await chosen(files, world, world.bob))
    for who in (world.alice, world.bob):
        [talk] = (await message_queries.inbox(world.db, RULES, who, PageWanted())).rows
        assert talk.last_text == "1 file"
    with pytest.raises(Invalid, match="text_length"):
        await write(world, world.bob, world.alice, "  ")


async def test_only_ones_own_whole_and_unsent_files_go_with_a_message(world: World, files: Files) -> None:
    mine = await chosen(files, world, world.bob)
    theirs = await chosen(files, world, world.charlie)
    begun = await files.begin(world.bob, None, Wanted("long.pdf", len(PDF)), key="begun", now=world.clock())
    session = await world.started()
    shared = await files.begin(world.bob, session.id, Wanted("room.pdf", len(PDF)), key="room", now=world.clock())
    shared = await files.add_chunk(world.bob, shared.id, 0, PDF, now=world.clock())
    for wrong in (theirs, begun, shared):
        with pytest.raises(Conflict, match="file_not_there"):
            await write(world, world.bob, world.alice, "Look", mine, wrong)
    async with world.db.reading() as reading:
        assert (await reading.scalars(select(Message))).all() == [], "nothing of a refused message stays"
    assert (await files.get(world.bob, mine.id)).id == mine.id
    await write(world, world.bob, world.alice, "Look", mine, mine)
    with pytest.raises(Conflict, match="file_not_there"):
        await write(world, world.bob, world.alice, "Again", mine)


async def test_withdrawn_file_is_gone_and_its_message_says_so(world: World, files: Files, tmp_path: Path) -> None:
    one = await chosen(files, world, world.bob, picture(), "holiday.png")
    assert one.has_thumbnail
    written = await write(world, world.bob, world.alice, "From the sea", one)
    heard: list[MessageStored] = []
    world.db.subscribe(lambda events: heard.extend(each for each in events if isinstance(each, MessageStored)))
    await files.withdraw(world.bob, one.id, now=world.clock())
    assert [(each.conversation_id, set(each.people), each.author_id) for each in heard] == [
        (written.conversation_id, {world.alice.person_id, world.bob.person_id}, None)
    ]
    with pytest.raises(NotFound):
        await files.get(world.alice, one.id)
    [gone] = (await files.of_messages([written.id]))[written.id]
    assert (gone.is_gone, gone.name, gone.has_thumbnail) == (True, "", False)
    assert not (tmp_path / "files" / one.id).exists()
    assert await files.of_person(world.alice) == ()


async def test_same_file_can_be_sent_again_and_a_cut_one_goes_on(world: World, files: Files) -> None:
    wanted = Wanted("letter.pdf", len(PDF))
    first = await files.begin(world.bob, None, wanted, key="same", now=world.clock())
    again = await files.begin(world.bob, None, wanted, key="same", now=world.clock())
    assert again.id == first.id
    await write(
        world, world.bob, world.alice, "", await files.add_chunk(world.bob, first.id, 0, PDF, now=world.clock())
    )
    assert (await files.begin(world.bob, None, wanted, key="same", now=world.clock())).id != first.id
    with pytest.raises(Invalid, match="idempotency_key_reused"):
        await files.begin(world.bob, None, Wanted("other.pdf", 5), key="same", now=world.clock())
    other = await files.begin(world.charlie, None, wanted, key="same", now=world.clock())
    assert other.owner_id == world.charlie.person_id


async def test_what_was_chosen_and_never_sent_is_forgotten_and_bounded(
    world: World, files: Files, tmp_path: Path
) -> None:
    sent = await chosen(files, world, world.bob)
    await write(world, world.bob, world.alice, "Kept", sent)
    kept = await chosen(files, world, world.charlie)
    for number in range(MOST_UNATTACHED):
        await files.begin(world.bob, None, Wanted("a.pdf", 5), key=str(number), now=world.clock())
    with pytest.raises(Conflict, match="too_many_files"):
        await files.begin(world.bob, None, Wanted("a.pdf", 5), key="more", now=world.clock())
    world.clock.now += FORGOTTEN
    assert await files.forget_unfinished(world.clock()) == MOST_UNATTACHED + 1
    assert not (tmp_path / "files" / kept.id).exists()
    assert await content(files, await files.get(world.alice, sent.id)) == PDF


async def test_staff_read_files_sent_to_the_practice_and_never_monitored_ones(world: World, files: Files) -> None:
    monitored = await chosen(files, world, world.bob)
    written = await write(world, world.bob, world.alice, "Private", monitored)
    seen = await desk.read_as_staff(world.db, RULES, world.dana, written.conversation_id, now=world.clock())
    assert [one.files for one in seen.messages] == [1]
    with pytest.raises(NotFound):
        await files.get(world.dana, monitored.id)
    world.clock.now += timedelta(seconds=1)
    asked = await chosen(files, world, world.bob)
    await messages.write_to_support(
        world.db, RULES, world.bob, "A receipt", seen_notice=MONITORED.version, files=[asked.id], now=world.clock()
    )
    assert await content(files, await files.get(world.dana, asked.id)) == PDF
    assert await files.of_person(world.dana) == (), "the practice's, not hers"
    with pytest.raises(NotFound):
        await files.get(world.alice, asked.id)


async def test_who_has_no_account_is_sent_no_files(world: World, files: Files) -> None:
    async with world.db.transaction() as session:
        vera = await accounts.add_person(session, email="v@example.org", name="Vera", roles=(), now=world.clock())
        pair = messages.Pair(world.alice.person_id, vera.id)
        talk = await messages.begin(session, pair, world.clock())
        asker = Actor(vera.id, frozenset(), "Vera", "UTC")
        await messages.add_message(session, RULES, asker, talk, "Hello", now=world.clock())
        talk_id = talk.id
    one = await chosen(files, world, world.alice)
    with pytest.raises(Conflict, match="files_need_account"):
        await messages.write(
            world.db,
            RULES,
            world.alice,
            talk_id,
            "Read this",
            seen_notice=MONITORED.version,
            files=[one.id],
            now=world.clock(),
        )


async def test_erased_writers_files_are_gone(world: World, files: Files) -> None:
    sent, waiting = await chosen(files, world, world.bob), await chosen(files, world, world.bob, name="other.pdf")
    await write(world, world.bob, world.alice, "", sent)
    await files.forget_person(world.bob.person_id, world.clock())
    for one in (sent, waiting):
        with pytest.raises(NotFound):
            await files.get(world.bob, one.id)


async def test_over_http_a_stranger_gets_no_file_of_a_message(site: Site) -> None:
    world = site.world
    bob, alice, charlie = [await site.hand_of(who) for who in (world.bob, world.alice, world.charlie)]
    status, begun = await bob.post("/api/files", {"name": "letter.pdf", "size": len(PDF)})
    assert status == 201
    one = f"/api/files/{begun['id']}"
    refused = charlie.browser.client.put(f"{one}/chunks/0", data=PDF, headers=await headers(charlie))
    assert (await refused).status == 404
    assert (await bob.browser.client.put(f"{one}/chunks/0", data=PDF, headers=await headers(bob))).status == 200
    version = site.app[MESSAGES].notice.version
    body = {"to": world.alice.person_id, "text": "", "notice_version": version, "files": [begun["id"]]}
    stolen = await charlie.post("/api/conversations", body)
    assert (stolen[0], stolen[1]["code"]) == (409, "file_not_there")
    status, written = await bob.post("/api/conversations", body)
    assert status == 201
    _, seen = await alice.get(f"/api/conversations/{written['conversation_id']}")
    assert [file["name"] for file in seen["messages"][0]["files"]] == ["letter.pdf"]
    answer = await alice.browser.client.get(f"{one}/content", headers=alice.browser.headers)
    assert await answer.read() == PDF
    page = await alice.browser.get(f"/messages/{written['conversation_id']}")
    assert "letter.pdf" in page.text
    assert "letter.pdf" in (await alice.browser.get("/files")).text
    for who, wanted in ((world.charlie, 404), (world.erin, 404), (world.dana, 404), (None, 401)):
        hand = await site.hand_of(who)
        assert (await hand.get(f"{one}/content"))[0] == wanted
        assert (await hand.delete(one))[0] == wanted
    assert (await alice.delete(one))[0] == 404
    too_many = {**body, "files": [f"{n:032x}" for n in range(MOST_OF_A_MESSAGE + 1)]}
    assert (await bob.post("/api/conversations", too_many))[0] == 422
    assert (await bob.post("/api/files", {"name": "a.pdf", "size": 25_000_001}))[0] == 422
    assert (await bob.post("/api/files", {"name": "a.pdf", "size": 5, "visible_to": world.alice.person_id}))[0] == 422
    nobody = await site.hand_of(None)
    assert (await nobody.post("/api/files", {"name": "a.pdf", "size": 5}))[0] == 401
    assert (await bob.delete(one))[0] == 204
    async with world.db.reading() as session:
        [row] = await session.scalars(select(SharedFile).where(SharedFile.message_id.is_not(None)))
        assert row.withdrawn_at is not None
    page = await alice.browser.get(f"/messages/{written['conversation_id']}")
    assert "A file that was withdrawn" in page.text
    assert site.app[FILES].most_bytes == 25_000_000
