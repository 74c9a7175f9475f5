"""Every session on this node: lets people in by control's word, moves them, tells them news, sees them out.

handler.py brings sockets and their messages; peers.py is the media side; control calls `session_changed`, `end` and
`remove` after its transactions. All of it runs on the application's loop. The hub decides nothing about who may
enter, and keeps nothing longer than a session lives.

What changes an appointment's seating runs under its lock. Control's `connected` and `disconnected` and the listeners
are called outside of the lock, so that control may call back at once.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from media.errors import MediaError
from media.types import RoomId
from signaling import events, handler
from signaling import messages as say
from signaling.outbox import Outbox
from signaling.peers import MediaRooms, Peers
from signaling.permissions import Admission, Gatekeeper, Place, Refused
from signaling.placement import InProcess, Placement
from signaling.rates import Newcomers
from signaling.seating import Seating
from signaling.session import Link, Session, Turn
from signaling.settings import HubSettings
from signaling.tokens import RESUME_LIFETIME, ResumeClaims, sign_resume, verify_resume

log = logging.getLogger(__name__)

CLOSE_WAIT_S = 5.0
"""How long `close` waits for sockets to say goodbye."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Hub:
    def __init__(
        self,
        media: MediaRooms,
        gatekeeper: Gatekeeper,
        settings: HubSettings,
        *,
        placement: Placement | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.settings = settings
        self.newcomers = Newcomers(settings.max_silent_per_network, settings.max_silent)
        self.peers = Peers(media, self._by_room, self._spawn, self._tell_listeners)
        self._gatekeeper = gatekeeper
        self._placement = placement or InProcess()
        self._clock = clock
        self._seatings: dict[str, Seating] = {}
        self._rooms: dict[RoomId, Seating] = {}
        self._expiries: dict[str, asyncio.TimerHandle] = {}
        self._listeners: list[Callable[[events.HubEvent], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: set[asyncio.Event] = set()
        self._closing = False

    # ------------------------------------------------------------ for control

    def add_listener(self, listener: Callable[[events.HubEvent], None]) -> None:
        self._listeners.append(listener)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """The handler of `/signaling`."""
        done = asyncio.Event()
        self._sockets.add(done)
        try:
            return await handler.serve(self, request)
        finally:
            self._sockets.discard(done)
            done.set()

    def present(self, appointment_id: str) -> tuple[events.Presence, ...]:
        seating = self._seatings.get(appointment_id)
        return tuple(
            events.Presence(s.admission.person_id, s.admission.role, s.place, s.since, s.attached)
            for s in seating or ()
        )

    def appointments(self) -> tuple[str, ...]:
        """Those somebody has a seat in, connected or about to come back."""
        return tuple(self._seatings)

    async def session_changed(self, appointment_id: str) -> None:
        """Ask everyone's place again, move who is to be moved, and send everyone a fresh snapshot."""
        seating = self._seatings.get(appointment_id)
        if seating is None:
            return
        news: list[events.HubEvent] = []
        async with self._alone(seating):
            # All at once: the person let in should not wait for the others' rows. All to the end, whatever fails.
            refreshing = (self._refresh(session, news) for session in seating)
            done = await asyncio.gather(*refreshing, return_exceptions=True)
            seating.tell_people()
        await self._tell_control(news)
        for failure in done:
            if failure is not None:
                raise failure

    async def end(self, appointment_id: str, reason: str) -> None:
        """The session is over for everybody."""
        seating = self._seatings.get(appointment_id)
        if seating is None:
            return
        news: list[events.HubEvent] = []
        async with self._alone(seating):
            for session in seating:
                session.post(say.Ended(reason))
                news.append(await self._take_out(session, "ended", 4410))
            await self.peers.close_room(seating.room)
        await self._tell_control(news)

    async def remove(self, appointment_id: str, person_id: str, reason: str, detail: str = "") -> None:
        """One person has no place any more; `reason` is the stable code the page is told."""
        seating = self._seatings.get(appointment_id)
        if seating is not None:
            await self._remove_where(seating, lambda s: s.admission.person_id == person_id, Refused(reason, detail))

    def tell(self, appointment_id: str, topic: str, body: Mapping[str, Any], to: Collection[str]) -> None:
        """Post news to those of `to` who have a seat."""
        for session in self._seatings.get(appointment_id) or ():
            if session.admission.person_id in to:
                session.post(say.News(topic, body))

    async def silence(self, appointment_id: str, person_id: str) -> bool:
        """Mute a person's microphone; their page is told and may switch it on again. False: there is none."""
        seating = self._seatings.get(appointment_id)
        session = None if seating is None else seating.sessions.get(person_id)
        if session is None or not await self.peers.silence(session):
            return False
        session.post(say.News("muted", {}))
        return True

    async def sign_out(self, login: str) -> None:
        """Whoever came in with this sign-in has none any more. An empty one is nobody's."""
        refused = Refused("signed_out", "You have signed out.")
        for seating in tuple(self._seatings.values()):
            if login and any(session.admission.login == login for session in seating):
                await self._remove_where(seating, lambda s: s.admission.login == login, refused)

    async def _remove_where(self, seating: Seating, fits: Callable[[Session], bool], refused: Refused) -> None:
        news: list[events.HubEvent] = []
        async with self._alone(seating):
            for session in filter(fits, seating):
                news.append(await self._remove(session, refused))
            if news:
                seating.tell_people()
        await self._tell_control(news)

    async def close(self) -> None:
        """Tell everyone to come back later, close every socket, and wait for their handlers."""
        self._closing = True
        for seating in tuple(self._seatings.values()):
            news: list[events.HubEvent] = []
            async with self._alone(seating):
                for session in seating:
                    session.post(say.ErrorMessage("server_closing", "The server restarts.", fatal=True))
                    news.append(await self._take_out(session, "shutdown", 1001))
            await self._tell_control(news)
        for task in self._tasks:
            task.cancel()
        for timer in self._expiries.values():
            timer.cancel()
        ends = [*self._tasks, *(asyncio.ensure_future(done.wait()) for done in self._sockets)]
        if ends:
            await asyncio.wait(ends, timeout=CLOSE_WAIT_S)

    # ------------------------------------------------------------ for handler.py

    async def join(self, token_untrusted: str, outbox: Outbox) -> Session:
        """Consume a join token and seat its person. Raises Refused."""
        if self._closing:
            raise Refused("server_closing", "The server restarts.")
        admission = await self._gatekeeper.redeem(token_untrusted)
        if await self._placement.claim(admission.room) != self._placement.node:
            raise Refused("wrong_node", "This session is on another server. Joining again.")
        seating = self._seating_for(admission)
        news: list[events.HubEvent] = []
        async with self._alone(seating):
            session = await self._seat(seating, admission, outbox, news)
        log.info("joined session=%s role=%s place=%s", session.id[:8], admission.role, session.place)
        await self._tell_control(news)
        return session

    async def resume(self, token_untrusted: str, received: int, outbox: Outbox) -> Session:
        """Bring a dropped session back on a new socket. Raises Refused."""
        claims = verify_resume(self.settings.secret, token_untrusted, self._clock())
        unknown = Refused("resume_unknown", "This connection can't be continued. Joining again.")
        seating = self._seatings.get(claims.appointment_id)
        if seating is None:
            raise unknown
        news: list[events.HubEvent] = []
        async with self._alone(seating):
            session = seating.sessions.get(claims.person_id)
            if session is None or session.id != claims.session:
                raise unknown
            missed = session.resume(claims.generation, received, outbox)
            timer = self._expiries.pop(session.id, None)
            if timer is not None:
                timer.cancel()
            session.acknowledge(received)
            self._welcome(session, resumed=True)
            for text in missed:
                outbox.push(text)
            await self._refresh(session, news)
            seating.tell_people()
        log.info("resumed session=%s missed=%d", session.id[:8], len(missed))
        if not session.gone:
            await self._tell_gatekeeper(self._gatekeeper.connected(session.admission))
        await self._tell_control(news)
        return session

    async def lost(self, session: Session, outbox: Outbox) -> None:
        """The socket of `outbox` is gone; the session waits for a resume, unless another socket has it already."""
        if session.outbox is not outbox or not session.turn(Turn.socket_lost):
            return
        session.outbox = None
        loop = asyncio.get_running_loop()
        self._expiries[session.id] = loop.call_later(
            self.settings.resume_window_s, lambda: self._spawn(self._expire(session))
        )
        seating = self._seatings.get(session.admission.appointment_id)
        if seating is not None:
            seating.tell_people()
        await self._tell_gatekeeper(self._gatekeeper.disconnected(session.admission, "dropped"))

    async def leave(self, session: Session) -> None:
        await self._see_out(session, "left")

    def ping(self, session: Session, received: int) -> None:
        """Raises ValueError if it acknowledges what was never said."""
        session.acknowledge(received)
        session.post(say.Pong(self._clock()))
        if session.token_is_old(asyncio.get_running_loop().time()):
            session.post(say.ResumeToken(self._resume_token(session, in_numbered=True)))

    # ------------------------------------------------------------ seating, under the lock

    async def _seat(
        self, seating: Seating, admission: Admission, outbox: Outbox, news: list[events.HubEvent]
    ) -> Session:
        # Asked under the lock: a change between redeeming and now has either been seen here or comes after us.
        place = await self._gatekeeper.place(admission.appointment_id, admission.person_id)
        may_publish = await self._gatekeeper.may_publish(admission.appointment_id, admission.person_id)
        snapshot = await self._gatekeeper.snapshot(admission.appointment_id, admission.person_id)
        older = seating.sessions.get(admission.person_id)
        if older is not None:
            older.post(say.Replaced())
            news.append(await self._take_out(older, "replaced", 4409, keep_peer=place is Place.admitted))
        admission = replace(admission, place=place, may_publish=may_publish)
        session = Session(secrets.token_hex(16), admission, self._clock(), outbox)
        seating.sessions[admission.person_id] = session
        self._welcome(session, resumed=False)
        if place is Place.admitted:
            await self._give_peer(session)
        session.post(say.SnapshotMessage(snapshot))
        seating.tell_people()
        news.append(events.Entered(admission))
        return session

    async def _refresh(self, session: Session, news: list[events.HubEvent]) -> None:
        admission = session.admission
        try:
            place = await self._gatekeeper.place(admission.appointment_id, admission.person_id)
            may_publish = await self._gatekeeper.may_publish(admission.appointment_id, admission.person_id)
            if may_publish != admission.may_publish:
                session.admission = replace(admission, may_publish=may_publish)
                await self.peers.permit(session)
            if place is not session.place:
                await self._move(session, place, news)
            snapshot = await self._gatekeeper.snapshot(admission.appointment_id, admission.person_id)
        except Refused as refused:
            news.append(await self._remove(session, refused))
            return
        session.post(say.SnapshotMessage(snapshot))

    async def _move(self, session: Session, place: Place, news: list[events.HubEvent]) -> None:
        session.place = place
        session.admission = replace(session.admission, place=place)
        if place is Place.admitted:
            session.post(say.Admitted())
            await self._give_peer(session)
            news.append(events.Admitted(session.admission))
        else:
            session.post(say.Waiting())
            await self.peers.take(session)
            news.append(events.SentBack(session.admission))

    async def _give_peer(self, session: Session) -> None:
        try:
            await self.peers.give(session)
        except MediaError as error:
            # The first offer tries again and tells the page if that fails too.
            log.warning("media join failed session=%s code=%s", session.id[:8], error.code)

    async def _remove(self, session: Session, refused: Refused) -> events.Left:
        session.post(say.Removed(refused.code, refused.detail))
        return await self._take_out(session, "removed", 4403)

    async def _take_out(self, session: Session, reason: str, code: int, *, keep_peer: bool = False) -> events.Left:
        seating = self._seatings[session.admission.appointment_id]
        if seating.sessions.get(session.admission.person_id) is session:
            del seating.sessions[session.admission.person_id]
        timer = self._expiries.pop(session.id, None)
        if timer is not None:
            timer.cancel()
        was_attached = session.attached
        session.turn(Turn.left)
        session.close_socket(code, reason)
        if keep_peer:
            session.has_peer = False
        await self.peers.take(session)
        log.info("left session=%s reason=%s", session.id[:8], reason)
        return events.Left(session.admission, reason, was_connected=was_attached)

    async def _expire(self, session: Session) -> None:
        if session.link is Link.dropped:
            await self._see_out(session, "dropped")

    async def _see_out(self, session: Session, reason: str) -> None:
        seating = self._seatings.get(session.admission.appointment_id)
        if seating is None:
            return
        news: list[events.HubEvent] = []
        async with self._alone(seating):
            # A resume may have been quicker than the expiry that waited for the lock.
            if session.gone or (reason == "dropped" and session.attached):
                return
            news.append(await self._take_out(session, reason, 1000))
            seating.tell_people()
        await self._tell_control(news)

    # ------------------------------------------------------------ small parts

    def _welcome(self, session: Session, *, resumed: bool) -> None:
        now = self._clock()
        admission = session.admission
        session.post(
            say.Welcome(
                version=say.VERSION,
                session=session.id,
                person=admission.person_id,
                role=admission.role,
                place=session.place,
                resumed=resumed,
                resume=self._resume_token(session, in_numbered=False),
                ice_servers=tuple(self.settings.ice_servers(admission, now)),
                server_now=now,
                heartbeat_s=self.settings.heartbeat_s,
            )
        )

    def _resume_token(self, session: Session, *, in_numbered: bool) -> str:
        generation = session.next_generation(asyncio.get_running_loop().time(), in_numbered=in_numbered)
        admission = session.admission
        expires_at = int((self._clock() + RESUME_LIFETIME).timestamp())
        claims = ResumeClaims(session.id, admission.appointment_id, admission.person_id, generation, expires_at)
        return sign_resume(self.settings.secret, claims)

    def _seating_for(self, admission: Admission) -> Seating:
        seating = self._seatings.get(admission.appointment_id)
        if seating is None:
            seating = Seating(admission.appointment_id, admission.room)
            self._seatings[seating.appointment_id] = self._rooms[seating.room] = seating
        return seating

    @asynccontextmanager
    async def _alone(self, seating: Seating) -> AsyncIterator[None]:
        """Hold the seating's lock; forget the seating when nobody sits there and nobody else waits for it."""
        seating.users += 1
        try:
            async with seating.lock:
                yield
        finally:
            seating.users -= 1
            if not seating.users and not seating.sessions:
                del self._seatings[seating.appointment_id]
                del self._rooms[seating.room]
                await self._placement.release(seating.room)

    def _by_room(self, room: RoomId) -> Seating | None:
        return self._rooms.get(room)

    async def _tell_control(self, news: list[events.HubEvent]) -> None:
        for event in news:
            if isinstance(event, events.Left) and event.was_connected:
                await self._tell_gatekeeper(self._gatekeeper.disconnected(event.admission, event.reason))
            elif isinstance(event, events.Entered):
                await self._tell_gatekeeper(self._gatekeeper.connected(event.admission))
            self._tell_listeners(event)

    def _tell_listeners(self, event: events.HubEvent) -> None:
        for listener in self._listeners:
            listener(event)

    async def _tell_gatekeeper(self, telling: Awaitable[None]) -> None:
        """A presence row that could not be written must not cost anybody their session."""
        try:
            await telling
        except Exception:
            log.exception("gatekeeper failed to note a coming or going")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("signaling task failed", exc_info=task.exception())
