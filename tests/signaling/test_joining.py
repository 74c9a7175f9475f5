"""Coming in: the first message, tokens, waiting and being admitted, leaving, a second device."""

import asyncio
from dataclasses import replace

import pytest
from aiohttp import WSServerHandshakeError

from media.types import ParticipantId, RoomId, TrackSource
from signaling import events
from signaling.permissions import Place, Role
from signaling.settings import HubSettings
from tests.signaling.conftest import Stage, eventually

ROOM = RoomId("session_a1")


async def test_practitioner_is_welcomed_with_snapshot_and_people(stage: Stage) -> None:
    page = await stage.open()
    await page.say(type="hello", version=1, token=stage.gatekeeper.admit("amara", Role.practitioner, Place.admitted))
    welcome, snapshot, people = await page.hear(), await page.hear(), await page.hear()
    assert welcome["type"] == "welcome"
    assert (welcome["person"], welcome["role"], welcome["place"]) == ("amara", "practitioner", "admitted")
    assert welcome["resumed"] is False
    assert welcome["server_now"] == "2026-03-03T15:56:00.000Z"
    assert snapshot == {
        "type": "snapshot",
        "n": 1,
        "snapshot": {"state": "confirmed", "for": "amara", "server_now": "2026-03-03T15:56:00.000Z"},
    }
    assert people["n"] == 2
    assert [(one["id"], one["place"], one["connected"], one["media"]) for one in people["people"]] == [
        ("amara", "admitted", True, "connecting")
    ]


async def test_admitted_person_gets_a_peer_with_their_rights(stage: Stage) -> None:
    await stage.join("amara")
    rights = frozenset({TrackSource.camera, TrackSource.microphone})
    assert stage.media.named("join") == [("join", ROOM, "amara", rights)]


async def test_waiting_person_has_no_transport(stage: Stage) -> None:
    page = await stage.join("mina", Role.client, Place.waiting)
    await page.say(type="offer", revision=1, sdp="v=0", sources={"0": "microphone"})
    error = await page.until("error")
    assert (error["code"], error["fatal"], error["revision"]) == ("not_admitted", False, 1)
    await page.say(type="mute", mid="0", muted=True)
    assert (await page.until("error"))["code"] == "not_admitted"
    await page.say(type="view", heights={"0": 100})
    await page.say(type="ping", received=page.received)
    await page.until("pong")
    assert stage.media.calls == []


async def test_waiting_person_is_admitted_by_a_session_change(stage: Stage) -> None:
    page = await stage.join("mina", Role.client, Place.waiting)
    stage.gatekeeper.places["a1", "mina"] = Place.admitted
    stage.gatekeeper.state = "in_progress"
    await stage.hub.session_changed("a1")
    assert (await page.hear())["type"] == "admitted"
    assert (await page.until("snapshot"))["snapshot"]["state"] == "in_progress"
    assert ParticipantId("mina") in stage.media.inside[ROOM]
    assert [type(event) for event in stage.heard] == [events.Entered, events.Admitted]
    assert stage.heard[1].admission.place is Place.admitted


async def test_admitted_person_sent_back_loses_the_transport(stage: Stage) -> None:
    page = await stage.join("mina", Role.client)
    stage.gatekeeper.places["a1", "mina"] = Place.waiting
    await stage.hub.session_changed("a1")
    await page.until("waiting")
    assert stage.media.inside[ROOM] == set()
    assert isinstance(stage.heard[-1], events.SentBack)
    await page.say(type="offer", revision=1, sdp="v=0", sources={})
    assert (await page.until("error"))["code"] == "not_admitted"


async def test_person_without_a_place_is_removed_at_a_session_change(stage: Stage) -> None:
    page = await stage.join("mina", Role.client)
    del stage.gatekeeper.places["a1", "mina"]
    await stage.hub.session_changed("a1")
    removed = await page.until("removed")
    assert removed["code"] == "no_place"
    assert await page.closed() == 4403
    assert stage.media.inside[ROOM] == set()
    assert stage.gatekeeper.log[-1] == ("disconnected", "mina", "removed")


async def test_place_is_asked_again_after_redeeming(stage: Stage) -> None:
    token = stage.gatekeeper.admit("mina", Role.client, Place.waiting)
    stage.gatekeeper.places["a1", "mina"] = Place.admitted
    page = await stage.open()
    await page.say(type="hello", version=1, token=token)
    assert (await page.until("welcome"))["place"] == "admitted"
    assert stage.heard[0].admission.place is Place.admitted


