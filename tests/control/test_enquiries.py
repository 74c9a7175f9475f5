"""Enquiries of people who are not members: form, proof of the address, the answer by e-mail, the reply by e-mail."""

import base64
import hashlib
import hmac
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from control import accounts, enquiries, mail_in, message_queries, messages
from control.api.mail_in import check_signature
from control.config import MessageSettings, Settings
from control.database import Database
from control.enquiries import NewEnquiry
from control.errors import Conflict, Invalid, Malformed
from control.keys import INSTALL_KEYS, MESSAGES, OUTBOX
from control.mail_in import Outcome, own_words, parse_untrusted_mail
from control.messages import MessageRules
from control.models.messages import Conversation, Enquiry, Message
from control.models.outbox import OutboxRow
from control.models.people import Person
from control.monitoring import WritingNotice
from control.notices import email as letters
from control.notices.kinds import NoticeKind
from control.notices.worker import OutboxWorker
from control.paging import Wanted
from control.reply_addresses import ReplyAddresses
from control.sealing import Sealer
from tests.helpers.practice import Site, World, find_by_email

MASTER = bytes(32)
NOTICE = WritingNotice("Please note these messages are monitored for training purposes", monitored=True)
RULES = MessageRules(Sealer(MASTER, "messages"), NOTICE, replies=ReplyAddresses("reply@row.example", MASTER))
WEBHOOK_SECRET = "a secret of two servers"
VISITOR = "vera@visitors.example"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With a way in for e-mailed replies."""
    with_mail = MessageSettings(reply_address="reply@row.example", mail_webhook_secret=SecretStr(WEBHOOK_SECRET))
    return settings.model_copy(update={"messages": with_mail})


def enquiry(world: World, **changed: Any) -> NewEnquiry:
    values = {
        "practitioner_id": world.alice.person_id,
        "name": "Vera Visitor",
        "email": VISITOR,
        "text": "Do you work with teenagers?",
        "seen_notice": NOTICE.version,
    }
    return NewEnquiry(**{**values, **changed})


async def token_of(db: Database) -> str:
    async with db.reading() as session:
        rows = await session.scalars(select(OutboxRow).where(OutboxRow.kind == NoticeKind.ENQUIRY_RECEIVED))
        secrets = [row.secrets for row in rows]
    assert secrets[-1] is not None
    return str(secrets[-1]["path"]).removeprefix("/enquiries/")


async def proven(world: World, **changed: Any) -> messages.Written:
    await enquiries.send(world.db, RULES, enquiry(world, **changed), now=world.clock())
    return await enquiries.prove(world.db, RULES, await token_of(world.db), now=world.clock())


async def answered(world: World) -> tuple[str, letters.Letter]:
    """Alice's answer, as the worker hands it to the mail server."""
    conversation_id = (await proven(world)).conversation_id
    await messages.write(
        world.db, RULES, world.alice, conversation_id, "Yes, from 14.", seen_notice=NOTICE.version, now=world.clock()
    )
    sent: list[letters.Letter] = []

    async def deliver(letter: letters.Letter) -> None:
        sent.append(letter)

    def opened(secrets: Any) -> Any:
        return messages.open_secrets(RULES, secrets)

    worker = OutboxWorker(world.db, Settings(), world.clock, deliver=deliver, open_secrets=opened)
    while await worker.work_once():
        pass
    return conversation_id, next(one for one in sent if one.to_address == VISITOR and "Yes, from 14." in one.text)


def reply(to: str, text: str = "Thank you, I will book.", **headers: str) -> bytes:
    mail = EmailMessage()
    mail["From"] = headers.pop("sender", f"Vera Visitor <{VISITOR}>")
    mail["To"] = to
    mail["Message-ID"] = headers.pop("name", "<1@visitors.example>")
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail.as_bytes()


async def texts(world: World) -> list[str]:
    async with world.db.reading() as session:
        row = (await session.scalars(select(Conversation))).one()
        said = await message_queries.messages_in(session, RULES, row.id, limit=50)
    return [one.text for one in said]


# -- proving -----------------------------------------------------------------------------------------------------


