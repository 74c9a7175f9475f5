"""Between sockets and the media node: offers and their refusals, mutes, and what the node's events become."""

import asyncio

import pytest

from media.errors import BadOffer, CoreFailed, UnknownId
from media.types import (
    Background,
    BackgroundChanged,
    BackgroundState,
    ConnectionChanged,
    ConnectionState,
    EncodingsWanted,
    Levels,
    OfferNeeded,
    ParticipantId,
    Quality,
    QualityMeasured,
    RoomFailed,
    RoomId,
    SlotsChanged,
    SlotsNeeded,
    SlotView,
    TrackSource,
)
from signaling.events import Measured
from signaling.messages import Mute, OfferMessage, View
from signaling.permissions import Place, Role
from tests.signaling.conftest import Stage, eventually

ROOM = RoomId("session_a1")
AMARA, MINA = ParticipantId("amara"), ParticipantId("mina")


async def test_offer_is_answered_with_its_revision_and_sources(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.say(type="offer", revision=1, sdp="v=0", sources={"0": "microphone", "1": "camera"})
    answer = await page.until("answer")
    assert (answer["revision"], answer["sdp"]) == (1, "answer 1")
    offer = stage.media.named("negotiate")[0][3]
    assert offer.sources == {"0": TrackSource.microphone, "1": TrackSource.camera}


async def test_repeated_offer_reaches_the_node_again(stage: Stage) -> None:
    page = await stage.join("amara")
    for _ in range(2):
        await page.say(type="offer", revision=1, sdp="v=0", sources={})
        assert (await page.until("answer"))["revision"] == 1


async def test_older_offer_than_the_answered_one_is_stale(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.say(type="offer", revision=2, sdp="v=0", sources={})
    await page.until("answer")
    await page.say(type="offer", revision=1, sdp="v=0", sources={})
    error = await page.until("error")
    assert (error["code"], error["revision"], error["fatal"]) == ("stale_offer", 1, False)


async def test_one_offer_is_in_flight(stage: Stage) -> None:
    page = await stage.join("amara")
    stage.media.gate = asyncio.Event()
    await page.say(type="offer", revision=1, sdp="v=0", sources={})
    await page.say(type="offer", revision=2, sdp="v=0", sources={})
    assert (await page.until("error"))["code"] == "offer_in_flight"
    await page.say(type="ping", received=2)
    await page.until("pong")  # the socket goes on reading while the node thinks
    stage.media.gate.set()
    assert (await page.until("answer"))["revision"] == 1


async def test_source_without_the_right_is_refused(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.say(type="offer", revision=1, sdp="v=0", sources={"5": "screen"})
    assert (await page.until("error"))["code"] == "not_permitted"
    assert stage.media.named("negotiate") == []


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        (BadOffer("no"), "error", "bad_offer"),
        (CoreFailed("no"), "error", "media_unavailable"),
        (UnknownId("no"), "peer_lost", None),
    ],
)
async def test_failed_negotiation_is_told_and_the_session_stays(
    stage: Stage, failure: BadOffer, kind: str, code: str | None
) -> None:
    page = await stage.join("amara")
    stage.media.failure = failure
    await page.say(type="offer", revision=1, sdp="v=0", sources={})
    assert (await page.until(kind)).get("code") == code
    stage.media.failure = None
    await page.say(type="offer", revision=1, sdp="v=0", sources={})
    await page.until("answer")


async def test_person_sent_back_while_their_offer_is_answered_gets_no_answer(stage: Stage) -> None:
    page = await stage.join("mina", Role.client)
    stage.media.gate = asyncio.Event()
    await page.say(type="offer", revision=1, sdp="v=0", sources={})
    await eventually(lambda: bool(stage.media.named("negotiate")))
    stage.gatekeeper.places["a1", "mina"] = Place.waiting
    await stage.hub.session_changed("a1")
    stage.media.gate.set()
    await page.say(type="ping", received=page.received)
    assert "answer" not in await page.types_until("pong")


async def test_late_words_of_a_replaced_device_do_not_touch_its_successor(stage: Stage) -> None:
    await stage.join("amara")
    older = stage.hub._seatings["a1"].sessions["amara"]
    older.mids = {"0": TrackSource.microphone}
    page = await stage.join("amara")
    stage.hub.peers.offer(older, OfferMessage(1, "v=0", {}))
    await stage.hub.peers.set_muted(older, Mute("0", True))
    await stage.hub.peers.set_view(older, View({"0": 100}))
    await page.say(type="offer", revision=1, sdp="v=0", sources={})
    await page.until("answer")
    assert [call[0] for call in stage.media.calls] == ["join", "join", "negotiate"]


async def test_mute_reaches_the_node_for_offered_sections_only(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.say(type="offer", revision=1, sdp="v=0", sources={"0": "microphone"})
    await page.until("answer")
    await page.say(type="mute", mid="9", muted=True)
    assert (await page.until("error"))["code"] == "unknown_mid"
    await page.say(type="mute", mid="0", muted=True)
    await page.say(type="ping", received=1)
    await page.until("pong")
    assert stage.media.named("set_muted") == [("set_muted", ROOM, "amara", "0", True)]


async def test_a_view_is_a_hint_and_never_an_error(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.say(type="view", heights={"2": 480})
    stage.media.inside[ROOM].clear()
    await page.say(type="view", heights={"2": 240})
    await page.say(type="ping", received=page.received)
    assert "error" not in await page.types_until("pong")
    assert [call[3] for call in stage.media.named("set_view")] == [{"2": 480}, {"2": 240}]


async def test_slots_and_needs_go_to_their_subscriber_alone(stage: Stage) -> None:
    amara, mina = await stage.join("amara"), await stage.join("mina", Role.client)
    stage.media.emit(SlotsNeeded(ROOM, MINA, 2, 3))
    stage.media.emit(OfferNeeded(ROOM, MINA))
    stage.media.emit(EncodingsWanted(ROOM, MINA, "1", ("q", "f")))
    sound = SlotView("2", AMARA, TrackSource.microphone, muted=True)
    picture = SlotView("3", AMARA, TrackSource.camera, muted=False, paused=True, veiled=True)
    stage.media.emit(SlotsChanged(ROOM, MINA, (sound, picture)))
    needed = await mina.until("slots_needed")
    assert (needed["audio"], needed["video"]) == (2, 3)
    await mina.until("offer_needed")
    wanted = await mina.until("encodings")
    assert (wanted["mid"], wanted["rids"]) == ("1", ["q", "f"])
    assert (await mina.until("slots"))["slots"] == [
        {"mid": "2", "person": "amara", "source": "microphone", "muted": True, "paused": False, "veiled": False},
        {"mid": "3", "person": "amara", "source": "camera", "muted": False, "paused": True, "veiled": True},
    ]
    await amara.say(type="ping", received=1)
    assert set(await amara.types_until("pong")) <= {"people", "pong"}


async def test_a_hidden_background_is_asked_of_the_node_before_any_offer(stage: Stage) -> None:
    page = await stage.join("mina", Role.client, Place.waiting)
    await page.say(type="blur", effect="strong")
    assert (await page.until("background"))["state"] == "starting"
    assert stage.media.named("set_background") == []
    stage.gatekeeper.places["a1", "mina"] = Place.admitted
    await stage.hub.session_changed("a1")
    await page.until("admitted")
    await page.say(type="offer", revision=1, sdp="v=0", sources={"1": "camera"})
    await page.until("answer")
    assert [call[0] for call in stage.media.calls] == ["join", "set_background", "negotiate"]
    assert stage.media.calls[1][2:] == (MINA, Background.strong)

    stage.media.emit(BackgroundChanged(ROOM, MINA, BackgroundState.unavailable))
    assert (await page.until("background"))["state"] == "unavailable"
    await page.say(type="blur", effect="off")
    assert (await page.until("background"))["state"] == "on", "until the camera's keyframe"
    assert stage.media.calls[-1][2:] == (MINA, Background.off)


async def test_a_new_connection_of_the_session_is_hidden_too_and_another_person_s_is_not(stage: Stage) -> None:
    page = await stage.join("amara")
    await page.say(type="blur", effect="light")
    await page.until("background")
    stage.media.emit(ConnectionChanged(ROOM, AMARA, ConnectionState.failed))
    await page.until("peer_lost")
    await page.say(type="offer", revision=1, sdp="v=0", sources={"1": "camera"})
    await page.until("answer")
    again = ["join", "set_background", "leave", "join", "set_background", "negotiate"]
    assert [call[0] for call in stage.media.calls] == again
    await stage.join("mina", Role.client)
    assert stage.media.calls[-1][0] == "join"


async def test_a_camera_that_cannot_be_hidden_is_not_shown(stage: Stage) -> None:
    page = await stage.join("amara")
    stage.media.failure = CoreFailed("no")
    await page.say(type="blur", effect="light")
    await page.until("peer_lost")
    assert stage.media.named("leave") != []


async def test_speaking_is_told_when_it_changes_and_only_then(stage: Stage) -> None:
    page = await stage.join("amara")
    for active in (True, True, False):
        stage.media.emit(Levels(ROOM, ((MINA, 20, active), (AMARA, 90, False))))
    assert (await page.until("speaking"))["people"] == ["mina"]
    assert (await page.until("speaking"))["people"] == []
    await page.say(type="ping", received=1)
    assert (await page.hear())["type"] == "pong"


async def test_waiting_person_does_not_hear_who_speaks(stage: Stage) -> None:
    await stage.join("amara")
    page = await stage.join("mina", Role.client, Place.waiting)
    stage.media.emit(Levels(ROOM, ((AMARA, 20, True),)))
    await page.say(type="ping", received=1)
    assert await page.types_until("pong") == ["pong"]


async def test_other_people_see_a_lost_and_regained_line(stage: Stage) -> None:
    amara = await stage.join("amara")
    await stage.join("mina", Role.client)
    await amara.until("people")
    for state in (ConnectionState.connected, ConnectionState.disconnected, ConnectionState.connected):
        stage.media.emit(ConnectionChanged(ROOM, MINA, state))
        people = (await amara.until("people"))["people"]
        assert next(one["media"] for one in people if one["id"] == "mina") == state


async def test_failed_peer_is_taken_out_and_the_next_offer_joins_again(stage: Stage) -> None:
    page = await stage.join("amara")
    stage.media.emit(ConnectionChanged(ROOM, AMARA, ConnectionState.failed))
    await page.until("peer_lost")
    await eventually(lambda: bool(stage.media.named("leave")))
    await page.say(type="offer", revision=1, sdp="v=0", sources={})
    await page.until("answer")
    assert [call[0] for call in stage.media.calls] == ["join", "leave", "join", "negotiate"]


async def test_late_word_of_an_older_peer_s_end_is_not_about_the_new_one(stage: Stage) -> None:
    stage.media.while_joining = lambda: stage.media.emit(ConnectionChanged(ROOM, AMARA, ConnectionState.closed))
    page = await stage.join("amara")
    await page.say(type="offer", revision=1, sdp="v=0", sources={})
    assert "peer_lost" not in await page.types_until("answer")
    assert stage.media.named("leave") == []


async def test_failed_room_loses_every_peer_and_no_session(stage: Stage) -> None:
    pages = [await stage.join("amara"), await stage.join("mina", Role.client)]
    stage.media.emit(RoomFailed(ROOM, "a panic"))
    for page in pages:
        await page.until("peer_lost")
        await page.say(type="offer", revision=1, sdp="v=0", sources={})
    assert len(stage.hub.present("a1")) == 2


async def test_events_of_rooms_nobody_sits_in_are_ignored(stage: Stage) -> None:
    for room in (RoomId("session_zz"), ROOM):
        stage.media.emit(SlotsNeeded(room, AMARA, 1, 1))
        stage.media.emit(ConnectionChanged(room, AMARA, ConnectionState.failed))
        stage.media.emit(Levels(room, ((AMARA, 1, True),)))
        stage.media.emit(RoomFailed(room, "a panic"))
    assert stage.media.calls == []


async def test_what_may_not_be_published_any_more_ends_at_the_media_node(stage: Stage) -> None:
    await stage.join("mina", Role.client)
    stage.gatekeeper.sources = frozenset({TrackSource.microphone})
    await stage.hub.session_changed("a1")
    await stage.hub.session_changed("a1")
    assert [call[3] for call in stage.media.named("permit")] == [frozenset({TrackSource.microphone})]


async def test_silencing_mutes_the_microphone_alone_and_tells_the_page(stage: Stage) -> None:
    page = await stage.join("mina", Role.client)
    assert await stage.hub.silence("a1", "mina") is False
    await page.say(type="offer", revision=1, sdp="v=0", sources={"0": "microphone", "1": "camera"})
    await page.until("answer")
    assert await stage.hub.silence("a1", "mina") is True
    assert [call[3:] for call in stage.media.named("set_muted")] == [("0", True)]
    assert (await page.until("news"))["topic"] == "muted"
    assert await stage.hub.silence("a1", "nobody") is False


def measured(mos: float, loss: float = 0.0) -> QualityMeasured:
    return QualityMeasured(ROOM, MINA, Quality(0.0, loss, 4.4, 31.6, mos))


async def test_everyone_in_the_room_is_told_of_a_changed_connection_and_who_waits_is_not(stage: Stage) -> None:
    amara, mina = await stage.join("amara"), await stage.join("mina", Role.client)
    other = await stage.join("noor", Role.client, Place.waiting)
    for news in (measured(4.4), measured(4.35), measured(3.0, loss=0.1)):
        stage.media.emit(news)
    for page in (amara, mina):
        assert await page.until("quality") == {
            "type": "quality",
            "person": "mina",
            "word": "good",
            "mos": 4.4,
            "loss": 0.0,
            "jitter_ms": 4,
            "round_trip_ms": 32,
            "freezes": 0,
        }
        assert (await page.until("quality"))["word"] == "poor"
    await other.say(type="ping", received=1)
    assert "quality" not in await other.types_until("pong")


async def test_what_froze_on_the_page_lowers_the_word_once_and_is_told_to_control(stage: Stage) -> None:
    page = await stage.join("mina", Role.client)
    await page.say(type="playback", freezes=1, frozen_ms=400)
    await page.say(type="playback", freezes=2, frozen_ms=500)
    await page.say(type="ping", received=1)
    await page.until("pong")
    stage.media.emit(measured(4.4))
    told = await page.until("quality")
    assert (told["word"], told["freezes"], told["mos"]) == ("poor", 3, 4.4)
    stage.media.emit(measured(4.4))
    assert (await page.until("quality"))["word"] == "good"
    noted = [event for event in stage.heard if isinstance(event, Measured)]
    assert [(one.freezes, one.frozen_ms, one.word) for one in noted] == [(3, 900, "poor"), (0, 0, "good")]


async def test_a_page_that_exaggerates_is_believed_up_to_a_bound(stage: Stage) -> None:
    page = await stage.join("mina", Role.client)
    for _ in range(5):
        await page.say(type="playback", freezes=1_000, frozen_ms=60_000)
    await page.say(type="ping", received=1)
    await page.until("pong")
    stage.media.emit(measured(4.4))
    await page.until("quality")
    (noted,) = (event for event in stage.heard if isinstance(event, Measured))
    assert (noted.freezes, noted.frozen_ms) == (1_000, 60_000)
