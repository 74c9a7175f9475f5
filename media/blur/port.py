"""The frame port's messages: one datagram of a SOCK_SEQPACKET pair between the packet core and a blur worker.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+---------------+-------------------------------+
    |     kind      |     flags     |  orientation  |       0       |
    +---------------+---------------+-------------------------------+
    |        FRAME: RTP timestamp (90 kHz); RATE: bits per second   |
    +---------------------------------------------------------------+
    |        FRAME: the VP8 bitstream of one whole picture          |

Orientation is the camera's RTP header extension (3GPP TS 26.114, 7.4.5): the browser turns the picture after decoding.
KEYFRAME and GAP are their first byte alone. Big-endian. FRAME and KEYFRAME go both ways, RATE goes to the worker, GAP
comes from it.
Pure; the core's half of it is in media/native.
"""

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

FRAME, KEYFRAME, RATE, GAP = 1, 2, 3, 4
IS_KEYFRAME, IS_DISCONTINUITY = 0x01, 0x02
MAX_MESSAGE_BYTES: Final = 1 << 20
_HEAD: Final = struct.Struct("!BBBxI")


class BadMessage(Exception):
    """Not a message of the port; it is dropped."""


@dataclass(frozen=True, slots=True)
class Frame:
    rtp_ts: int
    """Of the source; what comes back carries the same."""
    data: bytes
    keyframe: bool = False
    discontinuity: bool = False
    """Pictures were lost before this one."""
    orientation: int = 0
    """Its two lowest bits: quarter turns clockwise until the picture is upright. It comes back lying as it came."""


@dataclass(frozen=True, slots=True)
class KeyframeWanted:
    """To the worker: encode the next picture as one. From it: ask the camera, a reference is missing."""


@dataclass(frozen=True, slots=True)
class Rate:
    bps: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing can be shown until the next FRAME."""


Message: TypeAlias = Frame | KeyframeWanted | Rate | Gap


def pack(message: Message) -> bytes:
    match message:
        case Frame():
            flags = IS_KEYFRAME * message.keyframe | IS_DISCONTINUITY * message.discontinuity
            return _HEAD.pack(FRAME, flags, message.orientation, message.rtp_ts) + message.data
        case KeyframeWanted():
            return bytes([KEYFRAME])
        case Rate():
            return _HEAD.pack(RATE, 0, 0, message.bps)
        case Gap():
            return bytes([GAP])


def parse(data: bytes) -> Message:
    """Raises BadMessage, whatever the bytes are."""
    kind = data[0] if data else 0
    if kind == KEYFRAME:
        return KeyframeWanted()
    if kind == GAP:
        return Gap()
    if kind not in (FRAME, RATE) or len(data) < _HEAD.size or len(data) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"kind {kind}, {len(data)} bytes")
    _, flags, orientation, number = _HEAD.unpack_from(data)
    if kind == RATE:
        return Rate(number)
    if len(data) == _HEAD.size:
        raise BadMessage("a FRAME without a picture")
    return Frame(number, data[_HEAD.size :], bool(flags & IS_KEYFRAME), bool(flags & IS_DISCONTINUITY), orientation)
