"""The waiting room's network test: a media room of its own for one person, one end that sends and one that receives.

It belongs to no session: nobody else can be in it, nothing of it is told or kept, and it ends by itself. The page
measures (web/static/js/network-test.js); here are only the two connections and their bounds.
"""

import asyncio
import secrets
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from control.accounts import Actor
from control.appointment_moves import load, party_in
from control.appointment_states import State
from control.database import Database
from control.errors import Conflict, Forbidden, Invalid, Unavailable
from control.lifecycle import Party
from media.errors import BadOffer, MediaError
from media.types import Answer, Offer, ParticipantId, RoomId, TrackSource

LASTS_S = 25.0
"""A test takes about eight seconds; slow networks longer."""
MOST_AT_ONCE = 20
"""Tests of the whole server: each costs as much as a session."""

OPEN = (State.SCHEDULED, State.CONFIRMED, State.IN_PROGRESS)


class End(StrEnum):
    SEND = "send"
    RECEIVE = "receive"


class MediaRooms(Protocol):
    """The part of media.node.MediaNode that is used."""

    async def join(self, room: RoomId, participant: ParticipantId, *, may_publish: frozenset[TrackSource]) -> None: ...
    async def negotiate(self, room: RoomId, participant: ParticipantId, offer: Offer) -> Answer: ...
    async def close_room(self, room: RoomId) -> None: ...


_SENDS = frozenset({TrackSource.microphone, TrackSource.camera})


class NetworkTests:
    """One per application. A person has one test at a time; a new one ends the one before."""

    def __init__(self, db: Database, media: MediaRooms) -> None:
        self._db = db
        self._media = media
        self._rooms: dict[str, RoomId] = {}
        self._timers: dict[RoomId, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def begin(self, actor: Actor, appointment_id: str) -> None:
        """Raises NotFound for a stranger, Forbidden, Conflict("not_open"), Unavailable."""
        async with self._db.reading() as session:
            row = await load(session, appointment_id)
            if await party_in(session, actor, row) is Party.ADMIN:
                raise Forbidden("not_in_session", "Only who takes part in this session tests for it.")
            if row.state not in OPEN:
                raise Conflict("not_open", "There is no session to test for any more.")
        while actor.person_id in self._rooms:
            await self.end(actor)
        if len(self._rooms) >= MOST_AT_ONCE:
            raise Unavailable("too_many_tests", "Too many people are testing just now.", retry_after_s=10)
        room = RoomId(f"nettest_{secrets.token_hex(16)}")
        self._rooms[actor.person_id] = room
        loop = asyncio.get_running_loop()
        self._timers[room] = loop.call_later(LASTS_S, self._expire, actor.person_id, room)
        try:
            for end in End:
                allowed = _SENDS if end is End.SEND else frozenset[TrackSource]()
                await self._media.join(room, ParticipantId(end), may_publish=allowed)
        except MediaError:
            self._expire(actor.person_id, room)
            raise _not_now() from None

    async def answer(self, actor: Actor, end: End, sdp: str, sources: Mapping[str, TrackSource]) -> str:
        """Raises Conflict("no_test"), Invalid("bad_offer"), Unavailable."""
        room = self._rooms.get(actor.person_id)
        if room is None:
            raise Conflict("no_test", "This test is over. Begin another one.")
        try:
            answer = await self._media.negotiate(room, ParticipantId(end), Offer(1, sdp, sources))
        except BadOffer:
            raise Invalid("bad_offer", "This connection can't be set up.", pointer="/sdp") from None
        except MediaError:
            raise _not_now() from None
        return answer.sdp

    async def end(self, actor: Actor) -> None:
        """Over already: nothing happens."""
        room = self._rooms.pop(actor.person_id, None)
        if room is not None:
            await self._close(room)

    async def close(self) -> None:
        for room in tuple(self._rooms.values()):
            await self._close(room)
        self._rooms.clear()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _expire(self, person_id: str, room: RoomId) -> None:
        if self._rooms.get(person_id) == room:
            del self._rooms[person_id]
        task = asyncio.get_running_loop().create_task(self._close(room))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, room: RoomId) -> None:
        timer = self._timers.pop(room, None)
        if timer is not None:
            timer.cancel()
        await self._media.close_room(room)


def _not_now() -> Unavailable:
    return Unavailable("media_unavailable", "Please try again.", retry_after_s=2)
