"""Which track fills which slot of one subscriber: a pure rule over plain data.

Called by `media/room.py` whenever tracks, slots or the loudest speakers change. Fills that still hold are never moved
(a move costs a keyframe and a visible cut). A person's microphone and camera go to slots of equal column, which the
browser plays in step; so do a screen and its sound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from media.types import Kind, ParticipantId, TrackSource

MAX_AUDIO_SLOTS: Final = 6
"""The loudest; more voices at once are not understood and cost every subscriber their share."""
MAX_VIDEO_SLOTS: Final = 24


@dataclass(frozen=True)
class SlotPlace:
    slot: int
    kind: Kind
    column: int


@dataclass(frozen=True)
class Candidate:
    """A track that the subscriber could be sent."""

    track: int
    publisher: ParticipantId
    source: TrackSource

    @property
    def unit(self) -> tuple[ParticipantId, bool]:
        """What belongs together in time: a person's microphone and camera, or their screen and its sound."""
        return self.publisher, self.source in (TrackSource.screen, TrackSource.screen_audio)


@dataclass(frozen=True)
class Allocation:
    fills: Mapping[int, int | None]
    """Slot → track; every slot is named."""
    audio_needed: int
    video_needed: int
    """Slots that would hold everything there is, within the bounds; at least one of each."""


def allocate(
    slots: Sequence[SlotPlace],
    candidates: Sequence[Candidate],
    current: Mapping[int, int | None],
    loudest: Sequence[ParticipantId] = (),
) -> Allocation:
    """`candidates` in the order of publication; `loudest` first the one who most deserves an audio slot."""
    audio, video = _shortlist(candidates, current, loudest)
    wanted = {candidate.track: candidate for candidate in (*video, *audio)}
    fills: dict[int, int | None] = {place.slot: None for place in slots}
    for slot, track in current.items():
        if slot in fills and track in wanted:
            fills[slot] = track
            del wanted[track]
    units = {place.slot: _unit_in(place.slot, fills, candidates) for place in slots}
    for candidate in wanted.values():
        place = _best_place(candidate, slots, units)
        if place is not None:
            fills[place.slot] = candidate.track
            units[place.slot] = candidate.unit
    return Allocation(fills, max(1, len(audio)), max(1, len(video)))


def _shortlist(
    candidates: Sequence[Candidate], current: Mapping[int, int | None], loudest: Sequence[ParticipantId]
) -> tuple[list[Candidate], list[Candidate]]:
    rank = {participant: position for position, participant in enumerate(loudest)}
    held = set(current.values())

    def by_loudness(candidate: Candidate) -> tuple[bool, int, bool]:
        shared = candidate.source is TrackSource.screen_audio
        return not shared, rank.get(candidate.publisher, len(rank)), candidate.track not in held

    audio = sorted((c for c in candidates if c.source.kind == "audio"), key=by_loudness)[:MAX_AUDIO_SLOTS]
    video = sorted(
        (c for c in candidates if c.source.kind == "video"), key=lambda c: c.source is not TrackSource.screen
    )[:MAX_VIDEO_SLOTS]
    return audio, sorted(video, key=candidates.index)


def _unit_in(
    slot: int, fills: Mapping[int, int | None], candidates: Sequence[Candidate]
) -> tuple[ParticipantId, bool] | None:
    return next((candidate.unit for candidate in candidates if candidate.track == fills[slot]), None)


def _best_place(
    candidate: Candidate,
    slots: Sequence[SlotPlace],
    units: Mapping[int, tuple[ParticipantId, bool] | None],
) -> SlotPlace | None:
    """Beside its sibling if that slot is free, else a column with no stranger in it, else any free slot."""
    columns: dict[int, set[tuple[ParticipantId, bool]]] = {}
    for place in slots:
        unit = units[place.slot]
        if unit is not None:
            columns.setdefault(place.column, set()).add(unit)
    free = [place for place in slots if place.kind == candidate.source.kind and units[place.slot] is None]

    def fitness(place: SlotPlace) -> tuple[bool, bool, int]:
        inside = columns.get(place.column, set())
        return candidate.unit not in inside, bool(inside - {candidate.unit}), place.column

    return min(free, key=fitness, default=None)
