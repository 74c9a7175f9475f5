"""What a person saw and heard over a stretch of time, from the times of decoded frames and samples of getStats.

Pure: lists in, numbers out. Times are wall clock in seconds. A freeze is a gap between two decoded frames longer
than `FREEZE_S`; concealment leaves out silence that Opus does not send (getStats' `silentConcealedSamples`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

FREEZE_S: Final = 0.15
"""Three and a half pictures at 24 fps: what is shorter nobody calls a freeze."""
STEADY_S: Final = 1.0
STEADY_GAP_S: Final = 0.3
RISEN_SHARE: Final = 0.8


@dataclass(frozen=True)
class Sample:
    """Counters of one page at one time (recovery.js)."""

    at: float
    video_bytes_in: int
    video_bytes_out: int
    audio_bytes_in: int
    heard: int
    concealed: int
    freezes: int
    nacks: int
    plis: int
    target_bps: float
    rtt_ms: float | None


def read_sample(plain: dict[str, Any]) -> Sample:
    return Sample(
        at=plain["at"] / 1000,
        video_bytes_in=plain["videoBytesIn"],
        video_bytes_out=plain["videoBytesOut"],
        audio_bytes_in=plain["audioBytesIn"],
        heard=plain["heard"],
        concealed=plain["concealed"] - plain["silent"],
        freezes=plain["freezes"],
        nacks=plain["nacks"],
        plis=plain["plis"],
        target_bps=plain["targetBps"],
        rtt_ms=plain["rttMs"],
    )


@dataclass(frozen=True)
class Line:
    """One direction over one stretch."""

    frames_per_second: float
    longest_gap_ms: float
    """Between two decoded frames, or to the ends of the stretch."""
    freezes: int
    """Gaps over 150 ms."""
    browser_freezes: int
    """getStats' freezeCount."""
    concealment: float
    """Share of heard samples that were made up."""
    worst_second_concealment: float
    audio_kbps: float
    sent_kbps: float
    """Video as sent by the other page, RTP headers and retransmissions included."""
    received_kbps: float
    nacks: int
    plis: int
    rtt_ms: float | None
    """Median of what the receiving page's ICE measured."""

    def as_json(self) -> dict[str, Any]:
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def gaps(frames: Sequence[float], begin: float, end: float) -> list[float]:
    inside = [at for at in frames if begin <= at <= end]
    return [late - early for early, late in pairwise([begin, *inside, end])]


def summarize(
    frames: Sequence[float], samples: Sequence[Sample], sender: Sequence[Sample], begin: float, end: float
) -> Line:
    """Of the stretch [begin, end]. Raises RuntimeError when a page has not been sampled in it."""
    mine, theirs = within(samples, begin, end), within(sender, begin, end)
    first, last = mine[0], mine[-1]
    seconds = last.at - first.at
    all_gaps = gaps(frames, begin, end)
    round_trips = sorted(each.rtt_ms for each in mine if each.rtt_ms is not None)
    return Line(
        frames_per_second=sum(begin <= at <= end for at in frames) / (end - begin),
        longest_gap_ms=max(all_gaps) * 1000,
        freezes=sum(gap > FREEZE_S for gap in all_gaps),
        browser_freezes=last.freezes - first.freezes,
        concealment=_share(first, last),
        worst_second_concealment=max(_share(*pair) for pair in _seconds(mine)),
        audio_kbps=(last.audio_bytes_in - first.audio_bytes_in) * 8 / 1000 / seconds,
        sent_kbps=(theirs[-1].video_bytes_out - theirs[0].video_bytes_out) * 8 / 1000 / (theirs[-1].at - theirs[0].at),
        received_kbps=(last.video_bytes_in - first.video_bytes_in) * 8 / 1000 / seconds,
        nacks=last.nacks - first.nacks,
        plis=last.plis - first.plis,
        rtt_ms=round_trips[len(round_trips) // 2] if round_trips else None,
    )


def within(samples: Sequence[Sample], begin: float, end: float) -> list[Sample]:
    found = [each for each in samples if begin <= each.at <= end]
    if len(found) < 2:
        raise RuntimeError("a page was not sampled: it has ended, or the machine is too busy to measure on")
    return found


def _share(first: Sample, last: Sample) -> float:
    heard = last.heard - first.heard
    return (last.concealed - first.concealed) / heard if heard > 0 else 1.0


def _seconds(samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Pairs about a second apart; the whole stretch when it is shorter."""
    step = 5
    return list(zip(samples, samples[step:], strict=False)) or [(samples[0], samples[-1])]


def recovery_s(frames: Sequence[float], change: float, end: float) -> float | None:
    """From a change of the line until pictures come steadily (no gap over 300 ms for a second); None: not by `end`."""
    since = change
    for early, late in pairwise([change, *(at for at in frames if change <= at <= end), end]):
        if late - early > STEADY_GAP_S:
            since = late
        if late - since >= STEADY_S:
            return since - change
    return None


def rates_kbps(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """(time, received video in kbit/s) over a second each."""
    return [
        (late.at, (late.video_bytes_in - early.video_bytes_in) * 8 / 1000 / (late.at - early.at))
        for early, late in _seconds(samples)
    ]


def rise_s(samples: Sequence[Sample], change: float, wanted_kbps: float) -> float | None:
    """From a change until the received rate is back at 80 % of `wanted_kbps`; None: not in these samples."""
    for at, kbps in rates_kbps([each for each in samples if each.at >= change]):
        if kbps >= RISEN_SHARE * wanted_kbps:
            return at - change
    return None
