"""A dropped socket comes back: nothing lost, nothing twice, media untouched; and when it may not come back."""

from dataclasses import replace

import pytest

from media.types import ConnectionChanged, ConnectionState, ParticipantId, RoomId, SlotsChanged, SlotView, TrackSource
from signaling.permissions import Place, Role
from signaling.session import MAX_KEPT_MESSAGES, ROTATE_AFTER_S
from signaling.settings import HubSettings
from signaling.tokens import ResumeClaims, sign_resume
from tests.signaling.conftest import NOW, SECRET, Page, Stage, eventually

ROOM = RoomId("session_a1")
AMARA = ParticipantId("amara")


def slots(*mids: str) -> SlotsChanged:
    return SlotsChanged(ROOM, AMARA, tuple(SlotView(mid, None, None, False) for mid in mids))


async def dropped(stage: Stage, page: Page) -> None:
    page.drop()
    await eventually(lambda: not stage.hub.present("a1")[0].connected)


async def test_resume_says_again_what_was_missed_and_nothing_twice(stage: Stage) -> None:
    page = await stage.join("amara")
    stage.media.emit(slots("2"))
    await page.until("slots")
    await dropped(stage, page)
    stage.media.emit(slots("2", "3"))
    stage.media.emit(slots("2", "3", "4"))
    again = await stage.resume(page)
    welcome = await again.hear()
    assert (welcome["type"], welcome["resumed"], welcome["session"]) == ("welcome", True, page.welcome["session"])
    heard = [await again.hear() for _ in range(5)]
    assert [(one["type"], one["n"]) for one in heard] == [
        ("people", 4),  # their own line, lost
        ("slots", 5),
        ("slots", 6),
        ("snapshot", 7),
        ("people", 8),
    ]
    assert [len(one["slots"]) for one in heard[1:3]] == [2, 3]


async def test_resume_says_again_what_was_sent_but_never_received(stage: Stage) -> None:
    page = await stage.join("amara")
    stage.media.emit(slots("2"))
    await page.until("slots")
    await dropped(stage, page)
    again = await stage.resume(page, received=1)
    await again.until("welcome")
    assert [(await again.hear())["n"] for _ in range(2)] == [2, 3]


async def test_resume_leaves_the_media_peer_alone(stage: Stage) -> None:
    page = await stage.join("amara")
    await dropped(stage, page)
    again = await stage.resume(page)
    await again.until("snapshot")
    assert [call[0] for call in stage.media.calls] == ["join"]
    await again.say(type="offer", revision=1, sdp="v=0", sources={})
    assert (await again.until("answer"))["revision"] == 1


async def test_others_see_the_drop_and_the_return(stage: Stage) -> None:
    mina = await stage.join("mina", Role.client)
    amara = await stage.join("amara")
    await mina.until("people")
    amara.drop()
    people = (await mina.until("people"))["people"]
    assert {one["id"]: one["connected"] for one in people} == {"mina": True, "amara": False}
    await stage.resume(amara)
    people = (await mina.until("people"))["people"]
    assert {one["id"]: one["connected"] for one in people} == {"mina": True, "amara": True}
    assert stage.gatekeeper.log[-2:] == [("disconnected", "amara", "dropped"), ("connected", "amara", "admitted")]


async def test_place_changed_while_away_is_told_at_the_return(stage: Stage) -> None:
    page = await stage.join("mina", Role.client, Place.waiting)
    await dropped(stage, page)
    stage.gatekeeper.places["a1", "mina"] = Place.admitted
    again = await stage.resume(page)
    assert (await again.types_until("snapshot"))[-2:] == ["admitted", "snapshot"]
    assert ParticipantId("mina") in stage.media.inside[ROOM]


async def test_person_denied_while_away_is_removed_at_the_return(stage: Stage) -> None:
    page = await stage.join("mina", Role.client)
    await dropped(stage, page)
    del stage.gatekeeper.places["a1", "mina"]
    again = await stage.resume(page)
    assert (await again.until("removed"))["code"] == "no_place"
    assert await again.closed() == 4403
    assert stage.hub.present("a1") == ()


async def test_new_socket_quicker_than_the_old_one_s_end_takes_over(stage: Stage) -> None:
    page = await stage.join("amara")
    again = await stage.resume(page)
    await again.until("snapshot")
    assert await page.closed() == 4409
    assert [one.connected for one in stage.hub.present("a1")] == [True]
    await again.say(type="ping", received=again.received)
    await again.until("pong")


async def test_resume_token_is_replaced_by_each_return(stage: Stage) -> None:
    page = await stage.join("amara")
    first = page.resume
    await dropped(stage, page)
    again = await stage.resume(page)
    await again.until("snapshot")
    assert again.resume != first
    await again.say(type="ping", received=again.received)
    await again.until("pong")
    page.resume = first
    late = await stage.resume(page)
    assert (await late.hear())["code"] == "resume_unknown"
    assert await late.closed() == 4404


