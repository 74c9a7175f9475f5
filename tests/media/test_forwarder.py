"""The native core as Python sees it: the contract of media/_forwarder.pyi, over real sockets."""

from __future__ import annotations

import asyncio
import os
import re
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import pytest

from media import _forwarder, errors
from media._forwarder import Node

if TYPE_CHECKING:
    from media._forwarder import Codec, Extensions, LoadPublish, NodeOptions, SlotSpec, TrackSpec

PASSWORD = "a-password-of-24-letters"
ROOM = 1


def options(**changes: object) -> NodeOptions:
    base: NodeOptions = {
        "threads": 2,
        "bind": ("127.0.0.1",),
        "udp_port": 0,
        "tcp_port": None,
        "gso": True,
        "cache_ms": 1000,
        "socket_buffer_bytes": 1 << 18,
        "max_transports_per_room": 8,
        "max_tracks_per_transport": 4,
    }
    return cast("NodeOptions", {**base, **changes})


def codec(name: str = "vp8") -> Codec:
    return {
        "name": name,
        "payload_type": 96,
        "clock_hz": 90_000,
        "rtx_payload_type": 97,
        "nack": True,
        "pli": True,
        "remb": True,
        "twcc": True,
        "fmtp": "",
    }


def track_spec(mid: str = "1") -> TrackSpec:
    return {"mid": mid, "kind": "video", "codecs": (codec(),), "ssrcs": ((1111, 2222),), "rids": ()}


def slot_spec(mid: str = "2", ssrc: int = 3333) -> SlotSpec:
    return {"mid": mid, "kind": "video", "ssrc": ssrc, "rtx_ssrc": None, "codecs": (codec(),), "cname": "c"}


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node(options())
    yield made
    made.close()


def drain_until(node: Node, name: str, *, seconds: float = 5.0) -> tuple[object, ...]:
    """The first event of that name; waits on the eventfd, not on a clock."""
    while select.select([node.event_fd], [], [], seconds)[0]:
        for event in node.drain():
            if event[0] == name:
                return event
    pytest.fail(f"no {name} event came")


def test_build_info_names_crate_compiler_and_profile() -> None:
    assert _forwarder.BUILD_INFO.startswith("holdspace-forwarder ")
    assert "rustc" in _forwarder.BUILD_INFO


def test_every_thread_has_a_port_of_its_own(node: Node) -> None:
    addresses = node.local_addresses()
    assert [address["thread"] for address in addresses] == [0, 1]
    assert len({address["port"] for address in addresses}) == 2
    assert all(address["receive_buffer_bytes"] > 0 for address in addresses)


def test_numbered_ports_follow_each_other() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    node = Node(options(udp_port=port))
    try:
        assert [address["port"] for address in node.local_addresses()] == [port, port + 1]
    finally:
        node.close()


def test_a_port_in_use_is_a_failure_of_the_core() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(errors.CoreFailed, match="bind"):
            Node(options(udp_port=taken.getsockname()[1]))


@pytest.mark.parametrize(
    "changes",
    [{"surprise": 1}, {"threads": 0}, {"threads": -1}, {"bind": ()}, {"bind": ("nowhere",)}, {"udp_port": 70_000}],
)
def test_bad_options_are_value_errors(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the messages differ, the class is the contract)
        Node(options(**changes))


def test_missing_and_misspelt_keys_of_arguments_are_value_errors(node: Node) -> None:
    node.add_room(ROOM)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    lacking = {key: value for key, value in track_spec().items() if key != "rids"}
    with pytest.raises(ValueError, match="rids"):
        node.set_track(ROOM, 1, 1, cast("TrackSpec", lacking))
    with pytest.raises(ValueError, match="ridz"):
        node.set_track(ROOM, 1, 1, cast("TrackSpec", {**track_spec(), "ridz": ()}))
    bad_codec = cast("Codec", {**codec(), "payload_type": 200})
    with pytest.raises(ValueError, match="200"):
        node.set_track(ROOM, 1, 1, {**track_spec(), "codecs": (bad_codec,)})
    with pytest.raises(ValueError, match="midd"):
        node.set_extensions(ROOM, 1, cast("Extensions", {"midd": 3}))
    with pytest.raises(ValueError, match="NULL"):
        node.set_srtp(ROOM, 1, "NULL", b"", b"")  # type: ignore[arg-type]


