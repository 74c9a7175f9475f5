"""One RTP connection of one participant: its transport in the core, its DTLS, and the offers it was answered.

`answer` turns an offer into calls to the core and changes of the room's model; the core's events about the transport
come in by `on_ice` and `on_datagram`. All on the media loop. It must not look at other participants.
"""

import asyncio
import hashlib
import logging
import secrets
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from media.answer import Candidate, Local, has_rtx, write_answer
from media.dtls import DtlsEnd, DtlsSession, ServerCertificate, SrtpKeys
from media.errors import BadOffer, MediaError, UnknownId
from media.negotiation import Negotiation, Plan, Policy, SectionPlan, Streams
from media.quality import Gauge
from media.room import Member, Room, Slot, Track
from media.types import Answer, Background, ConnectionState, MediaEvent, Offer, TrackEnded, TrackPublished, TrackSource

if TYPE_CHECKING:
    from media._forwarder import Codec, Extensions, Node, SlotSpec, TrackSpec

log = logging.getLogger(__name__)

ICE_CHARACTERS: Final = string.ascii_letters + string.digits + "+/"
UFRAG_LENGTH: Final = 12
PASSWORD_LENGTH: Final = 32
CONNECT_TIMEOUT_S: Final = 30.0
"""From the first answer to media: as long as the core waits before it gives up a silent transport."""

FINAL_STATES: Final = frozenset({ConnectionState.failed, ConnectionState.closed})


@dataclass(frozen=True)
class Surroundings:
    """What a peer needs of the node it lives in."""

    core: "Node"
    next_id: Callable[[], int]
    certificate: ServerCertificate
    candidates: Sequence[Candidate]
    handshakes: asyncio.Semaphore
    max_tracks: int