async def test_nothing_reaches_the_practitioner_before_the_address_is_proven(world: World) -> None:
    await enquiries.send(world.db, RULES, enquiry(world), now=world.clock())
    assert (await message_queries.inbox(world.db, RULES, world.alice, Wanted())).rows == ()
    async with world.db.reading() as session:
        rows = (await session.scalars(select(OutboxRow))).all()
        assert [row.kind for row in rows] == [NoticeKind.ENQUIRY_RECEIVED]
        assert b"teenagers" not in (await session.scalars(select(Enquiry))).one().sealed
    await enquiries.prove(world.db, RULES, await token_of(world.db), now=world.clock())
    [talk] = (await message_queries.inbox(world.db, RULES, world.alice, Wanted())).rows
    assert (talk.other_name, talk.last_text, talk.is_enquiry) == ("Vera Visitor", "Do you work with teenagers?", True)
    async with world.db.reading() as session:
        kinds = set(await session.scalars(select(OutboxRow.kind).where(OutboxRow.person_id == world.alice.person_id)))
        person = (await session.scalars(select(Person).where(Person.email == VISITOR))).one()
    assert kinds == {NoticeKind.NEW_ENQUIRY}
    assert person.email_proven_at == world.clock()
    assert person.role_names == frozenset()


async def test_link_works_once_and_for_three_days(world: World) -> None:
    await enquiries.send(world.db, RULES, enquiry(world), now=world.clock())
    token = await token_of(world.db)
    for wrong in ("", "x", token + "x", "é" * 40):
        with pytest.raises(Conflict):
            await enquiries.prove(world.db, RULES, wrong, now=world.clock())
    await enquiries.prove(world.db, RULES, token, now=world.clock())
    with pytest.raises(Conflict):
        await enquiries.prove(world.db, RULES, token, now=world.clock())
    await enquiries.send(world.db, RULES, enquiry(world, text="Again"), now=world.clock())
    token = await token_of(world.db)
    world.clock.forward(hours=72)
    with pytest.raises(Conflict):
        await enquiries.prove(world.db, RULES, token, now=world.clock())
    await enquiries.forget_unproven(world.db, world.clock())
    async with world.db.reading() as session:
        assert (await session.scalars(select(Enquiry))).all() == []
        assert len((await session.scalars(select(Message))).all()) == 1


async def test_members_enquiry_lands_in_their_own_conversation(world: World) -> None:
    written = await proven(world, email="bob.client@example.org")
    talk = await message_queries.conversation(world.db, RULES, world.bob, written.conversation_id)
    assert not talk.is_enquiry
    assert talk.other_name == "Alice Owner"


async def test_who_enquired_may_still_make_an_account(world: World) -> None:
    await proven(world)
    await accounts.sign_up(world.db, email=VISITOR, name="Vera", time_zone="UTC", return_path=None, now=world.clock())
    found = await find_by_email(world.db, VISITOR)
    assert found is not None
    assert found.roles == {"client"}


# -- the form ----------------------------------------------------------------------------------------------------


def test_form_wants_a_persons_time_and_our_stamp(world: World) -> None:
    now = world.clock()
    stamp = enquiries.form_stamp(MASTER, now)
    enquiries.check_stamp(MASTER, stamp, now + timedelta(seconds=5))
    for late in (timedelta(seconds=2), timedelta(hours=25)):
        with pytest.raises(Invalid):
            enquiries.check_stamp(MASTER, stamp, now + late)
    for wrong in ("", ".", "1.2", stamp + "0", "9" + stamp, "é.é", f"{stamp.split('.')[0]}."):
        with pytest.raises(Invalid):
            enquiries.check_stamp(MASTER, wrong, now + timedelta(seconds=5))


async def test_form_answers_alike_for_everybody_and_stops_floods_and_scripts(site: Site) -> None:
    visitor = await site.hand_of(None)
    stamp = enquiries.form_stamp(site.app[INSTALL_KEYS].session_secret, site.world.clock())
    site.world.clock.forward(seconds=10)
    body = {
        "to": site.world.alice.person_id,
        "name": "Vera",
        "text": "Hello",
        "notice_version": site.app[MESSAGES].notice.version,
        "stamp": stamp,
    }
    answers = [
        await visitor.post("/api/enquiries", {**body, "email": email, **more}, key=None)
        for email, more in (
            (VISITOR, {}),
            ("bob.client@example.org", {}),
            ("alice.owner@example.org", {}),
            ("robot@spam.example", {"website": "http://spam.example"}),
            ("last@visitors.example", {}),
        )
    ]
    assert {status for status, _ in answers} == {202}
    assert {str(answer) for _, answer in answers} == {str({"detail": enquiries.THANKS})}
    assert (await visitor.post("/api/enquiries", {**body, "email": VISITOR}, key=None))[0] == 429
    async with site.world.db.reading() as session:
        people = set(await session.scalars(select(Person.email).join(Enquiry, Enquiry.person_id == Person.id)))
    assert people == {VISITOR, "bob.client@example.org", "last@visitors.example"}


