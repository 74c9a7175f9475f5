"""The frame port's messages against their layout, and against any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.blur.port import MAX_MESSAGE_BYTES, BadMessage, Frame, Gap, KeyframeWanted, Message, Rate, pack, parse

GOLDEN: list[tuple[Message, str]] = [
    (Frame(0x01020304, b"\xaa\xbb", keyframe=True), "01 01 0000 01020304 aabb"),
    (Frame(7, b"\x00", orientation=3), "01 00 03 00 00000007 00"),
    (Frame(0xFFFFFFFF, b"\x00", discontinuity=True), "01 02 0000 ffffffff 00"),
    (KeyframeWanted(), "02"),
    (Rate(1_000_000), "03 00 0000 000f4240"),
    (Gap(), "04"),
]


@pytest.mark.parametrize(("message", "octets"), GOLDEN)
def test_messages_have_the_layout_the_core_reads(message: Message, octets: str) -> None:
    assert pack(message) == bytes.fromhex(octets)
    assert parse(bytes.fromhex(octets)) == message


@given(st.binary(max_size=64))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        message = parse(data)
    except BadMessage:
        return
    assert parse(pack(message)) == message


@pytest.mark.parametrize("data", [b"", b"\x05", b"\x01\x00\x00\x00\x00\x00\x00\x00", b"\x03\x00", bytes(9)])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        parse(data)


def test_a_picture_over_a_mebibyte_is_refused() -> None:
    with pytest.raises(BadMessage):
        parse(b"\x01" + bytes(MAX_MESSAGE_BYTES))