class Peer:
    """`on_state` is called once per change, also for the final one; nothing is called after `close`."""

    def __init__(
        self,
        room: Room,
        member: Member,
        surroundings: Surroundings,
        on_state: Callable[["Peer", ConnectionState], None],
    ) -> None:
        self.room = room
        self.member = member
        self.transport = surroundings.next_id()
        self.state = ConnectionState.connecting
        self._around = surroundings
        self._core = surroundings.core
        self._on_state = on_state
        self._negotiation = Negotiation()
        self._session_id = secrets.randbelow(2**62)
        self._ufrag, self._pwd = _credentials()
        self._dtls: DtlsSession | None = None
        self._keyed = False
        self._ice = "new"
        self._offered = b""
        """Digest of the newest offer answered: its text, tens of kilobytes, is of no other use."""
        self._answer: Answer | None = None
        self._specs: dict[int, object] = {}
        """Track or slot → what the core was last told, to call it only about changes."""
        self._timeout: asyncio.TimerHandle | None = None
        self.gauge = Gauge()

    def answer(self, offer: Offer, policy: Policy) -> tuple[Answer, list[MediaEvent]]:
        """Raises BadOffer (nothing changed), UnknownId once the connection is over."""
        if self.state in FINAL_STATES:
            raise UnknownId("the connection is over: join again")
        digest = _digest(offer)
        if self._answer is not None and digest == self._offered:
            return self._answer, []
        expected = 1 if self._answer is None else self._answer.revision + 1
        if offer.revision != expected:
            raise BadOffer(f"revision {offer.revision} where {expected} was wanted")
        if len(offer.sources) > self._around.max_tracks:
            raise BadOffer("too many sources")
        before = self._negotiation.plan
        plan = self._negotiation.plan_answer(offer, policy)
        self._prepare_transport(before, plan)
        events = self._apply(plan)
        local = Local(
            session_id=self._session_id,
            version=offer.revision,
            ice_ufrag=self._ufrag,
            ice_pwd=self._pwd,
            fingerprint=self._around.certificate.fingerprint,
            candidates=self._around.candidates,
            cname=self._cname,
        )
        self._offered, self._answer = digest, Answer(offer.revision, write_answer(plan, local))
        self.member.negotiated = True
        return self._answer, events

    @property
    def published_codecs(self) -> frozenset[str]:
        """Video codecs it was answered, and may switch between without another offer."""
        plan = self._negotiation.plan
        sections = plan.sections if plan else ()
        return frozenset(
            codec.name for s in sections if s.source is not None and s.source.kind == "video" for codec in s.codecs
        )

    @property
    def _cname(self) -> str:
        return f"holdspace-{self._session_id:x}"

    def _prepare_transport(self, before: Plan | None, plan: Plan) -> None:
        room, transport = self.room.core_id, self.transport
        if self._dtls is None:
            self._core.add_transport(room, transport, self.member.participant, self._ufrag, self._pwd)
            self._dtls = DtlsSession(
                self._around.certificate,
                plan.offer.fingerprints,
                send=self._send_dtls,
                on_keys=self._take_keys,
                on_end=self._dtls_ended,
                limit=self._around.handshakes,
            )
            self._timeout = asyncio.get_running_loop().call_later(CONNECT_TIMEOUT_S, self._give_up)
        elif before is not None and before.offer.ice_ufrag != plan.offer.ice_ufrag:
            self._ufrag, self._pwd = _credentials()
            self._core.restart_ice(room, transport, self._ufrag, self._pwd)
        self._tell_once(0, _extensions(plan), lambda spec: self._core.set_extensions(room, transport, spec))

    def _apply(self, plan: Plan) -> list[MediaEvent]:
        published = {section.section.mid: section for section in plan.sections if section.source is not None}
        events: list[MediaEvent] = []
        for track in self.room.tracks_of(self.member.participant):
            if track.mid not in published or published[track.mid].source is not track.source:
                events.append(self._end_track(track))
        for section in plan.sections:
            if section.source is not None:
                events += self._set_track(section, section.source)
            if section.slot is not None:
                self._set_slot(section, section.slot)
            else:
                self._close_slot(section.section.mid)
        self.member.decodes = plan.decodes
        return events

    def end_tracks_beyond(self, may_publish: frozenset[TrackSource]) -> list[MediaEvent]:
        """A section that is permitted again sends again from its next offer on."""
        tracks = self.room.tracks_of(self.member.participant)
        return [self._end_track(track) for track in tracks if track.source not in may_publish]

    def _set_track(self, section: SectionPlan, source: TrackSource) -> list[MediaEvent]:
        mid = section.section.mid
        track = self.room.find_track(self.member.participant, mid)
        fresh = track is None
        if track is None:
            track = Track(self._around.next_id(), self.member.participant, mid, source, _carried(section))
            track.wanted_private = source is TrackSource.camera and self.member.background is not Background.off
        identity = track.id
        self._tell_once(
            identity,
            _track_spec(section, private=track.wanted_private),
            lambda spec: self._core.set_track(self.room.core_id, self.transport, identity, spec),
        )
        track.offer_rids(section.section.rids, section.section.paused)
        self.room.tracks[track.id] = track
        return [TrackPublished(track.info(self.room.id))] if fresh else []

    def _set_slot(self, section: SectionPlan, streams: Streams) -> None:
        mid = section.section.mid
        slot = self.member.slots.get(mid)
        if slot is None:
            slot = Slot(self._around.next_id(), mid, section.section.kind, streams.column)
        identity = slot.id
        self._tell_once(
            identity,
            _slot_spec(section, streams, self._cname),
            lambda spec: self._core.set_slot(self.room.core_id, self.transport, identity, spec),
        )
        slot.open = True
        self.member.slots[mid] = slot

    def _close_slot(self, mid: str) -> None:
        slot = self.member.slots.get(mid)
        if slot is not None and slot.open:
            slot.open = False
            self.member.needed = None

    def _end_track(self, track: Track) -> MediaEvent:
        self._core.remove_track(self.room.core_id, track.id)
        self._specs.pop(track.id, None)
        del self.room.tracks[track.id]
        return TrackEnded(self.room.id, self.member.participant, track.id)

    def _tell_once(self, identity: int, spec: Any, tell: Callable[[Any], None]) -> None:
        if self._specs.get(identity) != spec:
            tell(spec)
            self._specs[identity] = spec

    def on_datagram(self, datagram: bytes) -> None:
        if self._dtls is not None:
            self._dtls.receive(datagram)

    def on_ice(self, state: str) -> None:
        self._ice = state
        self._update()

    def _send_dtls(self, datagrams: Sequence[bytes], flight: bool) -> None:
        try:
            self._core.send_dtls(self.room.core_id, self.transport, datagrams, flight=flight)
        except UnknownId:
            log.info("dtls datagrams for a transport that is gone transport=%d", self.transport)

    def _take_keys(self, keys: SrtpKeys) -> None:
        self._core.set_srtp(self.room.core_id, self.transport, keys.profile, keys.inbound, keys.outbound)
        self._keyed = True
        self._update()

    def _dtls_ended(self, end: DtlsEnd) -> None:
        self._ice = "closed" if end is DtlsEnd.closed else "failed"
        self._update()

    def _give_up(self) -> None:
        if self.state is ConnectionState.connecting:
            self._ice = "failed"
            self._update()

    def _update(self) -> None:
        state = _connection_state(self._ice, self._keyed)
        if self.state in FINAL_STATES or state is self.state:
            return
        self.state = state
        self._on_state(self, state)

    def close(self) -> list[MediaEvent]:
        """Say goodbye and take everything out of core and room; what ended comes back as events."""
        self.state = ConnectionState.closed
        if self._timeout is not None:
            self._timeout.cancel()
        if self._dtls is not None:
            self._dtls.close()
        events: list[MediaEvent] = []
        for track in self.room.tracks_of(self.member.participant):
            del self.room.tracks[track.id]
            events.append(TrackEnded(self.room.id, self.member.participant, track.id))
        self.member.slots.clear()
        self.member.decodes = frozenset()
        self.member.needed = None
        self.member.heights = {}
        self.member.estimate_bps = self.member.cap_bps = None
        self.member.negotiated = False
        try:
            self._core.remove_transport(self.room.core_id, self.transport)
        except MediaError:
            log.info("transport was gone already transport=%d", self.transport)
        return events


