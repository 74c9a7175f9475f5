"""Which encoding of each track a subscriber is sent, and which encodings publishers send at all: pure rules.

Called by `media/room.py` whenever slots, sizes, speakers, estimates or recordings change. Encodings stand in the
offer's order, smallest first. In a room of two the largest is sent, and its rate follows the subscriber's path; from
three on each picture gets the encoding of the size it is shown at, as long as the subscriber's estimate carries it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from media.sharing import AUDIO_BPS

LARGEST_HEIGHT: Final = 720
"""Of the largest encoding; each smaller one is taken for half the next. Pages ask cameras for 720 lines."""
ENLARGED: Final = 1.25
"""A picture may be shown this much larger than it was encoded before the next encoding is worth its rate."""
LARGEST_BPS: Final = 1_200_000
SMALLER_RATE: Final = 0.4
"""Rate of an encoding as a share of the next larger one's."""
BASE_SHARE: Final = 0.6
"""Of an encoding's rate that is left without its upper temporal layers."""


@dataclass(frozen=True)
class Watch:
    """One filled video slot of a subscriber."""

    slot: int
    track: int
    rids: tuple[str, ...]
    """Of the track; empty without simulcast."""
    height: int | None
    """Device pixels at which the page shows it; 0 not at all, None not said."""
    is_screen: bool
    is_speaking: bool
    is_muted: bool = False

    @property
    def needs_rate(self) -> bool:
        return self.height != 0 and not self.is_muted


@dataclass(frozen=True)
class Choice:
    """What `set_layer` is told."""

    rid: str | None = None
    temporal: int | None = None
    """Highest temporal layer; None is all."""


def choose(watches: Sequence[Watch], *, people: int, voices: int, estimate_bps: int | None) -> Mapping[int, Choice]:
    """Slot → choice, for one subscriber; `people` are those in the room, the subscriber included."""
    if people <= 2:
        return {watch.slot: Choice(watch.rids[-1] if watch.rids else None) for watch in watches}
    levels = {watch.slot: _by_size(watch, len(watches)) for watch in watches}
    choices = {
        watch.slot: Choice(watch.rids[levels[watch.slot]] if watch.rids else None, 0 if watch.height == 0 else None)
        for watch in watches
    }
    if estimate_bps is None:
        return choices
    budget = estimate_bps - voices * AUDIO_BPS
    needing = [watch for watch in watches if watch.needs_rate]
    # The least important steps down first, and as far as it can, before the next does.
    for watch in sorted(needing, key=_importance):
        while watch.rids and _rate(needing, choices) > budget and levels[watch.slot] > 0:
            levels[watch.slot] -= 1
            choices[watch.slot] = Choice(watch.rids[levels[watch.slot]])
        if _rate(needing, choices) > budget:
            choices[watch.slot] = replace(choices[watch.slot], temporal=0)
    return choices


def wanted_rids(rids: tuple[str, ...], chosen: Iterable[str | None], *, people: int, recorded: bool) -> tuple[str, ...]:
    """The encodings a publisher is to send, in the offer's order, for the choices of those who see it."""
    if not rids:
        return ()
    wanted = set(chosen) if people > 2 else {rids[-1]}
    if recorded:
        wanted.add(rids[-1])
    return tuple(rid for rid in rids if rid in wanted)


def _by_size(watch: Watch, pictures: int) -> int:
    """Position among the track's encodings."""
    largest = max(0, len(watch.rids) - 1)
    if watch.height is None:
        # Not said: a grid of few pictures shows them large.
        return largest if watch.is_speaking or pictures == 1 else max(0, largest - 1)
    position = 0
    while position < largest and watch.height > (LARGEST_HEIGHT >> (largest - position)) * ENLARGED:
        position += 1
    return position


def _importance(watch: Watch) -> tuple[bool, bool, int]:
    return watch.is_screen, watch.is_speaking, watch.height or 0


def _rate(watches: Sequence[Watch], choices: Mapping[int, Choice]) -> float:
    total = 0.0
    for watch in watches:
        choice = choices[watch.slot]
        below = len(watch.rids) - 1 - watch.rids.index(choice.rid) if choice.rid in watch.rids else 0
        total += LARGEST_BPS * SMALLER_RATE**below * (1.0 if choice.temporal is None else BASE_SHARE)
    return total
