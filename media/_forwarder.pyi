"""The native packet core: the contract between Python (which decides) and Rust (which carries packets).

Python chooses every id. Arguments are plain immutable data. Every call is idempotent (repeating it with equal
arguments does nothing) or raises; removing a room, transport or track removes what hangs under it. Calls release
the GIL and wait at most for a command queue, never for packets: a call that needs the runtime thread's answer is
answered by an event that carries the call's `ticket` (see `Node.drain`).

Errors, all mapped in one place (native/src/errors.rs) to classes of `media.errors`:
    UnknownId        the room, transport, track, slot, tap or grant is not there
    DuplicateId      the id is there already with other arguments
    Refused          a rule of the core forbids it (a tap without a grant, a foreign room, a bound), or the journal's
                     queue is full because the disk does not keep up: nothing has changed, try again later
    CoreFailed       a panic was caught, the runtime thread is gone, or a socket failed
"""

from collections.abc import Sequence
from typing import Final, Literal, NotRequired, Self, TypedDict, final, type_check_only

BUILD_INFO: Final[str]
"""`crate version, rustc version, profile, target features in use`; logged once at start."""

Kind = Literal["audio", "video"]
SrtpProfile = Literal["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"]

@type_check_only
class Codec(TypedDict):
    """One payload type as negotiated with one participant (the numbers differ from person to person)."""

    name: str
    """Encoding name in lower case: `vp8 vp9 h264 av1 opus red`."""
    payload_type: int
    clock_hz: int
    rtx_payload_type: int | None
    nack: bool
    pli: bool
    remb: bool
    twcc: bool
    fmtp: str
    """Format parameters as written, for telling H.264 profiles apart; may be empty."""

@type_check_only
class Extensions(TypedDict, total=False):
    """Header-extension ids (1–255) as negotiated with one participant; a missing key was not negotiated."""

    mid: int
    rid: int
    repaired_rid: int
    audio_level: int
    abs_send_time: int
    transport_cc: int
    video_orientation: int
    dependency_descriptor: int
    playout_delay: int

@type_check_only
class TrackSpec(TypedDict):
    """What a person publishes in one media section. Streams are bound by SSRC when known, else by MID (and RID)."""

    mid: str
    kind: Kind
    codecs: tuple[Codec, ...]
    """Codecs accepted from this publisher, preferred first."""
    ssrcs: tuple[tuple[int, int | None], ...]
    """(ssrc, rtx_ssrc) pairs known from the offer; may be empty."""
    rids: tuple[str, ...]
    """Simulcast rids in the offer's order; empty without simulcast."""
    private: NotRequired[bool]
    """Video of which nobody sees more than what the worker at its frame port returns; before the first packet.

    On a track that is there True makes it private; False (as when missing) ends nothing: `set_private` does.
    """

@type_check_only
class SlotSpec(TypedDict):
    """One outgoing stream of a subscriber: SSRC and RTX SSRC are the server's, announced in the answer."""

    mid: str
    kind: Kind
    ssrc: int
    rtx_ssrc: int | None
    codecs: tuple[Codec, ...]
    cname: str

@type_check_only
class NodeOptions(TypedDict):
    threads: int
    """Runtime threads (≥ 1); thread i binds `udp_port + i` (0: any free port each)."""
    bind: tuple[str, ...]
    """Addresses to bind, v4 and v6; every one gets its own socket on each thread."""
    udp_port: int
    tcp_port: int | None
    """Where ICE-TCP listens, for all threads; None: nowhere, 0: on `udp_port`."""
    gso: bool
    cache_ms: int
    """How long a publisher's packets are kept for retransmission."""
    socket_buffer_bytes: int
    max_transports_per_room: int
    max_tracks_per_transport: int

@type_check_only
class LocalAddress(TypedDict):
    thread: int
    ip: str
    port: int
    receive_buffer_bytes: int
    """As the kernel granted it (`SO_RCVBUF` read back, halved)."""

