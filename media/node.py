"""The media server as the layers above see it: one node with its own thread and event loop.

Every async method is called from the application's loop; listeners are called there too, in order.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from media.config import MediaSettings
from media.types import Answer, MediaEvent, Offer, ParticipantId, RoomId, TrackInfo, TrackSource

if TYPE_CHECKING:
    from media._forwarder import NodeStats

Listener = Callable[[MediaEvent], None]


class MediaNode:
    """Rooms, peers, recording taps. Methods raise classes of `media.errors`; unknown rooms and people are UnknownId."""

    def __init__(self, settings: MediaSettings) -> None: ...

    def add_listener(self, listener: Listener) -> None:
        """Called on the application's loop, in order; must not block."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def join(self, room: RoomId, participant: ParticipantId, *, may_publish: frozenset[TrackSource]) -> None:
        """Let a participant in, making the room on demand; an older peer is replaced and revisions restart."""

    async def negotiate(self, room: RoomId, participant: ParticipantId, offer: Offer) -> Answer:
        """Answer an offer; an ICE restart is just another offer. Raises BadOffer or UnknownId."""
        raise NotImplementedError

    async def set_muted(self, room: RoomId, participant: ParticipantId, mid: str, muted: bool) -> None:
        """Stop or resume forwarding what `participant` publishes in section `mid`."""

    async def leave(self, room: RoomId, participant: ParticipantId) -> None:
        """Idempotent; the last one out closes the room."""

    async def close_room(self, room: RoomId) -> None:
        """Idempotent."""

    async def tracks(self, room: RoomId) -> tuple[TrackInfo, ...]:
        raise NotImplementedError

    async def grant_recording(self, room: RoomId, participant: ParticipantId, grant: str) -> None: ...

    async def revoke_recording(self, room: RoomId, grant: str) -> None: ...

    async def open_journal(self, path: str, key: bytes, header: bytes) -> int:
        raise NotImplementedError

    async def journal_event(self, journal: int, event: bytes) -> None: ...

    async def close_journal(self, journal: int) -> None: ...

    async def add_tap(self, room: RoomId, track: int, grant: str, journal: int, key_id: int, key: bytes) -> int:
        raise NotImplementedError

    async def remove_tap(self, room: RoomId, tap: int) -> None: ...

    def stats(self) -> "NodeStats":
        raise NotImplementedError

    async def dump(self, room: RoomId) -> dict[str, Any]:
        raise NotImplementedError
