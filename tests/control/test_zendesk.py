"""The help desk on Zendesk, against a server that imitates it: tickets, comments, webhooks, and every kind of fault."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import select

from control import enquiries, mail_in, message_queries, messages, zendesk_desk
from control.accounts import Actor
from control.config import Settings, ZendeskSettings
from control.errors import NotFound
from control.messages import MessageRules
from control.models.messages import Conversation, DeskJob
from control.models.my_data import PersonErasure
from control.models.outbox import OutboxRow
from control.models.people import Person
from control.notices.kinds import NoticeKind
from control.zendesk import NotReached, Zendesk, signature_fits
from control.zendesk_desk import FALL_BACK_AFTER, ZendeskDesk
from tests.control.test_enquiries import RULES as MAIL_RULES
from tests.control.test_enquiries import VISITOR, enquiry, token_of
from tests.control.test_messages import MONITORED
from tests.helpers.practice import Site, World, find_by_email
from tests.helpers.stand_in import serving
from tests.helpers.zendesk_server import EMAIL, TOKEN, WEBHOOK_SECRET, Fault, ZendeskServer

RULES: MessageRules = replace(MAIL_RULES, zendesk=True)


@pytest_asyncio.fixture
async def zendesk() -> AsyncIterator[ZendeskServer]:
    async with serving(ZendeskServer()) as server:
        yield server


@pytest_asyncio.fixture
async def desk(world: World, zendesk: ZendeskServer) -> AsyncIterator[ZendeskDesk]:
    opened = ZendeskDesk(world.db, RULES, Zendesk(zendesk.base, EMAIL, TOKEN, timeout_s=2), "Test Row")
    yield opened
    await opened.close()


async def enquired(world: World) -> str:
    await enquiries.send(world.db, RULES, enquiry(world), now=world.clock())
    written = await enquiries.prove(world.db, RULES, await token_of(world.db), now=world.clock())
    return written.conversation_id


async def answer(world: World, conversation_id: str, text: str = "Yes, from 14.") -> None:
    seen = MONITORED.version
    await messages.write(world.db, RULES, world.alice, conversation_id, text, seen_notice=seen, now=world.clock())


async def written_by_the_visitor(world: World, conversation_id: str, text: str) -> None:
    """By e-mail."""
    async with world.db.transaction() as session:
        row = await session.get_one(Conversation, conversation_id)
        person = await session.get_one(Person, row.person_id)
        writer = Actor(person.id, person.role_names, person.name, person.time_zone)
        await messages.add_message(session, RULES, writer, row, text, now=world.clock())


async def work(world: World, desk: ZendeskDesk, rounds: int = 1, minutes: int = 0) -> None:
    for _ in range(rounds):
        world.clock.forward(minutes=minutes)
        while await desk.run_once(world.clock()):
            pass


async def said(world: World, conversation_id: str) -> list[tuple[str, str]]:
    async with world.db.reading() as session:
        shown = await message_queries.messages_in(session, RULES, conversation_id, limit=50)
    return [(one.author_name, one.text) for one in shown]


async def mails(world: World) -> int:
    async with world.db.reading() as session:
        rows = await session.scalars(select(OutboxRow).where(OutboxRow.kind == NoticeKind.ENQUIRY_ANSWERED))
        return len(rows.all())


def bodies(zendesk: ZendeskServer) -> list[tuple[str, bool]]:
    [comments] = zendesk.comments.values()
    return [(one["body"], one["public"]) for one in comments]


async def test_enquiry_becomes_a_ticket_and_the_answer_its_comment(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    conversation_id = await enquired(world)
    await answer(world, conversation_id)
    await work(world, desk)
    [ticket] = zendesk.tickets.values()
    assert (ticket["external_id"], ticket["requester_email"]) == (conversation_id, VISITOR)
    assert bodies(zendesk) == [("Do you work with teenagers?", True), ("Yes, from 14.", True)]
    assert zendesk.mailed == [(VISITOR, "Yes, from 14.")]
    assert await mails(world) == 0, "Zendesk has written already"
    await work(world, desk)
    assert len(bodies(zendesk)) == 2


async def test_comments_there_become_messages_here_once(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    conversation_id = await enquired(world)
    await work(world, desk)
    [ticket_id] = zendesk.tickets
    zendesk.agent_writes(ticket_id, "An agent answers")
    zendesk.agent_writes(ticket_id, "A note among agents", public=False)
    zendesk.requester_writes(ticket_id, "Thank you")
    assert [await desk.take(str(ticket_id), world.clock()) for _ in range(2)] == [2, 0]
    assert await said(world, conversation_id) == [
        ("Vera Visitor", "Do you work with teenagers?"),
        ("Practice support", "An agent answers"),
        ("Vera Visitor", "Thank you"),
    ]
    await work(world, desk, minutes=5)
    assert len(zendesk.comments[ticket_id]) == 4, "what came from there is not told there again"
    assert await mails(world) == 0


async def test_words_that_were_said_before_are_taken_too(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    """What we told Zendesk is in the ticket as well: each of ours stands for one comment, and no more."""
    conversation_id = await enquired(world)
    await answer(world, conversation_id)
    await work(world, desk)
    [ticket_id] = zendesk.tickets
    for _ in range(2):
        zendesk.agent_writes(ticket_id, "Yes, from 14.")
        assert [await desk.take(str(ticket_id), world.clock()) for _ in range(2)] == [1, 0]
    assert [text for _, text in await said(world, conversation_id)][1:] == ["Yes, from 14."] * 3


async def test_words_of_an_earlier_ticket_are_taken_from_the_next(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    conversation_id = await enquired(world)
    await answer(world, conversation_id)
    await work(world, desk)
    [first_id] = zendesk.tickets
    zendesk.tickets[first_id]["status"] = "closed"
    await written_by_the_visitor(world, conversation_id, "And from 12?")
    await work(world, desk)
    _, ticket_id = zendesk.tickets
    zendesk.agent_writes(ticket_id, "Yes, from 14.")
    zendesk.requester_writes(ticket_id, "Do you work with teenagers?")
    assert [await desk.take(str(ticket_id), world.clock()) for _ in range(2)] == [2, 0]
    assert await desk.take(str(first_id), world.clock()) == 0
    assert [text for _, text in await said(world, conversation_id)] == [
        *("Do you work with teenagers?", "Yes, from 14.", "And from 12?"),
        *("Yes, from 14.", "Do you work with teenagers?"),
    ]


async def test_words_we_could_not_tell_there_or_told_agents_only_are_taken_when_somebody_says_them(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    conversation_id = await enquired(world)
    await work(world, desk)
    [ticket_id] = zendesk.tickets
    zendesk.faults.append(Fault.REFUSED)
    await answer(world, conversation_id)
    await work(world, desk)
    zendesk.down = True
    await answer(world, conversation_id, "Also at 12.")
    await work(world, desk, rounds=FALL_BACK_AFTER, minutes=10)
    zendesk.down = False
    await work(world, desk, minutes=120)
    assert bodies(zendesk)[1:] == [("Also at 12.", False)]
    zendesk.agent_writes(ticket_id, "Yes, from 14.")
    zendesk.agent_writes(ticket_id, "Also at 12.")
    assert [await desk.take(str(ticket_id), world.clock()) for _ in range(2)] == [2, 0]


async def test_same_words_by_the_other_are_taken(world: World, desk: ZendeskDesk, zendesk: ZendeskServer) -> None:
    """Before what we tell arrives, too."""
    conversation_id = await enquired(world)
    await work(world, desk)
    [ticket_id] = zendesk.tickets
    await answer(world, conversation_id, "Thank you")
    zendesk.requester_writes(ticket_id, "Thank you")
    assert await desk.take(str(ticket_id), world.clock()) == 1
    await work(world, desk)
    assert await desk.take(str(ticket_id), world.clock()) == 0


async def test_words_that_are_there_already_are_told_again_when_they_are_said_again(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    conversation_id = await enquired(world)
    await answer(world, conversation_id)
    await work(world, desk)
    await answer(world, conversation_id)
    zendesk.faults.append(Fault.LOST_BEFORE)
    await work(world, desk, rounds=2, minutes=2)
    assert [text for _, text in zendesk.mailed] == ["Yes, from 14."] * 2


async def test_newest_comments_of_a_long_ticket_are_taken(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.zendesk.MOST_COMMENTS", 3)
    conversation_id = await enquired(world)
    await work(world, desk)
    [ticket_id] = zendesk.tickets
    for n in range(6):
        zendesk.agent_writes(ticket_id, f"Answer {n}")
        assert await desk.take(str(ticket_id), world.clock()) == 1
    assert [text for _, text in await said(world, conversation_id)][1:] == [f"Answer {n}" for n in range(6)]


async def test_comments_are_known_however_long_ago_they_were_taken(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    """Each look brings the whole ticket again, long after e-mails are forgotten."""
    await enquired(world)
    await work(world, desk)
    [ticket_id] = zendesk.tickets
    zendesk.agent_writes(ticket_id, "An agent answers")
    assert await desk.take(str(ticket_id), world.clock()) == 1
    await mail_in.forget_old(world.db, world.clock.forward(hours=24 * 40))
    zendesk.requester_writes(ticket_id, "Thank you")
    assert [await desk.take(str(ticket_id), world.clock()) for _ in range(2)] == [1, 0]


async def test_after_a_ticket_is_closed_who_writes_opens_another_and_answers_leave_by_mail(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    await messages.write_to_support(
        world.db, RULES, world.bob, "Help", seen_notice=MONITORED.version, now=world.clock()
    )
    conversation_id = await enquired(world)
    await work(world, desk)
    for ticket in zendesk.tickets.values():
        ticket["status"] = "closed"
    await answer(world, conversation_id)
    await messages.write_to_support(world.db, RULES, world.bob, "Help again", now=world.clock())
    await work(world, desk)
    assert await mails(world) == 1
    assert [one["body"] for comments in zendesk.comments.values() for one in comments][2:] == ["Help again"]
    assert [one["status"] for one in zendesk.tickets.values()] == ["closed", "closed", "new"]


@pytest.mark.parametrize("fault", list(Fault))
async def test_each_fault_loses_nothing_and_doubles_nothing(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer, fault: Fault
) -> None:
    """Of opening a ticket and of commenting it. Refused for good (422) is given up, and the answer leaves by mail."""
    conversation_id = await enquired(world)
    zendesk.faults.append(fault)
    await work(world, desk)
    await answer(world, conversation_id)
    zendesk.faults.append(fault)
    await work(world, desk, rounds=4, minutes=2)
    if fault is Fault.REFUSED:
        assert await mails(world) + len(zendesk.mailed) == 1
        return
    assert bodies(zendesk) == [("Do you work with teenagers?", True), ("Yes, from 14.", True)]
    assert zendesk.mailed == [(VISITOR, "Yes, from 14.")]
    assert await mails(world) == 0


async def test_a_stop_between_telling_and_noting_it_tells_nothing_twice(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of opening a ticket and of commenting it."""

    async def stopped(*_args: object, **_values: object) -> bool:
        raise asyncio.CancelledError

    async def stopped_and_started() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(zendesk_desk, "_settle", stopped)
            with pytest.raises(asyncio.CancelledError):
                await work(world, desk)
        await work(world, desk)

    conversation_id = await enquired(world)
    await stopped_and_started()
    await answer(world, conversation_id)
    await stopped_and_started()
    assert bodies(zendesk) == [("Do you work with teenagers?", True), ("Yes, from 14.", True)]
    [ticket_id] = zendesk.tickets
    assert await desk.take(str(ticket_id), world.clock()) == 0


