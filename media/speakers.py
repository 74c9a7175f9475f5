"""Who is speaking, from the audio levels the core reports five times a second: pure, `now` in seconds is an argument.

Feeds `Levels` events and the choice of the loudest when there are more voices than audio slots. Based on RFC 6464
levels (0 loud … 127 silent) and their voice flag; both come from the browser and are believed only for display.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from media.types import ParticipantId

SILENCE: Final = 127
AUDIBLE_DBOV: Final = 60
"""Quieter than −60 dBov is a room's noise; more lets breathing switch speakers."""
LOUD_DBOV: Final = 40
"""Louder than −40 dBov counts without the voice flag, which not every sender sets."""
ATTACK_S: Final = 0.3
"""Heard for this long (two reports) before somebody counts as speaking: a cough does not."""
RELEASE_S: Final = 0.8
"""Speaking goes on through pauses between words."""


@dataclass
class _Voice:
    level: int = SILENCE
    heard_since: float | None = None
    heard_last: float = float("-inf")
    active: bool = False
    active_since: float = float("-inf")


class Speakers:
    """One room's voices. Callers feed `hear` with each report and `hear(())` once reports stop."""

    def __init__(self) -> None:
        self._voices: dict[ParticipantId, _Voice] = {}

    def hear(
        self, report: Iterable[tuple[ParticipantId, int, bool]], now: float
    ) -> tuple[tuple[ParticipantId, int, bool], ...]:
        """Everybody known as `(participant, level, active)`; those missing from the report are silent."""
        loud = {participant: (level, voice) for participant, level, voice in report}
        for participant in loud:
            self._voices.setdefault(participant, _Voice())
        for participant, voice in self._voices.items():
            _update(voice, *loud.get(participant, (SILENCE, False)), now)
        return tuple((participant, voice.level, voice.active) for participant, voice in self._voices.items())

    def forget(self, participant: ParticipantId) -> None:
        self._voices.pop(participant, None)

    def active(self) -> frozenset[ParticipantId]:
        return frozenset(participant for participant, voice in self._voices.items() if voice.active)

    def loudest(self) -> tuple[ParticipantId, ...]:
        """Speakers first, then the silent, each by who began most recently: the order changes only at such moments."""
        ranked = sorted(self._voices.items(), key=lambda item: (not item[1].active, -item[1].active_since))
        return tuple(participant for participant, _ in ranked)


def _update(voice: _Voice, level: int, says_voice: bool, now: float) -> None:
    voice.level = level
    if level <= (AUDIBLE_DBOV if says_voice else LOUD_DBOV):
        if voice.heard_since is None:
            voice.heard_since = now
        voice.heard_last = now
        if not voice.active and now - voice.heard_since >= ATTACK_S:
            voice.active = True
            voice.active_since = now
    elif now - voice.heard_last > RELEASE_S:
        voice.heard_since = None
        voice.active = False