def test_unknown_and_duplicate_ids_are_answered_at_once(node: Node) -> None:
    with pytest.raises(errors.UnknownId):
        node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    assert node.add_room(ROOM) == node.add_room(ROOM)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    with pytest.raises(errors.DuplicateId) as caught:
        node.add_transport(ROOM, 1, "bert", "bert-fragment", PASSWORD)
    assert caught.value.code == "duplicate_id"
    with pytest.raises(errors.UnknownId):
        node.set_slot_source(ROOM, 5, None)
    with pytest.raises(errors.UnknownId):
        node.set_track_muted(ROOM, 5, True)
    with pytest.raises(errors.UnknownId):
        node.request_keyframe(ROOM, 5)
    with pytest.raises(errors.UnknownId):
        node.send_dtls(ROOM, 9, [b"\x16"], flight=True)
    with pytest.raises(errors.UnknownId):
        node.request_stats(ROOM, 9, 1)
    with pytest.raises(errors.UnknownId):
        node.request_dump(99, 1)


def test_a_private_track_is_told_of_when_it_takes_effect(node: Node) -> None:
    node.add_room(ROOM)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    with pytest.raises(errors.UnknownId):
        node.set_private(ROOM, 1, True)
    node.set_track(ROOM, 1, 1, {**track_spec(), "private": True})
    assert drain_until(node, "private") == ("private", ROOM, 1, True)
    node.set_track(ROOM, 1, 2, track_spec("2"))
    node.set_private(ROOM, 2, True)
    node.set_private(ROOM, 2, True)
    assert drain_until(node, "private") == ("private", ROOM, 2, True)
    sound: TrackSpec = {"mid": "3", "kind": "audio", "codecs": (), "ssrcs": (), "rids": ()}
    node.set_track(ROOM, 1, 3, sound)
    with pytest.raises(errors.Refused):
        node.set_private(ROOM, 3, True)
    with pytest.raises(ValueError, match="private"):
        node.set_track(ROOM, 1, 4, {**sound, "private": True})


def test_a_frame_port_is_open_until_one_side_closes_it(node: Node) -> None:
    node.add_room(ROOM)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    node.set_track(ROOM, 1, 1, {**track_spec(), "private": True})
    ours, first = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    node.open_frame_port(ROOM, 1, first.detach())
    ours.settimeout(5)
    assert ours.recv(100)[0] == 3, "a rate comes at once"
    ours.close()
    assert drain_until(node, "port_closed") == ("port_closed", ROOM, 1, "worker_gone")
    ours, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    node.open_frame_port(ROOM, 1, second.detach())
    node.close_frame_port(ROOM, 1)
    node.close_frame_port(ROOM, 1)
    assert drain_until(node, "port_closed") == ("port_closed", ROOM, 1, "closed")
    ours.settimeout(5)
    while ours.recv(100):
        pass  # what was written before the end
    ours.close()


def test_a_descriptor_that_is_no_workers_socket_stays_the_callers(node: Node) -> None:
    node.add_room(ROOM)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    node.set_track(ROOM, 1, 1, track_spec())
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with left, right:
        for fd in (left.fileno(), -1, 1 << 20):
            with pytest.raises(ValueError, match="SEQPACKET"):
                node.open_frame_port(ROOM, 1, fd)
        left.send(b"still open")
        assert right.recv(100) == b"still open"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, pytest.raises(errors.UnknownId):
        node.open_frame_port(ROOM, 9, theirs.detach())


