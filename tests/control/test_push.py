"""Web push: off until switched on, to devices that asked, without names; against a failing service of our own."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from control import accounts, push
from control.accounts import Actor
from control.config import PushSettings, Settings
from control.config_reading import SettingsError
from control.database import Database
from control.errors import Malformed
from control.install import open_database
from control.models.outbox import OutboxChannel, OutboxRow
from control.models.people import LinkPurpose, WebSession
from control.models.push import PushSubscription
from control.notices.kinds import NoticeKind, SessionFacts
from control.notices.outbox import Notice, enqueue
from control.notices.push import device_untrusted, sender_of
from control.notices.worker import FIRST_BACK_OFF, OutboxWorker
from tests.helpers.practice import Site, World
from tests.helpers.push_service import PushService
from tests.helpers.stand_in import serving


@pytest.fixture
def settings(settings: Settings) -> Settings:
    local = PushSettings(enabled=True, allow_private_addresses=True, timeout_s=5)
    return settings.model_copy(update={"push": local})


@pytest_asyncio.fixture
async def service() -> AsyncIterator[PushService]:
    async with serving(PushService()) as made:
        yield made


@dataclass
class Install:
    """A world whose database knows the install's settings, and its outbox worker."""

    world: World
    db: Database
    worker: OutboxWorker

    async def sign_in(self, who: Actor) -> str:
        now = self.world.clock()
        async with self.db.transaction() as session:
            link = await accounts.issue_link(session, who.person_id, LinkPurpose.SIGN_IN, now=now)
        signed_in = await accounts.consume_link(self.db, link, now=now)
        async with self.db.reading() as session:
            mine = select(WebSession.id).where(WebSession.token_hash == accounts.token_hash(signed_in.token))
            return (await session.execute(mine)).scalar_one()

    async def switch_on(self, service: PushService, who: Actor, name: str = "one") -> str:
        session_id = await self.sign_in(who)
        await push.switch_on(self.db, who, session_id, push.Device(**service.device(name)), now=self.world.clock())
        return session_id

    async def tell_alice(self) -> None:
        view = await self.world.confirmed()
        about = SessionFacts(
            view.id, view.service_name, "Alice Secret", "Bob Secret", view.starts_at, view.ends_at, view.mode
        )
        async with self.db.transaction() as session:
            notice = Notice(NoticeKind.CLIENT_WAITING, self.world.alice.person_id, about)
            await enqueue(session, notice, now=self.world.clock())
        await self.work()

    async def work(self) -> None:
        while await self.worker.work_once():
            pass

    async def states(self) -> list[str]:
        async with self.db.reading() as session:
            rows = await session.scalars(
                select(OutboxRow.state).where(OutboxRow.channel == OutboxChannel.PUSH).order_by(OutboxRow.id)
            )
            return sorted(rows)

    async def devices(self) -> int:
        async with self.db.reading() as session:
            return len((await session.scalars(select(PushSubscription.id))).all())


@pytest_asyncio.fixture
async def install(world: World, settings: Settings) -> AsyncIterator[Install]:
    db = open_database(settings)
    await db.connect()
    yield Install(world, db, OutboxWorker(db, settings, world.clock, push_sender=sender_of(settings)))
    await db.close()


async def test_waiting_client_is_shown_on_every_device_and_named_on_none(
    install: Install, service: PushService
) -> None:
    await install.switch_on(service, install.world.alice, "phone")
    await install.switch_on(service, install.world.alice, "desk")
    await install.switch_on(service, install.world.charlie, "stranger")
    await install.tell_alice()
    shown = {"kind": "client_waiting", "title": "Your client is waiting", "path": "/therapist/dashboard"}
    assert service.taken == [shown, shown]
    assert "Secret" not in json.dumps(service.taken)
    assert await install.states() == ["sent", "sent"]
    for headers in service.headers:
        assert headers["Content-Encoding"] == "aes128gcm"
        assert headers["TTL"] == "900"
        claims = headers["Authorization"].split("t=")[1].split(".")[1]
        said = json.loads(base64.urlsafe_b64decode(claims + "=="))
        assert said["aud"] == service.base
        assert said["sub"] == "mailto:holdspace@localhost"


@pytest.mark.parametrize("status", [404, 410])
async def test_device_that_the_service_knows_no_more_is_forgotten(
    install: Install, service: PushService, status: int
) -> None:
    await install.switch_on(service, install.world.alice)
    service.status = status
    await install.tell_alice()
    assert await install.states() == ["dropped"]
    assert await install.devices() == 0


