"""People for end-to-end tests of media: an aiortc peer that offers as the room page does, over real sockets.

It publishes a numbered picture and a tone and keeps what it decodes; `MediaNode` is on the other side.
"""

import asyncio
import math
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from av.frame import Frame

from media.node import MediaNode
from media.types import ConnectionChanged, ConnectionState, MediaEvent, Offer, ParticipantId, RoomId, TrackSource

AUDIO_HZ = 48_000
PERIOD = 960


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self, pitch_hz: int) -> None:
        super().__init__()
        self._pitch_hz = pitch_hz
        self._sample = 0
        self._began: float | None = None

    async def recv(self) -> Frame:
        loop = asyncio.get_running_loop()
        self._began = self._began or loop.time()
        await asyncio.sleep(max(0.0, self._began + self._sample / AUDIO_HZ - loop.time()))
        positions = np.arange(self._sample, self._sample + PERIOD)
        wave = (np.sin(2 * math.pi * self._pitch_hz * positions / AUDIO_HZ) * 12_000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = AUDIO_HZ
        frame.pts = self._sample
        frame.time_base = Fraction(1, AUDIO_HZ)
        self._sample += PERIOD
        return frame


class Picture(VideoStreamTrack):
    """A flat grey that brightens with every frame, so that decoded frames can be told apart and from the other's."""

    def __init__(self, chroma: int) -> None:
        super().__init__()
        self._chroma = chroma
        self._number = 0

    async def recv(self) -> Frame:
        pts, time_base = await self.next_timestamp()
        planes = np.full((360, 320), 128, dtype=np.uint8)
        planes[:240] = 40 + self._number * 2 % 160
        planes[240:300] = self._chroma
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = pts, time_base
        self._number += 1
        return frame


def gather_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves loopback out; tests need no other interface."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


class Person:
    """One participant; sections as `media/negotiation.py` lays them out."""

    def __init__(self, node: MediaNode, room: RoomId, name: str, *, chroma: int, pitch_hz: int) -> None:
        self.node = node
        self.room = room
        self.name = ParticipantId(name)
        self.chroma = chroma
        self.connection = RTCPeerConnection(RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.frames: asyncio.Queue[av.VideoFrame] = asyncio.Queue()
        self.sounds: asyncio.Queue[av.AudioFrame] = asyncio.Queue()
        self.connected = asyncio.Event()
        self.events: list[MediaEvent] = []
        self._readers: list[asyncio.Task[None]] = []
        self._revision = 0
        self.connection.addTransceiver(Tone(pitch_hz), direction="sendonly")
        self.connection.addTransceiver(Picture(chroma), direction="sendonly")
        self.connection.addTransceiver("audio", direction="recvonly")
        self.connection.addTransceiver("video", direction="recvonly")
        self.connection.on("track", self._on_track)
        node.add_listener(self._on_event)

    def _on_event(self, event: MediaEvent) -> None:
        self.events.append(event)
        if event == ConnectionChanged(self.room, self.name, ConnectionState.connected):
            self.connected.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._readers.append(asyncio.create_task(self._read(track)))

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            frame = await track.recv()
            if isinstance(frame, av.VideoFrame):
                self.frames.put_nowait(frame)
            elif isinstance(frame, av.AudioFrame):
                self.sounds.put_nowait(frame)

    async def join(self) -> None:
        await self.node.join(self.room, self.name, may_publish=frozenset(TrackSource))
        await self.offer()

    async def offer(self) -> None:
        self._revision += 1
        await self.connection.setLocalDescription(await self.connection.createOffer())
        sources = {"0": TrackSource.microphone, "1": TrackSource.camera}
        offer = Offer(self._revision, self.connection.localDescription.sdp, sources)
        answer = await self.node.negotiate(self.room, self.name, offer)
        await self.connection.setRemoteDescription(RTCSessionDescription(_for_aiortc(answer.sdp), "answer"))

    async def close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await self.connection.close()


def _for_aiortc(sdp: str) -> str:
    """aiortc takes the candidates of a bundle's last section, not of its first as RFC 8843 wants."""
    candidates = "".join(f"{line}\r\n" for line in sdp.split("\r\n") if line.startswith("a=candidate"))
    return sdp + candidates
