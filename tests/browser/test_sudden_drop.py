"""A line that suddenly carries 300 kbit/s instead of 2 Mbit/s, both ways: sound goes on, pictures are back soon."""

import asyncio
import json
import sys

import pytest

pytestmark = [pytest.mark.alone, pytest.mark.timeout(120)]

BACK_WITHIN_S = 5.0
VOICE_KBPS = 40
"""Opus with its repeats sends 70; with half of it missing nobody is understood."""


async def test_pictures_are_back_within_five_seconds_and_sound_never_stops() -> None:
    program = [sys.executable, "-m", "benchmarks", "recovery", "--case", "steps-rtt-20", "--json", "-"]
    ran = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    said, _ = await ran.communicate()
    assert ran.returncode == 0
    _wide, narrow, wide_again = json.loads(said)["cases"]["steps-rtt-20"]["phases"]
    for direction in ("down", "up"):
        recovered = narrow["recovery_s"][direction]
        assert recovered is not None, narrow
        assert recovered < BACK_WITHIN_S, narrow
        assert narrow[direction]["audio_kbps"] > VOICE_KBPS
        assert wide_again[direction]["frames_per_second"] > 15
        assert wide_again[direction]["worst_second_concealment"] < 0.1