def test_removing_what_is_not_there_does_nothing(node: Node) -> None:
    node.remove_room(ROOM)
    node.add_room(ROOM)
    node.remove_transport(ROOM, 1)
    node.remove_track(ROOM, 1)
    node.remove_tap(ROOM, 1)
    node.close_frame_port(ROOM, 1)
    node.revoke_recording(ROOM, "never given")
    node.close_journal(1)
    node.remove_room(ROOM)
    node.remove_room(ROOM)


def test_removing_a_transport_removes_what_hangs_under_it(node: Node) -> None:
    node.add_room(ROOM)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    node.set_track(ROOM, 1, 1, track_spec())
    node.set_slot(ROOM, 1, 1, slot_spec())
    node.remove_transport(ROOM, 1)
    with pytest.raises(errors.UnknownId):
        node.request_keyframe(ROOM, 1)
    with pytest.raises(errors.UnknownId):
        node.set_slot_source(ROOM, 1, None)


def test_a_tap_without_its_owners_grant_is_refused(node: Node, tmp_path: object) -> None:
    node.add_room(ROOM)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    node.set_track(ROOM, 1, 1, track_spec())
    node.open_journal(4, os.path.join(str(tmp_path), "journal"), bytes(32), b"header")
    node.grant_recording(ROOM, "of-bert", "bert")
    with pytest.raises(errors.Refused):
        node.add_tap(ROOM, 1, 1, "of-bert", 4, 1, bytes(32))
    with pytest.raises(errors.UnknownId):
        node.add_tap(ROOM, 1, 1, "of-anna", 4, 1, bytes(32))


def test_withdrawing_a_grant_ends_its_tap_and_says_so(node: Node, tmp_path: object) -> None:
    node.add_room(ROOM)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    node.set_track(ROOM, 1, 1, track_spec())
    node.open_journal(4, os.path.join(str(tmp_path), "journal"), bytes(32), b"header")
    node.grant_recording(ROOM, "of-anna", "anna")
    node.add_tap(ROOM, 6, 1, "of-anna", 4, 1, bytes(32))
    node.revoke_recording(ROOM, "of-anna")
    assert drain_until(node, "tap_ended") == ("tap_ended", ROOM, 6, "grant_revoked")


def test_what_the_engine_refuses_later_is_told(node: Node) -> None:
    node.add_room(ROOM)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    node.set_track(ROOM, 1, 12, {**track_spec(), "codecs": (codec(),) * 33})
    event = drain_until(node, "command_refused")
    assert event[:3] == ("command_refused", ROOM, "set_track 12")
    assert "codecs" in str(event[3])


def test_answers_come_by_the_eventfd_with_their_ticket(node: Node) -> None:
    node.add_room(ROOM)
    node.add_transport(ROOM, 1, "anna", "anna-fragment", PASSWORD)
    assert not select.select([node.event_fd], [], [], 0)[0]
    node.request_stats(ROOM, 1, 42)
    _, ticket, stats = drain_until(node, "stats")
    assert ticket == 42
    assert isinstance(stats, dict)
    assert set(stats) == set(_typed_keys("TransportStats"))
    assert not select.select([node.event_fd], [], [], 0)[0], "draining clears it"


def test_node_statistics_have_the_shape_of_the_contract(node: Node) -> None:
    stats = node.stats()
    assert set(stats) == set(_typed_keys("NodeStats"))
    assert len(stats["thread_cpu_ns"]) == 2


def _typed_keys(name: str) -> list[str]:
    """Keys of a TypedDict of the stub; it exists for type checkers only, so it is read as text."""
    stub = Path(_forwarder.__file__ or "").with_name("_forwarder.pyi").read_text(encoding="utf-8")
    body = stub.split(f"class {name}(TypedDict):", 1)[1].split("\nclass ", 1)[0]
    return re.findall(r"^    (\w+): ", body, re.MULTILINE)


async def test_asyncio_can_watch_the_eventfd(node: Node) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(node.event_fd, readable.set)
    try:
        node.add_room(ROOM)
        node.request_dump(ROOM, 7)
        await asyncio.wait_for(readable.wait(), 5)
        assert any(event[:2] == ("stats", 7) for event in node.drain())
    finally:
        loop.remove_reader(node.event_fd)


