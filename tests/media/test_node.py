"""The facade over a core without packets: who gets what, what is told, and what the core is asked."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from media.config import MediaSettings
from media.errors import BadOffer, UnknownId
from media.node import MediaNode
from media.types import (
    Answer,
    ConnectionChanged,
    ConnectionState,
    EncodingsWanted,
    JournalChanged,
    Levels,
    MediaEvent,
    Offer,
    OfferNeeded,
    ParticipantId,
    QualityMeasured,
    RoomFailed,
    RoomId,
    SlotsChanged,
    SlotsNeeded,
    SlotView,
    TapEnded,
    TrackCodec,
    TrackEnded,
    TrackMuted,
    TrackPublished,
    TrackSource,
)
from tests.helpers.fake_core import FakeCore

DATA = Path(__file__).parents[1] / "data"
PLAIN = (DATA / "offer_chromium_156.sdp").read_bytes().decode()
SIMULCAST = (DATA / "offer_chromium_156_simulcast.sdp").read_bytes().decode().replace("send q;h;f", "send ~q;~h;f")
ROOM, ANN, BOB, CEM = RoomId("session_1"), ParticipantId("ann"), ParticipantId("bob"), ParticipantId("cem")
MIC, CAM, SCREEN = TrackSource.microphone, TrackSource.camera, TrackSource.screen
SOURCES = {"0": MIC, "1": CAM}


class World:
    def __init__(self, settings: MediaSettings) -> None:
        self.cores: list[FakeCore] = []
        self.node = MediaNode(settings, open_core=self._open)
        self.events: list[MediaEvent] = []
        self._grew = asyncio.Event()
        self.node.add_listener(self._take)

    def _open(self, options: Any) -> Any:
        self.cores.append(FakeCore(options))
        return self.cores[-1]

    def _take(self, event: MediaEvent) -> None:
        self.events.append(event)
        self._grew.set()

    @property
    def core(self) -> FakeCore:
        return self.cores[-1]

    async def until(self, fits: Callable[[MediaEvent], bool]) -> MediaEvent:
        async with asyncio.timeout(30):
            while not (found := [event for event in self.events if fits(event)]):
                self._grew.clear()
                await self._grew.wait()
        return found[-1]

    async def settle(self) -> None:
        """Everything that the requests so far caused has been delivered."""
        await self.node.join(RoomId("elsewhere"), ANN, may_publish=frozenset())
        await self.node.leave(RoomId("elsewhere"), ANN)
        await asyncio.sleep(0)

    async def enter(self, who: ParticipantId, sdp: str = PLAIN, **sources: TrackSource) -> Answer:
        await self.node.join(ROOM, who, may_publish=frozenset(TrackSource))
        named = {mid.removeprefix("m"): source for mid, source in sources.items()} or SOURCES
        return await self.node.negotiate(ROOM, who, Offer(1, sdp, named))

    def transport_of(self, who: str) -> int:
        return next(key for key, transport in self.core.transports.items() if transport.participant == who)

    def last_slots(self, who: ParticipantId) -> tuple[SlotView, ...]:
        return [e for e in self.events if isinstance(e, SlotsChanged) and e.participant == who][-1].slots


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(MediaSettings(udp_port=0))
    await world.node.start()
    yield world
    await world.node.close()


def with_screen(sdp: str) -> str:
    """The offer with one more sending video section and one more receiving one, as the page adds them."""
    camera, slot = (part for part in sdp.split("m=video")[1:])
    camera = camera.split("m=audio")[0]
    screen = camera.replace("a=mid:1", "a=mid:4").replace("13489378", "5551").replace("1456641731", "5552")
    more = slot.replace("a=mid:3", "a=mid:5")
    return sdp.replace("BUNDLE 0 1 2 3", "BUNDLE 0 1 2 3 4 5") + "m=video" + screen + "m=video" + more


async def test_the_second_person_fills_the_firsts_slots_without_a_new_offer(world: World) -> None:
    await world.enter(ANN)
    await world.enter(BOB)
    await world.settle()
    assert world.last_slots(ANN) == (SlotView("2", BOB, MIC, muted=False), SlotView("3", BOB, CAM, muted=False))
    assert world.last_slots(BOB) == (SlotView("2", ANN, MIC, muted=False), SlotView("3", ANN, CAM, muted=False))
    for slot in world.core.slots.values():
        assert slot.source is not None
        track = world.core.tracks[slot.source]
        assert track.spec["kind"] == slot.spec["kind"]
        assert track.transport != slot.transport
    assert not [event for event in world.events if isinstance(event, SlotsNeeded)]


async def test_the_core_is_told_what_was_answered(world: World) -> None:
    answer = await world.enter(ANN)
    transport = world.core.transports[world.transport_of(ANN)]
    ufrag, pwd = transport.credentials[0]
    assert f"a=ice-ufrag:{ufrag}\r\n" in answer.sdp
    assert f"a=ice-pwd:{pwd}\r\n" in answer.sdp
    assert len(ufrag) >= 8
    assert len(pwd) >= 24
    assert "a=candidate:1 1 udp 2130706431 192.0.2.7 46000 typ host" in answer.sdp
    assert "a=candidate:2 1 tcp 1526726399 192.0.2.7 46000 typ host tcptype passive" in answer.sdp
    assert transport.extensions["mid"] == 4
    (camera,) = (t.spec for t in world.core.tracks.values() if t.spec["kind"] == "video")
    assert camera["ssrcs"] == ((13489378, 1456641731),)
    assert [codec["name"] for codec in camera["codecs"]] == ["vp8"]
    (slot,) = (s.spec for s in world.core.slots.values() if s.spec["kind"] == "video")
    assert f"a=ssrc-group:FID {slot['ssrc']} {slot['rtx_ssrc']}\r\n" in answer.sdp


async def test_a_slow_path_caps_the_publisher_and_pauses_the_picture_before_the_sound(world: World) -> None:
    await world.enter(ANN)
    await world.enter(BOB)
    ann, bob = world.core.transports[world.transport_of(ANN)], world.transport_of(BOB)
    (picture,) = (s for s in world.core.slots.values() if s.transport == bob and s.spec["kind"] == "video")

    async def estimate(bps: int, *, is_limit: bool) -> tuple[int | None, int | None]:
        room = world.core.transports[bob].room
        world.events.clear()
        world.core.say(("estimate", room, bob, bps, is_limit), ("levels", room, ()))
        await world.until(lambda event: isinstance(event, Levels))
        return picture.share, ann.cap

    assert await estimate(400_000, is_limit=False) == (None, None)
    assert await estimate(400_000, is_limit=True) == (300_000, 380_000)
    assert await estimate(420_000, is_limit=True) == (319_000, 380_000)
    assert await estimate(460_000, is_limit=True) == (357_000, 437_000)
    assert await estimate(90_000, is_limit=True) == (0, 140_000)
    assert world.last_slots(BOB) == (
        SlotView("2", ANN, MIC, muted=False),
        SlotView("3", ANN, CAM, muted=False, paused=True),
    )
    assert await estimate(6_000_000, is_limit=False) == (None, None)
    assert not world.last_slots(BOB)[1].paused


async def test_ice_without_keys_is_not_connected(world: World) -> None:
    await world.enter(ANN)
    await world.enter(BOB)
    transport = world.transport_of(BOB)
    world.core.say(("ice", 1, transport, "connected"))
    await world.settle()
    states = [e.state for e in world.events if isinstance(e, ConnectionChanged) and e.participant == BOB]
    assert states == [ConnectionState.connecting], "no keys yet"


async def test_a_screen_asks_the_other_page_for_a_slot_and_fills_it(world: World) -> None:
    await world.enter(ANN)
    await world.enter(BOB)
    sharing = Offer(2, with_screen(PLAIN), {**SOURCES, "4": SCREEN})
    await world.node.negotiate(ROOM, BOB, sharing)
    needed = await world.until(lambda event: isinstance(event, SlotsNeeded))
    assert needed == SlotsNeeded(ROOM, ANN, audio=1, video=2)
    await world.node.negotiate(ROOM, ANN, Offer(2, with_screen(PLAIN), SOURCES))
    await world.settle()
    assert world.last_slots(ANN)[2] == SlotView("5", BOB, SCREEN, muted=False)
    stopped = sharing.sdp.replace("a=sendonly\r\na=msid:29d18a6e-4c91-4d1b-9877-c337f19aac8c 82", "a=inactive\r\na=x:")
    await world.node.negotiate(ROOM, BOB, Offer(3, stopped, SOURCES))
    await world.settle()
    assert world.last_slots(ANN)[2] == SlotView("5", None, None, muted=False)


async def test_muting_is_told_to_everybody(world: World) -> None:
    await world.enter(ANN)
    await world.enter(BOB)
    await world.node.set_muted(ROOM, BOB, "0", True)
    await world.settle()
    assert world.last_slots(ANN)[0] == SlotView("2", BOB, MIC, muted=True)
    assert [e.muted for e in world.events if isinstance(e, TrackMuted)] == [True]
    (info,) = (info for info in await world.node.tracks(ROOM) if info.muted)
    assert world.core.tracks[info.track].muted
    await world.node.set_muted(ROOM, BOB, "0", True)
    await world.settle()
    assert len([e for e in world.events if isinstance(e, TrackMuted)]) == 1
    with pytest.raises(UnknownId):
        await world.node.set_muted(ROOM, BOB, "2", True)


async def test_the_same_offer_again_gets_the_same_answer_and_other_revisions_are_refused(world: World) -> None:
    first = await world.enter(ANN)
    again = await world.node.negotiate(ROOM, ANN, Offer(1, PLAIN, SOURCES))
    assert again == first
    for revision in (0, 1, 3):
        with pytest.raises(BadOffer):
            await world.node.negotiate(ROOM, ANN, Offer(revision, PLAIN + "a=x:y\r\n", SOURCES))
    assert world.core.calls.count("set_track") == 2


async def test_an_ice_restart_gets_new_credentials_and_touches_nothing_else(world: World) -> None:
    await world.enter(ANN)
    before = list(world.core.calls)
    answer = await world.node.negotiate(ROOM, ANN, Offer(2, PLAIN.replace("2eeP", "rEst"), SOURCES))
    credentials = world.core.transports[world.transport_of(ANN)].credentials
    assert len(credentials) == 2
    assert f"a=ice-ufrag:{credentials[1][0]}\r\n" in answer.sdp
    assert world.core.calls == before


async def test_a_bad_offer_changes_nothing(world: World) -> None:
    await world.node.join(ROOM, ANN, may_publish=frozenset(TrackSource))
    with pytest.raises(BadOffer):
        await world.node.negotiate(ROOM, ANN, Offer(1, "v=0\r\n", SOURCES))
    assert world.core.transports == {}
    await world.node.negotiate(ROOM, ANN, Offer(1, PLAIN, SOURCES))
    assert len(world.core.transports) == 1


async def test_joining_again_replaces_the_older_connection(world: World) -> None:
    await world.enter(ANN)
    await world.enter(BOB)
    old = {track.track for track in await world.node.tracks(ROOM) if track.participant == BOB}
    await world.enter(BOB)
    await world.settle()
    new = {track.track for track in await world.node.tracks(ROOM) if track.participant == BOB}
    assert old.isdisjoint(new)
    assert {e.track for e in world.events if isinstance(e, TrackEnded)} == old
    assert len(world.core.transports) == 2
    assert world.last_slots(ANN)[1].publisher == BOB
    states = [event.state for event in world.events if isinstance(event, ConnectionChanged)]
    assert set(states) == {ConnectionState.connecting}, "a replaced connection is not told as closed"


async def test_leaving_empties_slots_and_the_last_one_out_closes_the_room(world: World) -> None:
    await world.enter(ANN)
    await world.enter(BOB)
    await world.node.leave(ROOM, BOB)
    await world.settle()
    assert [view.publisher for view in world.last_slots(ANN)] == [None, None]
    assert len(world.core.transports) == 1
    await world.node.leave(ROOM, BOB)
    await world.node.leave(ROOM, ANN)
    assert world.core.rooms == set()
    with pytest.raises(UnknownId):
        await world.node.tracks(ROOM)
    await world.node.leave(ROOM, ANN)
    await world.node.close_room(ROOM)


async def test_nobody_negotiates_without_having_joined(world: World) -> None:
    with pytest.raises(UnknownId):
        await world.node.negotiate(ROOM, ANN, Offer(1, PLAIN, SOURCES))
    await world.enter(ANN)
    with pytest.raises(UnknownId):
        await world.node.negotiate(ROOM, BOB, Offer(1, PLAIN, SOURCES))


async def test_a_failed_connection_ends_its_tracks_and_needs_another_join(world: World) -> None:
    await world.enter(ANN)
    await world.enter(BOB)
    world.core.say(("ice", 1, world.transport_of(BOB), "failed"))
    await world.until(lambda e: e == ConnectionChanged(ROOM, BOB, ConnectionState.failed))
    await world.settle()
    assert [view.publisher for view in world.last_slots(ANN)] == [None, None]
    with pytest.raises(UnknownId):
        await world.node.negotiate(ROOM, BOB, Offer(2, PLAIN, SOURCES))
    await world.enter(BOB)
    await world.settle()
    assert [view.publisher for view in world.last_slots(ANN)] == [BOB, BOB]


async def test_a_connection_that_never_comes_up_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.peer.CONNECT_TIMEOUT_S", 0.01)
    await world.enter(ANN)
    await world.until(lambda e: e == ConnectionChanged(ROOM, ANN, ConnectionState.failed))
    await world.settle()
    assert world.core.transports == {}


async def test_a_failed_room_is_told_and_can_be_made_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.enter(ANN)
    with caplog.at_level(logging.CRITICAL):
        world.core.say(("room_failed", 1, "a panic"))
        await world.until(lambda e: e == RoomFailed(ROOM, "a panic"))
    await world.enter(ANN)
    assert len(await world.node.tracks(ROOM)) == 2


async def test_what_the_core_refuses_later_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.enter(ANN)
    world.core.say(
        ("command_refused", 1, "set_slot 12", "refused: too many codecs"),
        ("command_refused", 99, "set_track 5", "unknown id"),
        ("journal", 7, "synced", 4096),
    )
    await world.until(lambda event: isinstance(event, JournalChanged))
    refused = [r.getMessage() for r in caplog.records if r.name == "media.rooms" and r.levelno == logging.WARNING]
    assert refused == [
        "core refused a command room=session_1 what=set_slot 12 why=refused: too many codecs",
        "core refused a command room=99 what=set_track 5 why=unknown id",
    ]


async def test_core_events_become_the_rooms_events(world: World) -> None:
    await world.enter(ANN)
    infos = {info.source: info for info in await world.node.tracks(ROOM)}
    world.core.say(
        ("codec", 1, 2, infos[CAM].track, "vp8", ""),
        ("levels", 1, ((infos[MIC].track, 30, True),)),
        ("tap_ended", 1, 9, "removed"),
        ("journal", 7, "synced", 4096),
        ("levels", 99, ((infos[MIC].track, 30, True),)),
        ("track", 1, 2, 12345, "live"),
        ("dropped_events", 3),
        ("something_new", 1),
        ("dtls", 1, 12345, b"late"),
    )
    await world.until(lambda event: isinstance(event, JournalChanged))
    assert TrackCodec(ROOM, ANN, infos[CAM].track, "vp8", "") in world.events
    assert Levels(ROOM, ((ANN, 30, False),)) in world.events
    assert TapEnded(ROOM, 9, "removed") in world.events
    assert JournalChanged(7, "synced", "4096") in world.events
    assert [e.info.codec for e in world.events if isinstance(e, TrackPublished)] == ["opus", "vp8"]


async def test_a_joiner_who_decodes_less_has_the_publishers_offer_again() -> None:
    world = World(MediaSettings(udp_port=0, video_codecs=("vp9", "vp8")))
    await world.node.start()
    answer = await world.enter(ANN)
    assert "VP9/90000" in answer.sdp.split("m=video")[1]
    only_vp8 = PLAIN.replace("VP9/90000", "XX9/90000")
    await world.enter(BOB, only_vp8)
    assert await world.until(lambda event: isinstance(event, OfferNeeded)) == OfferNeeded(ROOM, ANN)
    again = await world.node.negotiate(ROOM, ANN, Offer(2, PLAIN, SOURCES))
    assert "VP9/90000" not in again.sdp.split("m=video")[1].split("m=audio")[0]
    await world.node.close()


def encodings_of(world: World, who: ParticipantId) -> list[tuple[str, ...]]:
    return [event.rids for event in world.events if isinstance(event, EncodingsWanted) and event.participant == who]


async def test_in_a_room_of_two_the_largest_encoding_is_sent_and_nothing_is_said(world: World) -> None:
    await world.enter(ANN, SIMULCAST)
    await world.enter(BOB, SIMULCAST)
    await world.node.set_view(ROOM, ANN, {"3": 90})
    await world.settle()
    assert {slot.layer for slot in world.core.slots.values() if slot.spec["kind"] == "video"} == {("f", None)}
    assert encodings_of(world, ANN) == encodings_of(world, BOB) == []


async def test_a_page_that_sends_all_encodings_is_told_which_one_is_wanted(world: World) -> None:
    await world.enter(ANN, SIMULCAST.replace("~", ""))
    await world.settle()
    assert encodings_of(world, ANN) == [("f",)]


async def test_the_third_person_makes_sizes_count_and_leaving_ends_it(world: World) -> None:
    for who in (ANN, BOB, CEM):
        await world.enter(who, SIMULCAST)
        await world.node.set_view(ROOM, who, {"3": 90})
    await world.settle()
    # Everybody has one picture: of Ann, but Ann's own of Bob. Nobody watches Cem.
    assert {slot.layer for slot in world.core.slots.values() if slot.spec["kind"] == "video"} == {("q", None)}
    assert [encodings_of(world, who)[-1] for who in (ANN, BOB, CEM)] == [("q",), ("q",), ()]
    await world.node.leave(ROOM, CEM)
    await world.settle()
    assert [encodings_of(world, who)[-1] for who in (ANN, BOB)] == [("f",), ("f",)]


async def test_a_recording_keeps_the_largest_encoding_coming_while_it_runs(world: World) -> None:
    for who in (ANN, BOB, CEM):
        await world.enter(who, SIMULCAST)
        await world.node.set_view(ROOM, who, {"3": 90})
    camera = next(info.track for info in await world.node.tracks(ROOM) if info.source is CAM)
    journal = await world.node.open_journal("a/path", bytes(32), b"header")
    await world.node.grant_recording(ROOM, ANN, "grant")
    tap = await world.node.add_tap(ROOM, camera, "grant", journal, 1, bytes(32))
    await world.settle()
    assert encodings_of(world, ANN)[-1] == ("q", "f")
    world.core.say(("tap_ended", 1, tap, "removed"))
    await world.until(lambda event: isinstance(event, TapEnded))
    await world.settle()
    assert encodings_of(world, ANN)[-1] == ("q",)


async def test_a_view_of_somebody_who_is_not_in_the_room_is_refused(world: World) -> None:
    await world.enter(ANN)
    with pytest.raises(UnknownId):
        await world.node.set_view(ROOM, BOB, {"3": 90})


async def test_recording_calls_reach_the_core_with_its_ids(world: World) -> None:
    await world.enter(ANN)
    (camera,) = (info for info in await world.node.tracks(ROOM) if info.source is CAM)
    journal = await world.node.open_journal("a/path", bytes(32), b"header")
    with pytest.raises(UnknownId):
        await world.node.add_tap(ROOM, camera.track, "grant", journal, 1, bytes(32))
    await world.node.grant_recording(ROOM, ANN, "grant")
    tap = await world.node.add_tap(ROOM, camera.track, "grant", journal, 1, bytes(32))
    await world.node.remove_tap(ROOM, tap)
    await world.node.journal_event(journal, b"event")
    await world.node.revoke_recording(ROOM, "grant")
    await world.node.close_journal(journal)
    assert world.core.calls[-3:] == ["open_journal", "journal_event", "close_journal"]
    with pytest.raises(UnknownId):
        await world.node.grant_recording(RoomId("nowhere"), ANN, "grant")


async def test_a_dump_is_the_cores_answer_to_its_ticket(world: World) -> None:
    await world.enter(ANN)
    assert await world.node.dump(ROOM) == {"room": 1}
    assert world.node.stats()["transports"] == 1


async def test_closing_ends_everything_and_may_be_repeated(world: World) -> None:
    await world.enter(ANN)
    core = world.core
    await world.node.close()
    assert core.closed
    assert core.transports == {}
    assert [event for event in world.events if isinstance(event, TrackEnded)]
    await world.node.close()
    with pytest.raises(RuntimeError):
        await world.node.tracks(ROOM)


async def test_a_listener_that_fails_does_not_keep_events_from_the_next(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: MediaEvent) -> None:
        raise ValueError("a listener's own fault")

    world.node._listeners.insert(0, fail)
    await world.enter(ANN)
    await world.settle()
    assert world.events
    assert "media listener failed" in caplog.text


async def test_a_source_that_may_not_be_published_any_more_ends_and_may_come_again(world: World) -> None:
    await world.enter(ANN)
    await world.enter(BOB)
    await world.node.permit(ROOM, BOB, may_publish=frozenset({MIC}))
    await world.settle()
    assert [e.participant for e in world.events if isinstance(e, TrackEnded)] == [BOB]
    assert [slot.source for slot in world.last_slots(ANN)] == [MIC, None]
    await world.node.negotiate(ROOM, BOB, Offer(2, PLAIN, SOURCES))
    await world.settle()
    assert [slot.source for slot in world.last_slots(ANN)] == [MIC, None]
    await world.node.permit(ROOM, BOB, may_publish=frozenset({MIC, CAM}))
    await world.node.negotiate(ROOM, BOB, Offer(3, PLAIN, SOURCES))
    await world.settle()
    assert [slot.source for slot in world.last_slots(ANN)] == [MIC, CAM]
    with pytest.raises(UnknownId):
        await world.node.permit(ROOM, ParticipantId("nobody"), may_publish=frozenset())


async def test_a_connected_person_is_measured_again_and_again_until_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.rooms.MEASURE_EVERY_S", 0.1)
    await world.enter(ANN)
    peer = next(iter(world.node._running()[0]._by_transport.values()))
    world.core.transport_stats |= {"expected_in": 100, "missing_in": 20, "fraction_lost_out": 0.25}
    peer._keyed = True
    world.core.say(("ice", peer.room.core_id, peer.transport, "connected"))
    first = await world.until(lambda event: isinstance(event, QualityMeasured))
    assert isinstance(first, QualityMeasured)
    assert (first.participant, first.quality.loss_in, first.quality.loss_out) == (ANN, 0.2, 0.25)
    await world.until(lambda event: isinstance(event, QualityMeasured) and event.quality.loss_in == 0)
    await world.node.leave(ROOM, ANN)
    assert not world.node._running()[0]._measuring