@type_check_only
class TransportStats(TypedDict):
    """Per transport; counters since it was added."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    retransmitted_out: int
    nacks_in: int
    nacks_out: int
    plis_in: int
    plis_out: int
    recovered_in: int
    """Packets that arrived by RTX after being asked for."""
    lost_in: int
    """Packets given up."""
    expected_in: int
    """Packets that the sequence numbers of its live streams say there were."""
    missing_in: int
    """Of these, what the network did not bring; a repair does not count. Both start anew with a stream."""
    dropped: dict[str, int]
    """Dropped input by reason: `malformed unauthenticated replayed unknown_ssrc no_keys bound`."""
    dropped_out: int
    """Packets let go before they were sent: the subscriber's path was too slow for them, or they had left the cache."""
    rtt_ms: float | None
    fraction_lost_out: float
    """Latest receiver report's worst fraction over this peer's slots, 0–1."""
    jitter_in_ms: float
    estimate_bps: int | None
    """What the path towards this peer carries; None until it has told something."""

@type_check_only
class NodeStats(TypedDict):
    """Whole process; counters since start."""

    rooms: int
    transports: int
    tracks: int
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    sends: int
    """System calls that sent media; packets_out / sends is segments per send."""
    gso_refused: int
    socket_overflow: int
    """SO_RXQ_OVFL: datagrams the kernel dropped because we were late."""
    tcp_connections: int
    tcp_refused: int
    """ICE-TCP connections over a bound, or closed before they said whose they are."""
    dropped: dict[str, int]
    repeat_refused: int
    """Packets the encryptor refused because their (SSRC, index) had been used."""
    frames_to_worker: int
    """Whole pictures of private tracks that their workers' sockets took."""
    frames_dropped: int
    """Pictures a worker's socket did not take, or that it returned when they were no longer wanted."""
    frames_from_worker: int
    bad_port_messages: int
    delay_us_buckets: tuple[tuple[int, int], ...]
    """(upper bound in µs, count): kernel receive time to handing the packet to the kernel."""
    thread_cpu_ns: tuple[int, ...]
    """CPU time of each runtime thread."""

# Events as `Node.drain` returns them: a tuple whose first member names it.
#   ("dtls", room, transport, bytes)                  one datagram from the peer (at most 16 wait per transport)
#   ("ice", room, transport, state)                   state: "connected" | "disconnected" (8 s silence, media stops)
#                                                     | "failed" (30 s) | "closed" (close_notify)
#   ("track", room, transport, track, state)          state: "live" (first packet) | "silent" (none for 2 s)
#   ("codec", room, transport, track, name, fmtp)     the codec in use became known or changed
#   ("levels", room, ((track, level_dbov, active), …))  every 200 ms while anything was heard; level 0 (loud) … 127
#   ("estimate", room, transport, bps, is_limit)      what the path to this subscriber carries, sound included: at once
#                                                     when it falls, at most every 200 ms while it grows. is_limit:
#                                                     the network showed it; else only lack of traffic kept it from
#                                                     growing, it must not be used as a cap, and it is told once
#   ("private", room, track, private)                 True: nothing raw leaves from here on; False: the camera's
#                                                     keyframe has taken over (after `set_private(…, False)`)
#   ("port_closed", room, track, reason)              reason: "closed" | "worker_gone" (its end closed) | "track_gone"
#   ("tap_ended", room, tap, reason)                  reason: "removed" | "grant_revoked" | "track_gone" |
#                                                     "journal_failed"
#   ("journal", journal, state, detail)               state: "synced" (detail: bytes on disk) | "failed" (why)
#                                                     | "closed" (None)
#   ("stats", ticket, dict)                           answer to `request_stats` / `request_dump`
#   ("command_refused", room, what, why)              a call that had returned could not be carried out; what: its name
#                                                     and the id it was about ("set_slot 12"); at most 256 wait
#   ("room_failed", room, message)                    a panic ended this room; it and all in it are gone
#   ("thread_failed", thread, message)
#   ("dropped_events", count)                         DTLS, statistics or command_refused events that found no room
Event = tuple[object, ...]

