"""How one subscriber's estimate is shared among its slots, and what that asks of publishers: pure rules, plain data.

Called by `media/room.py` whenever an estimate, a slot's fill or the speaker changes. Sound comes first, then a screen,
then the camera of who speaks, then the other cameras (DESIGN.md §2, Rate). What does not get the least that is worth
seeing is paused, the last in that order first, and comes back when there is clearly more. An estimate that is no limit
of the path is never shared out: then nothing is limited.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from media.types import TrackSource

AUDIO_BPS: Final = 80_000
"""One voice: Opus with RED and headers. Less would let video push sound aside."""
REPAIR_SHARE: Final = 0.05
"""Of the estimate, left for repeats of lost packets: they use the same path."""
LEAST_BPS: Final[Mapping[TrackSource, int]] = {TrackSource.camera: 60_000, TrackSource.screen: 100_000}
"""Under this a picture is a row of stills; browsers stop encoding a camera at 30 kbit/s."""
ENOUGH_BPS: Final[Mapping[TrackSource, int]] = {TrackSource.camera: 2_500_000, TrackSource.screen: 4_000_000}
"""What browsers send at most; more given to one would only be kept from others."""
RETURN_FACTOR: Final = 1.5
"""A paused picture needs so much more than the least to come back: else it would come and go."""
CAP_STEP: Final = 1.1
"""Caps grow in steps of this factor: each change makes an encoder adjust."""


@dataclass(frozen=True)
class Want:
    """One filled slot of a subscriber. Muted tracks need nothing and are left out."""

    slot: int
    source: TrackSource
    speaking: bool


def share(estimate_bps: int, wants: Sequence[Want], paused: Collection[int]) -> dict[int, int]:
    """Bits per second for each video slot of `wants`, 0: paused; `paused` are the slots that are so now."""
    left = int(estimate_bps * (1 - REPAIR_SHARE)) - AUDIO_BPS * sum(want.source.kind == "audio" for want in wants)
    ranked = sorted((want for want in wants if want.source.kind == "video"), key=_rank)
    shares: dict[int, int] = {}
    for want in ranked:
        least = LEAST_BPS[want.source]
        fits = left >= least * (RETURN_FACTOR if want.slot in paused else 1)
        shares[want.slot] = least if fits else 0
        left -= shares[want.slot]
    shown = [want for want in ranked if shares[want.slot]]
    for position, want in enumerate(shown):
        equals = sum(_rank(other) == _rank(want) for other in shown[position:])
        more = min(max(0, left) // equals, ENOUGH_BPS[want.source] - shares[want.slot])
        shares[want.slot] += more
        left -= more
    return shares


def _rank(want: Want) -> int:
    if want.source is TrackSource.screen:
        return 0
    return 1 if want.speaking else 2


def cap(limits: Sequence[tuple[TrackSource, int | None]], sounds: int) -> int | None:
    """A publisher's cap from the limit of each of its videos (None: none is known) and the number of its sounds.

    Browsers count everything they send against it, and divide it among their videos themselves.
    """
    if all(limit is None for _, limit in limits):
        return None
    return AUDIO_BPS * sounds + sum(ENOUGH_BPS[source] if bps is None else bps for source, bps in limits)


def narrowest(source: TrackSource, shares: Sequence[int | None]) -> int | None:
    """Of the shares that still give a picture; while all are paused the least that would."""
    known = [bps for bps in shares if bps is not None]
    return min((bps for bps in known if bps), default=LEAST_BPS[source] if known else None)


def next_cap(present: int | None, wanted: int | None) -> int | None:
    """At once when it falls or ends, by steps when it grows."""
    if present is None or wanted is None or wanted < present or wanted >= present * CAP_STEP:
        return wanted
    return present
