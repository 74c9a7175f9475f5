"""A packet core without packets: it has `media/_forwarder.pyi`'s calls, keeps what it was told, says what a test wants.

Checks ids as the real one does, so that Python's mistakes show without the native build. Events are put in by `say`.
"""

import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from media.errors import DuplicateId, UnknownId


@dataclass
class FakeTransport:
    room: int
    participant: str
    credentials: list[tuple[str, str]]
    extensions: dict[str, int] = field(default_factory=dict)
    cap: int | None = None
    srtp: tuple[str, bytes, bytes] | None = None
    sent: list[tuple[list[bytes], bool]] = field(default_factory=list)


@dataclass
class FakeItem:
    room: int
    transport: int
    spec: Any
    source: int | None = None
    muted: bool = False
    private: bool = False
    share: int | None = None
    layer: tuple[str | None, int | None] = (None, None)


class FakeCore:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.rooms: set[int] = set()
        self.transports: dict[int, FakeTransport] = {}
        self.tracks: dict[int, FakeItem] = {}
        self.slots: dict[int, FakeItem] = {}
        self.grants: dict[tuple[int, str], str] = {}
        self.keyframes: list[int] = []
        self.calls: list[str] = []
        self.ports: list[tuple[int, socket.socket]] = []
        """(track, the core's end) of every frame port, in the order they were opened."""
        self.closed = False
        self.transport_stats = {
            "expected_in": 0,
            "missing_in": 0,
            "fraction_lost_out": 0.0,
            "jitter_in_ms": 0.0,
            "rtt_ms": None,
        }
        self._events: list[tuple[Any, ...]] = []
        self._lock = threading.Lock()
        self._opened = threading.Condition()
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def event_fd(self) -> int:
        return self._fd

    def say(self, *events: tuple[Any, ...]) -> None:
        with self._lock:
            self._events += events
        os.eventfd_write(self._fd, 1)

    def drain(self) -> list[tuple[Any, ...]]:
        with self._lock:
            events, self._events = self._events, []
        os.eventfd_read(self._fd)
        return events

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._fd)
            for _, line in self.ports:
                line.close()

    def local_addresses(self) -> list[dict[str, Any]]:
        return [{"thread": 0, "ip": "192.0.2.7", "port": 46000, "receive_buffer_bytes": 1 << 22}]

    def tcp_addresses(self) -> list[tuple[str, int]]:
        return [("192.0.2.7", 46000)]

    def _need(self, table: Any, key: Any) -> None:
        if key not in table:
            raise UnknownId(str(key))

    def add_room(self, room: int) -> int:
        self.rooms.add(room)
        return 0

    def remove_room(self, room: int) -> None:
        self._need(self.rooms, room)
        self.rooms.remove(room)
        for transport in [key for key, value in self.transports.items() if value.room == room]:
            self.remove_transport(room, transport)

    def add_transport(self, room: int, transport: int, participant: str, ice_ufrag: str, ice_pwd: str) -> None:
        self._need(self.rooms, room)
        if transport in self.transports:
            raise DuplicateId(str(transport))
        self.transports[transport] = FakeTransport(room, participant, [(ice_ufrag, ice_pwd)])

    def restart_ice(self, room: int, transport: int, ice_ufrag: str, ice_pwd: str) -> None:
        self._need(self.transports, transport)
        self.transports[transport].credentials.append((ice_ufrag, ice_pwd))

    def remove_transport(self, room: int, transport: int) -> None:
        self._need(self.transports, transport)
        del self.transports[transport]
        for track in [key for key, value in self.tracks.items() if value.transport == transport]:
            self.remove_track(room, track)
        self.slots = {key: value for key, value in self.slots.items() if value.transport != transport}

    def send_dtls(self, room: int, transport: int, datagrams: Sequence[bytes], *, flight: bool) -> None:
        self._need(self.transports, transport)
        self.transports[transport].sent.append((list(datagrams), flight))

    def set_srtp(self, room: int, transport: int, profile: str, inbound_key: bytes, outbound_key: bytes) -> None:
        self._need(self.transports, transport)
        self.transports[transport].srtp = (profile, inbound_key, outbound_key)

    def set_extensions(self, room: int, transport: int, extensions: dict[str, int]) -> None:
        self._need(self.transports, transport)
        self.transports[transport].extensions = extensions

    def set_track(self, room: int, transport: int, track: int, spec: Any) -> None:
        self._need(self.transports, transport)
        self.calls.append("set_track")
        was_private = track in self.tracks and self.tracks[track].private
        self.tracks[track] = FakeItem(room, transport, spec, private=was_private or spec.get("private", False))

    def set_private(self, room: int, track: int, private: bool) -> None:
        """The camera's keyframe that ends privacy comes when a test says ("private", room, track, False)."""
        self._need(self.tracks, track)
        self.calls.append(f"set_private {private}")
        self.tracks[track].private = private

    def open_frame_port(self, room: int, track: int, fd: int) -> None:
        line = socket.socket(fileno=fd)
        self._need(self.tracks, track)
        line.settimeout(10)
        with self._opened:
            self.ports.append((track, line))
            self._opened.notify_all()

    def port(self, track: int, nth: int) -> socket.socket:
        """Waits for the track's nth frame port."""
        with self._opened:
            assert self._opened.wait_for(lambda: len(self._ports_of(track)) > nth, timeout=20)
            return self._ports_of(track)[nth]

    def _ports_of(self, track: int) -> list[socket.socket]:
        return [line for identity, line in self.ports if identity == track]

    def close_frame_port(self, room: int, track: int) -> None:
        self._need(self.tracks, track)

    def remove_track(self, room: int, track: int) -> None:
        self._need(self.tracks, track)
        del self.tracks[track]
        for slot in self.slots.values():
            if slot.source == track:
                slot.source = None

    def set_slot(self, room: int, transport: int, slot: int, spec: Any) -> None:
        self._need(self.transports, transport)
        self.calls.append("set_slot")
        self.slots[slot] = FakeItem(room, transport, spec)

    def set_slot_source(self, room: int, slot: int, track: int | None) -> None:
        self._need(self.slots, slot)
        if track is not None:
            self._need(self.tracks, track)
            if self.slots[slot].room != self.tracks[track].room:
                raise UnknownId("another room's track")
        self.slots[slot].source = track

    def set_layer(self, room: int, slot: int, rid: str | None, temporal: int | None = None) -> None:
        self._need(self.slots, slot)
        self.slots[slot].layer = rid, temporal

    def set_slot_share(self, room: int, slot: int, bps: int | None) -> None:
        self._need(self.slots, slot)
        self.slots[slot].share = bps

    def set_track_muted(self, room: int, track: int, muted: bool) -> None:
        self._need(self.tracks, track)
        self.tracks[track].muted = muted

    def request_keyframe(self, room: int, track: int) -> None:
        self._need(self.tracks, track)
        self.keyframes.append(track)

    def set_max_bitrate(self, room: int, transport: int, bps: int | None) -> None:
        self._need(self.transports, transport)
        self.transports[transport].cap = bps

    def open_journal(self, journal: int, path: str, key: bytes, header: bytes) -> None:
        self.calls.append("open_journal")

    def journal_event(self, journal: int, event: bytes) -> None:
        self.calls.append("journal_event")

    def close_journal(self, journal: int) -> None:
        self.calls.append("close_journal")

    def grant_recording(self, room: int, grant: str, participant: str) -> None:
        self._need(self.rooms, room)
        self.grants[room, grant] = participant

    def revoke_recording(self, room: int, grant: str) -> None:
        self._need(self.grants, (room, grant))
        del self.grants[room, grant]

    def add_tap(self, room: int, tap: int, track: int, grant: str, journal: int, key_id: int, key: bytes) -> None:
        self._need(self.grants, (room, grant))
        self._need(self.tracks, track)

    def remove_tap(self, room: int, tap: int) -> None: ...

    def stats(self) -> dict[str, Any]:
        return {"rooms": len(self.rooms), "transports": len(self.transports)}

    def request_stats(self, room: int, transport: int, ticket: int) -> None:
        self._need(self.transports, transport)
        self.say(("stats", ticket, self.transport_stats))

    def request_dump(self, room: int, ticket: int) -> None:
        self._need(self.rooms, room)
        self.say(("stats", ticket, {"room": room}))