async def test_form_refuses_what_makes_no_sense(site: Site) -> None:
    visitor = await site.hand_of(None)
    for body in ({}, {"name": "x", "email": "no", "text": "t", "notice_version": "", "stamp": "1.2"}):
        assert (await visitor.post("/api/enquiries", body, key=None))[0] == 422
    assert (await visitor.post("/api/enquiries/nonsense/prove", {}, key=None))[0] == 409


# -- the answer and the reply ------------------------------------------------------------------------------------


async def test_answer_goes_by_mail_and_stays_nowhere_in_clear(world: World) -> None:
    conversation_id, letter = await answered(world)
    assert letter.reply_to is not None
    assert RULES.replies is not None
    assert RULES.replies.conversation_in(letter.reply_to) == conversation_id
    async with world.db.reading() as session:
        rows = (await session.scalars(select(OutboxRow).where(OutboxRow.kind == NoticeKind.ENQUIRY_ANSWERED))).all()
    assert len(rows) == 1
    assert "from 14" not in f"{rows[0].facts}{rows[0].secrets}{rows[0].body_text}{rows[0].body_html}"


async def test_mailed_reply_lands_in_the_conversation_once(world: World) -> None:
    _, letter = await answered(world)
    raw = reply(letter.reply_to or "", "Thank you, I will book.\n\nOn Mon, Alice <a@b.example> wrote:\n> Yes, from 14.")
    for outcome in (Outcome.TAKEN, Outcome.KNOWN, Outcome.KNOWN):
        assert await mail_in.take(world.db, RULES, raw, now=world.clock()) is outcome
    assert await texts(world) == ["Do you work with teenagers?", "Yes, from 14.", "Thank you, I will book."]


async def test_other_mail_is_not_taken(world: World) -> None:
    conversation_id, letter = await answered(world)
    to = letter.reply_to or ""
    cases = {
        reply("reply@row.example"): Outcome.NO_CONVERSATION,
        reply(to.replace(".", ".0", 1)): Outcome.NO_CONVERSATION,
        reply(f"reply+{conversation_id}.{'0' * 20}@row.example"): Outcome.NO_CONVERSATION,
        reply(to, sender="mallory@spam.example"): Outcome.WRONG_SENDER,
        reply(to, Auto_Submitted="auto-replied"): Outcome.AUTOMATIC,
        reply(to, "> only what you wrote"): Outcome.EMPTY,
        b"": Outcome.NO_CONVERSATION,
        b"x" * (mail_in.MOST_MAIL_BYTES + 1): Outcome.NO_CONVERSATION,
    }
    for raw, outcome in cases.items():
        assert await mail_in.take(world.db, RULES, raw, now=world.clock()) is outcome, raw[:200]
    assert len(await texts(world)) == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"From: \xff\xfe\r\nTo: =?utf-8?q?=ff?=\r\n\r\n\xff",
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a",
        b"Content-Type: text/plain; charset=no-such\r\nFrom: a@b\r\nTo: c@d\r\n\r\nx",
        b"Content-Transfer-Encoding: base64\r\n\r\n!!!!",
        b"To: " + b"<" * 5000,
    ],
)
async def test_damaged_mail_is_an_outcome_and_never_an_error(world: World, raw: bytes) -> None:
    outcome = await mail_in.take(world.db, RULES, raw, now=world.clock())
    assert outcome in {Outcome.UNREADABLE, Outcome.NO_CONVERSATION}


def test_own_words_leave_out_what_is_quoted_and_signed() -> None:
    assert own_words("Yes.\r\n\r\n-- \r\nVera\r\n+351 1") == "Yes."
    assert own_words("Yes.\n\n-----Original Message-----\nFrom: x") == "Yes."
    assert own_words("One\n> quoted\nTwo") == "One\nTwo"
    assert own_words("At 14:00: yes\n\nfine") == "At 14:00: yes\n\nfine"


def test_html_mail_is_read_as_words() -> None:
    mail = EmailMessage()
    nested, cells = "<div>On<div>Friday</div></div>", "<table><tr><td>Monday</td><td>10:00</td></tr></table>"
    words = f"<p>Hello\n <b>you</b> &amp;&nbsp;yours<p>Bye<br>Vera &lt;3</p>{nested}{cells}"
    mail.set_content(f"<style>p{{}}</style>{words}<blockquote>old</blockquote>", subtype="html")
    parsed = parse_untrusted_mail(mail.as_bytes())
    assert parsed is not None
    lines = own_words(mail_in._text_of(parsed)).splitlines()
    assert [line for line in lines if line] == ["Hello you & yours", "Bye", "Vera <3", "On", "Friday", "Monday 10:00"]


