"""benchmarks/recording.py, small: it says what it promises to say, and no recorded room loses what it was sent."""

import argparse
import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from benchmarks import recording
from benchmarks.load import Crowd, Window
from benchmarks.server import Server
from media import _forwarder

pytestmark = pytest.mark.timeout(240)

ROOMS = 3
PACKETS = 3_000


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    started = await Server.start(cpu=None)
    yield started
    await started.close()


async def has_received(server: Server, packets: int) -> None:
    for _ in range(1_200):
        if (await server.ask("usage"))["stats"]["packets_in"] >= packets:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{packets} packets did not come within a minute")


async def test_rooms_whose_packets_come_in_one_batch_are_recorded_whole(server: Server, tmp_path: Path) -> None:
    """While the server stands still packets of all rooms gather, and are then worked off together."""
    generator = _forwarder.LoadGenerator(cpu=None, gro=True, sending="gso")
    crowd = Crowd(server, generator)
    try:
        await crowd.grow(ROOMS, lambda _: None)
        generator.start()
        await server.ask("record", rooms=ROOMS, folder=str(tmp_path / "recordings"))
        generator.publish(True)
        for number in range(1, 11):
            os.kill(server.pid, signal.SIGSTOP)
            await asyncio.sleep(0.03)
            os.kill(server.pid, signal.SIGCONT)
            await has_received(server, number * PACKETS // 10)
        generator.publish(False)
        journals = recording.Journals(**await server.ask("stop_recording"))
        live = generator.report()
    finally:
        generator.stop()
        crowd.close()
    assert journals.kept > PACKETS / 2
    # Where the machine itself lost datagrams, nobody had them.
    assert journals.missing <= live["expected"] - live["received"]


def test_a_small_run_measures_everything(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    recording.add_options(parser)
    options = parser.parse_args(["--rooms", "2", "--seconds", "1", "--length", "2", "--folder", str(tmp_path)])
    result = recording.run(options, lambda _: None)
    measured = result.as_json()
    assert {"journal_us_per_packet", "remux_x_realtime", "compose_x_realtime", "concurrent_recordings"} <= set(measured)
    assert measured["remux_x_realtime"] > 0
    assert measured["compose_x_realtime"] > 0
    assert result.journals.kept > 0
    assert len(result.rows()) >= len(measured)
    assert list(tmp_path.iterdir()) == []


def window(*, lost: int = 0) -> Window:
    return Window(
        rooms=7,
        seconds=10.0,
        expected=1000,
        received=1000 - lost,
        delay_us_p50=100.0,
        delay_us_p99=900.0,
        generator_idle=0.5,
        checked=10,
        mismatched=0,
        cpu_s=0.2,
    )


@pytest.mark.parametrize(("lost", "missing", "sessions"), [(0, 0, 7), (1, 0, 0), (0, 1, 0)])
def test_sessions_count_as_recorded_only_without_loss(lost: int, missing: int, sessions: int) -> None:
    journals = recording.Journals(kept=900, missing=missing, bytes=1)
    result = recording.Result(window(), window(lost=lost), journals, 60.0, 0.2, 20.0)
    assert result.concurrent_recordings == sessions
    assert (result.remux_x_realtime, result.compose_x_realtime) == (300.0, 3.0)