async def test_a_ticket_that_gets_another_requester_brings_nothing_back(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    await enquired(world)
    await work(world, desk)
    [ticket_id] = zendesk.tickets
    zendesk.tickets[ticket_id]["requester_id"] += 1_000
    zendesk.agent_writes(ticket_id, "An agent answers")
    assert await desk.take(str(ticket_id), world.clock()) == 1


async def test_while_zendesk_is_down_the_answer_leaves_by_our_own_mail_once(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    conversation_id = await enquired(world)
    await work(world, desk)
    zendesk.down = True
    await answer(world, conversation_id)
    await work(world, desk, rounds=FALL_BACK_AFTER + 3, minutes=10)
    assert await mails(world) == 1
    assert (await said(world, conversation_id))[-1] == ("Alice Owner", "Yes, from 14.")
    zendesk.down = False
    await work(world, desk, minutes=120)
    assert bodies(zendesk)[-1] == ("Yes, from 14.", False), "told there for the record, sent to nobody again"
    assert (await mails(world), zendesk.mailed) == (1, [])


async def test_messages_of_one_conversation_keep_their_order(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    conversation_id = await enquired(world)
    await work(world, desk)
    await answer(world, conversation_id, "First")
    await answer(world, conversation_id, "Second")
    zendesk.faults.append(Fault.TOO_MANY)
    await work(world, desk)
    assert len(bodies(zendesk)) == 1
    world.clock.forward(seconds=60)
    assert await desk.run_once(world.clock()) == 0, "Zendesk asked for 90 s"
    await work(world, desk, minutes=1)
    assert [body for body, _ in bodies(zendesk)][1:] == ["First", "Second"]


async def test_what_nobody_takes_is_given_up_after_two_days(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    await enquired(world)
    zendesk.down = True
    await work(world, desk, rounds=60, minutes=61)
    async with world.db.reading() as session:
        job = (await session.scalars(select(DeskJob))).one()
    assert (job.state, job.last_error) == ("dead", "status 503")


async def test_nothing_waiting_of_somebody_erased_goes_there(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    conversation_id = await enquired(world)
    await answer(world, conversation_id)
    person = await find_by_email(world.db, VISITOR)
    assert person is not None
    async with world.db.transaction() as session:
        session.add(PersonErasure(person_id=person.person_id, name="V", email=VISITOR, asked_at=world.clock()))
    await work(world, desk)
    assert zendesk.tickets == {}
    assert await mails(world) == 0
    async with world.db.reading() as session:
        jobs = await session.execute(select(DeskJob.state, DeskJob.last_error))
    assert set(map(tuple, jobs)) == {("dead", "the person was erased")}


async def test_nothing_comes_back_from_there_of_somebody_erased(
    world: World, desk: ZendeskDesk, zendesk: ZendeskServer
) -> None:
    conversation_id = await enquired(world)
    await work(world, desk)
    [ticket_id] = zendesk.tickets
    zendesk.requester_writes(ticket_id, "My telephone number")
    person = await find_by_email(world.db, VISITOR)
    assert person is not None
    async with world.db.transaction() as session:
        session.add(PersonErasure(person_id=person.person_id, name="V", email=VISITOR, asked_at=world.clock()))
    with pytest.raises(NotFound):
        await desk.take(str(ticket_id), world.clock())
    assert len(await said(world, conversation_id)) == 1


async def test_answer_of_another_shape_is_one_that_did_not_come(zendesk: ZendeskServer) -> None:
    client = Zendesk(zendesk.base, EMAIL, TOKEN, timeout_s=2)
    for found in ({"id": 5, "requester_id": 6}, "words", 5, None, [None], ["words"], [{"id": "five"}]):
        zendesk.found = found
        with pytest.raises(NotReached):
            await client.find_ticket("0")
    zendesk.found = []
    assert await client.find_ticket("0") is None
    await client.close()


async def test_members_conversations_stay_here(world: World, desk: ZendeskDesk, zendesk: ZendeskServer) -> None:
    await messages.write_to(
        world.db, RULES, world.bob, world.alice.person_id, "Hi", seen_notice=MONITORED.version, now=world.clock()
    )
    assert await desk.run_once(world.clock()) == 0
    await messages.write_to_support(
        world.db, RULES, world.bob, "Help", seen_notice=MONITORED.version, now=world.clock()
    )
    await work(world, desk)
    assert bodies(zendesk) == [("Help", True)]


async def test_ticket_that_is_not_ours_is_not_taken(world: World, desk: ZendeskDesk, zendesk: ZendeskServer) -> None:
    conversation_id = await enquired(world)
    await work(world, desk)
    [ticket_id] = zendesk.tickets
    zendesk.tickets[ticket_id]["external_id"] = "somebody else's"
    with pytest.raises(NotFound):
        await desk.take(str(ticket_id), world.clock())
    with pytest.raises(NotReached):
        await desk.take("999999", world.clock())
    assert len(await said(world, conversation_id)) == 1


def test_webhook_signature_is_zendesks_own() -> None:
    raw, headers = ZendeskServer().webhook(5)
    at, signature = headers["X-Zendesk-Webhook-Signature-Timestamp"], headers["X-Zendesk-Webhook-Signature"]
    assert signature_fits(WEBHOOK_SECRET.encode(), at, signature, raw)
    for secret, when, made, body in (
        (b"other", at, signature, raw),
        (WEBHOOK_SECRET.encode(), at + "0", signature, raw),
        (WEBHOOK_SECRET.encode(), at, "é", raw),
        (WEBHOOK_SECRET.encode(), at, signature, raw + b" "),
    ):
        assert not signature_fits(secret, when, made, body)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nothing listens there: Zendesk is down."""
    chosen = ZendeskSettings(
        url="http://127.0.0.1:9", email=EMAIL, token=SecretStr(TOKEN), webhook_secret=SecretStr(WEBHOOK_SECRET)
    )
    return settings.model_copy(update={"zendesk": chosen})


async def test_webhook_wants_a_signature_a_number_and_zendesk(site: Site) -> None:
    client = (await site.hand_of(None)).browser.client
    server = ZendeskServer()
    for (raw, headers), wanted in (
        (server.webhook(5, "another secret"), (400, "signature_wrong")),
        (server.webhook("../5"), (400, "ticket_malformed")),
        (server.webhook(5), (503, "zendesk_not_reached")),
    ):
        async with client.post("/api/webhooks/zendesk", data=raw, headers=headers) as answer:
            assert (answer.status, (await answer.json(content_type=None))["code"]) == wanted
