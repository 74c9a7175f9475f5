"""A browser's offer, read: untrusted text in, `ParsedOffer` or `BadOffer` out (RFC 8866 and the RFCs named below).

First step of negotiation. Size and section limits come before anything else. Formats (`m=`, rtpmap, fmtp, rtcp-fb) are
read by `aiortc.sdp`, once per distinct text, because it takes milliseconds and one browser's build writes the same
lines for everybody; what aiortc drops or does not check is read here. Candidates are not looked at. It must not decide
what is answered.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import SessionDescription, parameters_to_sdp

from media.dtls import Fingerprint
from media.errors import BadOffer
from media.types import Kind

MAX_SDP_BYTES: Final = 262_144
"""Chromium writes 4.5 kB per receiving video section when the page leaves its codecs alone."""
MAX_SECTIONS: Final = 40
"""6 audio and 24 video slots, 4 published sources, and some to spare."""
MAX_LINES_PER_SECTION: Final = 400
MAX_LINE_CHARACTERS: Final = 1_000
MAX_FORMATS: Final = 64
MAX_SSRCS: Final = 8
MAX_RIDS: Final = 3
SHARED_LINES: Final = 2_048
"""Kept once for all connections: several builds of browsers write a few hundred each."""

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,16}")
"""MIDs and RIDs (RFC 8843, RFC 8851); 16 bytes is what a one-byte header extension carries."""
_ICE_CHARACTERS = re.compile(r"[A-Za-z0-9+/]{4,256}")
_MEDIA_LINE = re.compile(r"m=(audio|video) ([0-9]{1,5}) ((?:UDP/TLS|TCP/DTLS)/RTP/SAVPF)((?: [0-9]{1,3})+)")
_EXTMAP = re.compile(r"([0-9]{1,3})(?:/(sendrecv|sendonly|recvonly|inactive))? (\S+)(?: .*)?")
_FINGERPRINT = re.compile(r"(sha-256|sha-384|sha-512) ((?:[0-9A-F]{2}:){31,63}[0-9A-F]{2})", re.IGNORECASE)
_FORMAT_ATTRIBUTES: Final = frozenset({"rtpmap", "fmtp", "rtcp-fb"})
_DIRECTIONS: Final[Mapping[str, Direction]] = {
    "sendrecv": "sendrecv",
    "sendonly": "sendonly",
    "recvonly": "recvonly",
    "inactive": "inactive",
}


@dataclass(frozen=True)
class OfferedCodec:
    name: str
    """Lower case, as in rtpmap."""
    payload_type: int
    clock_hz: int
    channels: int | None
    rtx_payload_type: int | None
    feedback: frozenset[str]
    """`nack`, `nack pli`, `transport-cc` …"""
    fmtp: str


@dataclass(frozen=True)
class OfferedExtension:
    id: int
    uri: str
    direction: Direction


@dataclass(frozen=True)
class Section:
    """One media section. `direction` is the offerer's."""

    mid: str
    kind: Kind
    profile: str
    stopped: bool
    """Port 0 without bundle-only: the transceiver is gone for good."""
    direction: Direction
    codecs: tuple[OfferedCodec, ...]
    extensions: tuple[OfferedExtension, ...]
    ssrcs: tuple[tuple[int, int | None], ...]
    """(ssrc, rtx ssrc) by FID groups (RFC 5576)."""
    rids: tuple[str, ...]
    """Simulcast encodings the offerer would send (RFC 8853), in its order."""
    paused: frozenset[str]
    """Those of them that it does not send now ("~")."""
    rtcp_rsize: bool
    fmt: tuple[int, ...]

    @property
    def sends(self) -> bool:
        return not self.stopped and self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        return not self.stopped and self.direction in ("sendrecv", "recvonly")


@dataclass(frozen=True)
class ParsedOffer:
    ice_ufrag: str
    fingerprints: tuple[Fingerprint, ...]
    sections: tuple[Section, ...]


