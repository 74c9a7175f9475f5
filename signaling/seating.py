"""Everybody connected to one appointment, and who may see whom. Pure data: hub.py holds the lock and does the I/O."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from media.quality import Word
from media.types import ConnectionState, Quality, RoomId
from signaling.messages import People, PersonView, QualityMessage
from signaling.permissions import Place, Role
from signaling.session import Session


@dataclass(slots=True)
class Seating:
    appointment_id: str
    room: RoomId
    sessions: dict[str, Session] = field(default_factory=dict)
    """By person id: one each."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Joining, place changes and endings of one appointment run one after the other."""
    users: int = 0
    """Operations that hold or await the lock: the seating is forgotten only when nobody sits and nobody comes."""
    speaking: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self.sessions.values()))

    def tell_people(self) -> None:
        """Post the list to everyone for whom it changed."""
        for viewer in self:
            people = tuple(_view(seen) for seen in self if _may_see(viewer, seen))
            if people != viewer.people_told:
                viewer.people_told = people
                viewer.post(People(people))

    def tell_quality(self, measured: Session, quality: Quality, word: Word, freezes: int) -> None:
        """Tell everyone in the room what they have not been told; a tenth of a score is no news."""
        news = QualityMessage(
            person=measured.admission.person_id,
            word=word,
            mos=round(quality.mos, 1),
            loss=round(max(quality.loss_in, quality.loss_out), 3),
            jitter_ms=round(quality.jitter_ms),
            round_trip_ms=None if quality.round_trip_ms is None else round(quality.round_trip_ms),
            freezes=freezes,
        )
        for viewer in self:
            told = viewer.quality_told.get(news.person)
            is_news = told is None or told[0] != word or abs(told[1] - quality.mos) >= 0.2 or freezes > 0
            if viewer.attached and viewer.place is Place.admitted and is_news:
                viewer.quality_told[news.person] = (word, quality.mos)
                viewer.post(news)


def _may_see(viewer: Session, seen: Session) -> bool:
    """The practitioner sees everyone; who waits is nobody else's business, except that everyone sees themself."""
    roles = viewer.admission.role, seen.admission.role
    if viewer is seen or Role.practitioner in roles:
        return True
    return viewer.place is Place.admitted and seen.place is Place.admitted


def _view(seen: Session) -> PersonView:
    admission = seen.admission
    state = seen.media_state if seen.has_peer else None
    return PersonView(
        id=admission.person_id,
        name=admission.display_name,
        role=admission.role,
        place=seen.place,
        connected=seen.attached,
        media="none" if state in (None, ConnectionState.failed, ConnectionState.closed) else str(state),
        since=seen.since,
    )
