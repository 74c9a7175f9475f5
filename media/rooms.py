"""All rooms of this node, on the media loop: requests from above in, core events in, calls to the core and events out.

`media/node.py` hops threads and calls this; nothing here awaits, so that no two requests interleave. It holds the
tables from core ids to rooms, peers and tracks; the rules are in `room.py`, the connections in `peer.py`.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from media.addresses import choose_candidates, interface_addresses
from media.allocation import MAX_AUDIO_SLOTS
from media.answer import Candidate
from media.backgrounds import Backgrounds
from media.config import MediaSettings
from media.dtls import CertificateStore
from media.errors import MediaError, UnknownId
from media.negotiation import Policy
from media.peer import FINAL_STATES, Peer, Surroundings
from media.quality import MEASURE_EVERY_S
from media.room import Changes, Member, Room
from media.types import (
    Answer,
    Background,
    BackgroundState,
    ConnectionChanged,
    ConnectionState,
    JournalChanged,
    Levels,
    MediaEvent,
    Offer,
    OfferNeeded,
    ParticipantId,
    QualityMeasured,
    RoomFailed,
    RoomId,
    TapEnded,
    TrackCodec,
    TrackEnded,
    TrackInfo,
    TrackMuted,
    TrackSource,
)

if TYPE_CHECKING:
    from media._forwarder import Node, TransportStats

log = logging.getLogger(__name__)

QUIET_AFTER_S: Final = 1.0
"""The core reports levels only while something is heard; after this long without a report everybody is silent."""


class Rooms:
    def __init__(
        self,
        core: "Node",
        settings: MediaSettings,
        emit: Callable[[MediaEvent], None],
        blur_model: Path | None = None,
    ) -> None:
        self._core = core
        self._settings = settings
        self._emit = emit
        self._ids = itertools.count(1)
        self._certificates = CertificateStore()
        self._certificates.current(datetime.now(UTC))  # made now, so that the first person does not wait for it
        self._handshakes = asyncio.Semaphore(settings.max_handshakes)
        self._backgrounds = Backgrounds(
            core, settings, blur_model, rooms=lambda: self._rooms.values(), emit=emit, reshare=self._reshare
        )
        self._rooms: dict[RoomId, Room] = {}
        self._by_core_id: dict[int, Room] = {}
        self._peers: dict[tuple[RoomId, ParticipantId], Peer] = {}
        self._by_transport: dict[int, Peer] = {}
        self._quiet: dict[RoomId, asyncio.TimerHandle] = {}
        self._tickets: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._measuring: dict[int, asyncio.TimerHandle] = {}
        """By transport; each from its own start, so that they spread."""

    # what people do

    def join(self, name: RoomId, participant: ParticipantId, may_publish: frozenset[TrackSource]) -> None:
        room = self._rooms.get(name)
        if room is None:
            core_id = next(self._ids)
            room = Room(name, core_id, self._core.add_room(core_id))
            self._rooms[name] = self._by_core_id[core_id] = room
            log.info("room opened room=%s thread=%d", name, room.thread)
        self._disconnect(room, participant)
        member = Member(participant, may_publish)
        room.members[participant] = member
        self._backgrounds.expect()
        surroundings = Surroundings(
            core=self._core,
            next_id=self._ids.__next__,
            certificate=self._certificates.current(datetime.now(UTC)),
            candidates=self._candidates(room.thread),
            handshakes=self._handshakes,
            max_tracks=self._settings.max_tracks_per_transport,
        )
        peer = Peer(room, member, surroundings, self._peer_changed)
        self._peers[name, participant] = self._by_transport[peer.transport] = peer
        self._refill(room)

    def _candidates(self, thread: int) -> tuple[Candidate, ...]:
        settings = self._settings
        interfaces = interface_addresses()
        udp = [(each["ip"], each["port"]) for each in self._core.local_addresses() if each["thread"] == thread]
        tcp = [(ip, settings.advertise_tcp_port or port) for ip, port in self._core.tcp_addresses()]
        advertise, development = settings.advertise, settings.development
        return (
            *choose_candidates(udp, interfaces, advertise=advertise, development=development),
            *choose_candidates(tcp, interfaces, advertise=advertise, development=development, tcp=True),
        )

    def negotiate(self, name: RoomId, participant: ParticipantId, offer: Offer) -> Answer:
        room, peer = self._find_peer(name, participant)
        policy = Policy(
            video_codecs=self._settings.video_codecs,
            decodable=room.decodable_beside(participant),
            audio_red=self._settings.audio_red,
            may_publish=peer.member.may_publish,
            blurs_cameras=self._backgrounds.possible,
        )
        first = not peer.member.negotiated
        decoded = peer.member.decodes
        answer, events = peer.answer(offer, policy)
        if first:
            self._emit(ConnectionChanged(name, participant, peer.state))
        self._emit_all(events)
        self._backgrounds.apply(room, peer.member)
        self._refill(room)
        if peer.member.decodes != decoded:
            self._ask_for_common_codecs(room, beside=participant)
        return answer

    def set_muted(self, name: RoomId, participant: ParticipantId, mid: str, muted: bool) -> None:
        room = self._find(name)
        track = room.find_track(participant, mid)
        if track is None:
            raise UnknownId(f"nothing is published in section {mid!r}")
        if track.muted != muted:
            self._core.set_track_muted(room.core_id, track.id, muted)
            track.muted = muted
            self._emit(TrackMuted(name, participant, track.id, muted))
            self._refill(room)

    def set_background(self, name: RoomId, participant: ParticipantId, background: Background) -> BackgroundState:
        room, peer = self._find_peer(name, participant)
        peer.member.background, peer.member.spoke_of_background = background, True
        self._backgrounds.expect()
        self._backgrounds.apply(room, peer.member)
        return self._backgrounds.state_of(room, peer.member)

    def permit(self, name: RoomId, participant: ParticipantId, may_publish: frozenset[TrackSource]) -> None:
        room, peer = self._find_peer(name, participant)
        peer.member.may_publish = may_publish
        self._emit_all(peer.end_tracks_beyond(may_publish))
        self._refill(room)

    def set_view(self, name: RoomId, participant: ParticipantId, heights: Mapping[str, int]) -> None:
        room, peer = self._find_peer(name, participant)
        peer.member.heights = dict(heights)
        self._reshare(room)

    def add_tap(self, name: RoomId, tap: int, track: int) -> None:
        """A recording wants the best of the track."""
        room = self._find(name)
        if track in room.tracks:
            room.tracks[track].taps.add(tap)
            self._reshare(room)

    def leave(self, name: RoomId, participant: ParticipantId) -> None:
        room = self._rooms.get(name)
        if room is None or participant not in room.members:
            return
        self._disconnect(room, participant)
        del room.members[participant]
        room.speakers.forget(participant)
        if room.members:
            self._refill(room)
        else:
            self.close_room(name)

    def close_room(self, name: RoomId) -> None:
        room = self._rooms.get(name)
        if room is None:
            return
        for participant in list(room.members):
            self._disconnect(room, participant)
        self._forget(room)
        try:
            self._core.remove_room(room.core_id)
        except MediaError as exc:
            log.info("room was gone already room=%s error=%s", name, exc.code)
        log.info("room closed room=%s", name)

    def close(self) -> None:
        for name in list(self._rooms):
            self.close_room(name)
        self._backgrounds.close()

    def tracks(self, name: RoomId) -> tuple[TrackInfo, ...]:
        return tuple(track.info(name) for track in self._find(name).tracks.values())

    def core_id(self, name: RoomId) -> int:
        """Raises UnknownId."""
        return self._find(name).core_id

    def next_id(self) -> int:
        return next(self._ids)

    def dump(self, name: RoomId) -> "asyncio.Future[dict[str, Any]]":
        core_id = self.core_id(name)
        return self._ask(lambda ticket: self._core.request_dump(core_id, ticket))

    def _ask(self, request: Callable[[int], None]) -> "asyncio.Future[dict[str, Any]]":
        ticket = next(self._ids)
        request(ticket)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._tickets[ticket] = future
        future.add_done_callback(lambda _: self._tickets.pop(ticket, None))
        return future

    # what the core says

    def take(self, event: tuple[Any, ...]) -> None:
        """One event of `Node.drain`. What belongs to something that is gone is dropped."""
        match event:
            case ("dtls", _, transport, datagram):
                if peer := self._by_transport.get(transport):
                    peer.on_datagram(datagram)
            case ("ice", _, transport, state):
                if peer := self._by_transport.get(transport):
                    peer.on_ice(state)
            case ("track", core_id, _, track, state):
                self._track_flows(core_id, track, state)
            case ("codec", core_id, _, track, name, fmtp):
                self._codec_known(core_id, track, name, fmtp)
            case ("levels", core_id, levels):
                self._hear(core_id, levels)
            case ("estimate", _, transport, bps, is_limit):
                limit_bps = bps if is_limit else None
                peer = self._by_transport.get(transport)
                if peer is not None and peer.member.estimate_bps != limit_bps:
                    peer.member.estimate_bps = limit_bps
                    self._reshare(peer.room)
            case ("private", core_id, track, False):
                if (room := self._by_core_id.get(core_id)) and track in room.tracks:
                    self._backgrounds.unveiled(room, room.tracks[track])
            case ("private", _, _, True) | ("port_closed", _, _, _):
                pass  # by our own word; a worker that died is noticed by media/blur/workers.py
            case ("tap_ended", core_id, tap, reason):
                if room := self._by_core_id.get(core_id):
                    self._tap_ended(room, tap)
                    self._emit(TapEnded(room.id, tap, reason))
            case ("journal", journal, state, detail):
                self._emit(JournalChanged(journal, state, str(detail)))
            case ("stats", ticket, answer):
                future = self._tickets.get(ticket)
                if future is not None and not future.done():
                    future.set_result(answer)
            case ("command_refused", core_id, what, why):
                refused_in = self._by_core_id.get(core_id)
                name = core_id if refused_in is None else refused_in.id
                log.warning("core refused a command room=%s what=%s why=%s", name, what, why)
            case ("room_failed", core_id, message):
                self._room_failed(core_id, message)
            case ("thread_failed", thread, message):
                log.error("runtime thread failed thread=%s message=%s", thread, message)
                for room in [room for room in self._rooms.values() if room.thread == thread]:
                    self._room_failed(room.core_id, message)
            case ("dropped_events", count):
                log.warning("core dropped events count=%s", count)
            case _:
                log.warning("unknown core event name=%r", event[:1])

    def _track_flows(self, core_id: int, track_id: int, state: str) -> None:
        room = self._by_core_id.get(core_id)
        if room is not None and state == "live" and (track := room.tracks.get(track_id)):
            log.info("track is live room=%s track=%d source=%s", room.id, track.id, track.source)

    def _codec_known(self, core_id: int, track_id: int, name: str, fmtp: str) -> None:
        room = self._by_core_id.get(core_id)
        if room is not None and (track := room.tracks.get(track_id)):
            track.codec = name
            self._emit(TrackCodec(room.id, track.participant, track.id, name, fmtp))

    def _hear(self, core_id: int, levels: Iterable[tuple[int, int, bool]]) -> None:
        room = self._by_core_id.get(core_id)
        if room is None:
            return
        loop = asyncio.get_running_loop()
        report = [
            (track.participant, level, active)
            for track_id, level, active in levels
            if (track := room.tracks.get(track_id)) and track.source is TrackSource.microphone
        ]
        before = room.speakers.active()
        self._emit(Levels(room.id, room.speakers.hear(report, loop.time())))
        if timer := self._quiet.pop(room.id, None):
            timer.cancel()
        if report:
            self._quiet[room.id] = loop.call_later(QUIET_AFTER_S, self._hear, core_id, ())
        if sum(track.source.kind == "audio" for track in room.tracks.values()) > MAX_AUDIO_SLOTS:
            self._refill(room)
        elif len(room.members) > 2 and room.speakers.active() != before:
            self._reshare(room)

    def _tap_ended(self, room: Room, tap: int) -> None:
        for track in room.tracks.values():
            track.taps.discard(tap)
        self._reshare(room)

    def _room_failed(self, core_id: int, message: str) -> None:
        room = self._by_core_id.get(core_id)
        if room is None:
            return
        log.error("room failed room=%s message=%s", room.id, message)
        for participant in list(room.members):
            self._disconnect(room, participant)
        self._forget(room)
        self._emit(RoomFailed(room.id, message))

    # connections

    def _peer_changed(self, peer: Peer, state: ConnectionState) -> None:
        room, participant = peer.room, peer.member.participant
        log.info("connection changed room=%s transport=%d state=%s", room.id, peer.transport, state)
        if state in FINAL_STATES:
            self._disconnect(room, participant)
            self._emit(ConnectionChanged(room.id, participant, state))
            self._refill(room)
            return
        self._emit(ConnectionChanged(room.id, participant, state))
        if state is ConnectionState.connected:
            self._measure_later(peer)
            for slot in peer.member.slots.values():
                if slot.kind == "video" and slot.track is not None:
                    self._core.request_keyframe(room.core_id, slot.track)

    def _disconnect(self, room: Room, participant: ParticipantId) -> None:
        """End the participant's connection, if there is one; the membership stays.

        Says nothing of the connection's state: who asked for its end knows, and a replaced one must not be mistaken
        for its successor.
        """
        peer = self._peers.pop((room.id, participant), None)
        if peer is not None:
            del self._by_transport[peer.transport]
            if timer := self._measuring.pop(peer.transport, None):
                timer.cancel()
            self._emit_all(peer.close())

    # quality

    def _measure_later(self, peer: Peer) -> None:
        if timer := self._measuring.pop(peer.transport, None):
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._measuring[peer.transport] = loop.call_later(MEASURE_EVERY_S, self._measure, peer)

    def _measure(self, peer: Peer) -> None:
        """Ask the core and go on at once: its answer may be dropped, and then only one measurement is missing."""
        self._measure_later(peer)
        if peer.state is not ConnectionState.connected:
            return
        room, transport = peer.room.core_id, peer.transport
        answer = self._ask(lambda ticket: self._core.request_stats(room, transport, ticket))
        answer.add_done_callback(lambda done: self._measured(peer, done))
        asyncio.get_running_loop().call_later(MEASURE_EVERY_S, answer.cancel)

    def _measured(self, peer: Peer, answer: "asyncio.Future[dict[str, Any]]") -> None:
        if answer.cancelled() or self._by_transport.get(peer.transport) is not peer:
            return
        quality = peer.gauge.measure(cast("TransportStats", answer.result()))
        self._emit(QualityMeasured(peer.room.id, peer.member.participant, quality))

    def _refill(self, room: Room) -> None:
        self._carry_out(room, room.refill())

    def _reshare(self, room: Room) -> None:
        self._carry_out(room, room.reshare())

    def _carry_out(self, room: Room, changes: Changes) -> None:
        for slot, track in changes.sources:
            self._core.set_slot_source(room.core_id, slot, track)
        for slot, bps in changes.shares:
            self._core.set_slot_share(room.core_id, slot, bps)
        for participant, bps in changes.caps:
            if peer := self._peers.get((room.id, participant)):
                self._core.set_max_bitrate(room.core_id, peer.transport, bps)
        for slot, choice in changes.choices:
            self._core.set_layer(room.core_id, slot, choice.rid, choice.temporal)
        self._emit_all(changes.events)

    def _ask_for_common_codecs(self, room: Room, *, beside: ParticipantId) -> None:
        for participant in room.members:
            peer = self._peers.get((room.id, participant))
            decodable = room.decodable_beside(participant)
            if participant == beside or peer is None or decodable is None:
                continue
            if not peer.published_codecs <= decodable:
                self._emit(OfferNeeded(room.id, participant))

    def _forget(self, room: Room) -> None:
        del self._rooms[room.id]
        del self._by_core_id[room.core_id]
        if timer := self._quiet.pop(room.id, None):
            timer.cancel()

    def _find(self, name: RoomId) -> Room:
        room = self._rooms.get(name)
        if room is None:
            raise UnknownId(f"no room {name!r}")
        return room

    def _find_peer(self, name: RoomId, participant: ParticipantId) -> tuple[Room, Peer]:
        room = self._find(name)
        peer = self._peers.get((name, participant))
        if peer is None:
            raise UnknownId("not in this room, or the connection is over: join again")
        return room, peer

    def _emit_all(self, events: Iterable[MediaEvent]) -> None:
        for event in events:
            if isinstance(event, TrackEnded):
                self._backgrounds.ended(event.track)
            self._emit(event)
