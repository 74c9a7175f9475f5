"""From RTP packets in order to whole frames, one depacketizer per codec (table at the end).

Pure; never decodes. A frame that misses a packet is left out; after a loss video waits for the next keyframe, but
not for ever.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from recorder.codecs import H264, Av1, Vp8, Vp9
from recorder.journal import CODECS

FREEZE_TICKS: Final = 3 * 90_000
"""After a lost frame the picture stands still until a keyframe or for this long (90 kHz): longer looks broken, shorter
shows more smeared pictures."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    marker: bool
    rtp_ts: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    rtp_ts: int
    data: bytes
    keyframe: bool


def parse_rtp(packet: bytes) -> RtpPacket | None:
    """None for padding-only packets and for what is no RTP (RFC 3550 §5.1; extensions are passed over)."""
    if len(packet) < 12 or packet[0] >> 6 != 2:
        return None
    start = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if len(packet) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    end = len(packet)
    if packet[0] & 0x20:
        end -= packet[-1]
    if start >= end:
        return None
    return RtpPacket(packet[1] >= 0x80, int.from_bytes(packet[4:8], "big"), packet[start:end])


class Depacketizer(Protocol):
    lost_frames: int

    def push(self, packet: RtpPacket, *, continues: bool) -> Iterator[Frame]:
        """`continues` is False when packets are missing between the previous one and this."""
        ...


class Codec(Protocol):
    """What a video codec needs of its own; pure functions on one packet's payload or one whole frame."""

    def begins_frame(self, payload: bytes) -> bool | None:
        """Whether a frame may begin with this packet; None if the payload is malformed."""
        ...

    def assemble(self, payloads: Sequence[bytes]) -> bytes:
        """One frame as the container wants it, from payloads that `begins_frame` took."""
        ...

    def is_keyframe(self, frame: bytes) -> bool: ...


class Video:
    """Frames from a packet that begins one to the one with the marker."""

    def __init__(self, codec: Codec) -> None:
        self.lost_frames = 0
        self._codec = codec
        self._parts: list[bytes] = []
        self._rtp_ts: int | None = None
        self._needs_keyframe = True
        self._seen_keyframe = False
        self._frozen_since: int | None = None

    def push(self, packet: RtpPacket, *, continues: bool) -> Iterator[Frame]:
        begins = self._codec.begins_frame(packet.payload)
        if begins is None:
            continues = False
        if not continues or (self._parts and packet.rtp_ts != self._rtp_ts):
            self._lose(packet.rtp_ts)
        if begins is None:
            return
        if begins and not self._parts:
            self._rtp_ts = packet.rtp_ts
            self._parts.append(packet.payload)
        elif self._parts:
            self._parts.append(packet.payload)
        elif continues:
            return  # the rest of a frame whose beginning was lost, counted then
        if packet.marker and self._parts:
            data, self._parts = self._codec.assemble(self._parts), []
            if data:
                yield from self._finished(data, packet.rtp_ts)

    def _lose(self, rtp_ts: int) -> None:
        self._parts = []
        if self._seen_keyframe:
            self.lost_frames += 1
            if not self._needs_keyframe:
                self._needs_keyframe, self._frozen_since = True, rtp_ts

    def _finished(self, data: bytes, rtp_ts: int) -> Iterator[Frame]:
        keyframe = self._codec.is_keyframe(data)
        if keyframe:
            self._needs_keyframe, self._seen_keyframe, self._frozen_since = False, True, None
        elif self._needs_keyframe:
            frozen = None if self._frozen_since is None else (rtp_ts - self._frozen_since) & 0xFFFF_FFFF
            if frozen is None or frozen < FREEZE_TICKS:
                self.lost_frames += self._seen_keyframe
                return
            self._needs_keyframe = False
        yield Frame(rtp_ts, data, keyframe)


class Opus:
    """One frame a packet (RFC 7587)."""

    def __init__(self) -> None:
        self.lost_frames = 0
        self._begun = False

    def push(self, packet: RtpPacket, *, continues: bool) -> Iterator[Frame]:
        self.lost_frames += self._begun and not continues
        self._begun = True
        yield Frame(packet.rtp_ts, packet.payload, keyframe=True)


class Red:
    """Opus under redundancy (RFC 2198): older blocks fill what was lost, each timestamp once."""

    def __init__(self) -> None:
        self.lost_frames = 0
        self._newest: int | None = None

    def push(self, packet: RtpPacket, *, continues: bool) -> Iterator[Frame]:
        for offset, data in red_blocks(packet.payload):
            rtp_ts = (packet.rtp_ts - offset) & 0xFFFF_FFFF
            ahead = 1 if self._newest is None else (rtp_ts - self._newest) & 0xFFFF_FFFF
            # Before the first packet, and where nothing is missing, redundancy is only a repeat.
            redundant = offset and (self._newest is None or continues)
            if data and not redundant and 0 < ahead < 0x8000_0000:
                self._newest = rtp_ts
                yield Frame(rtp_ts, data, keyframe=True)


def red_blocks(payload: bytes) -> list[tuple[int, bytes]]:
    """(how much older, data) of each block, the primary last; empty if the packet is malformed."""
    lengths: list[tuple[int, int]] = []
    at = 0
    while at < len(payload) and payload[at] & 0x80:
        header = int.from_bytes(payload[at + 1 : at + 4], "big")
        lengths.append((header >> 10, header & 0x3FF))
        at += 4
    at += 1
    blocks = []
    for offset, length in lengths:
        blocks.append((offset, payload[at : at + length]))
        at += length
    if at > len(payload):
        return []
    return [*blocks, (0, payload[at:])]


@dataclass(frozen=True, slots=True)
class CodecFacts:
    kind: str
    clock_hz: int
    name: str
    """Of what a container holds: RED is Opus there."""
    depacketizer: Callable[[], Depacketizer]


TABLE: Final = {
    "vp8": CodecFacts("video", 90_000, "vp8", lambda: Video(Vp8())),
    "vp9": CodecFacts("video", 90_000, "vp9", lambda: Video(Vp9())),
    "h264": CodecFacts("video", 90_000, "h264", lambda: Video(H264())),
    "av1": CodecFacts("video", 90_000, "av1", lambda: Video(Av1())),
    "opus": CodecFacts("audio", 48_000, "opus", Opus),
    "red": CodecFacts("audio", 48_000, "opus", Red),
}


def facts_of(codec_number: int) -> CodecFacts | None:
    return TABLE.get(CODECS[codec_number]) if codec_number < len(CODECS) else None
