"""The rule of recording, without I/O: from what was pressed, who is in the room and who agreed, what must run now.

PRODUCT.md §6: it runs only while every person in the room, the practitioner included, has a standing yes; someone
without one pauses the whole recording; a person who refused is never stored. Somebody who stays behind alone is
not recorded on for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from control.language import N_


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


class Cause(StrEnum):
    """Why it does not record although the practitioner wants it to; part of signaling/PROTOCOL.md."""

    PAUSED = "paused"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    EMPTY = "empty"
    ALONE = "alone"
    UNSURE = "unsure"
    DISK_FULL = "disk_full"
    FAILED = "failed"


REASONS: Mapping[Cause, str] = {
    Cause.PAUSED: N_("The practitioner has paused the recording."),
    Cause.REFUSED: N_("Somebody in the room does not want to be recorded. It goes on when they agree or leave."),
    Cause.UNANSWERED: N_("The recording waits until everybody in the room has agreed to it."),
    Cause.EMPTY: N_("Nobody is in the room."),
    Cause.ALONE: N_("Nobody else is in the room. The recording goes on when somebody comes back."),
    Cause.UNSURE: N_("The recording waits until it is sure again that everybody has agreed."),
    Cause.DISK_FULL: N_(
        "The recording has stopped: the server's disk is full. What there is stays; the session goes on."
    ),
    Cause.FAILED: N_("The recording could not go on. What was recorded is kept; the session goes on."),
}

ALONE_FOR = timedelta(minutes=1)
"""Somebody alone is recorded for this long: a lost connection should not cut the recording, an empty chair should."""


class Shown(NamedTuple):
    """What everybody in the room is shown: "off", "recording" or "paused", and why not."""

    state: str
    reason: str | None = None
    cause: Cause | None = None


OFF = Shown("off")


def shown_for(state: str, cause: Cause | None) -> Shown:
    return Shown(state, None if cause is None else REASONS[cause], cause)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the recorder has to do. `include` names the consent each person's recording rests on."""

    state: RecordingState
    include: Mapping[str, str] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    """People in the room without a standing yes."""
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """Who is in it, and what they said. `standing`: person → id of their standing yes for this appointment."""

    admitted: frozenset[str]
    standing: Mapping[str, str]
    refused: frozenset[str] = frozenset()
    """Whose newest answer is no, or taken back; the others without a yes have not answered."""
    alone_for: timedelta = timedelta(0)
    """How long fewer than two people have been there."""


def wanted(pressed: Pressed, room: Room, *, in_progress: bool) -> Wanted:
    if pressed is Pressed.OFF or not in_progress:
        return Wanted(RecordingState.FINISHING)
    missing = frozenset(room.admitted - room.standing.keys())
    cause = _cause(pressed, room, missing)
    if cause is not None:
        return Wanted(RecordingState.PAUSED, missing=missing, cause=cause)
    return Wanted(RecordingState.RECORDING, include={person: room.standing[person] for person in room.admitted})


def _cause(pressed: Pressed, room: Room, missing: frozenset[str]) -> Cause | None:
    if pressed is Pressed.PAUSED:
        return Cause.PAUSED
    if missing:
        return Cause.REFUSED if missing & room.refused else Cause.UNANSWERED
    if not room.admitted:
        return Cause.EMPTY
    return Cause.ALONE if room.alone_for >= ALONE_FOR else None