def _digest(offer: Offer) -> bytes:
    return hashlib.sha256(repr((offer.revision, offer.sdp, sorted(offer.sources.items()))).encode()).digest()


def _credentials() -> tuple[str, str]:
    text = "".join(secrets.choice(ICE_CHARACTERS) for _ in range(UFRAG_LENGTH + PASSWORD_LENGTH))
    return text[:UFRAG_LENGTH], text[UFRAG_LENGTH:]


def _connection_state(ice: str, keyed: bool) -> ConnectionState:
    match ice:
        case "failed":
            return ConnectionState.failed
        case "closed":
            return ConnectionState.closed
        case "connected" if keyed:
            return ConnectionState.connected
        case "disconnected" if keyed:
            return ConnectionState.disconnected
        case _:
            return ConnectionState.connecting


def _carried(section: SectionPlan) -> str:
    """The answer's first choice; RED is only a wrapper."""
    return next(codec.name for codec in section.codecs if codec.name != "red")


def _codecs(section: SectionPlan) -> "tuple[Codec, ...]":
    return tuple(
        {
            "name": codec.name,
            "payload_type": codec.payload_type,
            "clock_hz": codec.clock_hz,
            "rtx_payload_type": codec.rtx_payload_type,
            "nack": "nack" in codec.feedback,
            "pli": "nack pli" in codec.feedback,
            "remb": "goog-remb" in codec.feedback,
            "twcc": "transport-cc" in codec.feedback,
            "fmtp": codec.fmtp,
        }
        for codec in section.codecs
    )


def _track_spec(section: SectionPlan, *, private: bool) -> "TrackSpec":
    return {
        "mid": section.section.mid,
        "kind": section.section.kind,
        "codecs": _codecs(section),
        "ssrcs": section.section.ssrcs,
        "rids": section.section.rids,
        "private": private,
    }


def _slot_spec(section: SectionPlan, streams: Streams, cname: str) -> "SlotSpec":
    return {
        "mid": section.section.mid,
        "kind": section.section.kind,
        "ssrc": streams.ssrc,
        "rtx_ssrc": streams.rtx_ssrc if has_rtx(section) else None,
        "codecs": _codecs(section),
        "cname": cname,
    }


def _extensions(plan: Plan) -> "Extensions":
    extensions: Extensions = {}
    for name, number in plan.extension_ids.items():
        extensions[name] = number  # type: ignore[literal-required]  # the names come from EXTENSION_URIS
    return extensions
