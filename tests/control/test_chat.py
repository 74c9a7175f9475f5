"""The chat of a session: who writes and reads it, in which order it stands, and that only sealed text is stored."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from control import accounts, appointments, guests
from control.chat import MOST_LINES, Chat
from control.errors import Conflict, Forbidden, Invalid, NotFound, Problem
from control.models.chat import ChatMessage
from control.room_news import RoomNews
from tests.helpers.practice import Site, World

KEY = b"k" * 32


@pytest.fixture
def chat(world: World) -> Chat:
    return Chat(world.db, KEY)


def heard_by(world: World) -> list[RoomNews]:
    heard: list[RoomNews] = []
    world.db.subscribe(lambda events: heard.extend(one for one in events if isinstance(one, RoomNews)))
    return heard


async def test_lines_are_numbered_in_order_and_told_to_both(world: World, chat: Chat) -> None:
    view = await world.started()
    heard = heard_by(world)
    await chat.say(world.bob, view.id, "Hello", key="1", now=world.clock())
    await chat.say(world.alice, view.id, "Good to see you", key="1", now=world.clock())
    found = await chat.history(world.bob, view.id)
    assert [(line.seq, line.name, line.text) for line in found.lines] == [
        (1, "Bob Client", "Hello"),
        (2, "Alice Owner", "Good to see you"),
    ]
    assert [(one.topic, one.body["seq"], set(one.to)) for one in heard] == [
        ("chat", seq, {world.alice.person_id, world.bob.person_id}) for seq in (1, 2)
    ]


async def test_text_is_stored_sealed_and_opens_with_no_other_key(world: World, chat: Chat) -> None:
    view = await world.started()
    await chat.say(world.bob, view.id, "a private thing", key="1", now=world.clock())
    async with world.db.reading() as session:
        row = (await session.scalars(select(ChatMessage))).one()
    assert b"private" not in row.sealed
    with pytest.raises(Problem, match="unreadable"):
        await Chat(world.db, b"x" * 32).history(world.bob, view.id)


async def test_sealed_text_moved_to_another_line_does_not_open(world: World, chat: Chat) -> None:
    view = await world.started()
    for key in ("1", "2"):
        await chat.say(world.bob, view.id, f"line {key}", key=key, now=world.clock())
    async with world.db.transaction() as session:
        first, second = (await session.scalars(select(ChatMessage).order_by(ChatMessage.seq))).all()
        first.sealed, second.sealed = second.sealed, first.sealed
    with pytest.raises(Problem, match="unreadable"):
        await chat.history(world.bob, view.id)


async def test_line_sent_again_under_its_key_is_the_same_line(world: World, chat: Chat) -> None:
    view = await world.started()
    first = await chat.say(world.bob, view.id, "Hello", key="1", now=world.clock())
    assert await chat.say(world.bob, view.id, "Hello", key="1", now=world.clock()) == first
    assert len((await chat.history(world.bob, view.id)).lines) == 1
    with pytest.raises(Invalid, match="idempotency_key_reused"):
        await chat.say(world.bob, view.id, "Something else", key="1", now=world.clock())


async def test_pages_of_history_and_what_came_after(world: World, chat: Chat) -> None:
    view = await world.started()
    for number in range(1, 121):
        await chat.say(world.bob, view.id, str(number), key=str(number), now=world.clock())
    newest = await chat.history(world.alice, view.id)
    assert (newest.lines[0].seq, newest.lines[-1].seq, newest.has_earlier) == (21, 120, True)
    earlier = await chat.history(world.alice, view.id, before=21)
    assert ([line.seq for line in earlier.lines], earlier.has_earlier) == (list(range(1, 21)), False)
    missed = await chat.history(world.alice, view.id, after=118)
    assert [line.text for line in missed.lines] == ["119", "120"]


async def test_marks_only_move_forward_and_not_beyond_what_was_written(world: World, chat: Chat) -> None:
    view = await world.started()
    heard = heard_by(world)
    for key in ("1", "2"):
        await chat.say(world.bob, view.id, key, key=key, now=world.clock())
    assert (await chat.mark(world.alice, view.id, delivered=9, read=1)).as_json() == {
        "person": world.alice.person_id,
        "delivered": 2,
        "read": 1,
    }
    assert (await chat.mark(world.alice, view.id, delivered=0, read=0)).read == 1
    assert [one.body["read"] for one in heard if one.topic == "chat_mark"] == [1]


async def test_it_is_written_only_while_the_room_is_open_and_read_afterwards(world: World, chat: Chat) -> None:
    early = await world.scheduled()
    with pytest.raises(Conflict, match="not_open"):
        await chat.say(world.bob, early.id, "Hello", key="1", now=world.clock())
    world.clock.now = early.starts_at - timedelta(minutes=5)
    await appointments.catch_up(world.db, early.id, now=world.clock())
    await chat.say(world.bob, early.id, "I am here", key="2", now=world.clock())
    await appointments.cancel(world.db, world.alice, early.id, now=world.clock())
    with pytest.raises(Conflict, match="not_open"):
        await chat.say(world.bob, early.id, "Hello", key="3", now=world.clock())
    found = await chat.history(world.bob, early.id)
    assert ([line.text for line in found.lines], found.may_write) == (["I am here"], False)


async def test_full_chat_and_empty_line_are_refused(world: World, chat: Chat) -> None:
    view = await world.started()
    with pytest.raises(Invalid, match="text_empty"):
        await chat.say(world.bob, view.id, " \n ", key="1", now=world.clock())
    async with world.db.transaction() as session:
        session.add(
            ChatMessage(
                appointment_id=view.id,
                seq=MOST_LINES,
                author_id=world.bob.person_id,
                key="last",
                sealed=b"",
                created_at=world.clock(),
            )
        )
    with pytest.raises(Conflict, match="chat_full"):
        await chat.say(world.bob, view.id, "Hello", key="2", now=world.clock())


async def test_guest_reads_and_writes_from_admit_on_and_sees_nothing_from_before(world: World, chat: Chat) -> None:
    view = await world.started()
    await chat.say(world.bob, view.id, "between us two", key="1", now=world.clock())
    guest = await guests.invite(world.db, world.alice, view.id, email="g@example.org", name="Gwen", now=world.clock())
    gwen = await accounts.actor_of(world.db, guest.person_id)
    assert gwen is not None
    with pytest.raises(Forbidden, match="not_admitted"):
        await chat.history(gwen, view.id)
    world.clock.now += timedelta(minutes=1)
    await guests.admit(world.db, world.alice, view.id, guest.id, now=world.clock())
    heard = heard_by(world)
    await chat.say(gwen, view.id, "Hello all", key="1", now=world.clock())
    assert [line.text for line in (await chat.history(gwen, view.id)).lines] == ["Hello all"]
    assert gwen.person_id in heard[0].to
    await guests.remove(world.db, world.alice, view.id, guest.id, now=world.clock())
    with pytest.raises(NotFound):
        await chat.history(gwen, view.id)


async def test_stranger_admin_and_visitor_neither_read_nor_write(site: Site) -> None:
    world = site.world
    view = await world.started()
    path = f"/api/appointments/{view.id}/chat"
    for who, status in ((world.charlie, 404), (world.erin, 404), (world.dana, 403), (None, 401)):
        hand = await site.hand_of(who)
        assert (await hand.get(path))[0] == status
        assert (await hand.post(path, {"text": "Hello"}))[0] == status
        assert (await hand.post(f"{path}/marks", {"delivered": 1, "read": 1}))[0] == status
    bob = await site.hand_of(world.bob)
    assert (await bob.get(path))[1]["messages"] == []


async def test_chat_over_http_is_bounded_and_needs_a_key(site: Site) -> None:
    world = site.world
    view = await world.started()
    path = f"/api/appointments/{view.id}/chat"
    bob = await site.hand_of(world.bob)
    status, line = await bob.post(path, {"text": "Hello"}, key="one")
    assert (status, line["seq"], line["person"]) == (201, 1, world.bob.person_id)
    assert (await bob.post(path, {"text": "Hello"}, key="one"))[1] == line
    assert (await bob.post(path, {"text": "Hello"}, key=None))[1]["code"] == "idempotency_key_required"
    for body in ({"text": ""}, {"text": "x" * 4_001}, {"text": "a\x00b"}, {"text": "a", "seq": 3}, {"text": 3}, {}):
        assert (await bob.post(path, body))[0] == 422
    assert (await bob.get(f"{path}?after=x"))[0] == 400
    assert (await bob.post(f"{path}/marks", {"delivered": -1, "read": 0}))[0] == 422
    assert len((await bob.get(path))[1]["messages"]) == 1


async def test_nothing_written_is_kept_as_an_answer(site: Site) -> None:
    world = site.world
    view = await world.started()
    bob = await site.hand_of(world.bob)
    await bob.post(f"/api/appointments/{view.id}/chat", {"text": "a private thing"}, key="one")
    async with world.db.reading() as session:
        for table in ("kept_answers", "outbox", "notices", "audit_entries"):
            rows = (await session.execute(select("*").select_from(_table(table)))).all()
            assert "private" not in repr(rows)


def _table(name: str) -> object:
    from control.database import Base

    return Base.metadata.tables[name]