async def test_lost_welcome_does_not_lose_the_session(stage: Stage) -> None:
    """The token before is good until the client has shown that it has the new one."""
    page = await stage.join("amara")
    await page.say(type="ping", received=page.received)
    await page.until("pong")
    await dropped(stage, page)
    lost = await stage.resume(page)
    await eventually(lambda: stage.hub.present("a1")[0].connected)
    await dropped(stage, lost)
    again = await stage.resume(page)
    assert (await again.hear())["type"] == "welcome"


async def test_long_session_is_handed_a_new_resume_token(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    page = await stage.join("amara")
    session = stage.hub._seatings["a1"].sessions["amara"]
    session.token_issued_s -= ROTATE_AFTER_S
    first = page.resume
    await page.say(type="ping", received=page.received)
    told = await page.until("resume_token")
    assert told["resume"] != first
    await page.say(type="ping", received=told["n"])
    await page.until("pong")
    await dropped(stage, page)
    again = await stage.resume(page)
    assert (await again.hear())["type"] == "welcome"


async def test_expired_resume_token_is_refused(stage: Stage) -> None:
    page = await stage.join("amara")
    await dropped(stage, page)
    stage.clock.forward(minutes=11)
    again = await stage.resume(page)
    assert (await again.hear())["code"] == "token_expired"
    assert await again.closed() == 4401


async def test_forged_resume_token_is_refused(stage: Stage) -> None:
    page = await stage.join("amara")
    claims = ResumeClaims(page.welcome["session"], "a1", "amara", 1, int(NOW.timestamp()) + 60)
    page.resume = sign_resume(b"x" * 32, claims)
    again = await stage.resume(page)
    assert (await again.hear())["code"] == "token_invalid"
    assert [one.connected for one in stage.hub.present("a1")] == [True]


async def test_token_of_another_session_is_refused(stage: Stage) -> None:
    page = await stage.join("amara")
    claims = ResumeClaims("0" * 32, "a1", "amara", 1, int(NOW.timestamp()) + 60)
    page.resume = sign_resume(SECRET, claims)
    again = await stage.resume(page)
    assert (await again.hear())["code"] == "resume_unknown"


async def test_claiming_to_have_heard_more_than_was_said_is_refused(stage: Stage) -> None:
    page = await stage.join("amara")
    await dropped(stage, page)
    again = await stage.resume(page, received=1000)
    assert (await again.hear())["code"] == "resume_unknown"


async def test_too_much_missed_is_said_plainly(stage: Stage) -> None:
    page = await stage.join("amara")
    await dropped(stage, page)
    for _ in range(MAX_KEPT_MESSAGES + 1):
        stage.media.emit(slots("2"))
    again = await stage.resume(page)
    assert (await again.hear())["code"] == "resume_lost"
    assert await again.closed() == 4404
    fresh = await stage.join("amara")
    assert fresh.welcome["resumed"] is False


async def test_acknowledged_messages_are_not_kept(stage: Stage) -> None:
    page = await stage.join("amara")
    for _ in range(3 * MAX_KEPT_MESSAGES):
        stage.media.emit(slots("2"))
        if (await page.until("slots"))["n"] % 50 == 0:
            await page.say(type="ping", received=page.received)
            await page.until("pong")
    await dropped(stage, page)
    again = await stage.resume(page)
    assert (await again.hear())["type"] == "welcome"


async def test_peer_lost_while_away_is_told_at_the_return(stage: Stage) -> None:
    page = await stage.join("amara")
    await dropped(stage, page)
    stage.media.emit(ConnectionChanged(ROOM, AMARA, ConnectionState.failed))
    again = await stage.resume(page)
    assert "peer_lost" in await again.types_until("snapshot")
    await again.say(type="offer", revision=1, sdp="v=0", sources={"0": str(TrackSource.camera)})
    await again.until("answer")
    assert len(stage.media.named("join")) == 2


async def test_returned_session_is_not_ended_later(stage: Stage) -> None:
    page = await stage.join("amara")
    await dropped(stage, page)
    assert list(stage.hub._expiries) == [page.welcome["session"]]
    again = await stage.resume(page)
    await again.until("snapshot")
    assert stage.hub._expiries == {}


class TestShortWindow:
    @pytest.fixture
    def hub_settings(self, hub_settings: HubSettings) -> HubSettings:
        return replace(hub_settings, resume_window_s=0.05)

    async def test_dropped_session_ends_when_nobody_returns(self, stage: Stage) -> None:
        page = await stage.join("amara")
        page.drop()
        await eventually(lambda: stage.hub.present("a1") == ())
        await eventually(lambda: bool(stage.heard) and getattr(stage.heard[-1], "reason", "") == "dropped")
        assert stage.media.inside[ROOM] == set()
        assert [entry[2] for entry in stage.gatekeeper.log] == ["admitted", "dropped"]
        again = await stage.resume(page)
        assert (await again.hear())["code"] == "resume_unknown"
