"""Whose camera goes through the server's blur, and what others may be told of it. On the media loop, beside rooms.py.

A member's wish makes their camera private in the core, at once or from its first packet on; only then is a worker
sought. Without one nothing of the camera is seen, and its owner is told. Privacy ends only by the owner's word, and
then with the camera's next keyframe: until it comes the blurred pictures go on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from media.blur.workers import BlurSettings, Flow, Workers
from media.config import MediaSettings
from media.errors import MediaError
from media.room import Member, Room, Track
from media.types import Background, BackgroundChanged, BackgroundState, MediaEvent, TrackSource

if TYPE_CHECKING:
    from media._forwarder import Node

log = logging.getLogger(__name__)

GRACE_S: Final = 0.5
"""A picture that stands still for less is not replaced by a placeholder."""


class Backgrounds:
    def __init__(
        self,
        core: "Node",
        settings: MediaSettings,
        model: Path | None,
        *,
        rooms: Callable[[], Iterable[Room]],
        emit: Callable[[MediaEvent], None],
        reshare: Callable[[Room], None],
    ) -> None:
        self._core = core
        self._rooms = rooms
        self._emit = emit
        self._reshare = reshare
        self._homes: dict[int, Room] = {}
        """Tracks that are private, or were and have not been told to be otherwise."""
        self._fading: dict[int, asyncio.TimerHandle] = {}
        path = settings.blur_path
        workers = settings.blur_worker_count if path != "browser" and "vp8" in settings.video_codecs else 0
        blur = BlurSettings(model or Path("/nonexistent"), workers, settings.blur_streams)
        self._workers = Workers(blur, self._open_port, self._flow_changed, self._is_expected)
        self._is_only_way = path == "server"

    @property
    def possible(self) -> bool:
        return self._workers.possible

    def close(self) -> None:
        for timer in self._fading.values():
            timer.cancel()
        self._workers.close()

    # what people wish

    def expect(self) -> None:
        """Somebody came, or said a wish: a worker is to be ready before it is needed. Starting one takes seconds."""
        if self._is_expected():
            self._workers.warm()

    def _is_expected(self) -> bool:
        """Where all blur is the server's, of everybody; else of who has said a wish, were it "off"."""
        members = (member for room in self._rooms() for member in room.members.values())
        return any(self._is_only_way or member.spoke_of_background for member in members)

    def apply(self, room: Room, member: Member) -> None:
        """Bring the member's camera, if they send one, to what they wish. Idempotent."""
        for track in room.tracks_of(member.participant):
            if track.source is not TrackSource.camera:
                continue
            if member.background is not Background.off:
                self._veil(room, track, member.background)
            elif track.id in self._homes and track.wanted_private:
                track.wanted_private = False
                self._core.set_private(room.core_id, track.id, False)

    def state_of(self, room: Room, member: Member) -> BackgroundState:
        tracks = (track for track in room.tracks_of(member.participant) if track.source is TrackSource.camera)
        expected = BackgroundState.off if member.background is Background.off else BackgroundState.starting
        return next((track.background for track in tracks), expected)

    def _veil(self, room: Room, track: Track, background: Background) -> None:
        if not track.wanted_private or track.id not in self._homes:
            self._core.set_private(room.core_id, track.id, True)
            track.wanted_private = True
            self._homes[track.id] = room
            if track.background is BackgroundState.off:
                self._show(room, track, BackgroundState.starting)
        if not self._workers.start(track.id, background):
            self._show(room, track, BackgroundState.unavailable)
        elif track.background is BackgroundState.unavailable:
            self._show(room, track, BackgroundState.starting)

    def ended(self, track: int) -> None:
        """Idempotent; whoever waits for a worker may have its place."""
        if self._homes.pop(track, None) is None:
            return
        self._keep(track)
        self._workers.stop(track)
        asyncio.get_running_loop().call_soon(self._serve_next)

    def _serve_next(self) -> None:
        for identity, room in list(self._homes.items()):
            track = room.tracks.get(identity)
            if track is not None and track.background is BackgroundState.unavailable:
                self.apply(room, room.members[track.participant])

    # what the core and the workers say

    def unveiled(self, room: Room, track: Track) -> None:
        """The camera itself is seen again."""
        if track.wanted_private:
            return  # its owner has changed their mind since
        self.ended(track.id)
        self._show(room, track, BackgroundState.off)

    def _open_port(self, identity: int, descriptor: int) -> None:
        room = self._homes[identity]
        try:
            self._core.open_frame_port(room.core_id, identity, descriptor)
        except MediaError as error:
            log.warning("no frame port track=%d code=%s", identity, error.code)

    def _flow_changed(self, identity: int, flow: Flow) -> None:
        room = self._homes.get(identity)
        track = None if room is None else room.tracks.get(identity)
        if room is None or track is None:
            return
        match flow:
            case Flow.flows:
                self._show(room, track, BackgroundState.on)
            case Flow.given_up:
                self._show(room, track, BackgroundState.unavailable)
            case Flow.starting | Flow.stopped:
                if track.background is BackgroundState.on and identity not in self._fading:
                    loop = asyncio.get_running_loop()
                    self._fading[identity] = loop.call_later(GRACE_S, self._fade, room, track)

    def _fade(self, room: Room, track: Track) -> None:
        self._fading.pop(track.id, None)
        self._show(room, track, BackgroundState.starting)

    def _keep(self, identity: int) -> None:
        with contextlib.suppress(KeyError):
            self._fading.pop(identity).cancel()

    def _show(self, room: Room, track: Track, state: BackgroundState) -> None:
        self._keep(track.id)
        if track.background is state:
            return
        track.background = state
        log.info("background changed room=%s track=%d state=%s", room.id, track.id, state)
        self._emit(BackgroundChanged(room.id, track.participant, state))
        # Later: who ends a track refills the slots that showed it only afterwards.
        asyncio.get_running_loop().call_soon(self._reshare, room)
