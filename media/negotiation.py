"""Offer and answer: the browser always offers, this ICE-lite server always answers (RFC 8829, RFC 8839, RFC 8843).

The layout a page is expected to offer, one `RTCPeerConnection` per participant, `bundlePolicy: "max-bundle"`:

    m0  audio  sendonly   microphone. Section 0 carries the bundle: it lives as long as the connection
    m1  video  sendonly   camera
    m2  audio  recvonly   first audio slot
    m3  video  recvonly   first video slot: the second person needs no new offer
    m4… audio or video, recvonly (more slots, when `SlotsNeeded` says so) or sendonly (screen, screen audio)

- A sending section is published when `Offer.sources` names its source, the source's kind fits and the participant may
  publish it; it is answered `recvonly`. Else it is answered `inactive`. Its device may be switched off and on by
  `replaceTrack` without an offer; name its source from the first offer on.
- A receiving section is a slot, answered `sendonly` at once, filled or not: which track fills it is the message
  `SlotsChanged`, never SDP. `sendrecv` is both a slot and a published section.
- Transceivers are never `stop()`ped: what is not needed any more is offered `inactive` and may be used again for the
  same kind. A slot used again continues its old streams.
- MIDs never move. Remote candidates are ignored: send the offer as soon as `setLocalDescription` returns.
- An ICE restart (`restartIce()`) is just another offer. A new `RTCPeerConnection` needs another `join`, which restarts
  revisions at 1.
- Slots of the same column share a stream id (`msid`), so that the browser plays a person's microphone and camera in
  step: the first audio with the first video slot, and so on.

No data channels: an `application` section is a BadOffer.

This file decides (pure: no core, no clock); `offer.py` reads and `answer.py` writes.
"""

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from media.allocation import MAX_AUDIO_SLOTS, MAX_VIDEO_SLOTS
from media.errors import BadOffer
from media.offer import Direction, OfferedCodec, OfferedExtension, OfferReader, ParsedOffer, Section
from media.types import Kind, Offer, TrackSource

EXTENSION_URIS: Final[Mapping[str, str]] = {
    "urn:ietf:params:rtp-hdrext:sdes:mid": "mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id": "rid",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id": "repaired_rid",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level": "audio_level",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time": "abs_send_time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01": "transport_cc",
    "urn:3gpp:video-orientation": "video_orientation",
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension": "dependency_descriptor",
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay": "playout_delay",
}
"""URI → the core's name for it (`Extensions` in _forwarder.pyi)."""

REVERSED: Final[Mapping[Direction, Direction]] = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}


@dataclass(frozen=True)
class Policy:
    """What the room and the settings allow just now."""

    video_codecs: tuple[str, ...]
    """Allowed by setting, preferred first."""
    decodable: frozenset[str] | None
    """Video codecs that every other member can decode; None when there is nobody to ask."""
    audio_red: bool
    may_publish: frozenset[TrackSource]
    blurs_cameras: bool = False
    """Cameras may be asked to go through the server's blur, which speaks VP8."""


@dataclass(frozen=True)
class Streams:
    """What a slot sends: chosen once per section and kept as long as the connection."""

    kind: Kind
    ssrc: int
    rtx_ssrc: int
    column: int
    """Position among the slots of its kind; slots of equal column play in step."""


@dataclass(frozen=True)
class SectionPlan:
    """One section of the answer. `direction` is the server's."""

    section: Section
    direction: Direction
    codecs: tuple[OfferedCodec, ...]
    """What the answer lists, preferred first; never empty for a section that is not stopped."""
    extensions: tuple[OfferedExtension, ...]
    source: TrackSource | None
    """Set when the participant publishes here."""
    slot: Streams | None
    """Set when the server may send here, filled or not."""

    @property
    def decodes(self) -> frozenset[str]:
        """Codecs this receiving section could be sent, whatever the room makes of it."""
        return frozenset(codec.name for codec in self.section.codecs if is_usable(codec)) if self.slot else frozenset()


@dataclass(frozen=True)
class Plan:
    offer: ParsedOffer
    sections: tuple[SectionPlan, ...]

    @property
    def extension_ids(self) -> Mapping[str, int]:
        """The core's names → ids; one map for the connection, because ids mean the same in a whole bundle."""
        return {EXTENSION_URIS[extension.uri]: extension.id for plan in self.sections for extension in plan.extensions}

    @property
    def decodes(self) -> frozenset[str]:
        return frozenset[str]().union(*(plan.decodes for plan in self.sections if plan.section.kind == "video"))


