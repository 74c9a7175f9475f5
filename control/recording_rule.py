"""The rule of recording, without I/O: from what was pressed, who is in the room and who agreed, what must run now.

PRODUCT.md §6: it runs only while every person in the room, the practitioner included, has a standing yes; someone
without one pauses the whole recording; a person who refused is never stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Pressed(StrEnum):
    """What the practitioner last asked for."""

    ON = "on"
    PAUSED = "paused"
    OFF = "off"


class RecordingState(StrEnum):
    """A recording's life: the first two are open, `finishing` makes files, the others are ends.

    recording ⇄ paused → finishing → ready | failed | deleted (nothing was recorded); ready, failed → deleted
    """

    RECORDING = "recording"
    PAUSED = "paused"
    FINISHING = "finishing"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


class Composition(StrEnum):
    """What became of the one film of everybody (recording_composing.py)."""

    NONE = "none"
    """Not asked for yet, or nothing to compose."""
    WAITING = "waiting"
    READY = "ready"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the recorder has to do. `include` names the consent each person's recording rests on."""

    state: RecordingState
    include: Mapping[str, str] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    """People in the room without a standing yes."""
    reason: str | None = None


def wanted(pressed: Pressed, *, in_progress: bool, admitted: frozenset[str], standing: Mapping[str, str]) -> Wanted:
    """`standing`: person → id of their standing yes for this appointment; whoever is not in it has none."""
    if pressed is Pressed.OFF or not in_progress:
        return Wanted(RecordingState.FINISHING)
    missing = frozenset(admitted - standing.keys())
    if pressed is Pressed.PAUSED:
        return Wanted(RecordingState.PAUSED, missing=missing, reason="The practitioner has paused the recording.")
    if missing:
        return Wanted(
            RecordingState.PAUSED,
            missing=missing,
            reason="The recording waits until everybody in the room has agreed to it.",
        )
    if not admitted:
        return Wanted(RecordingState.PAUSED, reason="Nobody is in the room.")
    return Wanted(RecordingState.RECORDING, include={person: standing[person] for person in admitted})
