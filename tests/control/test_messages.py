"""Messages between client and practitioner: who may write to whom, in order, sealed, read, announced, reminded."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from control import message_queries, messages
from control.accounts import Actor
from control.database import Database
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.keys import MESSAGES
from control.message_queries import UNREADABLE
from control.messages import MessageRules, Written
from control.models.audit import AuditEntry
from control.models.messages import Conversation, Message
from control.models.notices import NoticeRow
from control.models.outbox import OutboxRow
from control.monitoring import NOT_MONITORED, WritingNotice
from control.notices.kinds import NoticeKind
from control.notices.relevance import STILL_WANTED
from control.paging import Wanted, place_of
from control.sealing import Sealer, Unsealable
from tests.helpers.practice import Site, World

MONITORED = WritingNotice("Please note these messages are monitored for training purposes", monitored=True)
RULES = MessageRules(Sealer(bytes(32), "messages"), MONITORED)


async def write(
    world: World, who: Actor, to: Actor, text: str = "Good morning", *, notice: WritingNotice = MONITORED
) -> Written:
    rules = MessageRules(RULES.sealer, notice)
    return await messages.write_to(
        world.db, rules, who, to.person_id, text, seen_notice=notice.version, now=world.clock()
    )


async def said(world: World, who: Actor, conversation_id: str) -> list[tuple[str, str]]:
    found = await message_queries.messages_of(world.db, RULES, who, conversation_id, limit=50)
    return [(one.author_name, one.text) for one in found]


async def outbox(db: Database, kind: NoticeKind) -> list[OutboxRow]:
    async with db.reading() as session:
        rows = await session.scalars(select(OutboxRow).where(OutboxRow.kind == kind).order_by(OutboxRow.created_at))
        return list(rows)


async def wanted(world: World, row: OutboxRow) -> bool:
    async with world.db.reading() as session:
        return await STILL_WANTED[NoticeKind(row.kind)](session, row.subject_id, row.facts, world.clock())


async def test_client_and_practitioner_have_one_conversation_in_the_order_of_writing(world: World) -> None:
    first = await write(world, world.bob, world.alice, "Are you there?")
    answer = await write(world, world.alice, world.bob, "Yes.")
    assert (first.conversation_id, first.seq) == (answer.conversation_id, 1)
    assert answer.seq == 2
    for who in (world.alice, world.bob):
        assert await said(world, who, first.conversation_id) == [
            ("Bob Client", "Are you there?"),
            ("Alice Owner", "Yes."),
        ]


async def test_first_messages_at_the_same_moment_make_one_conversation(world: World) -> None:
    await world.scheduled()
    written = await asyncio.gather(
        *(write(world, world.bob, world.alice, f"from Bob {n}") for n in range(4)),
        *(write(world, world.alice, world.bob, f"from Alice {n}") for n in range(4)),
    )
    assert len({one.conversation_id for one in written}) == 1
    assert sorted(one.seq for one in written) == list(range(1, 9))


async def test_practitioner_writes_to_active_clients_only(world: World) -> None:
    with pytest.raises(Forbidden) as refused:
        await write(world, world.alice, world.bob)
    assert refused.value.code == "not_active_client"
    await world.book()  # being booked is not yet a session
    with pytest.raises(Forbidden):
        await write(world, world.alice, world.bob)
    await write(world, world.bob, world.alice)
    assert (await write(world, world.alice, world.bob)).seq == 2
    await world.scheduled(start=world.first_start + timedelta(hours=1))
    with pytest.raises(Forbidden):
        await write(world, world.erin, world.bob)


async def test_nobody_writes_to_themselves_to_clients_or_to_nobody(world: World) -> None:
    for other in (world.bob, world.charlie, world.dana, Actor("0" * 32, frozenset(), "Nobody", "UTC")):
        with pytest.raises(NotFound):
            await write(world, world.bob, other)
    with pytest.raises(NotFound):
        await write(world, world.dana, world.bob)


async def test_stranger_reads_and_writes_nothing(world: World) -> None:
    conversation_id = (await write(world, world.bob, world.alice)).conversation_id
    for who in (world.charlie, world.erin, world.dana):
        with pytest.raises(NotFound):
            await message_queries.conversation(world.db, RULES, who, conversation_id)
        with pytest.raises(NotFound):
            await said(world, who, conversation_id)
        with pytest.raises(NotFound):
            await messages.write(world.db, RULES, who, conversation_id, "hello", now=world.clock())
        with pytest.raises(NotFound):
            await messages.mark_read(world.db, who, conversation_id, 1)
        assert (await message_queries.inbox(world.db, RULES, who, Wanted())).rows == ()
        assert await message_queries.search(world.db, RULES, who, "morning") == ()


@pytest.mark.parametrize("text", ["", "   \n ", "x" * (messages.MOST_TEXT_LENGTH + 1)])
async def test_text_that_is_none_or_too_long_is_refused(world: World, text: str) -> None:
    with pytest.raises(Invalid):
        await write(world, world.bob, world.alice, text)
    async with world.db.reading() as session:
        assert (await session.scalars(select(Message))).all() == []


# -- sealing -----------------------------------------------------------------------------------------------------


async def test_text_lies_sealed_and_opens_in_its_own_place_only(world: World) -> None:
    written = await write(world, world.bob, world.alice, "Something private")
    async with world.db.transaction() as session:
        row = (await session.scalars(select(Message))).one()
        assert b"private" not in row.sealed
        assert b"private" not in str((await session.scalars(select(NoticeRow))).all()).encode()
        row.sealed = RULES.sealer.seal("Somebody else's", messages.sealed_context(row.conversation_id, 7))
    assert await said(world, world.bob, written.conversation_id) == [("Bob Client", UNREADABLE)]


def test_sealed_text_opens_with_its_key_purpose_and_context_only() -> None:
    sealed = RULES.sealer.seal("words", "message:a:1")
    assert RULES.sealer.unseal(sealed, "message:a:1") == "words"
    for sealer in (Sealer(bytes(32), "notes"), Sealer(b"1" * 32, "messages")):
        with pytest.raises(Unsealable):
            sealer.unseal(sealed, "message:a:1")
    for damaged in (b"", sealed[:20], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(Unsealable):
            RULES.sealer.unseal(damaged, "message:a:1")


# -- the notice --------------------------------------------------------------------------------------------------


async def test_first_message_wants_the_notice_seen_and_keeps_that(world: World) -> None:
    for seen in (None, "another"):
        with pytest.raises(Conflict) as refused:
            await messages.write_to(
                world.db, RULES, world.bob, world.alice.person_id, "Hi", seen_notice=seen, now=world.clock()
            )
        assert refused.value.code == "notice_not_seen"
        assert refused.value.extra["notice"] == MONITORED.text
    written = await write(world, world.bob, world.alice)
    await messages.write(world.db, RULES, world.bob, written.conversation_id, "More", now=world.clock())
    async with world.db.reading() as session:
        entries = await session.scalars(select(AuditEntry).where(AuditEntry.action == "monitoring.acknowledged"))
        assert [one.detail["version"] for one in entries] == [MONITORED.version]


async def test_changed_notice_is_shown_again_and_messages_keep_what_was_promised(world: World) -> None:
    quiet = WritingNotice(NOT_MONITORED, monitored=False)
    written = await write(world, world.bob, world.alice, "Between us", notice=quiet)
    with pytest.raises(Conflict):
        await messages.write(world.db, RULES, world.bob, written.conversation_id, "Now", now=world.clock())
    await write(world, world.bob, world.alice, "Now", notice=MONITORED)
    shown = await message_queries.messages_of(world.db, RULES, world.bob, written.conversation_id, limit=9)
    assert [one.monitored for one in shown] == [False, True]


# -- reading -----------------------------------------------------------------------------------------------------


async def test_unread_is_counted_and_never_grows_backwards(world: World) -> None:
    for _ in range(3):
        written = await write(world, world.bob, world.alice)
    conversation_id = written.conversation_id

    async def unread(who: Actor) -> tuple[int, int]:
        view = await message_queries.conversation(world.db, RULES, who, conversation_id)
        return view.unread, await message_queries.unread_conversations(world.db, who)

    assert await unread(world.alice) == (3, 1)
    assert await unread(world.bob) == (0, 0)
    for seq, left in ((2, 1), (1, 1), (999, 0)):
        await messages.mark_read(world.db, world.alice, conversation_id, seq)
        assert (await unread(world.alice))[0] == left
    assert await unread(world.alice) == (0, 0)
    view = await message_queries.conversation(world.db, RULES, world.bob, conversation_id)
    assert view.other_read_seq == 3


async def test_inbox_is_paged_newest_first(world: World) -> None:
    for client in (world.bob, world.charlie, *(await world.add_clients(3))):
        world.clock.forward(minutes=1)
        await write(world, client, world.alice, f"I am {client.name}")
    names: list[str] = []
    place = Wanted(2)
    while True:
        page = await message_queries.inbox(world.db, RULES, world.alice, place)
        names += [one.last_text for one in page.rows]
        if page.next_cursor is None:
            break
        place = Wanted(2, place_of(page.next_cursor))
    assert names == ["I am Person 2", "I am Person 1", "I am Person 0", "I am Charlie Stranger", "I am Bob Client"]


async def test_search_finds_words_in_texts_and_names_of_ones_own(world: World) -> None:
    await write(world, world.bob, world.alice, "The breathing exercise helped")
    await write(world, world.charlie, world.alice, "Can we move Tuesday?")
    await write(world, world.charlie, world.erin, "Breathing again")

    async def found(who: Actor, words: str) -> list[str]:
        return [one.excerpt for one in await message_queries.search(world.db, RULES, who, words)]

    assert await found(world.alice, "EXERCISE breathing") == ["The breathing exercise helped"]
    assert await found(world.alice, "charlie") == ["Can we move Tuesday?"]
    assert await found(world.bob, "tuesday") == []
    assert await found(world.charlie, "breathing") == ["Breathing again"]
    assert await found(world.alice, "  ") == []


# -- notices -----------------------------------------------------------------------------------------------------


async def test_one_notice_tells_of_all_that_came_since_the_last_look(world: World) -> None:
    written = await write(world, world.bob, world.alice)
    await write(world, world.bob, world.alice)
    [row] = await outbox(world.db, NoticeKind.NEW_MESSAGE)
    assert row.person_id == world.alice.person_id
    assert row.next_attempt_at == world.clock() + messages.MAIL_AFTER
    assert await wanted(world, row)
    await messages.mark_read(world.db, world.alice, written.conversation_id, 2)
    assert not await wanted(world, row), "who has read it needs no e-mail"
    await write(world, world.bob, world.alice)
    assert len(await outbox(world.db, NoticeKind.NEW_MESSAGE)) == 2


async def test_practitioner_is_reminded_twice_of_what_waits_and_never_after_the_answer(world: World) -> None:
    async def remind(hours: int) -> int:
        world.clock.forward(hours=hours)
        await messages.remind_unanswered(world.db, RULES, world.clock())
        return len(await outbox(world.db, NoticeKind.UNANSWERED_MESSAGES))

    await write(world, world.bob, world.alice)
    world.clock.forward(hours=1)
    await write(world, world.bob, world.alice)
    assert await remind(22) == 0
    assert await remind(1) == 1
    assert await remind(0) == 1
    assert await remind(47) == 1
    assert await remind(1) == 2
    assert await remind(500) == 2
    [first, _] = await outbox(world.db, NoticeKind.UNANSWERED_MESSAGES)
    assert (first.person_id, first.facts["count"]) == (world.alice.person_id, 2)
    assert await wanted(world, first)
    await write(world, world.alice, world.bob)
    assert not await wanted(world, first)
    await write(world, world.bob, world.alice)
    assert await remind(24) == 3, "a new question starts anew"


async def test_two_schedulers_remind_once(world: World) -> None:
    await write(world, world.bob, world.alice)
    now = world.clock.forward(hours=25)
    await asyncio.gather(*(messages.remind_unanswered(world.db, RULES, now) for _ in range(3)))
    assert len(await outbox(world.db, NoticeKind.UNANSWERED_MESSAGES)) == 1
    async with world.db.reading() as session:
        row = (await session.scalars(select(Conversation))).one()
        assert row.reminders_sent == 1


# -- over HTTP ---------------------------------------------------------------------------------------------------


async def test_conversation_over_http(site: Site) -> None:
    bob, alice = await site.hand_of(site.world.bob), await site.hand_of(site.world.alice)
    body = {"to": site.world.alice.person_id, "text": "Hello"}
    status, refused = await bob.post("/api/conversations", body)
    assert (status, refused["code"]) == (409, "notice_not_seen")
    body["notice_version"] = refused["notice_version"]
    status, written = await bob.post("/api/conversations", body, key="once")
    assert (status, written["seq"]) == (201, 1)
    assert await bob.post("/api/conversations", body, key="once") == (201, written)
    one = f"/api/conversations/{written['conversation_id']}"
    assert (await alice.get("/api/conversations/unread"))[1] == {"unread": 1}
    _, seen = await alice.get(one)
    assert [message["text"] for message in seen["messages"]] == ["Hello"]
    assert (await alice.post(f"{one}/read", {"seq": 1}))[0] == 204
    assert (await alice.get("/api/conversations/unread"))[1] == {"unread": 0}
    answer = {"text": "Hi Bob", "notice_version": refused["notice_version"]}
    assert (await alice.post(f"{one}/messages", answer))[0] == 201
    _, listed = await bob.get("/api/conversations")
    assert [(row["last_text"], row["unread"]) for row in listed["conversations"]] == [("Hi Bob", 1)]
    _, found = await bob.get("/api/conversations/search?q=hello")
    assert [row["excerpt"] for row in found["found"]] == ["Hello"]


async def test_stranger_and_visitor_are_refused_at_every_route(site: Site) -> None:
    world = site.world
    rules = site.app[MESSAGES]
    written = await messages.write_to(
        world.db,
        rules,
        world.bob,
        world.alice.person_id,
        "Private",
        seen_notice=rules.notice.version,
        now=world.clock(),
    )
    one = f"/api/conversations/{written.conversation_id}"
    calls = [
        ("GET", one, None),
        ("POST", f"{one}/messages", {"text": "hi", "notice_version": rules.notice.version}),
        ("POST", f"{one}/read", {"seq": 1}),
        ("POST", f"{one}/typing", {}),
    ]
    lists = [("GET", path, None) for path in ("/api/conversations", "/api/conversations/unread")]
    for who, wanted_status in ((world.charlie, 404), (world.dana, 404), (None, 401)):
        hand = await site.hand_of(who)
        for method, path, body in [*calls, *(lists if who is None else [])]:
            status, answer = await (hand.get(path) if method == "GET" else hand.post(path, body))
            assert status == wanted_status, (path, answer)
    async with world.db.reading() as session:
        assert len((await session.scalars(select(Message))).all()) == 1


async def test_bodies_that_make_no_sense_are_refused(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    alice = site.world.alice.person_id
    for body in (
        {},
        {"to": alice},
        {"to": "x", "text": "hi"},
        {"to": alice, "text": ""},
        {"to": alice, "text": "x" * 4001},
        {"to": alice, "text": "a\x00b"},
        {"to": alice, "text": "hi", "more": 1},
    ):
        assert (await bob.post("/api/conversations", body))[0] == 422, body
    for query in ("", "?q=", f"?q={'x' * 101}", "?q=a&q=b"):
        assert (await bob.get(f"/api/conversations/search{query}"))[0] == 400, query
    assert (await bob.get("/api/conversations?cursor=nonsense"))[0] == 400


async def test_flood_of_messages_is_stopped(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    body = {
        "to": site.world.alice.person_id,
        "text": "again",
        "notice_version": site.app[MESSAGES].notice.version,
    }
    answers = [(await bob.post("/api/conversations", body))[0] for _ in range(21)]
    assert answers == [201] * 20 + [429]


async def test_message_and_typing_reach_the_others_open_page(site: Site) -> None:
    world = site.world
    bob, alice = await site.hand_of(world.bob), await site.hand_of(world.alice)
    socket = await alice.browser.client.ws_connect(
        "/api/live", headers={"Origin": alice.browser.origin, **alice.browser.headers}
    )
    assert (await socket.receive_json())["type"] == "ready"
    body = {"to": world.alice.person_id, "text": "Hello", "notice_version": site.app[MESSAGES].notice.version}
    _, written = await bob.post("/api/conversations", body)
    seen = [await socket.receive_json() for _ in range(2)]
    assert {one["type"] for one in seen} == {"notice", "message"}
    assert all("Hello" not in str(one) for one in seen)
    assert (await bob.post(f"/api/conversations/{written['conversation_id']}/typing"))[0] == 204
    assert await socket.receive_json() == {"type": "typing", "about": written["conversation_id"]}
    await socket.close()
