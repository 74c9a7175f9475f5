"""What templates see: plain frozen values, cut to what one reader may know.

Views build them from control's read functions (web/views/sources.py), so that a field added to a database row never
reaches a page by itself. No behaviour beyond questions a template asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta


@dataclass(frozen=True)
class Session:
    """One appointment as its client, its practitioner or an admin sees it."""

    id: str
    state: str
    starts_at: datetime
    ends_at: datetime
    opens_at: datetime
    """When the waiting room opens, as was agreed at the booking."""
    mode: str
    service_id: str
    service_name: str
    client_id: str
    client_name: str
    practitioner_id: str
    practitioner_name: str
    practitioner_zone: str
    amount_minor: int
    currency: str
    payment: str  # "held", "paid", "refunded", "free", "due" or ""
    recording_offered: bool
    payment_method: str = ""
    kept_minor: int = 0
    needs_another_way: bool = False
    """Its money is no longer, or not long enough, secure: the client is asked to pay in another way."""
    hold_expires_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""

    @property
    def minutes(self) -> int:
        return int((self.ends_at - self.starts_at) / timedelta(minutes=1))

    @property
    def is_open(self) -> bool:
        """Still to come or running: has actions of its own."""
        return self.state in {"scheduled", "confirmed", "in_progress"}

    @property
    def is_free(self) -> bool:
        return self.amount_minor == 0


@dataclass(frozen=True)
class Joining:
    """Why a session can or can't be joined now, in words for this reader."""

    can_join: bool
    reasons: tuple[tuple[str, str], ...]  # (code, sentence)
    opens_at: datetime


@dataclass(frozen=True)
class Readiness:
    """What a client has already done for a session."""

    care_agreed_at: datetime | None = None
    care_version: int | None = None
    recording_answer: str | None = None  # yes, no


@dataclass(frozen=True)
class Service:
    id: str
    name: str
    mode: str
    minutes: int
    amount_minor: int
    currency: str
    recording_offered: bool = False
    description: str = ""


@dataclass(frozen=True)
class Practitioner:
    """A public profile."""

    id: str
    name: str
    headline: str
    time_zone: str
    about: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    rating: float | None = None
    rating_count: int = 0
    next_free: datetime | None = None


@dataclass(frozen=True)
class Review:
    stars: int
    text: str
    name: str
    at: datetime


@dataclass(frozen=True)
class Slot:
    """A free start, written for one zone. `amount_minor` is this slot's own price."""

    start: datetime
    day: date
    time: str
    other: str  # "15:00 in Lisbon" when the practitioner's clock differs
    amount_minor: int
    currency: str


@dataclass(frozen=True)
class Waiting:
    """Somebody in a waiting room now."""

    session: Session
    person_id: str
    name: str
    role: str
    since: datetime
    connected: bool
    readiness: Readiness
    guest_id: str = ""


@dataclass(frozen=True)
class Recorded:
    """The session a recording was made of."""

    id: str
    client_name: str
    practitioner_name: str
    service_name: str
    starts_at: datetime


@dataclass(frozen=True)
class RecordingFile:
    id: str
    url: str
    kind: str  # media type
    size_bytes: int
    length_s: float
    offset_s: float  # where it begins in the recording


@dataclass(frozen=True)
class RecordingPart:
    """What the player shows in one tile: somebody's camera or screen, in one file or, after a rejoin, in several."""

    name: str
    view: str
    files: tuple[RecordingFile, ...]

    @property
    def has_picture(self) -> bool:
        return any(one.kind.startswith("video") for one in self.files)

    @property
    def words(self) -> str:
        return f"{self.name}, screen" if self.view == "screen" else self.name


@dataclass(frozen=True)
class ChapterMark:
    at_s: float
    title: str


@dataclass(frozen=True)
class Recording:
    id: str
    state: str  # recording, paused, finishing, ready, failed
    started_at: datetime
    length_s: float
    session: Recorded
    parts: tuple[RecordingPart, ...] = ()
    """What the player shows: the one film of everybody as soon as there is one, else everybody's own files."""
    originals: tuple[RecordingPart, ...] = ()
    chapters: tuple[ChapterMark, ...] = ()
    thumbnail_url: str = ""
    composition: str = "none"  # none, waiting, ready, cancelled, failed
    composed_share: float | None = None  # 0 to 1 while it is being made
    expires_at: datetime | None = None
    is_whole: bool = True
    is_shared: bool = False
    is_held: bool = False
    hold_reason: str = ""
    is_recovered: bool = False
    stopped_at: datetime | None = None  # the last moment that was kept
    erased: tuple[str, ...] = ()  # names of people whose part was deleted on their wish
    failure: str = ""

    @property
    def downloads(self) -> tuple[tuple[str, RecordingFile], ...]:
        """Each file by its words, the film first."""
        film = self.parts if self.composition == "ready" else ()
        return tuple((part.words, file) for part in (*film, *self.originals) for file in part.files)


@dataclass(frozen=True)
class Letter:
    """A message the outbox sent or kept."""

    id: str
    to: str
    subject: str
    state: str
    created_at: datetime
    text: str = ""
    html: str = ""
    error: str = ""


@dataclass(frozen=True)
class Wallet:
    """A balance that may pay."""

    amount_minor: int
    currency: str