@dataclass
class _Security:
    """What every section of a bundle must agree on, and may say at session level or in each section."""

    ufrag: str | None = None
    setup: str | None = None
    fingerprints: set[Fingerprint] = field(default_factory=set)


class OfferReader:
    """Reads the offers of one connection in turn; sections with unchanged lines are not parsed again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Section] = {}
        self.sections_parsed = 0

    def read_untrusted(self, sdp: str) -> ParsedOffer:
        """Raises BadOffer and nothing else."""
        try:
            return self._read(sdp)
        except BadOffer:
            raise
        except Exception as exc:  # aiortc.sdp raises five kinds for malformed text; all of them are the peer's fault
            raise BadOffer(f"malformed: {type(exc).__name__}") from exc

    def _read(self, sdp: str) -> ParsedOffer:
        session_lines, groups = _split(sdp)
        bundle, shared = _read_session(session_lines)
        known: dict[tuple[str, ...], Section] = {}
        securities = []
        for lines in groups:
            security, media_lines = _read_security(lines, shared)
            section = self._known.get(media_lines)
            if section is None:
                section = _read_section(media_lines)
                self.sections_parsed += 1
            known[media_lines] = section
            if not section.stopped:
                securities.append(security)
        sections = tuple(known.values())
        _need(len(sections) == len(groups), "two sections are alike")
        _check_sections(sections, bundle)
        ufrag, fingerprints = _agree(securities)
        self._known = known
        return ParsedOffer(ufrag, fingerprints, sections)


def _need(fine: bool, detail: str) -> None:
    if not fine:
        raise BadOffer(detail)


def _split(sdp: str) -> tuple[list[str], list[list[str]]]:
    _need(len(sdp) <= MAX_SDP_BYTES and len(sdp.encode("utf-8", "replace")) <= MAX_SDP_BYTES, "too long")
    session: list[str] = []
    groups: list[list[str]] = []
    for line in sdp.replace("\r\n", "\n").split("\n"):
        _need(len(line) <= MAX_LINE_CHARACTERS, "line too long")
        if line.startswith("m="):
            groups.append([line])
            _need(len(groups) <= MAX_SECTIONS, "too many sections")
        elif line:
            target = groups[-1] if groups else session
            target.append(line)
            _need(len(target) <= MAX_LINES_PER_SECTION, "too many lines")
    _need(bool(session) and session[0] == "v=0", "no session description")
    _need(bool(groups), "no media sections")
    return session, groups


def _attribute(line: str) -> tuple[str, str]:
    name, _, value = line[2:].partition(":")
    return (name, value) if line.startswith("a=") else ("", "")


def _read_session(lines: Iterable[str]) -> tuple[list[str], _Security]:
    bundle: list[str] = []
    shared = _Security()
    for line in lines:
        name, value = _attribute(line)
        if name == "group" and value.startswith("BUNDLE"):
            bundle = value.split()[1:]
        else:
            _take_security(shared, name, value)
    return bundle, shared


def _take_security(security: _Security, name: str, value: str) -> bool:
    match name:
        case "ice-ufrag":
            _need(_ICE_CHARACTERS.fullmatch(value) is not None, "bad ice-ufrag")
            security.ufrag = value
        case "setup":
            security.setup = value
        case "fingerprint":
            found = _FINGERPRINT.fullmatch(value)
            if found:  # an algorithm we do not know is skipped; one we know must be the certificate's
                security.fingerprints.add(Fingerprint(found[1].lower(), found[2].upper()))
        case _:
            return False
    return True


@lru_cache(SHARED_LINES)
def _share(line: str) -> str:
    """One object for equal lines, which every connection keeps. Not `sys.intern`: Python 3.12 before 3.12.7 never lets
    go of what it interned, and these are strangers' lines."""
    return line