def test_spaces_that_never_break_are_spaces() -> None:
    mail = EmailMessage()
    mail.set_content("Bonjour\xa0! À\u202fdemain")
    parsed = parse_untrusted_mail(mail.as_bytes().replace(b"\n", b"\r\n"))
    assert parsed is not None
    assert own_words(mail_in._text_of(parsed)) == "Bonjour ! À demain"


async def test_letters_greet_nobody_by_a_web_address(site: Site) -> None:
    stamp = enquiries.form_stamp(site.app[INSTALL_KEYS].session_secret, site.world.clock())
    site.world.clock.forward(seconds=10)
    body = {"text": "Hi", "email": VISITOR, "notice_version": site.app[MESSAGES].notice.version, "stamp": stamp}
    visitor = await site.hand_of(None)
    for name in ("Win at https://spam.example", "see WWW.spam.example"):
        status, problem = await visitor.post("/api/enquiries", {**body, "name": name}, key=None)
        assert (status, problem["code"], problem["pointer"]) == (422, "name_invalid", "/name")


async def test_one_address_is_written_to_three_times_a_day_however_it_is_spelt(site: Site) -> None:
    stamp = enquiries.form_stamp(site.app[INSTALL_KEYS].session_secret, site.world.clock())
    site.world.clock.forward(seconds=10)
    body = {"name": "Vera", "text": "Hi", "notice_version": site.app[MESSAGES].notice.version, "stamp": stamp}
    visitor = await site.hand_of(None)
    spelt = (VISITOR, f" {VISITOR}", VISITOR.upper(), f"{VISITOR} ")
    answers = [await visitor.post("/api/enquiries", {**body, "email": one}, key=None) for one in spelt]
    assert [status for status, _ in answers] == [202, 202, 202, 429]


async def test_webhook_takes_signed_mail_only(site: Site) -> None:
    world, rules = site.world, site.app[MESSAGES]
    written = await messages.write_to(
        world.db, rules, world.bob, world.alice.person_id, "Hi", seen_notice=rules.notice.version, now=world.clock()
    )
    assert rules.replies is not None
    raw = reply(rules.replies.address_of(written.conversation_id), "By mail", sender="bob.client@example.org")
    client = (await site.hand_of(None)).browser.client
    outcomes = []
    for key in (b"wrong", WEBHOOK_SECRET.encode(), WEBHOOK_SECRET.encode()):
        at = int(world.clock().timestamp())
        made = hmac.new(key, f"{at}.".encode() + raw, hashlib.sha256).hexdigest()
        headers = {"X-Holdspace-Signature": f"t={at},v1={made}", "Content-Type": "message/rfc822"}
        async with client.post("/api/webhooks/mail", data=raw, headers=headers) as answer:
            body = await answer.json(content_type=None)
            outcomes.append((answer.status, body.get("code") or body.get("outcome")))
    assert outcomes == [(400, "signature_wrong"), (200, "taken"), (200, "known")]
    shown = await message_queries.messages_of(world.db, rules, world.alice, written.conversation_id, limit=9)
    assert [one.text for one in shown] == ["Hi", "By mail"]


def test_signature_of_the_webhook(world: World) -> None:
    now, secret, raw = world.clock(), b"secret", b"a mail"
    at = int(now.timestamp())

    def header(when: int, key: bytes = secret) -> str:
        return f"t={when},v1={hmac.new(key, f'{when}.'.encode() + raw, hashlib.sha256).hexdigest()}"

    check_signature(secret, header(at), raw, now)
    for wrong in ("", "t=1,v1=", header(at - 400), header(at + 400), header(at, b"other"), header(at)[:-1] + "g"):
        with pytest.raises(Malformed):
            check_signature(secret, wrong, raw, now)
    with pytest.raises(Malformed):
        check_signature(secret, header(at), raw + b"!", now)


async def test_application_opens_sealed_answers_for_its_letters(site: Site) -> None:
    rules = site.app[MESSAGES]
    sealed = {"sealed": base64.b64encode(rules.sealer.seal("Words", messages.OUTBOX_CONTEXT)).decode()}
    assert messages.open_secrets(rules, sealed) == {"text": "Words"}
    assert messages.open_secrets(rules, {"path": "/x"}) == {"path": "/x"}
    assert site.app[OUTBOX]._open_secrets(sealed) == {"text": "Words"}
