"""The media side of sessions: gives and takes RTP peers, answers offers, turns the media node's events into messages.

Called by hub.py under its rules (only the admitted have a peer). A peer lost on the media side is never replaced
behind the page's back: the page is told, makes a new RTCPeerConnection, and its next offer joins the room again.
"""

import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from media.errors import BadOffer, MediaError, UnknownId
from media.quality import MEASURE_EVERY_S, word_for
from media.types import (
    Answer,
    Background,
    BackgroundChanged,
    BackgroundState,
    ConnectionChanged,
    ConnectionState,
    EncodingsWanted,
    Levels,
    MediaEvent,
    Offer,
    OfferNeeded,
    ParticipantId,
    QualityMeasured,
    RoomFailed,
    RoomId,
    SlotsChanged,
    SlotsNeeded,
    SlotView,
    TrackSource,
)
from signaling import messages as say
from signaling.events import HubEvent, Measured
from signaling.permissions import Place
from signaling.seating import Seating
from signaling.session import Session

log = logging.getLogger(__name__)


class MediaRooms(Protocol):
    """The part of media.node.MediaNode that signaling uses."""

    def add_listener(self, listener: Callable[[MediaEvent], None]) -> None: ...
    async def join(self, room: RoomId, participant: ParticipantId, *, may_publish: frozenset[TrackSource]) -> None: ...
    async def negotiate(self, room: RoomId, participant: ParticipantId, offer: Offer) -> Answer: ...
    async def set_muted(self, room: RoomId, participant: ParticipantId, mid: str, muted: bool) -> None: ...
    async def permit(
        self, room: RoomId, participant: ParticipantId, *, may_publish: frozenset[TrackSource]
    ) -> None: ...
    async def set_view(self, room: RoomId, participant: ParticipantId, heights: Mapping[str, int]) -> None: ...
    async def set_background(
        self, room: RoomId, participant: ParticipantId, background: Background
    ) -> BackgroundState: ...
    async def leave(self, room: RoomId, participant: ParticipantId) -> None: ...
    async def close_room(self, room: RoomId) -> None: ...