def _read_security(lines: Iterable[str], shared: _Security) -> tuple[_Security, tuple[str, ...]]:
    """The section's security lines, and the rest without candidates: two offers compare by the rest."""
    security = _Security(shared.ufrag, shared.setup, set(shared.fingerprints))
    rest = []
    for line in lines:
        name, value = _attribute(line)
        if not _take_security(security, name, value) and name not in ("candidate", "end-of-candidates", "ice-pwd"):
            rest.append(_share(line))
    return security, tuple(rest)


def _agree(securities: list[_Security]) -> tuple[str, tuple[Fingerprint, ...]]:
    first = securities[0]
    _need(all(one == first for one in securities), "sections of a bundle disagree on ICE or DTLS")
    _need(bool(first.fingerprints), "no fingerprint")
    _need(first.setup in ("actpass", "active"), "setup must leave the passive role to the server")
    if first.ufrag is None:
        raise BadOffer("no ice-ufrag")
    return first.ufrag, tuple(sorted(first.fingerprints, key=lambda f: (f.algorithm, f.value)))


def _check_sections(sections: tuple[Section, ...], bundle: list[str]) -> None:
    mids = [section.mid for section in sections]
    _need(len(set(mids)) == len(mids), "a mid stands twice")
    _need(sections[0].kind == "audio" and not sections[0].stopped, "section 0 must be a living audio section")
    living = [section.mid for section in sections if not section.stopped]
    bundled = bundle[:1] == living[:1] and sorted(bundle) == sorted(living)
    _need(bundled or (not bundle and len(living) == 1), "every section must be in one BUNDLE group, section 0 first")
    ssrcs = [ssrc for section in sections for pair in section.ssrcs for ssrc in pair if ssrc is not None]
    _need(len(set(ssrcs)) == len(ssrcs), "an ssrc stands twice")
    uris: dict[int, str] = {}
    for extension in (extension for section in sections for extension in section.extensions):
        _need(uris.setdefault(extension.id, extension.uri) == extension.uri, "an extension id has two meanings")


def _read_section(lines: tuple[str, ...]) -> Section:
    found = _MEDIA_LINE.fullmatch(lines[0])
    if found is None:
        raise BadOffer("a media section is no audio or video over DTLS-SRTP")
    attributes: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, value = _attribute(line)
        attributes.setdefault(name, []).append(value)
    mid = attributes.get("mid", [""])[0]
    _need(_TOKEN.fullmatch(mid) is not None, "bad or missing mid")
    stopped = int(found[2]) == 0 and "bundle-only" not in attributes
    _need(stopped or "rtcp-mux" in attributes, "rtcp-mux is needed")
    directions = [direction for direction in _DIRECTIONS if direction in attributes]
    _need(len(directions) <= 1, "two directions")
    fmt = tuple(int(number) for number in found[4].split())
    _need(len(fmt) <= MAX_FORMATS and len(set(fmt)) == len(fmt), "too many formats")
    kind: Kind = "audio" if found[1] == "audio" else "video"
    format_lines = tuple(line for line in lines[1:] if _attribute(line)[0] in _FORMAT_ATTRIBUTES)
    rids, paused = _read_rids(attributes)
    return Section(
        mid=mid,
        kind=kind,
        profile=found[3],
        stopped=stopped,
        direction=_DIRECTIONS[directions[0]] if directions else "sendrecv",
        codecs=() if stopped else _read_codecs(kind, fmt, format_lines),
        extensions=_read_extensions(attributes.get("extmap", ())),
        ssrcs=_read_ssrcs(attributes),
        rids=rids,
        paused=paused,
        rtcp_rsize="rtcp-rsize" in attributes,
        fmt=fmt,
    )


