"""SMS: to proven numbers only, by Twilio's API or a template, against a local server that imitates both and fails."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import ValidationError
from sqlalchemy import select, update

from control.config import NoticeSettings, Settings, SmsSettings
from control.database import Database
from control.models.outbox import OutboxChannel, OutboxRow, OutboxState
from control.models.people import Person
from control.notices import sms
from control.notices.email import NotDelivered
from control.notices.kinds import NoticeKind
from control.notices.outbox import Notice, enqueue
from control.notices.sms import Sms
from control.notices.worker import OutboxWorker
from tests.helpers.practice import World
from tests.helpers.stand_in import serving

NUMBER = "+351910000001"
ODD = 'Say "hi" & {to}\n100 % ✓'


@dataclass
class Gateway:
    """What the imitation took, and how it answers next."""

    base: str = ""
    taken: list[dict[str, str]] = field(default_factory=list)
    authorization: list[str] = field(default_factory=list)
    status: int = 201
    body: dict[str, Any] = field(default_factory=dict)
    silent: bool = False

    def routes(self) -> list[web.RouteDef]:
        return [web.post(path, self.take) for path in ("/2010-04-01/Accounts/AC1/Messages.json", "/send")]

    async def take(self, request: web.Request) -> web.Response:
        if self.silent:
            await asyncio.sleep(30)
        self.authorization.append(request.headers.get("Authorization", ""))
        sent = await request.json() if request.content_type == "application/json" else dict(await request.post())
        if self.status < 300:
            self.taken.append(sent)
        return web.json_response(self.body, status=self.status)


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with serving(Gateway()) as made:
        yield made


def _twilio(gateway: Gateway, **more: Any) -> SmsSettings:
    values = {"gateway": "twilio", "sender": "+15550001", "twilio_account_sid": "AC1", "twilio_auth_token": "secret"}
    return SmsSettings.model_validate({**values, "twilio_api_base": gateway.base, **more})


async def test_twilio_is_given_number_sender_and_text_under_the_accounts_name(gateway: Gateway) -> None:
    await sms.deliver(Sms(NUMBER, ODD), _twilio(gateway))
    assert gateway.taken == [{"To": NUMBER, "From": "+15550001", "Body": ODD}]
    assert gateway.authorization == ["Basic QUMxOnNlY3JldA=="]


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
async def test_a_template_is_filled_in_as_its_place_needs_it(gateway: Gateway, kind: str) -> None:
    body = '{"n": "{to}", "m": "{text}"}' if kind == "application/json" else "n={to}&m={text}"
    settings = SmsSettings.model_validate(
        {
            "gateway": "http",
            "http_url": f"{gateway.base}/send?x={{text}}",
            "http_body": body,
            "http_content_type": kind,
            "http_authorization": "Bearer abc",
        }
    )
    await sms.deliver(Sms(NUMBER, ODD), settings)
    assert gateway.taken == [{"n": NUMBER, "m": ODD}]
    assert gateway.authorization == ["Bearer abc"]


@pytest.mark.parametrize(
    ("status", "body", "permanent", "words"),
    [
        (400, {"code": 21211}, True, "SMS gateway answered 400 (code 21211)"),
        (401, {}, False, "SMS gateway answered 401"),
        (429, {"code": "x"}, False, "SMS gateway answered 429"),
        (500, {}, False, "SMS gateway answered 500"),
        (302, {}, False, "SMS gateway answered 302"),
    ],
)
async def test_a_refusal_is_for_good_only_if_it_is_the_numbers_fault(
    gateway: Gateway, status: int, body: dict[str, Any], permanent: bool, words: str
) -> None:
    gateway.status, gateway.body = status, body
    with pytest.raises(NotDelivered) as refused:
        await sms.deliver(Sms(NUMBER, "x"), _twilio(gateway))
    assert (refused.value.permanent, str(refused.value)) == (permanent, words)


async def test_a_gateway_that_is_silent_or_away_is_tried_again_later(gateway: Gateway) -> None:
    gateway.silent = True
    for settings in (
        _twilio(gateway, timeout_s=0.2),
        _twilio(gateway, twilio_api_base="http://127.0.0.1:1", timeout_s=2),
    ):
        with pytest.raises(NotDelivered) as refused:
            await sms.deliver(Sms(NUMBER, "x"), settings)
        assert not refused.value.permanent


@pytest.mark.parametrize(
    "values", [{"gateway": "twilio"}, {"gateway": "http"}, {"gateway": "http", "http_url": "ftp://x"}]
)
def test_a_gateway_that_is_half_set_refuses_to_start(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SmsSettings.model_validate(values)


# -- from the outbox ---------------------------------------------------------------------------------------------


async def _give_number(world: World, *, proven: bool = True, wanted: bool = True) -> None:
    async with world.db.transaction() as session:
        await session.execute(
            update(Person)
            .where(Person.id == world.bob.person_id)
            .values(phone=NUMBER, phone_proven_at=world.clock() if proven else None, wants_sms=wanted)
        )


async def _sms_rows(db: Database) -> list[OutboxRow]:
    async with db.reading() as session:
        return list(await session.scalars(select(OutboxRow).where(OutboxRow.channel == OutboxChannel.SMS)))


async def _work(worker: OutboxWorker) -> None:
    while await worker.work_once():
        pass


async def test_a_confirmation_goes_to_a_proven_number_by_sms(
    world: World, settings: Settings, gateway: Gateway
) -> None:
    await _give_number(world)
    await world.scheduled()
    await _work(OutboxWorker(world.db, settings.model_copy(update={"sms": _twilio(gateway)}), world.clock))
    (sent,) = gateway.taken
    assert sent["To"] == NUMBER
    assert "is booked" in sent["Body"]
    assert [row.state for row in await _sms_rows(world.db)] == [OutboxState.SENT]


@pytest.mark.parametrize(("proven", "wanted"), [(False, True), (True, False)])
async def test_nothing_goes_to_a_number_that_is_not_proven_or_not_wanted(
    world: World, proven: bool, wanted: bool
) -> None:
    await _give_number(world, proven=proven, wanted=wanted)
    await world.scheduled()
    assert await _sms_rows(world.db) == []


async def test_a_person_who_switches_sms_off_meanwhile_gets_none(
    world: World, settings: Settings, gateway: Gateway
) -> None:
    await _give_number(world)
    await world.scheduled()
    await _give_number(world, wanted=False)
    await _work(OutboxWorker(world.db, settings.model_copy(update={"sms": _twilio(gateway)}), world.clock))
    assert gateway.taken == []
    assert [row.state for row in await _sms_rows(world.db)] == [OutboxState.DROPPED]


async def test_without_a_gateway_an_sms_is_kept_to_be_read(world: World, settings: Settings) -> None:
    await _give_number(world)
    await world.scheduled()
    await _work(OutboxWorker(world.db, settings, world.clock))
    (row,) = await _sms_rows(world.db)
    assert (row.state, row.to_address) == (OutboxState.KEPT, NUMBER)
    assert "is booked" in (row.body_text or "")


async def test_a_kind_that_is_switched_off_reaches_nobody_by_any_channel(world: World, settings: Settings) -> None:
    off = NoticeSettings.model_validate({"off": ["welcome"]})
    async with world.db.transaction() as session:
        await enqueue(session, Notice(NoticeKind.WELCOME, world.bob.person_id), now=world.clock())
    await _work(OutboxWorker(world.db, settings.model_copy(update={"notices": off}), world.clock))
    async with world.db.reading() as session:
        states = list(await session.scalars(select(OutboxRow.state).where(OutboxRow.kind == "welcome")))
    assert states == [OutboxState.DROPPED]


@pytest.mark.parametrize("kind", ["sign_in_link", "phone_code", "nonsense"])
def test_what_nobody_could_sign_up_without_can_not_be_switched_off(kind: str) -> None:
    with pytest.raises(ValidationError):
        NoticeSettings.model_validate({"off": [kind]})