@pytest.mark.parametrize(
    ("token", "code", "close"),
    [("never made", "token_invalid", 4401), ("token-amara-0", "token_used", 4401)],
)
async def test_bad_token_is_refused_and_closed(stage: Stage, token: str, code: str, close: int) -> None:
    await stage.join("amara")
    page = await stage.open()
    await page.say(type="hello", version=1, token=token)
    error = await page.hear()
    assert (error["type"], error["code"], error["fatal"]) == ("error", code, True)
    assert await page.closed() == close
    assert len(stage.hub.present("a1")) == 1


async def test_control_s_own_refusal_reaches_the_page(stage: Stage) -> None:
    token = stage.gatekeeper.admit("mina", Role.client, Place.waiting)
    del stage.gatekeeper.places["a1", "mina"]
    page = await stage.open()
    await page.say(type="hello", version=1, token=token)
    assert (await page.hear())["code"] == "no_place"
    assert await page.closed() == 4403
    assert stage.hub.present("a1") == ()


async def test_two_sockets_with_one_token_open_one_session(stage: Stage) -> None:
    token = stage.gatekeeper.admit("amara", Role.practitioner, Place.admitted)
    pages = [await stage.open(), await stage.open()]
    await asyncio.gather(*(page.say(type="hello", version=1, token=token) for page in pages))
    first = [(await page.hear())["type"] for page in pages]
    assert sorted(first) == ["error", "welcome"]


async def test_second_device_replaces_the_first(stage: Stage) -> None:
    old = await stage.join("amara")
    new = await stage.join("amara")
    await old.until("replaced")
    assert await old.closed() == 4409
    assert len(stage.hub.present("a1")) == 1
    assert stage.gatekeeper.log == [
        ("connected", "amara", "admitted"),
        ("disconnected", "amara", "replaced"),
        ("connected", "amara", "admitted"),
    ]
    await new.say(type="offer", revision=1, sdp="v=0", sources={})
    await new.until("answer")
    # The media node replaces the peer itself: leaving in between would close the room under everybody.
    assert stage.media.named("leave") == []


async def test_replaced_device_cannot_resume(stage: Stage) -> None:
    old = await stage.join("amara")
    await stage.join("amara")
    again = await stage.resume(old)
    assert (await again.hear())["code"] == "resume_unknown"
    assert await again.closed() == 4404


async def test_leave_ends_the_session_at_once(stage: Stage) -> None:
    amara = await stage.join("amara")
    mina = await stage.join("mina", Role.client)
    await amara.until("people")
    await mina.say(type="leave")
    assert await mina.closed() == 1000
    assert [one["id"] for one in (await amara.until("people"))["people"]] == ["amara"]
    assert stage.media.inside[ROOM] == {"amara"}
    assert stage.gatekeeper.log[-1] == ("disconnected", "mina", "left")
    assert stage.heard[-1].reason == "left"


async def test_end_tells_everybody_and_closes_the_room(stage: Stage) -> None:
    pages = [await stage.join("amara"), await stage.join("mina", Role.client, Place.waiting)]
    await stage.hub.end("a1", "completed")
    for page in pages:
        assert (await page.until("ended"))["reason"] == "completed"
        assert await page.closed() == 4410
    assert stage.media.named("close_room") == [("close_room", ROOM)]
    assert stage.hub.present("a1") == ()


async def test_removed_person_is_told_why_and_the_other_stays(stage: Stage) -> None:
    amara, mina = await stage.join("amara"), await stage.join("mina", Role.client)
    await amara.until("people")
    await stage.hub.remove("a1", "mina", "removed_by_practitioner", "You were taken out.")
    removed = await mina.until("removed")
    assert (removed["code"], removed["detail"]) == ("removed_by_practitioner", "You were taken out.")
    assert [one["id"] for one in (await amara.until("people"))["people"]] == ["amara"]


async def test_client_does_not_see_who_waits_but_the_practitioner_does(stage: Stage) -> None:
    amara, mina = await stage.join("amara"), await stage.join("mina", Role.client)
    await amara.until("people")
    guest = await stage.open()
    await guest.say(type="hello", version=1, token=stage.gatekeeper.admit("noor", Role.guest, Place.waiting))
    seen_by_guest = await guest.until("people")
    assert {one["id"] for one in seen_by_guest["people"]} == {"amara", "noor"}
    assert {one["id"] for one in (await amara.until("people"))["people"]} == {"amara", "mina", "noor"}
    stage.gatekeeper.places["a1", "noor"] = Place.admitted
    await stage.hub.session_changed("a1")
    # The client hears of the guest only now: no message came in between.
    while (message := await mina.hear())["type"] != "people":
        assert message["type"] == "snapshot"
    assert {one["id"] for one in message["people"]} == {"amara", "mina", "noor"}


