"""What the hub tells control about comings and goings, and what control can ask: who is present.

Listeners are called on the application's loop and must not block; they see places as control granted them.
"""

from dataclasses import dataclass
from datetime import datetime

from media.quality import Word
from media.types import Quality
from signaling.permissions import Admission, Place, Role


@dataclass(frozen=True, slots=True)
class Presence:
    """One person's session. `connected` is false while a dropped socket may still come back."""

    person_id: str
    role: Role
    place: Place
    since: datetime
    connected: bool


@dataclass(frozen=True, slots=True)
class Entered:
    """A first socket (or a new device): `admission.place` says whether into the waiting room or the room."""

    admission: Admission


@dataclass(frozen=True, slots=True)
class Admitted:
    """Was waiting and is in the room now."""

    admission: Admission


@dataclass(frozen=True, slots=True)
class SentBack:
    """Was in the room and waits again."""

    admission: Admission


@dataclass(frozen=True, slots=True)
class Left:
    """Will not come back by a resume. Reasons: left, dropped, replaced, removed, ended, shutdown."""

    admission: Admission
    reason: str
    was_connected: bool = True
    """False: the socket had been lost before, and control was told then."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One connection over the last few seconds, with what its page saw freeze meanwhile."""

    admission: Admission
    quality: Quality
    word: Word
    freezes: int
    frozen_ms: int


HubEvent = Entered | Admitted | SentBack | Left | Measured
