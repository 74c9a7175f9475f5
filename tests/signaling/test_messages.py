"""The reader of strangers' text: any text gives a message or BadMessage; what is written is what PROTOCOL.md says."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.types import Background, TrackSource
from signaling import handler, messages, outbox, session
from signaling.messages import (
    BadMessage,
    Blur,
    Hello,
    Leave,
    Mute,
    OfferMessage,
    Ping,
    Playback,
    Resume,
    View,
    pack,
    parse_untrusted,
)
from signaling.permissions import Place, Role

PROTOCOL = (Path(messages.__file__).parent / "PROTOCOL.md").read_text()

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
bodies = st.fixed_dictionaries(
    {"type": st.sampled_from([*messages._READERS, "other"]) | values},
    optional={
        name: values | st.integers(0, 3) | st.sampled_from(["0", "camera", "v=0"])
        for name in (
            "version",
            "token",
            "resume",
            "received",
            "revision",
            "sdp",
            "sources",
            "mid",
            "muted",
            "heights",
            "freezes",
            "frozen_ms",
            "effect",
            "x",
        )
    },
)


@given(st.text())
def test_any_text_is_a_message_or_bad(text: str) -> None:
    _message_or_bad(text)


@given(bodies)
def test_any_object_is_a_message_or_bad(body: dict[str, Any]) -> None:
    _message_or_bad(json.dumps(body))


@given(st.binary(max_size=400))
def test_any_bytes_read_as_text_are_a_message_or_bad(data: bytes) -> None:
    _message_or_bad(data.decode("utf-8", "surrogateescape"))


def _message_or_bad(text: str) -> None:
    try:
        message = parse_untrusted(text)
    except BadMessage:
        return
    assert isinstance(message, Hello | Resume | OfferMessage | Mute | View | Playback | Blur | Ping | Leave)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"type": "hello", "version": 1, "token": "t"}, Hello("t")),
        ({"type": "hello", "version": 1, "resume": "r", "received": 0}, Resume("r", 0)),
        (
            {"type": "offer", "revision": 7, "sdp": "v=0", "sources": {"0": "screen_audio"}},
            OfferMessage(7, "v=0", {"0": TrackSource.screen_audio}),
        ),
        ({"type": "mute", "mid": "a-Z_9", "muted": False}, Mute("a-Z_9", False)),
        ({"type": "view", "heights": {"3": 0, "5": 8192}}, View({"3": 0, "5": 8192})),
        ({"type": "ping", "received": 2**53}, Ping(2**53)),
        ({"type": "playback", "freezes": 2, "frozen_ms": 60_000}, Playback(2, 60_000)),
        ({"type": "blur", "effect": "colour"}, Blur(Background.colour)),
        ({"type": "leave"}, Leave()),
    ],
)
def test_well_formed_messages_are_read(body: dict[str, Any], message: object) -> None:
    assert parse_untrusted(json.dumps(body)) == message


@pytest.mark.parametrize(
    "body",
    [
        {"type": "hello", "version": 1, "token": "t", "resume": "r", "received": 0},
        {"type": "hello", "version": 1, "resume": "r"},
        {"type": "hello", "version": 1, "token": "t" * 1025},
        {"type": "hello", "version": True, "token": "t"},
        {"type": "offer", "revision": 2**31, "sdp": "v", "sources": {}},
        {"type": "offer", "revision": 1, "sdp": "é" * 30_001, "sources": {}},
        {"type": "offer", "revision": 1, "sdp": "v", "sources": {str(i): "camera" for i in range(33)}},
        {"type": "offer", "revision": 1, "sdp": "v", "sources": {"x" * 17: "camera"}},
        {"type": "offer", "revision": 1, "sdp": "v", "sources": {"": "camera"}},
        {"type": "view", "heights": {str(i): 1 for i in range(33)}},
        {"type": "playback", "freezes": 1_001, "frozen_ms": 0},
        {"type": "playback", "freezes": 0, "frozen_ms": 60_001},
        {"type": "playback", "freezes": -1, "frozen_ms": 0},
        {"type": "playback", "freezes": 1.5, "frozen_ms": 0},
        {"type": "blur", "effect": "picture"},
        {"type": "blur", "effect": ["off"]},
        {"type": "blur"},
        {"type": "ping", "received": 2**53 + 1},
        {"type": "ping", "received": {"a": {"b": {"c": {"d": 1}}}}},
    ],
)
def test_values_out_of_bounds_are_bad(body: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        parse_untrusted(json.dumps(body))


def test_text_over_the_frame_s_size_is_too_large() -> None:
    with pytest.raises(BadMessage) as bad:
        parse_untrusted("é" * 40_000)
    assert bad.value.code == "too_large"


def test_numbered_message_carries_its_number_and_plain_values() -> None:
    since = datetime(2026, 3, 3, 15, 56, 2, 114_000, tzinfo=UTC)
    person = messages.PersonView("p", "Mina", Role.client, Place.waiting, True, "none", since)
    assert json.loads(pack(messages.People((person,)), 3)) == {
        "type": "people",
        "n": 3,
        "people": [
            {
                "id": "p",
                "name": "Mina",
                "role": "client",
                "place": "waiting",
                "connected": True,
                "media": "none",
                "since": "2026-03-03T15:56:02.114Z",
            }
        ],
    }


# -- PROTOCOL.md is the contract: it and the code may not drift apart


def _server_messages() -> dict[str, type[messages.ServerMessage]]:
    return {one.type: one for one in messages.ServerMessage.__subclasses__()}


def test_protocol_names_every_server_message_and_whether_it_is_numbered() -> None:
    table = PROTOCOL.split("## Server to client")[1].split("### Snapshot")[0]
    rows = dict(re.findall(r"^\| `(\w+)`( \*\*#\*\*)? \|", table, re.MULTILINE))
    assert {name: one.numbered for name, one in _server_messages().items()} == {
        name: bool(mark) for name, mark in rows.items()
    }


def test_protocol_names_every_field_of_every_server_message() -> None:
    for name, one in _server_messages().items():
        row = next(line for line in PROTOCOL.splitlines() if line.startswith(f"| `{name}`"))
        for field in one.__dataclass_fields__:
            assert f"`{field}`" in row, f"{name}.{field}"


def test_protocol_names_every_client_message() -> None:
    table = PROTOCOL.split("## Client to server")[1].split("## Server to client")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(messages._READERS)


def test_protocol_s_close_codes_are_the_handler_s() -> None:
    table = PROTOCOL.split("## Errors")[1].split("## Example")[0]
    rows = {
        name: int(close)
        for names, close in re.findall(r"^\| (`[^|]+) \| [^|]+ \| (\d+) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    known = handler._CLOSE_CODES | {outbox.TOO_SLOW.reason: outbox.TOO_SLOW.code}
    assert {name: code for name, code in rows.items() if code != handler.REFUSED_BY_CONTROL} == known


def test_protocol_s_bounds_are_the_code_s() -> None:
    for number in (
        f"{messages.MAX_MESSAGE_BYTES - 1:,}",
        f"{messages.MAX_SDP_BYTES:,}",
        f"{handler.MESSAGES_PER_S:.0f} messages a second (bursts of {handler.MESSAGES_BURST})",
        f"{handler.OFFERS_PER_S:.0f} offers a second (bursts of {handler.OFFERS_BURST})",
        f"at most {messages.MAX_SOURCES}",
        f"`freezes` (0 … {messages.MAX_FREEZES}), `frozen_ms` (0 … {messages.MAX_FROZEN_MS:,})",
        f"{session.MAX_KEPT_MESSAGES} messages, {session.MAX_KEPT_BYTES // 1024} kB",
    ):
        assert number in PROTOCOL, number
