"""What hostile or broken clients send: every refusal has its code, and nothing but that socket suffers."""

import json
from dataclasses import replace

import aiohttp
import pytest

from media.types import Levels, ParticipantId, RoomId, SlotsChanged, SlotView
from signaling.handler import MAX_BAD_MESSAGES, MESSAGES_BURST, OFFERS_BURST
from signaling.messages import MAX_MESSAGE_BYTES
from signaling.outbox import MAX_WAITING_MESSAGES
from signaling.permissions import Role
from signaling.rates import Newcomers, RateBound
from signaling.settings import HubSettings
from tests.signaling.conftest import Stage

ROOM = RoomId("session_a1")

BAD = [
    "",
    "nonsense",
    "[]",
    "null",
    "{}",
    '{"type": 1}',
    '{"type": "hello"}',
    '{"type": "unheard of"}',
    '{"type": "leave", "extra": 1}',
    '{"type": "ping", "received": true}',
    '{"type": "ping", "received": -1}',
    '{"type": "ping", "received": 1.0}',
    '{"type": "ping", "received": NaN}',
    '{"type": "ping", "received": ' + "9" * 5000 + "}",
    '{"type": "ping", "received": 1, "received": 2}',
    '{"type": "mute", "mid": "0"}',
    '{"type": "mute", "mid": "no spaces", "muted": true}',
    '{"type": "view", "heights": [100]}',
    '{"type": "view", "heights": {"0": -1}}',
    '{"type": "view", "heights": {"0": 8193}}',
    '{"type": "view", "heights": {"0": 1.5}}',
    '{"type": "view", "heights": {"no spaces": 1}}',
    '{"type": "offer", "revision": 0, "sdp": "v=0", "sources": {}}',
    '{"type": "offer", "revision": 1, "sdp": "", "sources": {}}',
    '{"type": "offer", "revision": 1, "sdp": "\\ud800", "sources": {}}',
    '{"type": "offer", "revision": 1, "sdp": "v=0", "sources": {"0": "window"}}',
    '{"type": "offer", "revision": 1, "sdp": "v=0", "sources": {"0": []}}',
    "[" * 30_000,
    '{"type": "ping", "received": ' + "[" * 20_000 + "]" * 20_000 + "}",
]


@pytest.mark.parametrize("text", BAD)
async def test_bad_first_message_closes_the_socket(stage: Stage, text: str) -> None:
    page = await stage.open()
    await page.ws.send_str(text)
    error = await page.hear()
    assert (error["type"], error["code"], error["fatal"]) == ("error", "bad_message", True)
    assert await page.closed() == 4400


@pytest.mark.parametrize("text", BAD)
async def test_bad_later_message_is_told_and_changes_nothing(stage: Stage, text: str) -> None:
    page = await stage.join("amara")
    await page.ws.send_str(text)
    error = await page.hear()
    assert (error["code"], error["fatal"]) == ("bad_message", False)
    await page.say(type="ping", received=2)
    await page.until("pong")
    assert [call[0] for call in stage.media.calls] == ["join"]


async def test_fifth_bad_message_is_the_last(stage: Stage) -> None:
    page = await stage.join("amara")
    for count in range(1, MAX_BAD_MESSAGES + 1):
        await page.ws.send_str("nonsense")
        assert (await page.hear())["fatal"] is (count == MAX_BAD_MESSAGES)
    assert await page.closed() == 4400


async def test_first_message_must_be_hello(stage: Stage) -> None:
    page = await stage.open()
    await page.say(type="ping", received=0)
    assert (await page.hear())["code"] == "bad_message"
    assert await page.closed() == 4400