@final
class Node:
    """Sockets, runtime threads and every room on them. One per process."""

    def __new__(cls, options: NodeOptions) -> Self: ...
    @property
    def event_fd(self) -> int:
        """Readable when `drain` has something; owned by the node."""
    def local_addresses(self) -> list[LocalAddress]: ...
    def tcp_addresses(self) -> list[tuple[str, int]]:
        """Where ICE-TCP listens: a connection finds its room's thread by its first check."""
    def drain(self) -> list[Event]:
        """All waiting events, in order per room; clears the eventfd."""
    def close(self) -> None:
        """Drain, end all transports, join the threads. Safe to call twice."""

    # rooms
    def add_room(self, room: int) -> int:
        """Place the room on the least busy thread; answers that thread's index."""
    def remove_room(self, room: int) -> None: ...

    # transports: one RTP connection of one participant
    def add_transport(self, room: int, transport: int, participant: str, ice_ufrag: str, ice_pwd: str) -> None:
        """Start answering ICE checks for `ice_ufrag`. `participant` is what a recording grant is checked against."""
    def restart_ice(self, room: int, transport: int, ice_ufrag: str, ice_pwd: str) -> None:
        """New credentials; the old ones count until the new pair carries media."""
    def remove_transport(self, room: int, transport: int) -> None: ...
    def send_dtls(self, room: int, transport: int, datagrams: Sequence[bytes], *, flight: bool) -> None:
        """Send; with `flight` the core repeats them after 60, 120, 240 … ms until the peer's next DTLS datagram."""
    def set_srtp(
        self, room: int, transport: int, profile: SrtpProfile, inbound_key: bytes, outbound_key: bytes
    ) -> None:
        """Keys as exported by DTLS: master key followed by master salt, one per direction. Once per transport."""
    def set_extensions(self, room: int, transport: int, extensions: Extensions) -> None: ...

    # tracks (inbound) and slots (outbound)
    def set_track(self, room: int, transport: int, track: int, spec: TrackSpec) -> None:
        """Add a track, or renegotiate it with the same id and mid."""
    def remove_track(self, room: int, track: int) -> None: ...
    def set_slot(self, room: int, transport: int, slot: int, spec: SlotSpec) -> None: ...
    def set_slot_source(self, room: int, slot: int, track: int | None) -> None:
        """Which track fills the slot; None empties it. Asks the publisher for a keyframe when a video slot changes."""
    def set_layer(self, room: int, slot: int, rid: str | None, temporal: int | None = None) -> None:
        """Wanted simulcast encoding (None: the first) and highest temporal layer (None: all).

        Encodings change at the wanted one's next keyframe, once both have a sender report; while it is not sent, the
        nearest that is serves. Temporal layers end with a frame and begin at a keyframe or sync point.
        """
    def set_slot_share(self, room: int, slot: int, bps: int | None) -> None:
        """What a video slot may use of its subscriber's estimate; None: no limit is known.

        0 pauses it: nothing is sent, and what follows a share above 0 begins at a keyframe. Layers are chosen by it.
        """
    def set_track_muted(self, room: int, track: int, muted: bool) -> None:
        """Muted: packets of the track are authenticated and dropped, subscribers and taps get none."""
    def request_keyframe(self, room: int, track: int) -> None: ...

    # private tracks: the camera goes to a worker only, what the worker returns goes to everybody
    def set_private(self, room: int, track: int, private: bool) -> None:
        """True: nobody is sent another packet of the camera, repeats included, once "private" is told; without a worker
        nothing is sent at all. False: the camera's next keyframe takes over, the worker's pictures go on until then.
        """
    def open_frame_port(self, room: int, track: int, fd: int) -> None:
        """The worker's AF_UNIX SOCK_SEQPACKET socket, in place of one there is; may come before the track is private.

        The descriptor is the core's from the call on (use `socket.detach()`), unless it answers ValueError.
        """
    def close_frame_port(self, room: int, track: int) -> None: ...
    def set_max_bitrate(self, room: int, transport: int, bps: int | None) -> None:
        """Cap towards this publisher by REMB; None leaves the cap to the transport-wide feedback's own limit."""

    # recording
    def open_journal(self, journal: int, path: str, key: bytes, header: bytes) -> None:
        """Create the file (exclusively) and write `header`, sealing the journal's own events with `key` (32 bytes)."""
    def journal_event(self, journal: int, event: bytes) -> None:
        """Append one event record (at most 60,000 bytes), stamped with the arrival clock."""
    def close_journal(self, journal: int) -> None:
        """Seal what waits, sync, close; taps that write into it end."""
    def grant_recording(self, room: int, grant: str, participant: str) -> None:
        """Control's word that `participant` may be recorded in `room`; `grant` names the consent it rests on."""
    def revoke_recording(self, room: int, grant: str) -> None:
        """Ends every tap made under the grant before this call's command returns; nothing later is journalled."""
    def add_tap(self, room: int, tap: int, track: int, grant: str, journal: int, key_id: int, key: bytes) -> None:
        """Write `track`'s packets to the journal under `key`; Refused unless the grant names the track's owner."""
    def remove_tap(self, room: int, tap: int) -> None: ...

    # looking inside
    def stats(self) -> NodeStats: ...
    def request_stats(self, room: int, transport: int, ticket: int) -> None:
        """Answered by a "stats" event with a TransportStats dict."""
    def request_dump(self, room: int, ticket: int) -> None:
        """Answered by a "stats" event with the room's whole state as plain data, without keys or packet bytes."""

