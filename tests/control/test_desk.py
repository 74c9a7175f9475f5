"""The help desk and monitoring: what staff see, what they are shown to have seen, and that nobody else gets in."""

import pytest
from sqlalchemy import func, select

from control import accounts, desk, message_queries, messages, people
from control.accounts import Actor
from control.errors import Forbidden, Invalid, NotFound
from control.keys import MESSAGES
from control.messages import MessageRules, Written
from control.models.audit import AuditEntry
from control.models.outbox import OutboxRow
from control.models.people import Role
from control.monitoring import NOT_MONITORED, WritingNotice
from control.notices.kinds import NoticeKind
from control.paging import Wanted
from tests.control.test_messages import MONITORED, RULES, write
from tests.helpers.practice import Site, World, add_person

QUIET = MessageRules(RULES.sealer, WritingNotice(NOT_MONITORED, monitored=False))


async def ask_support(world: World, who: Actor, text: str = "I need help") -> Written:
    seen = MONITORED.version
    return await messages.write_to_support(world.db, RULES, who, text, seen_notice=seen, now=world.clock())


async def support(world: World) -> Actor:
    async with world.db.transaction() as session:
        return await add_person(session, "Sam Support", Role.SUPPORT, now=world.clock())


async def told(world: World, kind: NoticeKind) -> set[str]:
    async with world.db.reading() as session:
        return set(await session.scalars(select(OutboxRow.person_id).where(OutboxRow.kind == kind)))


async def queue(world: World, who: Actor, show: str = "open") -> list[str]:
    return [one.person_name for one in (await desk.queue(world.db, who, Wanted(), show=show)).rows]


async def test_message_to_the_practice_reaches_support_and_is_answered(world: World) -> None:
    sam = await support(world)
    first = await ask_support(world, world.alice)
    assert (await ask_support(world, world.alice, "Still")).conversation_id == first.conversation_id
    assert await told(world, NoticeKind.NEW_MESSAGE) == {sam.person_id}
    assert await queue(world, sam) == ["Alice Owner"]
    await messages.write(
        world.db, RULES, sam, first.conversation_id, "Here I am", seen_notice=MONITORED.version, now=world.clock()
    )
    view = await message_queries.conversation(world.db, RULES, world.alice, first.conversation_id)
    assert (view.other_name, view.last_text, view.unread) == ("Practice support", "Here I am", 1)


async def test_without_support_the_admins_are_told(world: World) -> None:
    await ask_support(world, world.bob)
    assert await told(world, NoticeKind.NEW_MESSAGE) == {world.dana.person_id}


async def test_taken_closed_and_opened_again_by_the_next_message(world: World) -> None:
    sam = await support(world)
    conversation_id = (await ask_support(world, world.bob)).conversation_id
    for _ in range(2):
        view = await desk.assign(world.db, sam, conversation_id, world.dana.person_id, now=world.clock())
        assert view.assigned_to_name == "Dana Admin"
    assert await queue(world, world.dana, "mine") == ["Bob Client"]
    with pytest.raises(Invalid):
        await desk.assign(world.db, sam, conversation_id, world.alice.person_id, now=world.clock())
    await desk.close(world.db, sam, conversation_id, now=world.clock())
    assert (await queue(world, sam), await queue(world, sam, "closed")) == ([], ["Bob Client"])
    assert await messages.remind_unanswered(world.db, RULES, world.clock.forward(hours=30)) == 0
    await ask_support(world, world.bob, "One more thing")
    assert await queue(world, sam) == ["Bob Client"]
    assert await messages.remind_unanswered(world.db, RULES, world.clock.forward(hours=24)) == 1, "it waits anew"
    await desk.assign(world.db, sam, conversation_id, None, now=world.clock())
    assert await queue(world, world.dana, "mine") == []


async def test_monitored_read_is_logged_and_shown_to_both(world: World) -> None:
    conversation_id = (await write(world, world.bob, world.alice, "Hello")).conversation_id
    seen = await desk.read_as_staff(world.db, RULES, world.dana, conversation_id, now=world.clock())
    assert ([one.text for one in seen.messages], seen.hidden) == (["Hello"], 0)
    [read] = await desk.staff_reads(world.db, conversation_id)
    assert (read.name, read.at) == ("Dana Admin", world.clock())


async def test_what_was_written_unmonitored_is_never_read(world: World) -> None:
    conversation_id = (await write(world, world.bob, world.alice, "Private", notice=QUIET.notice)).conversation_id
    await write(world, world.bob, world.alice, "Monitored")
    seen = await desk.read_as_staff(world.db, RULES, world.dana, conversation_id, now=world.clock())
    assert ([one.text for one in seen.messages], seen.hidden) == (["Monitored"], 1)
    with pytest.raises(Forbidden):
        await desk.read_as_staff(world.db, QUIET, world.dana, conversation_id, now=world.clock())
    with pytest.raises(Forbidden):
        await desk.monitored(world.db, QUIET, world.dana, Wanted())


