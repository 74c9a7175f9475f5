"""Mail in by IMAP, against a real server: what is unread is taken once, and a mailbox that fails loses nothing."""

import asyncio
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial

import pytest
from pydantic import SecretStr

from control import mail_in
from control.config import MessageSettings
from control.mail_in import MOST_MAIL_BYTES
from control.mailbox import Mailbox
from control.models.people import Person
from tests.control.test_enquiries import RULES, answered, reply, texts
from tests.helpers.imap_server import HOST, PASSWORD, USERNAME, ImapServer
from tests.helpers.practice import World

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def imap_server() -> Iterator[ImapServer]:
    server = ImapServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def imap(imap_server: ImapServer) -> ImapServer:
    """With an empty mailbox."""
    with imap_server.mailbox() as client:
        if client.uid("SEARCH", "ALL")[1][0]:
            client.uid("STORE", "1:*", "+FLAGS", r"(\Deleted)")
            client.expunge()
    return imap_server


def mailbox(world: World, imap: ImapServer, password: str = PASSWORD) -> Mailbox:
    settings = MessageSettings(
        imap_host=HOST, imap_port=imap.port, imap_username=USERNAME, imap_password=SecretStr(password)
    )
    take = partial(mail_in.take, world.db, RULES)
    return Mailbox(settings, lambda raw, now: take(raw, now=now), tls=imap.tls)


async def test_unread_reply_is_taken_once_and_marked_as_read(world: World, imap: ImapServer) -> None:
    _, letter = await answered(world)
    await asyncio.to_thread(imap.deliver, reply(letter.reply_to or ""))
    await asyncio.to_thread(
        imap.deliver, reply("somebody@elsewhere.example", "Not for us", name="<2@visitors.example>")
    )
    box = mailbox(world, imap)
    assert await box.look(world.clock()) == 2
    assert (await texts(world))[-1] == "Thank you, I will book."
    assert await asyncio.to_thread(imap.unread) == 0
    assert await box.look(world.clock()) == 0, "not before a minute has passed"
    world.clock.forward(seconds=60)
    await asyncio.to_thread(imap.forget_reading)
    assert await box.look(world.clock()) == 2, "a crash before it was marked brings it again"
    assert len(await texts(world)) == 3
    assert await asyncio.to_thread(imap.unread) == 0


async def test_words_of_a_mail_with_a_large_picture_are_taken_and_the_picture_is_named(
    world: World, imap: ImapServer
) -> None:
    _, letter = await answered(world)
    async with world.db.transaction() as session:
        (await session.get_one(Person, world.alice.person_id)).language = "de"  # this practice offers English
    mail = message_from_bytes(reply(letter.reply_to or "", "This is my son."), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    mail.add_attachment(bytes(MOST_MAIL_BYTES), maintype="image", subtype="jpeg", filename="son.jpg")
    await asyncio.to_thread(imap.deliver, mail.as_bytes())
    line = "A line of a very long letter\n"
    long = reply(letter.reply_to or "", line * (MOST_MAIL_BYTES // len(line) + 1), name="<2@visitors.example>")
    await asyncio.to_thread(imap.deliver, long)
    assert await mailbox(world, imap).look(world.clock()) == 2
    first, second = (await texts(world))[2:]
    named = "(Files of this e-mail that were not taken: son.jpg. They can be sent from an account.)"
    assert first == f"This is my son.\n\n{named}"
    assert second.startswith(line)
    assert second.endswith("(This e-mail was too long; its end is missing.)")
    assert await asyncio.to_thread(imap.unread) == 0


async def test_mailbox_that_refuses_or_is_away_is_looked_into_again(
    world: World, imap: ImapServer, caplog: pytest.LogCaptureFixture
) -> None:
    _, letter = await answered(world)
    await asyncio.to_thread(imap.deliver, reply(letter.reply_to or ""))
    assert await mailbox(world, imap, "another password").look(world.clock()) == 0
    await asyncio.to_thread(imap.stop)
    box = mailbox(world, imap)
    assert await box.look(world.clock()) == 0
    assert caplog.text.count("mailbox not reached") == 2
    await asyncio.to_thread(imap.start)
    world.clock.forward(seconds=60)
    assert await box.look(world.clock()) == 1
    assert len(await texts(world)) == 3
