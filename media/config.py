"""What an operator may set about media: one frozen tree with its bounds, loaded by `control/config.py`.

Values are checked where they are made, so that a server with a bad one refuses to start. Nothing here reads files or
the environment.
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MEBIBYTE: Final = 1024 * 1024

KNOWN_VIDEO_CODECS: Final = ("vp8", "vp9", "h264", "av1")


BLUR_PATHS: Final = ("auto", "browser", "server")


@dataclass(frozen=True)
class MediaSettings:
    """Raises ValueError, naming the key, the value and what was wanted."""

    threads: int = 0
    """Runtime threads; 0 means one per core. Thread i has UDP port `udp_port + i`."""
    bind: tuple[str, ...] = ("0.0.0.0", "::")  # noqa: S104  (a media server listens on every interface by default)
    """Local addresses; a wildcard stands for every address of its family."""
    udp_port: int = 46000
    """0 takes any free port for each thread (tests)."""
    tcp: bool = True
    """Also take media by TCP (ICE-TCP), for networks that let no UDP through."""
    tcp_port: int = 0
    """Its port, one for all threads; 443 is what strict networks let through. 0 takes the number of `udp_port`."""
    advertise_tcp_port: int = 0
    """TCP port behind which `tcp_port` is reached from outside; 0: the same."""
    advertise: Mapping[str, str] = field(default_factory=dict)
    """Bound address → the public address behind which it is reached."""
    gso: bool = True
    """Hand the kernel several packets at once (UDP GSO) and take them so (UDP GRO); noticed where it can't."""
    cache_ms: int = 1000
    """How long packets are kept for retransmission; memory grows with it."""
    socket_buffer_bytes: int = 8 * MEBIBYTE
    """Buffer asked for each way of each UDP socket; `holdspace check` says what the kernel allows."""
    development: bool = False
    """Also advertise loopback addresses, last."""
    video_codecs: tuple[str, ...] = ("vp8",)
    """Codecs that publishers may be answered, preferred first."""
    audio_red: bool = True
    """Prefer RED (RFC 2198) around Opus where a publisher offers it."""
    blur_path: str = "auto"
    """Where backgrounds are blurred: `browser`, `server` (cameras then send VP8), or `auto`: in the browser, and by the
    server for those whose device is too slow."""
    blur_workers: int = 0
    """Processes at most that blur on the server, each a core when busy; 0: half the cores, at least one."""
    blur_streams: int = 3
    """Cameras at most in one of them."""
    max_transports_per_room: int = 64
    """Connections in one room, people who reconnect counted twice for a moment."""
    max_tracks_per_transport: int = 16
    """Tracks that one person may publish."""
    max_handshakes: int = 64
    """DTLS handshakes under way at once; more wait their turn."""

    def __post_init__(self) -> None:
        _check(0 <= self.threads <= 256, "threads", self.threads, "0 to 256")
        _check(0 <= self.udp_port <= 65_535 - self.thread_count, "udp_port", self.udp_port, "0 to 65535 less threads")
        _check(0 <= self.tcp_port <= 65_535, "tcp_port", self.tcp_port, "0 to 65535")
        _check(0 <= self.advertise_tcp_port <= 65_535, "advertise_tcp_port", self.advertise_tcp_port, "0 to 65535")
        _check(bool(self.bind), "bind", self.bind, "at least one address")
        for address in (*self.bind, *self.advertise.keys(), *self.advertise.values()):
            _check(_is_address(address), "bind and advertise", address, "IP addresses")
        _check(100 <= self.cache_ms <= 10_000, "cache_ms", self.cache_ms, "100 to 10000")
        _check(self.socket_buffer_bytes >= 65_536, "socket_buffer_bytes", self.socket_buffer_bytes, "65536 or more")
        _check(
            bool(self.video_codecs) and set(self.video_codecs) <= set(KNOWN_VIDEO_CODECS),
            "video_codecs",
            self.video_codecs,
            f"some of {', '.join(KNOWN_VIDEO_CODECS)}",
        )
        _check(self.blur_path in BLUR_PATHS, "blur_path", self.blur_path, " or ".join(BLUR_PATHS))
        _check(0 <= self.blur_workers <= 64, "blur_workers", self.blur_workers, "0 to 64")
        _check(1 <= self.blur_streams <= 16, "blur_streams", self.blur_streams, "1 to 16")
        _check(self.max_transports_per_room >= 2, "max_transports_per_room", self.max_transports_per_room, "2 or more")
        _check(
            self.max_tracks_per_transport >= 4, "max_tracks_per_transport", self.max_tracks_per_transport, "4 or more"
        )
        _check(self.max_handshakes >= 1, "max_handshakes", self.max_handshakes, "1 or more")

    @property
    def thread_count(self) -> int:
        return self.threads or os.cpu_count() or 1

    @property
    def blur_worker_count(self) -> int:
        return self.blur_workers or max(1, (os.cpu_count() or 1) // 2)


def _check(fine: bool, key: str, value: object, wanted: str) -> None:
    if not fine:
        raise ValueError(f"media.{key} = {value!r}: wanted {wanted}")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
