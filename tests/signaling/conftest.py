"""A hub on a real aiohttp server with a media node and a gatekeeper that only remember."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from media.errors import MediaError, UnknownId
from media.types import Answer, Background, BackgroundState, MediaEvent, Offer, ParticipantId, RoomId, TrackSource
from signaling.hub import Hub
from signaling.permissions import Admission, Place, Refused, Role
from signaling.settings import HubSettings

SECRET = b"s" * 32
NOW = datetime(2026, 3, 3, 15, 56, tzinfo=UTC)
WAIT_S = 3.0
"""Longest a test waits for something that has to come."""


@dataclass
class FakeMedia:
    """Remembers calls; answers every offer; fails on demand."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    inside: dict[RoomId, set[ParticipantId]] = field(default_factory=dict)
    failure: MediaError | None = None
    gate: asyncio.Event | None = None
    while_joining: Callable[[], None] | None = None
    listeners: list[Callable[[MediaEvent], None]] = field(default_factory=list)

    def add_listener(self, listener: Callable[[MediaEvent], None]) -> None:
        self.listeners.append(listener)

    def emit(self, event: MediaEvent) -> None:
        for listener in self.listeners:
            listener(event)

    async def join(self, room: RoomId, participant: ParticipantId, *, may_publish: frozenset[TrackSource]) -> None:
        self.calls.append(("join", room, participant, may_publish))
        if self.while_joining is not None:
            self.while_joining()
        self.inside.setdefault(room, set()).add(participant)

    async def negotiate(self, room: RoomId, participant: ParticipantId, offer: Offer) -> Answer:
        self.calls.append(("negotiate", room, participant, offer))
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if participant not in self.inside.get(room, ()):
            raise UnknownId(participant)
        return Answer(offer.revision, f"answer {offer.revision}")

    async def set_view(self, room: RoomId, participant: ParticipantId, heights: Mapping[str, int]) -> None:
        self.calls.append(("set_view", room, participant, dict(heights)))
        if participant not in self.inside[room]:
            raise UnknownId(participant)

    async def set_background(self, room: RoomId, participant: ParticipantId, background: Background) -> BackgroundState:
        self.calls.append(("set_background", room, participant, background))
        if self.failure is not None:
            raise self.failure
        return BackgroundState.on

    async def set_muted(self, room: RoomId, participant: ParticipantId, mid: str, muted: bool) -> None:
        self.calls.append(("set_muted", room, participant, mid, muted))

    async def permit(self, room: RoomId, participant: ParticipantId, *, may_publish: frozenset[TrackSource]) -> None:
        self.calls.append(("permit", room, participant, may_publish))

    async def leave(self, room: RoomId, participant: ParticipantId) -> None:
        self.calls.append(("leave", room, participant))
        self.inside.get(room, set()).discard(participant)

    async def close_room(self, room: RoomId) -> None:
        self.calls.append(("close_room", room))
        self.inside.pop(room, None)

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] == name]


@dataclass
class FakeGatekeeper:
    """Tokens are made by hand and used once; places are a dictionary; presence is a list."""

    tokens: dict[str, Admission] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    places: dict[tuple[str, str], Place] = field(default_factory=dict)
    log: list[tuple[str, ...]] = field(default_factory=list)
    state: str = "confirmed"
    fail_noting: bool = False
    sources: frozenset[TrackSource] = frozenset({TrackSource.camera, TrackSource.microphone})

    def admit(self, person: str, role: Role, place: Place, appointment: str = "a1") -> str:
        """A join token for that person."""
        self.places[appointment, person] = place
        token = f"token-{person}-{len(self.tokens)}"
        self.tokens[token] = Admission(
            appointment_id=appointment,
            room=RoomId(f"session_{appointment}"),
            person_id=person,
            participant=ParticipantId(person),
            role=role,
            display_name=person.capitalize(),
            place=place,
            may_publish=frozenset({TrackSource.camera, TrackSource.microphone}),
        )
        return token

    async def redeem(self, token: str) -> Admission:
        if token in self.used:
            raise Refused("token_used", "This link was used.")
        if token not in self.tokens:
            raise Refused("token_invalid", "This link is not valid.")
        self.used.add(token)
        return self.tokens[token]

    async def place(self, appointment_id: str, person_id: str) -> Place:
        try:
            return self.places[appointment_id, person_id]
        except KeyError:
            raise Refused("no_place", "You are not in this session.") from None

    async def may_publish(self, appointment_id: str, person_id: str) -> frozenset[TrackSource]:
        return self.sources

    async def connected(self, admission: Admission) -> None:
        if self.fail_noting:
            raise RuntimeError("the database is away")
        self.log.append(("connected", admission.person_id, admission.place))

    async def disconnected(self, admission: Admission, reason: str) -> None:
        self.log.append(("disconnected", admission.person_id, reason))

    async def snapshot(self, appointment_id: str, person_id: str) -> Mapping[str, Any]:
        return {"state": self.state, "for": person_id, "server_now": NOW}


