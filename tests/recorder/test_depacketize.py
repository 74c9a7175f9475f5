"""Frames out of packets, and what happens when packets are missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.codecs import H264, Av1, Vp8, Vp9, vp8_descriptor_length, vp9_descriptor_length
from recorder.container import format_of
from recorder.depacketize import (
    FREEZE_TICKS,
    TABLE,
    Codec,
    Frame,
    Opus,
    Red,
    RtpPacket,
    Video,
    parse_rtp,
    red_blocks,
)
from tests.recorder.studio import Camera, encoded_frames, video, vp8_frames

KEY = b"\x10\x02\x00\x9d\x01\x2a\x80\x02\xe0\x01"
INTER = b"\x11\x02\x00"
START, GOING_ON = b"\x10", b"\x00"


def vp8(marker: bool, ts: int, payload: bytes) -> RtpPacket:
    return RtpPacket(marker, ts, payload)


def feed(*packets: tuple[RtpPacket, bool]) -> tuple[list[Frame], int]:
    depacketizer = Video(Vp8())
    frames = [frame for packet, fits in packets for frame in depacketizer.push(packet, continues=fits)]
    return frames, depacketizer.lost_frames


def test_encoded_frames_come_back_byte_for_byte() -> None:
    depacketizer = Video(Vp8())
    frames = []
    for record in video(Camera(tap=1), 2):
        packet = parse_rtp(record.payload) if record.kind == 1 else None
        if packet is not None:
            frames += [frame.data for frame in depacketizer.push(packet, continues=True)]
    assert tuple(frames) == vp8_frames(2)
    assert depacketizer.lost_frames == 0


def test_nothing_comes_before_the_first_keyframe() -> None:
    frames, lost = feed(
        (vp8(True, 0, START + INTER), False),
        (vp8(True, 3000, START + KEY), True),
        (vp8(True, 6000, START + INTER), True),
    )
    assert [(frame.rtp_ts, frame.keyframe) for frame in frames] == [(3000, True), (6000, False)]
    assert lost == 0


def test_a_frame_that_misses_a_packet_and_those_built_on_it_are_left_out_until_a_keyframe() -> None:
    frames, lost = feed(
        (vp8(True, 0, START + KEY), False),
        (vp8(False, 3000, START + INTER), True),
        (vp8(True, 3000, GOING_ON + b"end"), False),
        (vp8(True, 6000, START + INTER), True),
        (vp8(True, 9000, START + KEY), True),
    )
    assert [frame.rtp_ts for frame in frames] == [0, 9000]
    assert lost == 2


def test_the_picture_does_not_stand_still_for_ever() -> None:
    frames, _ = feed(
        (vp8(True, 0, START + KEY), False),
        (vp8(True, 3000, START + INTER), False),
        (vp8(True, 3000 + FREEZE_TICKS, START + INTER), True),
    )
    assert [frame.rtp_ts for frame in frames] == [0, 3000 + FREEZE_TICKS]


def test_descriptors_of_every_shape_are_measured() -> None:
    shapes = {
        b"\x10d": 1,
        b"\x90\x00d": 2,
        b"\x90\x80\x01d": 3,
        b"\x90\x80\x81\x01d": 4,
        b"\x90\xf0\x81\x01\x02\x03d": 6,
        b"\x90\x10\x03d": 3,
        b"\x90": None,
        b"\x90\x80": None,
        b"\x90\x80\x81": None,
    }
    assert {shape: vp8_descriptor_length(shape) for shape in shapes} == shapes


def test_a_vp9_descriptor_is_as_long_as_its_flags_say() -> None:
    shapes = {
        b"\x08d": 1,
        b"\x88\x01d": 2,
        b"\x88\x81\x01d": 3,
        b"\xa8\x01\x00\x07d": 4,
        b"\xf8\x01\x00\x03\x02d": 5,
        b"\x8a\x01\x18\x01\x40\x00\xf0\x01\x04\x01d": 10,
        b"\x88": None,
        b"\x8a\x01\x18": None,
    }
    assert {shape: vp9_descriptor_length(shape) for shape in shapes} == shapes


def test_what_is_no_keyframe_has_no_format() -> None:
    for codec in ("vp8", "vp9", "h264", "av1"):
        assert format_of(codec, b"\x00\x00\x00\x01\x09") is None


@pytest.mark.parametrize(("codec", "name"), [(Vp9(), "vp9"), (H264(), "h264"), (Av1(), "av1")])
def test_a_keyframe_is_known_and_says_its_size(codec: Codec, name: str) -> None:
    frames = encoded_frames(name, 1)
    assert codec.is_keyframe(frames[0])
    assert not codec.is_keyframe(frames[1])
    found = format_of(name, frames[0])
    assert found is not None
    assert (found.width, found.height) == (160, 120)


@pytest.mark.parametrize("name", ["vp9", "h264", "av1"])
def test_frames_of_every_codec_come_back_as_they_were(name: str) -> None:
    depacketizer = TABLE[name].depacketizer()
    frames: list[bytes] = []
    for record in video(Camera(tap=1), 1, name):
        packet = parse_rtp(record.payload) if record.kind == 1 else None
        if packet is not None:
            frames += [frame.data for frame in depacketizer.push(packet, continues=True)]
    assert frames == list(encoded_frames(name, 1))


def test_padding_extensions_and_csrcs_are_passed_over() -> None:
    head = bytes([0xB1, 0xE0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(4) + b"\xbe\xde\x00\x01" + bytes(4)
    packet = parse_rtp(head + b"payload" + b"\x00\x00\x03")
    assert packet == RtpPacket(marker=True, rtp_ts=2, payload=b"payload")
    assert parse_rtp(head + b"\x00\x00\x03") is None


def test_redundant_audio_fills_a_gap_and_repeats_nothing() -> None:
    def red(ts: int, *blocks: tuple[int, bytes]) -> RtpPacket:
        older = b"".join(
            bytes([0x80 | 111]) + (offset << 10 | len(data)).to_bytes(3, "big") for offset, data in blocks[:-1]
        )
        return RtpPacket(False, ts, older + bytes([111]) + b"".join(data for _, data in blocks))

    depacketizer = Red()
    frames = [
        *depacketizer.push(red(0, (0, b"a")), continues=False),
        *depacketizer.push(red(960, (960, b"a"), (0, b"b")), continues=True),
        *depacketizer.push(red(2880, (960, b"c"), (0, b"d")), continues=False),
    ]
    assert [(frame.rtp_ts, frame.data) for frame in frames] == [(0, b"a"), (960, b"b"), (1920, b"c"), (2880, b"d")]


def test_opus_counts_gaps_but_not_its_beginning() -> None:
    depacketizer = Opus()
    for fits in (False, True, False):
        list(depacketizer.push(RtpPacket(False, 0, b"x"), continues=fits))
    assert depacketizer.lost_frames == 1


@given(st.lists(st.tuples(st.binary(min_size=0, max_size=60), st.booleans()), max_size=20))
def test_any_bytes_are_frames_or_nothing(packets: list[tuple[bytes, bool]]) -> None:
    for facts in TABLE.values():
        depacketizer = facts.depacketizer()
        for content, fits in packets:
            packet = parse_rtp(b"\x80\x60" + content)
            if packet is not None:
                assert all(frame.data for frame in depacketizer.push(packet, continues=fits))


@given(st.binary(max_size=60))
def test_any_bytes_are_red_blocks_or_none(content: bytes) -> None:
    assert all(0 <= offset < 1 << 14 for offset, _ in red_blocks(content))