async def test_monitoring_is_searched_by_name_and_holds_no_words(world: World) -> None:
    await write(world, world.bob, world.alice, "Hello")
    await write(world, world.charlie, world.erin, "Hello")

    async def found(name: str) -> list[str]:
        page = await desk.monitored(world.db, RULES, world.dana, Wanted(), name)
        return [one.person_name for one in page.rows]

    assert sorted(await found("")) == ["Bob Client", "Charlie Stranger"]
    assert await found("bob alice") == ["Bob Client"]
    assert await found("%") == await found("")
    assert await found("hello") == []


async def test_only_staff_work_the_desk(world: World) -> None:
    asked = (await ask_support(world, world.bob)).conversation_id
    talk = (await write(world, world.bob, world.alice)).conversation_id
    for who in (world.alice, world.bob, world.charlie):
        for refused in (
            desk.queue(world.db, who, Wanted()),
            desk.monitored(world.db, RULES, who, Wanted()),
            desk.read_as_staff(world.db, RULES, who, talk, now=world.clock()),
            desk.assign(world.db, who, asked, who.person_id, now=world.clock()),
            desk.close(world.db, who, asked, now=world.clock()),
        ):
            with pytest.raises(Forbidden):
                await refused
    with pytest.raises(NotFound):
        await desk.close(world.db, world.dana, talk, now=world.clock())
    with pytest.raises(NotFound):
        await message_queries.conversation(world.db, RULES, world.charlie, asked)
    async with world.db.reading() as session:
        logged = select(func.count()).select_from(AuditEntry).where(AuditEntry.action == desk.MONITORED_READ)
        assert await session.scalar(logged) == 0


async def test_desk_over_http(site: Site) -> None:
    world, rules = site.world, site.app[MESSAGES]
    bob, dana, charlie = [await site.hand_of(who) for who in (world.bob, world.dana, world.charlie)]
    words = {"text": "Help", "notice_version": rules.notice.version}
    status, asked = await bob.post("/api/conversations/support", words)
    assert status == 201
    talk = await messages.write_to(
        world.db, rules, world.bob, world.alice.person_id, "Hi", seen_notice=rules.notice.version, now=world.clock()
    )
    one = f"/api/help-desk/{asked['conversation_id']}"
    monitored = f"/api/monitoring/{talk.conversation_id}"
    _, listed = await dana.get("/api/help-desk")
    assert [row["person"]["name"] for row in listed["queue"]] == ["Bob Client"]
    assert (await dana.post(f"{one}/assign", {"to": world.dana.person_id}))[1]["assigned_to"] == world.dana.person_id
    assert (await dana.post(f"{one}/assign", {"to": None}))[1]["assigned_to"] is None
    assert (await dana.post(f"{one}/close"))[1]["closed_at"] is not None
    assert [row["text"] for row in (await dana.get(monitored))[1]["said"]] == ["Hi"]
    assert len((await dana.get("/api/monitoring?q=bob"))[1]["conversations"]) == 1
    for hand, wanted in ((bob, 403), (charlie, 403), (await site.hand_of(None), 401)):
        for path in ("/api/help-desk", "/api/monitoring", monitored):
            assert (await hand.get(path))[0] == wanted
        for path, body in ((f"{one}/assign", {"to": None}), (f"{one}/close", {})):
            assert (await hand.post(path, body))[0] == wanted


async def test_who_is_staff_no_more_gives_back_what_they_had_taken(world: World) -> None:
    sam = await support(world)
    conversation_id = (await ask_support(world, world.bob)).conversation_id
    await desk.assign(world.db, sam, conversation_id, sam.person_id, now=world.clock())
    seen = MONITORED.version
    await messages.write(world.db, RULES, sam, conversation_id, "Yes?", seen_notice=seen, now=world.clock())
    await people.set_roles(world.db, world.dana, sam.person_id, {Role.CLIENT}, now=world.clock())
    [row] = (await desk.queue(world.db, world.dana, Wanted())).rows
    assert row.assigned_to_id is None
    assert world.dana.person_id not in await told(world, NoticeKind.NEW_MESSAGE)
    await ask_support(world, world.bob, "Still there?")
    assert world.dana.person_id in await told(world, NoticeKind.NEW_MESSAGE)


async def test_staffs_start_page_is_the_desk(world: World) -> None:
    assert accounts.home_path(await support(world)) == "/admin/help-desk"