class Negotiation:
    """The offers of one connection in turn. A refused offer leaves everything as it was."""

    def __init__(self, random_ssrc: Callable[[], int] = lambda: secrets.randbelow(2**32 - 1) + 1) -> None:
        self._reader = OfferReader()
        self._random_ssrc = random_ssrc
        self._streams: dict[str, Streams] = {}
        self.plan: Plan | None = None

    def plan_answer(self, offer: Offer, policy: Policy) -> Plan:
        """Raises BadOffer."""
        parsed = self._reader.read_untrusted(offer.sdp)
        self._check_continuity(parsed)
        taken = {ssrc for section in parsed.sections for pair in section.ssrcs for ssrc in pair if ssrc is not None}
        if any({streams.ssrc, streams.rtx_ssrc} & taken for streams in self._streams.values()):
            raise BadOffer("an ssrc of the server's is claimed")
        _check_slot_counts(parsed.sections)
        sources = _published(parsed.sections, offer.sources, policy)
        codecs = [_choose_codecs(section, policy, sources.get(section.mid)) for section in parsed.sections]
        self.plan = Plan(
            parsed,
            tuple(
                self._plan_section(section, chosen, sources.get(section.mid), policy, taken)
                for section, chosen in zip(parsed.sections, codecs, strict=True)
            ),
        )
        return self.plan

    def _plan_section(
        self,
        section: Section,
        codecs: tuple[OfferedCodec, ...],
        source: TrackSource | None,
        policy: Policy,
        taken: set[int],
    ) -> SectionPlan:
        slot = self._slot(section, taken) if section.receives and codecs else None
        published = source if codecs else None
        return SectionPlan(
            section=section,
            direction=_direction(published is not None, slot is not None),
            codecs=codecs or section.codecs[:1],
            extensions=_choose_extensions(section, policy.video_codecs),
            source=published,
            slot=slot,
        )

    def _check_continuity(self, parsed: ParsedOffer) -> None:
        if self.plan is None:
            return
        before = self.plan.offer
        if parsed.fingerprints != before.fingerprints:
            raise BadOffer("the certificate changed: a new connection needs another join")
        if [s.mid for s in parsed.sections[: len(before.sections)]] != [s.mid for s in before.sections]:
            raise BadOffer("sections were moved or taken away")
        if any(new.kind != old.kind for new, old in zip(parsed.sections, before.sections, strict=False)):
            raise BadOffer("a section changed its kind")

    def _slot(self, section: Section, taken: set[int]) -> Streams:
        streams = self._streams.get(section.mid)
        if streams is None:
            ssrc = self._fresh_ssrc(taken)
            rtx_ssrc = self._fresh_ssrc(taken | {ssrc})
            column = sum(known.kind == section.kind for known in self._streams.values())
            streams = Streams(section.kind, ssrc, rtx_ssrc, column)
            self._streams[section.mid] = streams
        return streams

    def _fresh_ssrc(self, taken: Collection[int]) -> int:
        ours = {ssrc for known in self._streams.values() for ssrc in (known.ssrc, known.rtx_ssrc)}
        while (ssrc := self._random_ssrc()) in taken or ssrc in ours:
            pass
        return ssrc


def _check_slot_counts(sections: tuple[Section, ...]) -> None:
    receiving = [section.kind for section in sections if section.receives]
    if receiving.count("audio") > MAX_AUDIO_SLOTS or receiving.count("video") > MAX_VIDEO_SLOTS:
        raise BadOffer("too many receiving sections")


def _direction(receives: bool, sends: bool) -> Direction:
    match receives, sends:
        case True, True:
            return "sendrecv"
        case True, False:
            return "recvonly"
        case False, True:
            return "sendonly"
        case _:
            return "inactive"


def _choose_codecs(section: Section, policy: Policy, source: TrackSource | None) -> tuple[OfferedCodec, ...]:
    if section.stopped:
        return ()
    if not section.codecs:
        raise BadOffer("a section without codecs")
    wanted: tuple[str, ...]
    if section.kind == "audio":
        wanted = ("red", "opus") if policy.audio_red else ("opus",)
    else:
        allowed = ("vp8",) if policy.blurs_cameras and source is TrackSource.camera else policy.video_codecs
        narrowed = section.sends and policy.decodable is not None
        wanted = tuple(name for name in allowed if not narrowed or policy.decodable is None or name in policy.decodable)
    chosen = (next((c for c in section.codecs if c.name == name and is_usable(c)), None) for name in wanted)
    codecs = tuple(codec for codec in chosen if codec is not None)
    return () if all(codec.name == "red" for codec in codecs) else codecs


def is_usable(codec: OfferedCodec) -> bool:
    """One profile per codec, the one that every implementation of it decodes."""
    parameters = dict(part.partition("=")[::2] for part in codec.fmtp.replace(" ", "").split(";"))
    match codec.name:
        case "opus":
            return codec.clock_hz == 48_000 and codec.channels == 2
        case "red":
            return codec.clock_hz == 48_000
        case "vp8":
            return True
        case "vp9":
            return parameters.get("profile-id", "0") == "0"
        case "av1":
            return parameters.get("profile", "0") == "0"
        case "h264":
            constrained_baseline = parameters.get("profile-level-id", "").lower().startswith("42e0")
            return constrained_baseline and parameters.get("packetization-mode") == "1"
        case _:
            return False


def _published(
    sections: tuple[Section, ...], sources: Mapping[str, TrackSource], policy: Policy
) -> dict[str, TrackSource]:
    published: dict[str, TrackSource] = {}
    for section in sections:
        source = sources.get(section.mid)
        if source is None or not section.sends or source not in policy.may_publish:
            continue
        if source.kind != section.kind:
            raise BadOffer("a source of the other kind")
        if source in published.values():
            raise BadOffer("a source stands twice")
        published[section.mid] = source
    return published


def _choose_extensions(section: Section, video_codecs: tuple[str, ...]) -> tuple[OfferedExtension, ...]:
    offered = {EXTENSION_URIS.get(extension.uri): extension for extension in section.extensions}
    offered.pop(None, None)
    if "transport_cc" in offered:
        offered.pop("abs_send_time", None)  # the same purpose, three more bytes on every packet
    if not {"vp9", "av1"} & set(video_codecs):
        offered.pop("dependency_descriptor", None)
    return tuple(
        OfferedExtension(extension.id, extension.uri, REVERSED[extension.direction])
        for extension in offered.values()
        if extension.direction != "inactive"
    )
