"""How good a person's connection is: the core's counters in, a mean opinion score and a word out. Pure.

The score is the E-model of ITU-T G.107 (06/2015) with its default values, reduced to what a packet network changes
(R. G. Cole and J. H. Rosenbluth, "Voice over IP performance monitoring", 2001): delay and loss. It rates the sound of
the worse direction as the person at this end and the one at the other would; what freezes on a screen only the page
sees, and it lowers the word, not the score. `media/rooms.py` asks the core, signaling tells the page.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from media.types import Quality

if TYPE_CHECKING:
    from media._forwarder import TransportStats

MEASURE_EVERY_S: Final = 5.0
"""How often each connection is measured. Chromium reports on sound every five seconds."""
R_DEFAULT: Final = 93.2
"""G.107 with all defaults: what is left of 100 before delay and loss (an MOS of 4.41)."""
LOSS_ROBUSTNESS: Final = 20.0
"""Bpl of G.107 §7.5: the loss in per cent that costs half of what loss can cost. G.113 has none for Opus; it gives
25.1 to G.711 with concealment. Opus conceals as well and mends single losses by FEC; lower is the careful side."""
CODEC_DELAY_MS: Final = 26.5
"""A 20 ms packet and Opus's 6.5 ms of look-ahead (RFC 6716 §2)."""
DEVICE_DELAY_MS: Final = 40.0
"""Capture and playout in both browsers; a guess, and small beside what begins to be heard at 177 ms."""
KNEE_MS: Final = 177.3
"""One-way delay from which conversation suffers (Cole and Rosenbluth, fitted to G.107's Id)."""

GOOD_MOS: Final = 4.02
"""R = 80, "satisfied" in G.107's table B.1."""
FAIR_MOS: Final = 3.10
"""R = 60; below it nearly all users are dissatisfied."""
FAIR_FROZEN, POOR_FROZEN = 0.02, 0.15
"""Share of the time a picture stood still. 0.1 s in five is seen; 0.75 s makes a conversation stop."""


class Word(StrEnum):
    """What people are told."""

    good = "good"
    fair = "fair"
    poor = "poor"


def rating(*, loss: float, one_way_ms: float) -> float:
    """The transmission rating factor R for a share of lost packets (0-1, at random) and a mouth-to-ear delay."""
    delay_impairment = 0.024 * one_way_ms + 0.11 * max(0.0, one_way_ms - KNEE_MS)
    percent = 100 * loss
    loss_impairment = 95 * percent / (percent + LOSS_ROBUSTNESS)
    return R_DEFAULT - delay_impairment - loss_impairment


def mean_opinion(r: float) -> float:
    """MOS of a rating (G.107 Annex B): 1 is bad, 4.5 the most a call can have."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    # The cubic dips under 1 for the smallest ratings.
    return max(1.0, 1 + 0.035 * r + 7e-6 * r * (r - 60) * (100 - r))


def word_for(mos: float, frozen: float) -> Word:
    """`frozen`: share of the time the picture stood still, as the receiving page saw it."""
    if mos < FAIR_MOS or frozen >= POOR_FROZEN:
        return Word.poor
    if mos < GOOD_MOS or frozen >= FAIR_FROZEN:
        return Word.fair
    return Word.good


@dataclass(slots=True)
class Gauge:
    """One connection's counters at the last measurement."""

    expected: int = 0
    missing: int = 0

    def measure(self, stats: "TransportStats") -> Quality:
        """What happened since the last call; the first covers the connection's whole life."""
        expected, missing = stats["expected_in"] - self.expected, stats["missing_in"] - self.missing
        if expected < 0:  # a stream ended and took its counts along
            expected, missing = stats["expected_in"], stats["missing_in"]
        self.expected, self.missing = stats["expected_in"], stats["missing_in"]
        # Late packets of the interval before may make it negative.
        loss_in = min(1.0, max(0, missing) / expected) if expected > 0 else 0.0
        loss_out = stats["fraction_lost_out"]
        jitter_ms, round_trip_ms = stats["jitter_in_ms"], stats["rtt_ms"]
        # Receivers hold back about two jitters to play evenly.
        one_way_ms = (round_trip_ms or 0.0) / 2 + 2 * jitter_ms + CODEC_DELAY_MS + DEVICE_DELAY_MS
        mos = mean_opinion(rating(loss=max(loss_in, loss_out), one_way_ms=one_way_ms))
        return Quality(loss_in, loss_out, jitter_ms, round_trip_ms, mos)