async def test_hello_comes_once(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.say(type="hello", version=1, token="again")
    error = await page.hear()
    assert (error["code"], error["fatal"]) == ("bad_message", False)


async def test_unknown_version_is_named(stage: Stage) -> None:
    page = await stage.open()
    await page.say(type="hello", version=2, token="x")
    assert (await page.hear())["code"] == "bad_version"
    assert await page.closed() == 4400


async def test_acknowledging_what_was_never_said_is_bad(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.say(type="ping", received=99)
    assert (await page.hear())["code"] == "bad_message"


async def test_binary_frame_is_bad(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.ws.send_bytes(b"\x00")
    assert (await page.hear())["code"] == "bad_message"
    assert await page.closed() == 4400


async def test_huge_frame_closes_the_socket_and_the_session_waits(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.ws.send_str(json.dumps({"type": "offer", "sdp": "x" * MAX_MESSAGE_BYTES}))
    assert await page.closed() == 1009
    again = await stage.resume(page)
    assert (await again.hear())["type"] == "welcome"


async def test_largest_allowed_offer_passes(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.say(type="offer", revision=1, sdp="x" * 60_000, sources={})
    await page.until("answer")


async def test_flood_of_messages_is_stopped(stage: Stage) -> None:
    page = await stage.join("amara")
    for _ in range(MESSAGES_BURST + 20):
        await page.say(type="ping", received=0)
    assert (await page.until("error"))["code"] == "rate_limited"
    assert await page.closed() == 4429


@pytest.mark.parametrize(
    "effect", ["heavy", "picture", "", None, 1, True, ["off"], {"off": 1}, "strong" * 9_000, "\ud800"]
)
async def test_an_effect_that_does_not_exist_is_told_and_hides_nobody(stage: Stage, effect: object) -> None:
    page = await stage.join("amara")
    await page.ws.send_str(json.dumps({"type": "blur", "effect": effect}))
    error = await page.hear()
    assert (error["code"], error["fatal"]) == ("bad_message", False)
    await page.say(type="blur", effect="light", person="mina")
    assert (await page.hear())["code"] == "bad_message", "there is no hiding of somebody else"
    assert stage.media.named("set_background") == []


async def test_a_stranger_cannot_hide_and_a_flood_of_wishes_is_stopped(stage: Stage) -> None:
    stranger = await stage.open()
    await stranger.say(type="blur", effect="strong")
    assert (await stranger.hear())["code"] == "bad_message"
    assert await stranger.closed() == 4400
    assert stage.media.calls == []
    page = await stage.join("amara")
    for number in range(MESSAGES_BURST + 20):
        await page.say(type="blur", effect=("off", "strong")[number % 2])
    assert (await page.until("error"))["code"] == "rate_limited"
    assert await page.closed() == 4429
    assert len(stage.media.named("set_background")) <= MESSAGES_BURST + 5


async def test_flood_of_offers_is_stopped_sooner(stage: Stage) -> None:
    page = await stage.join("amara")
    for revision in range(1, OFFERS_BURST + 4):
        await page.say(type="offer", revision=revision, sdp="v=0", sources={})
    while (error := await page.until("error"))["code"] == "offer_in_flight":
        pass
    assert error["code"] == "rate_limited"
    assert await page.closed() == 4429
    assert len(stage.media.named("negotiate")) <= OFFERS_BURST


async def test_client_that_does_not_read_is_closed_and_may_resume(stage: Stage) -> None:
    page = await stage.join("amara")
    amara = ParticipantId("amara")
    for _ in range(MAX_WAITING_MESSAGES + 1):
        # Not numbered: the outbox alone overflows.
        stage.media.emit(Levels(ROOM, ((amara, 1, True),)))
        stage.media.emit(Levels(ROOM, ((amara, 1, False),)))
    assert await page.closed() == 4413
    again = await stage.resume(page)
    assert (await again.hear())["type"] == "welcome"
    stage.media.emit(SlotsChanged(ROOM, amara, (SlotView("2", None, None, False),)))
    await again.until("slots")


def test_rate_bound_lets_a_burst_through_and_then_the_rate() -> None:
    bound = RateBound(per_s=2.0, burst=3, now_s=10.0)
    assert [bound.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert bound.take(10.4) is False
    assert bound.take(10.5) is True
    assert [bound.take(1000.0) for _ in range(4)] == [True, True, True, False]


class TestNewcomers:
    @pytest.fixture
    def hub_settings(self, hub_settings: HubSettings) -> HubSettings:
        return replace(hub_settings, max_silent_per_network=3)

    async def test_silent_sockets_of_one_network_are_bounded_and_who_said_hello_is_not_counted(
        self, stage: Stage
    ) -> None:
        await stage.join("amara")
        silent = [await stage.open() for _ in range(3)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await stage.open()
        assert refused.value.status == 429
        await silent[0].ws.close()
        await stage.join("mina", Role.client)

    async def test_refused_first_word_gives_its_place_back(self, stage: Stage) -> None:
        for _ in range(5):
            page = await stage.open()
            await page.ws.send_str("nonsense")
            assert await page.closed() == 4400
        await stage.join("amara")


def test_newcomers_are_bounded_in_all_and_leave_once() -> None:
    newcomers = Newcomers(most_per_network=2, most=3)
    first = newcomers.enter("a")
    assert first is not None
    assert [newcomers.enter(network) is not None for network in ("a", "a", "b", "c")] == [True, False, True, False]
    first.leave()
    first.leave()
    assert [newcomers.enter(network) is not None for network in ("c", "c")] == [True, False]
