"""What tells frames of VP8, VP9, H.264 and AV1 apart inside RTP payloads, and puts them together. Never decodes.

Sources: RFC 7741 (VP8), RFC 9628 (VP9), RFC 6184 (H.264), and AOMedia's "RTP Payload Format For AV1" 1.0. Payloads are
untrusted: whatever does not fit is None, or an empty frame.
"""

from collections.abc import Iterator, Sequence
from typing import Final

START_CODE: Final = b"\x00\x00\x00\x01"
"""Before each NAL unit of H.264's Annex B."""

_STAP_A, _FU_A = 24, 28
_SPS, _IDR = 7, 5
_OBU_SEQUENCE_HEADER, _OBU_TEMPORAL_DELIMITER, _OBU_TILE_LIST, _OBU_PADDING = 1, 2, 8, 15


class Vp8:
    def begins_frame(self, payload: bytes) -> bool | None:
        return None if vp8_descriptor_length(payload) is None else payload[0] & 0x17 == 0x10

    def assemble(self, payloads: Sequence[bytes]) -> bytes:
        return b"".join(payload[vp8_descriptor_length(payload) or 0 :] for payload in payloads)

    def is_keyframe(self, frame: bytes) -> bool:
        return frame[0] & 1 == 0


def vp8_descriptor_length(payload: bytes) -> int | None:
    """Bytes before the VP8 data (RFC 7741 §4.2); None if there is none."""
    length = 1
    if payload[0] & 0x80:
        if len(payload) < 2:
            return None
        flags, length = payload[1], 2
        if flags & 0x80:
            if len(payload) <= length:
                return None
            length += 2 if payload[length] & 0x80 else 1
        length += bool(flags & 0x40) + bool(flags & 0x30)
    return length if len(payload) > length else None


class Vp9:
    def begins_frame(self, payload: bytes) -> bool | None:
        if vp9_descriptor_length(payload) is None:
            return None
        return bool(payload[0] & 0x08) and _vp9_spatial_layer(payload) == 0

    def assemble(self, payloads: Sequence[bytes]) -> bytes:
        return b"".join(payload[vp9_descriptor_length(payload) or 0 :] for payload in payloads)

    def is_keyframe(self, frame: bytes) -> bool:
        # frame_marker 2 bits, profile 2 (3 where both are set), show_existing_frame 1, frame_type 1 (0: key)
        if frame[0] & 0x30 == 0x30:
            return frame[0] & 0x06 == 0
        return frame[0] & 0x0C == 0


def vp9_descriptor_length(payload: bytes) -> int | None:
    """Bytes before the VP9 data (RFC 9628 §4.2); None if there is none."""
    flags, at = payload[0], 1
    has_picture_id, predicted, has_layers, flexible = flags & 0x80, flags & 0x40, flags & 0x20, flags & 0x10
    try:
        if has_picture_id:
            at += 2 if payload[at] & 0x80 else 1
        if has_layers:
            at += 1 if flexible else 2
        if flexible and predicted:
            for _ in range(3):
                at += 1
                if not payload[at - 1] & 1:
                    break
        if flags & 0x02:
            at = _after_scalability(payload, at)
    except IndexError:
        return None
    return at if at < len(payload) else None


def _after_scalability(payload: bytes, at: int) -> int:
    flags, at = payload[at], at + 1
    if flags & 0x10:
        at += 4 * ((flags >> 5) + 1)
    if flags & 0x08:
        pictures, at = payload[at], at + 1
        for _ in range(pictures):
            at += 1 + (payload[at] >> 2 & 3)
    return at


def _vp9_spatial_layer(payload: bytes) -> int:
    if not payload[0] & 0x20:
        return 0
    at = 1
    if payload[0] & 0x80:
        at += 2 if payload[1] & 0x80 else 1
    return payload[at] >> 1 & 7


class H264:
    """Frames are Annex B, parameter sets included as they were sent."""

    def begins_frame(self, payload: bytes) -> bool | None:
        kind = payload[0] & 0x1F
        if kind == _FU_A:
            return None if len(payload) < 3 else bool(payload[1] & 0x80)
        return True if 1 <= kind <= _STAP_A else None

    def assemble(self, payloads: Sequence[bytes]) -> bytes:
        return b"".join(part for payload in payloads for part in _annex_b(payload))

    def is_keyframe(self, frame: bytes) -> bool:
        kinds = {unit[0] & 0x1F for unit in frame.split(START_CODE) if unit}
        return _IDR in kinds and _SPS in kinds


def _annex_b(payload: bytes) -> Iterator[bytes]:
    kind = payload[0] & 0x1F
    if kind == _FU_A:
        if payload[1] & 0x80:
            yield START_CODE + bytes([payload[0] & 0xE0 | payload[1] & 0x1F])
        yield payload[2:]
    elif kind == _STAP_A:
        at = 1
        while at + 2 < len(payload):
            length = int.from_bytes(payload[at : at + 2], "big")
            yield START_CODE + payload[at + 2 : at + 2 + length]
            at += 2 + length
    else:
        yield START_CODE + payload


class Av1:
    """Frames are temporal units in the low-overhead format: every OBU with its size, no temporal delimiter."""

    def begins_frame(self, payload: bytes) -> bool | None:
        return None if len(payload) < 2 else not payload[0] & 0x80

    def assemble(self, payloads: Sequence[bytes]) -> bytes:
        units: list[bytearray] = []
        open_ended = False
        for payload in payloads:
            continues = bool(payload[0] & 0x80)
            for number, element in enumerate(_obu_elements(payload)):
                if number == 0 and continues:
                    if not open_ended:
                        return b""
                    units[-1] += element
                else:
                    units.append(bytearray(element))
            open_ended = bool(payload[0] & 0x40)
        return b"".join(_sized(bytes(unit)) for unit in units if unit)

    def is_keyframe(self, frame: bytes) -> bool:
        return _OBU_SEQUENCE_HEADER in _obu_kinds(frame)


def _obu_elements(payload: bytes) -> Iterator[bytes]:
    """Aggregation header `Z Y W W N - - -`; each element but the last of W has its length before it."""
    count, at, number = payload[0] >> 4 & 3, 1, 0
    while at < len(payload):
        number += 1
        if number == count:
            yield payload[at:]
            return
        length, at = _leb128(payload, at)
        yield payload[at : at + length]
        at += length


def _sized(unit: bytes) -> bytes:
    """With obu_has_size_field set; nothing for what a file does not keep."""
    kind = unit[0] >> 3 & 15
    if kind in (_OBU_TEMPORAL_DELIMITER, _OBU_TILE_LIST, _OBU_PADDING):
        return b""
    head = 2 if unit[0] & 4 else 1
    if unit[0] & 2:
        return unit
    size, body = len(unit) - head, bytearray([unit[0] | 2, *unit[1:head]])
    while True:
        body.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return bytes(body) + unit[head:]


def _obu_kinds(frame: bytes) -> set[int]:
    kinds, at = set(), 0
    while at < len(frame):
        kinds.add(frame[at] >> 3 & 15)
        length, at = _leb128(frame, at + (2 if frame[at] & 4 else 1))
        at += length
    return kinds


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """The number and where it ended; a cut one reaches past the end, which callers take for the end."""
    value = 0
    for number in range(8):
        if at >= len(data):
            return len(data), at
        value |= (data[at] & 0x7F) << 7 * number
        at += 1
        if not data[at - 1] & 0x80:
            break
    return value, at