def test_closing_twice_is_safe_and_later_calls_fail() -> None:
    node = Node(options())
    node.add_room(ROOM)
    node.close()
    node.close()
    with pytest.raises(errors.CoreFailed):
        node.add_room(2)


def play_a_room(node: Node, generator: _forwarder.LoadGenerator, sockets: list[socket.socket]) -> None:
    """Two fake people with keys of their own making: the first publishes, the second sees and hears it."""
    address = node.local_addresses()[0]
    node.add_room(ROOM)
    for number, udp in enumerate(sockets, start=1):
        udp.bind(("127.0.0.1", 0))
        to_server, to_person = bytes([number]) * 44, bytes([number + 100]) * 44
        node.add_transport(ROOM, number, f"person-{number}", f"fragment-{number}", PASSWORD)
        node.set_extensions(ROOM, number, {"mid": 4, "audio_level": 1, "transport_cc": 3})
        node.set_srtp(ROOM, number, "AEAD_AES_256_GCM", to_server, to_person)
        generator.add(
            {
                "socket": generator.add_socket(udp.fileno()),
                "source": "127.0.0.1",
                "server": (address["ip"], address["port"]),
                "ice_username": f"fragment-{number}:theirs",
                "ice_password": PASSWORD,
                "profile": "AEAD_AES_256_GCM",
                "send_key": to_server,
                "receive_key": to_person,
                "streams": ((3333, True), (4444, False)) if number == 2 else (),
                "transport_cc_extension": 3,
                "publish": PUBLISHED if number == 1 else None,
            }
        )
    opus: Codec = {**codec("opus"), "payload_type": 111, "clock_hz": 48_000, "rtx_payload_type": None}
    node.set_track(ROOM, 1, 1, {**track_spec("1"), "ssrcs": ((1111, None),)})
    node.set_track(ROOM, 1, 2, {"mid": "0", "kind": "audio", "codecs": (opus,), "ssrcs": ((2222, None),), "rids": ()})
    node.set_slot(ROOM, 2, 1, slot_spec("3"))
    node.set_slot(ROOM, 2, 2, {**slot_spec("2", 4444), "kind": "audio", "codecs": (opus,)})
    node.set_slot_source(ROOM, 1, 1)
    node.set_slot_source(ROOM, 2, 2)


PUBLISHED: LoadPublish = {
    "video_ssrc": 1111,
    "video_payload_type": 96,
    "video_mid": "1",
    "audio_ssrc": 2222,
    "audio_payload_type": 111,
    "audio_mid": "0",
    "mid_extension": 4,
    "audio_level_extension": 1,
    "transport_cc_extension": 3,
}


@pytest.mark.parametrize("gso", [True, False])
@pytest.mark.parametrize(("gro", "sending"), [(True, "gso"), (False, "single"), (False, "paced")])
def test_what_one_person_sends_reaches_the_other_unchanged_and_whole(
    gso: bool, gro: bool, sending: Literal["single", "gso", "paced"]
) -> None:
    node = Node(options(threads=1, gso=gso))
    generator = _forwarder.LoadGenerator(cpu=None, gro=gro, sending=sending)
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        ):
            play_a_room(node, generator, [one, other])
        generator.start()
        connected: set[object] = set()
        while len(connected) < 2:
            assert select.select([node.event_fd], [], [], 5)[0], "a check was not answered"
            connected |= {event[2] for event in node.drain() if event[0] == "ice" and event[3] == "connected"}
        generator.publish(True)
        received = expected = checked = mismatched = 0
        while received < 100:
            assert select.select([node.event_fd], [], [], 5)[0], "nothing is forwarded"
            node.drain()
            report = generator.report()
            received += report["received"]
            expected += report["expected"]
            checked += report["checked"]
            mismatched += report["mismatched"]
        assert (received, mismatched) == (expected, 0)
        assert checked >= 2
    finally:
        generator.stop()
        node.close()
