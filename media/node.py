"""The media server as the layers above see it: one node with its own thread and event loop.

Every async method is called from the application's loop and carried out on the media loop, where nothing else of the
application runs; events hop back and reach listeners on the application's loop, in order. What they mean is decided in
`media/rooms.py`. The core is watched through its eventfd.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from media.config import MediaSettings
from media.rooms import Rooms
from media.types import (
    Answer,
    Background,
    BackgroundState,
    MediaEvent,
    Offer,
    ParticipantId,
    RoomId,
    TrackInfo,
    TrackSource,
)

if TYPE_CHECKING:
    from media._forwarder import Node, NodeOptions, NodeStats

log = logging.getLogger(__name__)

T = TypeVar("T")
Listener = Callable[[MediaEvent], None]

DUMP_TIMEOUT_S: Final = 5.0


def _open_core(options: "NodeOptions") -> "Node":
    from media import _forwarder

    log.info("packet core build=%s", _forwarder.BUILD_INFO)
    return _forwarder.Node(options)


class MediaNode:
    """Rooms, peers, recording taps. Methods raise classes of `media.errors`; unknown rooms and people are UnknownId."""

    def __init__(
        self,
        settings: MediaSettings,
        *,
        open_core: "Callable[[NodeOptions], Node]" = _open_core,
        blur_model: Path | None = None,
    ) -> None:
        """`blur_model`: the segmenter's file; without it the server blurs nothing."""
        self._settings = settings
        self._blur_model = blur_model
        self._open_core = open_core
        self._listeners: list[Listener] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._application: asyncio.AbstractEventLoop | None = None
        self._waiting: list[MediaEvent] = []
        self._core: Node | None = None
        self._rooms: Rooms | None = None

    def add_listener(self, listener: Listener) -> None:
        """Called on the application's loop, in order; must not block."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Bind the sockets. Raises CoreFailed when that fails; the node can then only be closed."""
        self._application = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="media", daemon=True)
        self._thread.start()
        await self._on_media_loop(self._open())

    async def close(self) -> None:
        """Say goodbye to everybody and join all threads. Safe to call twice, and without `start`."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        await self._on_media_loop(self._shut(loop))
        self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()

    # people

    async def join(self, room: RoomId, participant: ParticipantId, *, may_publish: frozenset[TrackSource]) -> None:
        """Let a participant in, making the room on demand; an older peer is replaced and revisions restart."""
        await self._call(lambda rooms, _: rooms.join(room, participant, may_publish))

    async def negotiate(self, room: RoomId, participant: ParticipantId, offer: Offer) -> Answer:
        """Answer an offer; an ICE restart is just another offer. Raises BadOffer or UnknownId."""
        return await self._call(lambda rooms, _: rooms.negotiate(room, participant, offer))

    async def set_muted(self, room: RoomId, participant: ParticipantId, mid: str, muted: bool) -> None:
        """Stop or resume forwarding what `participant` publishes in section `mid`."""
        await self._call(lambda rooms, _: rooms.set_muted(room, participant, mid, muted))

    async def set_background(self, room: RoomId, participant: ParticipantId, background: Background) -> BackgroundState:
        """How the participant's camera is to be seen; nobody sees it otherwise once this is answered."""
        return await self._call(lambda rooms, _: rooms.set_background(room, participant, background))

    async def permit(self, room: RoomId, participant: ParticipantId, *, may_publish: frozenset[TrackSource]) -> None:
        """Change what `participant` may publish; tracks of sources they may not any more end. Raises UnknownId."""
        await self._call(lambda rooms, _: rooms.permit(room, participant, may_publish))

    async def set_view(self, room: RoomId, participant: ParticipantId, heights: Mapping[str, int]) -> None:
        """By MID: device pixels at which the participant's page shows each receiving section, 0 for not at all."""
        await self._call(lambda rooms, _: rooms.set_view(room, participant, heights))

    async def leave(self, room: RoomId, participant: ParticipantId) -> None:
        """Idempotent; the last one out closes the room."""
        await self._call(lambda rooms, _: rooms.leave(room, participant))

    async def close_room(self, room: RoomId) -> None:
        """Idempotent."""
        await self._call(lambda rooms, _: rooms.close_room(room))

    async def tracks(self, room: RoomId) -> tuple[TrackInfo, ...]:
        return await self._call(lambda rooms, _: rooms.tracks(room))

    # recording: the consent rule is control's, the check is the core's, the files are the recorder's

    async def grant_recording(self, room: RoomId, participant: ParticipantId, grant: str) -> None:
        await self._call(lambda rooms, core: core.grant_recording(rooms.core_id(room), grant, participant))

    async def revoke_recording(self, room: RoomId, grant: str) -> None:
        await self._call(lambda rooms, core: core.revoke_recording(rooms.core_id(room), grant))

    async def open_journal(self, path: str, key: bytes, header: bytes) -> int:
        def opened(rooms: Rooms, core: "Node") -> int:
            journal = rooms.next_id()
            core.open_journal(journal, path, key, header)
            return journal

        return await self._call(opened)

    async def journal_event(self, journal: int, event: bytes) -> None:
        await self._call(lambda _, core: core.journal_event(journal, event))

    async def close_journal(self, journal: int) -> None:
        await self._call(lambda _, core: core.close_journal(journal))

    async def add_tap(self, room: RoomId, track: int, grant: str, journal: int, key_id: int, key: bytes) -> int:
        def added(rooms: Rooms, core: "Node") -> int:
            tap = rooms.next_id()
            core.add_tap(rooms.core_id(room), tap, track, grant, journal, key_id, key)
            rooms.add_tap(room, tap, track)
            return tap

        return await self._call(added)

    async def remove_tap(self, room: RoomId, tap: int) -> None:
        await self._call(lambda rooms, core: core.remove_tap(rooms.core_id(room), tap))

    # looking inside

    def stats(self) -> "NodeStats":
        if self._core is None:
            raise RuntimeError("the media node is not running")
        return self._core.stats()

    async def dump(self, room: RoomId) -> dict[str, Any]:
        """The room's whole state as plain data, without keys."""

        async def dumped() -> dict[str, Any]:
            rooms, _ = self._running()
            async with asyncio.timeout(DUMP_TIMEOUT_S):
                return await rooms.dump(room)

        return await self._on_media_loop(dumped())

    # threads

    async def _call(self, action: "Callable[[Rooms, Node], T]") -> T:
        async def carried_out() -> T:
            return action(*self._running())

        return await self._on_media_loop(carried_out())

    async def _on_media_loop(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("the media node is not running")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _running(self) -> "tuple[Rooms, Node]":
        if self._rooms is None or self._core is None:
            raise RuntimeError("the media node is not running")
        return self._rooms, self._core

    async def _open(self) -> None:
        settings = self._settings
        core = self._open_core(
            {
                "threads": settings.thread_count,
                "bind": settings.bind,
                "udp_port": settings.udp_port,
                "tcp_port": settings.tcp_port if settings.tcp else None,
                "gso": settings.gso,
                "cache_ms": settings.cache_ms,
                "socket_buffer_bytes": settings.socket_buffer_bytes,
                "max_transports_per_room": settings.max_transports_per_room,
                "max_tracks_per_transport": settings.max_tracks_per_transport,
            }
        )
        self._core = core
        self._rooms = Rooms(core, settings, self._emit, self._blur_model)
        asyncio.get_running_loop().add_reader(core.event_fd, self._drain)
        for address in core.local_addresses():
            log.info("listening ip=%s port=%d thread=%d", address["ip"], address["port"], address["thread"])
        for ip, port in core.tcp_addresses():
            log.info("listening for ICE-TCP ip=%s port=%d", ip, port)

    async def _shut(self, loop: asyncio.AbstractEventLoop) -> None:
        core, rooms, self._core, self._rooms = self._core, self._rooms, None, None
        if core is not None and rooms is not None:
            rooms.close()
            loop.remove_reader(core.event_fd)
            core.close()
        current = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._hand_over()

    def _drain(self) -> None:
        if self._core is None or self._rooms is None:
            return
        for event in self._core.drain():
            try:
                self._rooms.take(event)
            except Exception:
                log.exception("core event failed name=%s", event[0])

    def _emit(self, event: MediaEvent) -> None:
        """On the media loop: what one request or core event causes goes over in one hop."""
        self._waiting.append(event)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        events, self._waiting = self._waiting, []
        if events and self._application is not None and not self._application.is_closed():
            self._application.call_soon_threadsafe(self._deliver, events)

    def _deliver(self, events: list[MediaEvent]) -> None:
        for event in events:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception:
                    log.exception("media listener failed event=%s", type(event).__name__)
