"""What the hub is told at start. Control builds it from the one settings tree; nothing here reads the environment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

from signaling.permissions import Admission

IceServers = Callable[[Admission, datetime], Sequence[Mapping[str, Any]]]
"""RTCIceServer dictionaries for one person; called at every welcome because TURN credentials are time-limited."""


def nearest_address(request: web.Request) -> str:
    return request.remote or ""


def no_ice_servers(admission: Admission, now: datetime) -> Sequence[Mapping[str, Any]]:
    """The media node is reached directly: ICE-lite needs no STUN server."""
    return ()


@dataclass(frozen=True, slots=True)
class HubSettings:
    secret: bytes = field(repr=False)
    """Key of join and resume tokens, at least 32 bytes; the same on every node."""
    origins: frozenset[str] = frozenset()
    """Origins besides the request's own host whose pages may connect, as browsers write them."""
    ice_servers: IceServers = no_ice_servers
    network_of: Callable[[web.Request], str] = nearest_address
    """Whose sockets count together, such as an IPv6 /64; control knows about proxies."""
    max_silent_per_network: int = 512
    """Sockets of one network that have not joined yet. A practice behind one address comes back at once after a
    restart of the server; a stranger can hold so many, each for `hello_timeout_s`."""
    max_silent: int = 4096
    """The same of everybody together."""
    resume_window_s: float = 30.0
    """How long a dropped session keeps its place and its media."""
    heartbeat_s: float = 3.0
    """A vanished socket is noticed after 1.5 times this; keep that under 5 s, or people talk to nobody."""
    hello_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if len(self.secret) < 32:
            raise ValueError("secret is shorter than 32 bytes")