# ---------------------------------------------------------------------------------------------------------------------
# For `benchmarks` only: fake participants and the yardstick. Nothing below is used by a server.

@type_check_only
class LoadPublish(TypedDict):
    """What a participant publishes, as answered. An extension id of 0 was not negotiated."""

    video_ssrc: int
    video_payload_type: int
    video_mid: str
    audio_ssrc: int
    audio_payload_type: int
    audio_mid: str
    mid_extension: int
    audio_level_extension: int
    transport_cc_extension: int

@type_check_only
class LoadParticipant(TypedDict):
    """One fake participant after its DTLS handshake."""

    socket: int
    """As `LoadGenerator.add_socket` numbered it."""
    source: str
    """The participant's own local address: what tells those who share a socket apart."""
    server: tuple[str, int]
    ice_username: str
    """`server's fragment:ours`."""
    ice_password: str
    """The server's."""
    profile: SrtpProfile
    send_key: bytes
    receive_key: bytes
    streams: tuple[tuple[int, bool], ...]
    """(ssrc, is video) of the slots that it receives."""
    transport_cc_extension: int
    publish: LoadPublish | None

@type_check_only
class LoadReport(TypedDict):
    """Counted since the report before."""

    expected: int
    """Packets that the sequence numbers in clear headers say there were; loss is 1 - received / expected."""
    received: int
    foreign: int
    """Packets of streams nobody negotiated: the limit loop's."""
    published: int
    checked: int
    """Packets decrypted and compared: 1 in 100, and the first of each stream."""
    mismatched: int
    rtcp: int
    stun_answers: int
    nacks: int
    keyframe_requests: int
    delay_us_p50: float | None
    """From the scheduled send to the kernel's receive stamp."""
    delay_us_p99: float | None
    delay_us_max: float | None
    recorded: list[tuple[int, list[int]]]
    """What the first receiver got: (scheduled send in ns, datagram sizes) per burst."""
    idle_share: float
    """Share of the thread's time in rounds that found nothing to do."""

@type_check_only
class LimitResult(TypedDict):
    cpu_ns: int
    packets: int
    sends: int
    failed: int

@final
class LoadGenerator:
    """One busy-polling thread that publishes 1.2 Mbit/s VP8 at 30 fps and Opus, and receives, for everybody."""

    def __new__(cls, *, cpu: int | None, gro: bool, sending: Literal["single", "gso", "paced"]) -> Self:
        """`cpu`: where to pin the thread; `gro`: receive with UDP_GRO; `sending`: a frame's packets one system call
        each, as few as possible, or 3 ms apart."""
    def add_socket(self, fd: int) -> int:
        """A bound IPv4 socket, duplicated: the caller closes its own, and nobody reads from it once its participants
        are added. Bound to 0.0.0.0 it carries many participants."""
    def add(self, participant: LoadParticipant) -> None:
        """Also while the generator runs."""
    def start(self) -> None: ...
    def publish(self, wanted: bool) -> None:
        """Begin or pause publishing."""
    def report(self) -> LoadReport: ...
    def stop(self) -> None: ...

@type_check_only
class Reflected(TypedDict):
    datagrams: int
    failed: int
    """Could not be sent back."""
    cpu_ns: int

@final
class Reflector:
    """A thread that sends every datagram back: what the machine carries without a server."""

    def __new__(cls, *, cpu: int | None) -> Self: ...
    @property
    def address(self) -> tuple[str, int]: ...
    def stop(self) -> Reflected: ...

def run_limit(
    *,
    receivers: Sequence[tuple[str, int]],
    bursts: Sequence[tuple[int, Sequence[int]]],
    profile: SrtpProfile,
    cpu: int | None,
    paced: bool,
) -> LimitResult:
    """Copy, seal and send (GSO) the recorded bursts to every receiver; `paced`: at the recorded times."""
