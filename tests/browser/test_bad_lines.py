"""The room on a bad line, measured by `python -m benchmarks recovery` in Chromium behind real loss and a real rate."""

import asyncio
import json
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]

BACK_WITHIN_S = 5.0
VOICE_KBPS = 40
"""Opus with its repeats sends 70; with half of it missing nobody is understood."""


CASES = ("loss-1-rtt-20", "loss-5-rtt-20", "steps-rtt-20")
_measured: dict[str, dict[str, Any] | None] = {}
"""None once somebody has had it."""


async def measured(case: str) -> list[dict[str, Any]]:
    """All of them in one session, the first time; one that is asked for again is measured again."""
    if not _measured.get(case):
        cases = [one for one in CASES if one not in _measured] or [case]
        wanted = [word for one in cases for word in ("--case", one)]
        program = [sys.executable, "-m", "benchmarks", "recovery", *wanted, "--json", "-"]
        ran = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        said, _ = await ran.communicate()
        assert ran.returncode == 0
        _measured.update(json.loads(said)["cases"])
    found, _measured[case] = _measured[case], None
    assert found is not None
    phases: list[dict[str, Any]] = found["phases"]
    return phases


@pytest.mark.parametrize(
    ("case", "longest_gap_ms", "concealment"), [("loss-1-rtt-20", 150, 0.005), ("loss-5-rtt-20", 300, 0.015)]
)
async def test_lost_packets_are_hardly_seen_or_heard(case: str, longest_gap_ms: int, concealment: float) -> None:
    """The goals are 0.2 and 1 % of the speech; the rest is for a machine that runs both browsers and the server."""
    (lossy,) = await measured(case)
    for direction in ("down", "up"):
        assert lossy[direction]["longest_gap_ms"] < longest_gap_ms
        assert lossy[direction]["concealment"] < concealment


async def test_pictures_are_back_soon_after_a_sudden_drop_and_sound_never_stops() -> None:
    _wide, narrow, wide_again = await measured("steps-rtt-20")
    for direction in ("down", "up"):
        recovered = narrow["recovery_s"][direction]
        assert recovered is not None, narrow
        assert recovered < BACK_WITHIN_S, narrow
        assert narrow[direction]["audio_kbps"] > VOICE_KBPS
        assert wide_again[direction]["frames_per_second"] > 15
        assert wide_again[direction]["worst_second_concealment"] < 0.1