@pytest.mark.parametrize("status", [302, 401, 429, 500, 503])
async def test_service_in_trouble_is_tried_again(install: Install, service: PushService, status: int) -> None:
    await install.switch_on(service, install.world.alice)
    service.status = status
    await install.tell_alice()
    assert await install.states() == ["waiting"]
    service.status = 201
    install.world.clock.forward(seconds=FIRST_BACK_OFF.total_seconds())
    await install.work()
    assert await install.states() == ["sent"]
    assert len(service.taken) == 1


async def test_refusal_for_good_is_given_up_and_seen(install: Install, service: PushService) -> None:
    await install.switch_on(service, install.world.alice)
    service.status = 413
    await install.tell_alice()
    assert await install.states() == ["dead"]
    assert await install.devices() == 1


async def test_signed_out_device_is_told_nothing(install: Install, service: PushService) -> None:
    session_id = await install.switch_on(service, install.world.alice)
    service.status = 503
    await install.tell_alice()
    async with install.db.transaction() as session:
        revoked = update(WebSession).where(WebSession.id == session_id).values(revoked_at=install.world.clock())
        await session.execute(revoked)
    service.status = 201
    install.world.clock.forward(seconds=FIRST_BACK_OFF.total_seconds())
    await install.work()
    assert await install.states() == ["dropped"]
    assert service.taken == []


async def test_nothing_is_pushed_by_an_install_that_has_not_switched_it_on(
    world: World, settings: Settings, service: PushService
) -> None:
    plain = settings.model_copy(update={"push": PushSettings()})
    assert sender_of(plain) is None
    db = open_database(plain)
    await db.connect()
    install = Install(world, db, OutboxWorker(db, plain, world.clock))
    await install.switch_on(service, world.alice)
    await install.tell_alice()
    assert await install.states() == []
    assert service.taken == []
    await db.close()


async def test_browser_belongs_to_whoever_switched_it_on_last(install: Install, service: PushService) -> None:
    await install.switch_on(service, install.world.alice, "shared")
    await install.switch_on(service, install.world.bob, "shared")
    assert await install.devices() == 1
    await install.tell_alice()
    assert service.taken == []


def test_key_is_made_once_and_a_given_one_is_used(settings: Settings) -> None:
    made, again = sender_of(settings), sender_of(settings)
    assert made is not None
    assert again is not None
    assert made.public_key == again.public_key
    assert len(base64.urlsafe_b64decode(made.public_key + "=")) == 65
    zero = PushSettings.model_validate({"enabled": True, "private_key": base64.b64encode(bytes(32)).decode()})
    with pytest.raises(SettingsError, match="no private key"):
        sender_of(settings.model_copy(update={"push": zero}))


BAD: list[dict[str, Any]] = [
    {"endpoint": "http://push.example.org/x"},
    {"endpoint": "https://127.0.0.1/x"},
    {"endpoint": "https://localhost/x"},
    {"endpoint": "https://[::ffff:10.0.0.1]/x"},
    {"endpoint": "ftp://push.example.org/x"},
    {"endpoint": "https://a:b@push.example.org/x"},
    {"endpoint": "nothing"},
    {"p256dh": "AAAA"},
    {"p256dh": base64.urlsafe_b64encode(b"\x04" + bytes(64)).decode()},
    {"p256dh": "é" * 87},
    {"auth": "AAAA"},
]


@pytest.mark.parametrize("change", BAD)
def test_subscription_no_push_service_would_give_is_refused(change: dict[str, Any]) -> None:
    good = {**PushService("https://push.example.org").device()}
    device_untrusted(**good, settings=PushSettings())
    with pytest.raises(Malformed):
        device_untrusted(**{**good, **change}, settings=PushSettings())


async def test_person_switches_this_browser_on_and_off(site: Site, service: PushService) -> None:
    alice, charlie, nobody = [await site.hand_of(who) for who in (site.world.alice, site.world.charlie, None)]
    status, said = await alice.get("/api/push")
    assert (status, said["on"]) == (200, False)
    assert (await alice.put("/api/push", service.device()))[0] == 204
    assert (await alice.get("/api/push"))[1]["on"] is True
    assert (await charlie.get("/api/push"))[1]["on"] is False
    assert (await charlie.delete("/api/push"))[0] == 204
    assert (await alice.get("/api/push"))[1]["on"] is True
    assert (await alice.put("/api/push", {**service.device(), "auth": "x"}))[0] == 400
    assert (await nobody.get("/api/push"))[0] == 401
    assert (await nobody.put("/api/push", service.device()))[0] == 401
    assert (await alice.delete("/api/push"))[0] == 204
    assert (await alice.get("/api/push"))[1]["on"] is False
