"""The server's answer, written: a `Plan` and what is ours to say in, session description text out (RFC 8866).

Last step of negotiation. Pure; it decides nothing: every choice is in the plan. Line by line it is what Chromium and
Firefox read: ICE-lite (RFC 8839), one bundle (RFC 8843), `setup:passive` (RFC 8842), SSRCs with FID groups (RFC 5576),
simulcast (RFC 8853).
"""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from media.dtls import Fingerprint
from media.negotiation import Plan, SectionPlan
from media.offer import OfferedCodec

ANSWERED_FEEDBACK: Final = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
"""What the core acts on; a codec is answered those of them that it was offered with."""

OPUS_FMTP: Final = "minptime=10;useinbandfec=1;usedtx=1"

VIDEO_HZ: Final = 90_000
START_KBPS: Final = 1_000
"""Where Chromium's encoder begins. At its own 300 it halves the picture and needs 12 s to come back to 640×480; a slow
path is noticed by transport-wide feedback within the first round trips."""


@dataclass(frozen=True)
class Candidate:
    ip: str
    port: int
    tcp: bool = False
    """The browser connects to us (`tcptype passive`); tried after UDP."""


@dataclass(frozen=True)
class Local:
    """What is ours in an answer."""

    session_id: int
    version: int
    """Grows by one with each answer of a connection."""
    ice_ufrag: str
    ice_pwd: str
    fingerprint: Fingerprint
    candidates: Sequence[Candidate]
    """Preferred first."""
    cname: str


def write_answer(plan: Plan, local: Local) -> str:
    living = [section.section.mid for section in plan.sections if not section.section.stopped]
    lines = [
        "v=0",
        f"o=- {local.session_id} {local.version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        f"a=group:BUNDLE {' '.join(living)}",
        "a=msid-semantic: WMS *",
    ]
    for number, section in enumerate(plan.sections):
        lines += _stopped(section) if section.section.stopped else _section(section, local, first=number == 0)
    return "\r\n".join([*lines, ""])


def _stopped(plan: SectionPlan) -> Iterator[str]:
    """Only what the offerer stopped itself is answered port 0, and it is not in the bundle."""
    section = plan.section
    yield f"m={section.kind} 0 {section.profile} {' '.join(map(str, section.fmt))}"
    yield "c=IN IP4 0.0.0.0"
    yield "a=inactive"
    yield f"a=mid:{section.mid}"


def _section(plan: SectionPlan, local: Local, *, first: bool) -> Iterator[str]:
    section = plan.section
    formats = [number for codec in plan.codecs for number in (codec.payload_type, codec.rtx_payload_type)]
    yield f"m={section.kind} 9 {section.profile} {' '.join(str(number) for number in formats if number is not None)}"
    yield "c=IN IP4 0.0.0.0"
    yield "a=rtcp:9 IN IP4 0.0.0.0"
    yield f"a=mid:{section.mid}"
    yield f"a={plan.direction}"
    yield f"a=ice-ufrag:{local.ice_ufrag}"
    yield f"a=ice-pwd:{local.ice_pwd}"
    yield f"a=fingerprint:{local.fingerprint.algorithm} {local.fingerprint.value}"
    yield "a=setup:passive"
    if first:
        yield from candidate_lines(local.candidates)
    yield "a=rtcp-mux"
    if section.rtcp_rsize:
        yield "a=rtcp-rsize"
    for extension in plan.extensions:
        direction = "" if extension.direction == "sendrecv" else f"/{extension.direction}"
        yield f"a=extmap:{extension.id}{direction} {extension.uri}"
    for codec in plan.codecs:
        yield from _codec(codec, published=plan.source is not None)
    if plan.source is not None and section.rids:
        yield from (f"a=rid:{rid} recv" for rid in section.rids)
        # Chromium sends every encoding that the answer does not call paused.
        listed = ("~" + rid if rid in section.paused else rid for rid in section.rids)
        yield f"a=simulcast:recv {';'.join(listed)}"
    yield from _streams(plan, local.cname)


def _codec(codec: OfferedCodec, *, published: bool) -> Iterator[str]:
    number = codec.payload_type
    channels = f"/{codec.channels}" if codec.channels and codec.channels > 1 else ""
    name = codec.name if codec.name in ("opus", "red") else codec.name.upper()
    yield f"a=rtpmap:{number} {name}/{codec.clock_hz}{channels}"
    for feedback in ANSWERED_FEEDBACK:
        if feedback in codec.feedback:
            yield f"a=rtcp-fb:{number} {feedback}"
    fmtp = OPUS_FMTP if codec.name == "opus" else codec.fmtp
    if published and codec.clock_hz == VIDEO_HZ:
        fmtp = ";".join(filter(None, (fmtp, f"x-google-start-bitrate={START_KBPS}")))
    if fmtp:
        yield f"a=fmtp:{number} {fmtp}"
    if codec.rtx_payload_type is not None:
        yield f"a=rtpmap:{codec.rtx_payload_type} rtx/{codec.clock_hz}"
        yield f"a=fmtp:{codec.rtx_payload_type} apt={number}"


def has_rtx(plan: SectionPlan) -> bool:
    return any(codec.rtx_payload_type is not None for codec in plan.codecs)


def _streams(plan: SectionPlan, cname: str) -> Iterator[str]:
    slot = plan.slot
    if slot is None:
        return
    msid = f"slots-{slot.column} {slot.kind}-{slot.column}"
    yield f"a=msid:{msid}"
    ssrcs = [slot.ssrc]
    if has_rtx(plan):
        ssrcs.append(slot.rtx_ssrc)
        yield f"a=ssrc-group:FID {slot.ssrc} {slot.rtx_ssrc}"
    for ssrc in ssrcs:
        yield f"a=ssrc:{ssrc} cname:{cname}"
        yield f"a=ssrc:{ssrc} msid:{msid}"


def candidate_lines(candidates: Sequence[Candidate]) -> Iterator[str]:
    """Host candidates of component 1 (RFC 8839, 5.1; RFC 6544, 4.5), priority falling in the order given."""
    for position, candidate in enumerate(candidates):
        # RFC 8445, 5.1.2.1: type preference 126 for host candidates; RFC 6544, 4.2 wants TCP under every UDP one.
        preference = 90 if candidate.tcp else 126
        priority = (preference << 24) | ((65_535 - position) << 8) | 255
        transport, suffix = ("tcp", " tcptype passive") if candidate.tcp else ("udp", "")
        address = ipaddress.ip_address(candidate.ip)
        head = f"a=candidate:{position + 1} 1 {transport} {priority} {address} {candidate.port}"
        yield f"{head} typ host{suffix}"
    yield "a=end-of-candidates"