class Peers:
    def __init__(
        self,
        media: MediaRooms,
        find: Callable[[RoomId], Seating | None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        tell: Callable[[HubEvent], None],
    ) -> None:
        self._media = media
        self._find = find
        self._spawn = spawn
        self._tell = tell
        media.add_listener(self._on_media)

    # ------------------------------------------------------------ by the hub

    async def give(self, session: Session) -> None:
        """Let an admitted session into the media room; an older peer of the person is replaced. Raises MediaError."""
        admission = session.admission
        session.has_peer = True
        session.media_state = ConnectionState.connecting
        session.answered = 0
        session.mids = {}
        session.joining = True
        try:
            await self._media.join(admission.room, admission.participant, may_publish=admission.may_publish)
            if session.background is not None:
                # Before any offer, so that no packet of the camera is taken as it is.
                await self._media.set_background(admission.room, admission.participant, session.background)
        except MediaError:
            session.has_peer = False
            raise
        finally:
            session.joining = False

    async def take(self, session: Session) -> None:
        """Out of the media room; failing here must not keep anybody in a session."""
        if not session.has_peer:
            return
        session.has_peer = False
        try:
            await self._media.leave(session.admission.room, session.admission.participant)
        except MediaError as error:
            log.warning("media leave failed session=%s code=%s", session.id[:8], error.code)

    async def permit(self, session: Session) -> None:
        """What the session may publish has changed; what it may not any more ends at once."""
        if not session.has_peer:
            return
        admission = session.admission
        try:
            await self._media.permit(admission.room, admission.participant, may_publish=admission.may_publish)
        except MediaError as error:
            # The peer may be on its way out; one that can't be told must not go on publishing.
            log.warning("media permit failed session=%s code=%s", session.id[:8], error.code)
            await self.take(session)
            session.post(say.PeerLost())

    async def silence(self, session: Session) -> bool:
        """Stop forwarding the session's microphone until its page says otherwise. False: nothing is sent."""
        admission = session.admission
        mids = [mid for mid, source in session.mids.items() if source is TrackSource.microphone]
        if not session.has_peer or not mids:
            return False
        try:
            for mid in mids:
                await self._media.set_muted(admission.room, admission.participant, mid, True)
        except MediaError:
            return False
        return True

    async def close_room(self, room: RoomId) -> None:
        try:
            await self._media.close_room(room)
        except MediaError as error:
            log.warning("media close_room failed code=%s", error.code)

    # ------------------------------------------------------------ by the page

    def offer(self, session: Session, offer: say.OfferMessage) -> None:
        """Answered later by a message of its own; the socket goes on reading meanwhile."""
        refusal = _refuse_offer(session, offer)
        if refusal is not None:
            code, detail = refusal
            session.post(say.ErrorMessage(code, detail, fatal=False, revision=offer.revision))
            return
        session.offering = offer.revision
        self._spawn(self._negotiate(session, offer))

    async def _negotiate(self, session: Session, offer: say.OfferMessage) -> None:
        admission = session.admission
        try:
            if not _may_have_peer(session):
                return  # taken out since the offer came: a peer now would be nobody's, or push out a newer device's
            if not session.has_peer:
                await self.give(session)
            answer = await self._media.negotiate(
                admission.room, admission.participant, Offer(offer.revision, offer.sdp, offer.sources)
            )
        except BadOffer as error:
            log.info("offer refused session=%s reason=%s", session.id[:8], error)
            session.post(say.ErrorMessage("bad_offer", "This connection can't be set up.", False, offer.revision))
        except UnknownId:
            # The media side lost the peer between its event and this offer.
            session.has_peer = False
            if session.place is Place.admitted:
                session.post(say.PeerLost())
        except MediaError as error:
            log.warning("negotiate failed session=%s code=%s", session.id[:8], error.code)
            session.post(say.ErrorMessage("media_unavailable", "Please try again.", False, offer.revision))
        else:
            session.answered = offer.revision
            session.mids = {**session.mids, **offer.sources}
            if session.place is Place.admitted:
                session.post(say.AnswerMessage(answer.revision, answer.sdp))
        finally:
            session.offering = None

    async def set_muted(self, session: Session, mute: say.Mute) -> None:
        if not _may_have_peer(session):
            session.post(say.ErrorMessage("not_admitted", "You are in the waiting room.", fatal=False))
            return
        try:
            if mute.mid not in session.mids:
                raise UnknownId(mute.mid)
            await self._media.set_muted(session.admission.room, session.admission.participant, mute.mid, mute.muted)
        except UnknownId:
            session.post(say.ErrorMessage("unknown_mid", "There is no such section.", fatal=False))
        except MediaError:
            session.post(say.ErrorMessage("media_unavailable", "Please try again.", fatal=False))

    async def set_view(self, session: Session, view: say.View) -> None:
        """What a page shows is a hint: one that comes too early or too late changes nothing."""
        if _may_have_peer(session) and session.has_peer:
            with contextlib.suppress(MediaError):
                await self._media.set_view(session.admission.room, session.admission.participant, view.heights)

    async def set_background(self, session: Session, wish: say.Blur) -> None:
        """Kept with the session: its next connections begin with it. Who can't be hidden is not shown at all."""
        session.background = wish.effect
        state = BackgroundState.off if wish.effect is Background.off else BackgroundState.starting
        try:
            if _may_have_peer(session) and session.has_peer:
                admission = session.admission
                state = await self._media.set_background(admission.room, admission.participant, wish.effect)
            session.post(say.BackgroundTold(state))
        except MediaError as error:
            log.warning("background failed session=%s code=%s", session.id[:8], error.code)
            await self.take(session)
            session.post(say.PeerLost())

    def note_playback(self, session: Session, seen: say.Playback) -> None:
        """Kept until the next measurement; more than a measurement can hold is not believed."""
        session.freezes = min(session.freezes + seen.freezes, say.MAX_FREEZES)
        session.frozen_ms = min(session.frozen_ms + seen.frozen_ms, say.MAX_FROZEN_MS)

    # ------------------------------------------------------------ by the media node

    def _on_media(self, event: MediaEvent) -> None:
        match event:
            case SlotsChanged():
                self._post(event.room, event.participant, say.Slots(tuple(_slot(s) for s in event.slots)))
            case SlotsNeeded():
                self._post(event.room, event.participant, say.SlotsWanted(event.audio, event.video))
            case EncodingsWanted():
                self._post(event.room, event.participant, say.Encodings(event.mid, event.rids))
            case BackgroundChanged():
                self._post(event.room, event.participant, say.BackgroundTold(event.state))
            case OfferNeeded():
                self._post(event.room, event.participant, say.OfferWanted())
            case ConnectionChanged():
                self._connection_changed(event)
            case Levels():
                self._levels(event)
            case QualityMeasured():
                self._measured(event)
            case RoomFailed():
                self._room_failed(event)
            case _:
                pass  # tracks, taps and journals are the recorder's news

    def _session(self, room: RoomId, participant: ParticipantId) -> Session | None:
        seating = self._find(room)
        session = seating.sessions.get(participant) if seating is not None else None
        return session if session is not None and session.has_peer else None

    def _post(self, room: RoomId, participant: ParticipantId, message: say.ServerMessage) -> None:
        session = self._session(room, participant)
        if session is not None:
            session.post(message)

    def _connection_changed(self, event: ConnectionChanged) -> None:
        session = self._session(event.room, event.participant)
        seating = self._find(event.room)
        if session is None or seating is None:
            return
        is_final = event.state in (ConnectionState.failed, ConnectionState.closed)
        if is_final and session.joining:
            return
        session.media_state = event.state
        if is_final:
            self._spawn(self.take(session))
            session.post(say.PeerLost())
        seating.tell_people()

    def _levels(self, event: Levels) -> None:
        seating = self._find(event.room)
        if seating is None:
            return
        speaking = tuple(sorted(participant for participant, _, active in event.levels if active))
        if speaking == seating.speaking:
            return
        seating.speaking = speaking
        for session in seating:
            if session.place is Place.admitted:
                session.post(say.Speaking(speaking))

    def _measured(self, event: QualityMeasured) -> None:
        seating = self._find(event.room)
        session = self._session(event.room, event.participant)
        if seating is None or session is None:
            return
        freezes, frozen_ms = session.freezes, session.frozen_ms
        session.freezes = session.frozen_ms = 0
        word = word_for(event.quality.mos, frozen_ms / (1_000 * MEASURE_EVERY_S))
        seating.tell_quality(session, event.quality, word, freezes)
        self._tell(Measured(session.admission, event.quality, word, freezes, frozen_ms))

    def _room_failed(self, event: RoomFailed) -> None:
        seating = self._find(event.room)
        if seating is None:
            return
        for session in seating:
            if session.has_peer:
                session.has_peer = False
                session.post(say.PeerLost())
        seating.tell_people()


def _may_have_peer(session: Session) -> bool:
    """A session that is gone keeps its place, and its socket may still say what it said before it closes."""
    return not session.gone and session.place is Place.admitted


def _refuse_offer(session: Session, offer: say.OfferMessage) -> tuple[str, str] | None:
    if not _may_have_peer(session):
        return "not_admitted", "You are in the waiting room."
    if session.offering is not None:
        return "offer_in_flight", "The last offer is still being answered."
    if session.has_peer and offer.revision < session.answered:
        return "stale_offer", "A newer offer has been answered."
    if not session.admission.may_publish.issuperset(offer.sources.values()):
        return "not_permitted", "You may not share this here."
    return None


def _slot(view: SlotView) -> say.Slot:
    return say.Slot(view.mid, view.publisher, view.source, view.muted, view.paused, view.veiled)