class Page:
    """A client of the protocol, as careful as the page is."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.received = 0
        self.resume = ""
        self.welcome: dict[str, Any] = {}
        self.close_code: int | None = None

    async def say(self, **message: Any) -> None:
        await self.ws.send_str(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        """The next message; {"type": "closed"} when there is none."""
        frame = await asyncio.wait_for(self.ws.receive(), WAIT_S)
        if frame.type is not aiohttp.WSMsgType.TEXT:
            # The frame's own word: aiohttp's client overwrites close_code when its echo comes too late.
            self.close_code = frame.data if frame.type is aiohttp.WSMsgType.CLOSE else self.ws.close_code
            return {"type": "closed", "code": self.close_code}
        message: dict[str, Any] = json.loads(frame.data)
        self.received = message.get("n", self.received)
        if message["type"] in ("welcome", "resume_token"):
            self.resume = message["resume"]
        if message["type"] == "welcome":
            self.welcome = message
        return message

    async def until(self, kind: str) -> dict[str, Any]:
        """Skip to the next message of that type."""
        while True:
            message = await self.hear()
            if message["type"] == kind:
                return message
            if message["type"] == "closed":
                raise AssertionError(f"closed with {message['code']} before {kind}")

    async def types_until(self, kind: str) -> list[str]:
        heard = []
        while not heard or heard[-1] != kind:
            heard.append((await self.hear())["type"])
        return heard

    async def closed(self) -> int | None:
        while (await self.hear())["type"] != "closed":
            pass
        return self.close_code

    def drop(self) -> None:
        """Cut the line without a goodbye, as a dead network does."""
        connection = self.ws._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()


@dataclass
class Stage:
    hub: Hub
    media: FakeMedia
    gatekeeper: FakeGatekeeper
    client: TestClient[web.Request, web.Application]
    heard: list[Any]
    clock: "Clock"
    pages: list[Page] = field(default_factory=list)

    async def open(self, **headers: str) -> Page:
        ws = await self.client.ws_connect("/signaling", headers=headers, autoping=True)
        page = Page(ws)
        self.pages.append(page)
        return page

    async def join(
        self, person: str, role: Role = Role.practitioner, place: Place = Place.admitted, appointment: str = "a1"
    ) -> Page:
        page = await self.open()
        await page.say(type="hello", version=1, token=self.gatekeeper.admit(person, role, place, appointment))
        await page.until("people")
        return page

    async def resume(self, page: Page, received: int | None = None) -> Page:
        fresh = await self.open()
        fresh.received = page.received if received is None else received
        await fresh.say(type="hello", version=1, resume=page.resume, received=fresh.received)
        return fresh


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **much: float) -> None:
        self.now += timedelta(**much)


@pytest.fixture
def hub_settings() -> HubSettings:
    return HubSettings(secret=SECRET, resume_window_s=30.0, heartbeat_s=3.0)


@pytest.fixture
async def stage(hub_settings: HubSettings) -> AsyncIterator[Stage]:
    media, gatekeeper, clock = FakeMedia(), FakeGatekeeper(), Clock()
    hub = Hub(media, gatekeeper, hub_settings, clock=clock)
    heard: list[Any] = []
    hub.add_listener(heard.append)
    app = web.Application()
    app.router.add_get("/signaling", hub.handle)
    async with TestClient(TestServer(app)) as client:
        built = Stage(hub, media, gatekeeper, client, heard, clock)
        yield built
        for page in built.pages:
            await page.ws.close()
        await hub.close()


async def eventually(holds: Callable[[], bool], within_s: float = WAIT_S) -> None:
    """Give the loop turns until `holds`; for what a socket's other end does without saying so."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 — what is waited for has no event of its own
            await asyncio.sleep(0.001)