@lru_cache(maxsize=128)
def _read_codecs(kind: Kind, fmt: tuple[int, ...], lines: tuple[str, ...]) -> tuple[OfferedCodec, ...]:
    """Codecs in the offer's order, each with its RTX; formats that are no codecs (rtx, FEC) are left out."""
    text = "\r\n".join((f"m={kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, fmt))}", *lines, ""))
    (media,) = SessionDescription.parse(text).media
    parameters: dict[int, RTCRtpCodecParameters] = {}
    for codec in media.rtp.codecs:
        payload_type = codec.payloadType
        if payload_type is None or payload_type not in fmt:
            raise BadOffer("rtpmap of a format that is not offered")
        _need(parameters.setdefault(payload_type, codec) is codec, "two rtpmaps for one format")
    rtx = {
        codec.parameters.get("apt"): payload_type
        for payload_type, codec in parameters.items()
        if codec.name.lower() == "rtx"
    }
    return tuple(
        OfferedCodec(
            name=parameters[payload_type].name.lower(),
            payload_type=payload_type,
            clock_hz=parameters[payload_type].clockRate,
            channels=parameters[payload_type].channels,
            rtx_payload_type=rtx.get(payload_type),
            feedback=frozenset(f"{f.type} {f.parameter or ''}".strip() for f in parameters[payload_type].rtcpFeedback),
            fmtp=parameters_to_sdp(parameters[payload_type].parameters),
        )
        for payload_type in fmt
        if payload_type in parameters and parameters[payload_type].name.lower() != "rtx"
    )


def _read_extensions(values: Iterable[str]) -> tuple[OfferedExtension, ...]:
    extensions = []
    for value in values:
        found = _EXTMAP.fullmatch(value)
        _need(found is not None and 1 <= int(found[1]) <= 255, "bad extmap")
        if found:
            extensions.append(OfferedExtension(int(found[1]), found[3], _DIRECTIONS[found[2] or "sendrecv"]))
    return tuple(extensions)


def _read_ssrcs(attributes: Mapping[str, list[str]]) -> tuple[tuple[int, int | None], ...]:
    ssrcs: list[int] = []
    for value in attributes.get("ssrc", ()):
        ssrc = _read_ssrc(value.split(" ", 1)[0])
        if ssrc not in ssrcs:
            ssrcs.append(ssrc)
    _need(len(ssrcs) <= MAX_SSRCS, "too many ssrcs in a section")
    pairs: dict[int, int] = {}
    for value in attributes.get("ssrc-group", ()):
        semantics, *members = value.split()
        if semantics == "FID":
            _need(len(members) == 2, "a FID group has two members")
            media, rtx = (_read_ssrc(member) for member in members)
            _need(media in ssrcs and rtx in ssrcs and media != rtx, "a FID group names ssrcs of its section")
            _need(pairs.setdefault(media, rtx) == rtx, "two FID groups for one ssrc")
    _need(len(set(pairs.values())) == len(pairs) and not set(pairs) & set(pairs.values()), "FID groups overlap")
    return tuple((ssrc, pairs.get(ssrc)) for ssrc in ssrcs if ssrc not in pairs.values())


def _read_ssrc(text: str) -> int:
    _need(text.isascii() and text.isdecimal() and len(text) <= 10, "bad ssrc")
    ssrc = int(text)
    _need(0 < ssrc < 2**32, "bad ssrc")
    return ssrc


def _read_rids(attributes: Mapping[str, list[str]]) -> tuple[tuple[str, ...], frozenset[str]]:
    """All, and the paused ones."""
    sent = [value.split()[0] for value in attributes.get("rid", ()) if value.split()[1:2] == ["send"]]
    listed: list[str] = []
    for value in attributes.get("simulcast", ())[:1]:
        words = value.split()
        for direction, streams in zip(words[::2], words[1::2], strict=False):
            if direction == "send":
                listed = [stream.split(",")[0] for stream in streams.split(";")]
    paused = frozenset(rid[1:] for rid in listed if rid.startswith("~"))
    listed = [rid.removeprefix("~") for rid in listed]
    _need(all(_TOKEN.fullmatch(rid) for rid in listed) and set(listed) <= set(sent), "simulcast names unknown rids")
    _need(len(listed) <= MAX_RIDS and len(set(listed)) == len(listed), "too many rids")
    return tuple(listed), paused