async def test_people_of_another_appointment_hear_nothing(stage: Stage) -> None:
    amara = await stage.join("amara")
    await stage.join("zoe", Role.client, appointment="a2")
    await stage.hub.end("a2", "completed")
    await amara.say(type="ping", received=2)
    assert (await amara.hear())["type"] == "pong"


async def test_presence_that_cannot_be_noted_costs_nobody_the_session(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.gatekeeper.fail_noting = True
    page = await stage.join("amara")
    await page.say(type="ping", received=2)
    await page.until("pong")
    assert "gatekeeper failed" in caplog.text


async def test_closing_hub_tells_pages_to_come_back(stage: Stage) -> None:
    page = await stage.join("amara")
    await stage.hub.close()
    error = await page.until("error")
    assert (error["code"], error["fatal"]) == ("server_closing", True)
    assert await page.closed() == 1001
    assert stage.gatekeeper.log[-1] == ("disconnected", "amara", "shutdown")
    late = await stage.open()
    await late.say(type="hello", version=1, token=stage.gatekeeper.admit("mina", Role.client, Place.waiting))
    assert (await late.hear())["code"] == "server_closing"


async def test_foreign_origin_is_refused_before_anything(stage: Stage) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await stage.open(Origin="https://evil.example")
    assert refused.value.status == 403


async def test_own_origin_may_connect(stage: Stage) -> None:
    page = await stage.open(Origin=str(stage.client.make_url("")).rstrip("/"))
    await page.say(type="hello", version=1, token=stage.gatekeeper.admit("amara", Role.practitioner, Place.admitted))
    await page.until("welcome")


async def test_plain_request_is_no_socket(stage: Stage) -> None:
    response = await stage.client.get("/signaling")
    assert response.status == 400


class TestHurried:
    @pytest.fixture
    def hub_settings(self, hub_settings: HubSettings) -> HubSettings:
        return replace(hub_settings, hello_timeout_s=0.02)

    async def test_silent_stranger_is_closed(self, stage: Stage) -> None:
        page = await stage.open()
        assert (await page.hear())["code"] == "hello_timeout"
        assert await page.closed() == 4408


class TestElsewhere:
    async def test_room_of_another_node_is_refused(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        class Foreign:
            node = "here"

            async def claim(self, room: RoomId) -> str:
                return "there"

            async def release(self, room: RoomId) -> None: ...

        monkeypatch.setattr(stage.hub, "_placement", Foreign())
        page = await stage.open()
        await page.say(
            type="hello", version=1, token=stage.gatekeeper.admit("amara", Role.practitioner, Place.admitted)
        )
        assert (await page.hear())["code"] == "wrong_node"
        assert await page.closed() == 4421


def test_vanished_socket_is_noticed_within_five_seconds_by_default() -> None:
    assert HubSettings(secret=bytes(32)).heartbeat_s * 1.5 < 5


class TestVanished:
    @pytest.fixture
    def hub_settings(self, hub_settings: HubSettings) -> HubSettings:
        return replace(hub_settings, heartbeat_s=0.04)

    async def test_socket_that_answers_no_ping_is_dropped(self, stage: Stage) -> None:
        ws = await stage.client.ws_connect("/signaling", autoping=False)
        token = stage.gatekeeper.admit("amara", Role.practitioner, Place.admitted)
        await ws.send_json({"type": "hello", "version": 1, "token": token})
        await eventually(lambda: any(one.connected for one in stage.hub.present("a1")))
        await eventually(lambda: not any(one.connected for one in stage.hub.present("a1")))
        assert len(stage.hub.present("a1")) == 1, "the session waits for a resume"
        await ws.close()


async def test_sign_out_ends_what_that_sign_in_opened_and_nothing_else(stage: Stage) -> None:
    tokens = {}
    for person, role, login in (("amara", Role.practitioner, "laptop"), ("mina", Role.client, "phone")):
        token = tokens[person] = stage.gatekeeper.admit(person, role, Place.admitted)
        stage.gatekeeper.tokens[token] = replace(stage.gatekeeper.tokens[token], login=login)
    pages = {person: await stage.open() for person in tokens}
    for person, page in pages.items():
        await page.say(type="hello", version=1, token=tokens[person])
        await page.until("people")
    await stage.hub.sign_out("")
    await stage.hub.sign_out("another phone")
    await stage.hub.sign_out("phone")
    removed = await pages["mina"].until("removed")
    assert (removed["code"], await pages["mina"].closed()) == ("signed_out", 4403)
    assert stage.media.inside[ROOM] == {"amara"}
    await pages["amara"].say(type="ping", received=0)
    await pages["amara"].until("pong")
