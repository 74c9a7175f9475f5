"""What recording costs: the journal by packet, finishing and composing by the length of a session, sessions at once.

Live: rooms of two under the native load (benchmarks/load.py), measured first as they are and then with every person of
every room recorded to the disk; the difference in the server's CPU by recorded packet is the journal's cost, sealing,
writing and syncing included. `concurrent_recordings` is the number of rooms in which then nothing was lost, neither in
the live path nor in the journals, which are read again (0 if something was). Afterwards: a session of two people in VP8
and Opus, made here, is finished without decoding and composed into one picture, each in this process on one core, and
timed against its own length.
"""

import argparse
import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np

from benchmarks import charts
from benchmarks.load import Crowd, Window
from benchmarks.server import Server
from media import _forwarder
from recorder.compose import compose
from recorder.finish import finish
from recorder.storage import Shelf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tests.recorder.studio import Packet

SUMMARY = "what recording costs, live and afterwards"
GOAL_ROOMS: Final = 100
GOAL_JOURNAL_US: Final = 3.0
GOAL_REMUX: Final = 200.0
FPS: Final = 24
WIDTH, HEIGHT = 640, 480
BIT_RATE: Final = 1_000_000
LOOP_S: Final = 10
"""So much is encoded; longer sessions repeat it, each turn beginning with a keyframe."""
PAYLOAD_BYTES: Final = 1_100
LIVE_LEAST_S: Final = 120.0
LIVE_ROOM_S: Final = 2.0
"""The live part may take so long, and so much more for each room and each measured second; then it is given up."""


@dataclass(frozen=True)
class Journals:
    """What was on the disk when recording had stopped."""

    kept: int
    missing: int
    bytes: int


@dataclass(frozen=True)
class Result:
    plain: Window
    recorded: Window
    journals: Journals
    length_s: float
    finish_s: float
    compose_s: float

    @property
    def title(self) -> str:
        return f"recording: {self.recorded.rooms} sessions at once; {self.length_s:.0f} s of two people afterwards"

    @property
    def journal_us_per_packet(self) -> float:
        """Every packet that is expected by the other person is also journalled."""
        more = self.recorded.cores - self.plain.cores
        return more * 1e6 * self.recorded.seconds / max(self.recorded.expected, 1)

    @property
    def concurrent_recordings(self) -> int:
        is_whole = self.recorded.loss == 0 and self.journals.missing == 0 and self.journals.kept > 0
        return self.recorded.rooms if is_whole else 0

    @property
    def remux_x_realtime(self) -> float:
        return self.length_s / self.finish_s

    @property
    def compose_x_realtime(self) -> float:
        return self.length_s / self.compose_s

    def as_json(self) -> dict[str, Any]:
        return {
            "journal_us_per_packet": round(self.journal_us_per_packet, 3),
            "remux_x_realtime": round(self.remux_x_realtime, 1),
            "compose_x_realtime": round(self.compose_x_realtime, 2),
            "concurrent_recordings": self.concurrent_recordings,
            "live_loss": self.recorded.loss,
            "journals": vars(self.journals),
            "delay_ms_p99": round(self.recorded.delay_us_p99 / 1000, 3),
            "server_cores": {"plain": round(self.plain.cores, 4), "recorded": round(self.recorded.cores, 4)},
        }

    def rows(self) -> list[tuple[str, str]]:
        plain, recorded = self.plain, self.recorded
        return [
            ("sessions recorded at once without loss", f"{self.concurrent_recordings} (goal {GOAL_ROOMS})"),
            ("journal, CPU per packet", f"{self.journal_us_per_packet:.2f} µs (goal under {GOAL_JOURNAL_US:.0f})"),
            ("live loss, plain / recorded", f"{plain.loss:.6f} / {recorded.loss:.6f}"),
            ("forwarding p99, plain / recorded", f"{plain.delay_us_p99:.0f} / {recorded.delay_us_p99:.0f} µs"),
            ("server, cores, plain / recorded", f"{plain.cores:.3f} / {recorded.cores:.3f}"),
            ("in the journals", f"{self.journals.kept} packets, {self.journals.bytes / 1e6:.1f} MB"),
            ("missing in the journals", str(self.journals.missing)),
            ("finishing without decoding", f"{self.remux_x_realtime:.0f} × real time (goal over {GOAL_REMUX:.0f})"),
            ("composing 1280 × 720 on one core", f"{self.compose_x_realtime:.1f} × real time"),
            ("generator idle", f"{recorded.generator_idle:.0%}"),
        ]

    def draw(self, figure: "Figure") -> None:
        cost, pace = figure.subplots(1, 2)
        charts.bars(cost, ["as they are", "recorded"], {"cores": [self.plain.cores, self.recorded.cores]})
        cost.set_ylabel(f"cores of the server, {self.recorded.rooms} rooms")
        charts.bars(
            pace,
            ["finishing", "composing"],
            {"× real time": [self.remux_x_realtime, self.compose_x_realtime]},
            number="{:.1f}",
        )
        pace.set_yscale("log")
        pace.set_ylabel("times real time, one core")
        charts.goal(pace, GOAL_REMUX, f"finishing over {GOAL_REMUX:.0f}")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rooms", type=int, default=GOAL_ROOMS, metavar="N", help="sessions recorded at once")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="length of each measured window")
    parser.add_argument("--length", type=int, default=60, metavar="S", help="of the session that is finished, composed")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="on the disk that is recorded to (some 4 MB a room)")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    with tempfile.TemporaryDirectory(prefix="holdspace-bench-", dir=options.folder) as folder:
        live = asyncio.run(_live(options.rooms, options.seconds, Path(folder) / "live", tell))
        afterwards = _afterwards(Path(folder) / "later", options.length, tell)
    return Result(*live, *afterwards)


async def _live(
    rooms: int, seconds: float, folder: Path, tell: Callable[[str], None]
) -> tuple[Window, Window, Journals]:
    """Raises RuntimeError when a participant cannot connect, or the recorder refuses; TimeoutError."""
    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, load_cpu = (cpus[0], cpus[-1]) if len(cpus) > 1 else (None, None)
    server = await Server.start(cpu=server_cpu)
    generator = _forwarder.LoadGenerator(cpu=load_cpu, gro=True, sending="gso")
    crowd = Crowd(server, generator)
    try:
        async with asyncio.timeout(LIVE_LEAST_S + LIVE_ROOM_S * rooms + 2 * seconds):
            await crowd.grow(rooms, tell)
            generator.start()
            generator.publish(True)
            tell(f"{rooms} rooms: as they are")
            plain = await crowd.measure(seconds)
            await server.ask("record", rooms=rooms, folder=str(folder))
            tell(f"{rooms} rooms: recorded")
            recorded = await crowd.measure(seconds)
            generator.publish(False)
            return plain, recorded, Journals(**await server.ask("stop_recording"))
    finally:
        generator.stop()
        crowd.close()
        await server.close()


def _afterwards(root: Path, length_s: int, tell: Callable[[str], None]) -> tuple[float, float, float]:
    """(length of the session as recorded, seconds to finish, seconds to compose)."""
    from tests.recorder import studio  # writes journals from their layout, independently of the core

    shelf = Shelf(root, "bench")
    shelf.create()
    keys = {key_id: studio.key(key_id) for key_id in range(3)}
    tell("making a session")
    people = [(1, "amara"), (2, "mina")]
    cameras = [studio.Camera(tap=key_id, key_id=key_id) for key_id, _ in people]
    sounds = [studio.Camera(tap=10 + key_id, key_id=key_id) for key_id, _ in people]
    taps = [*((one, "camera") for one in cameras), *((one, "microphone") for one in sounds)]
    frames = _encoded()
    streams = [*(_video(one, frames, length_s) for one in cameras), *(studio.audio(one, length_s) for one in sounds)]
    packets = sorted(itertools.chain(*streams), key=lambda one: one.arrival_us)
    studio.write_journal(shelf.journal_path, [*studio.prologue(*taps, names=dict(people)), *packets])
    tell("finishing")
    began = time.perf_counter()
    manifest = finish(root, "bench", keys)
    finish_s = time.perf_counter() - began
    shelf.write_manifest(manifest, keys[0])
    began = time.perf_counter()
    compose(root, "bench", keys, lambda share: tell(f"composing {share:.0%}"))
    return manifest["duration_ms"] / 1000, finish_s, time.perf_counter() - began


def _encoded() -> list[bytes]:
    """`LOOP_S` of a moving, grainy picture in VP8."""
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)  # noqa: S101  for the type
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.bit_rate = Fraction(1, FPS), Fraction(FPS), BIT_RATE
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "g": str(FPS * LOOP_S)}
    dice = np.random.default_rng(1)
    grain = dice.integers(60, 190, (HEIGHT * 3 // 2, WIDTH * 2), np.uint8)
    smooth = (grain[:, :-2].astype(np.uint16) + grain[:, 1:-1] + grain[:, 2:]) // 3
    frames: list[bytes] = []
    for number in range(FPS * LOOP_S):
        at = number * 2 % (WIDTH - 4)
        picture = np.ascontiguousarray(smooth[:, at : at + WIDTH].astype(np.uint8))
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        frames.extend(bytes(packet) for packet in encoder.encode(frame))
    return [*frames, *(bytes(packet) for packet in encoder.encode(None))]


def _video(camera: Any, frames: Sequence[bytes], length_s: int) -> Iterator["Packet"]:
    from tests.recorder import studio

    seq = camera.first_seq
    for number, frame in zip(range(length_s * FPS), itertools.cycle(frames), strict=False):
        ts = camera.first_ts + number * 90_000 // FPS
        captured_us = camera.begin_us + number * 1_000_000 // FPS
        parts = studio.payloads("vp8", frame, number, PAYLOAD_BYTES)
        for at, part in enumerate(parts):
            packet = studio.rtp(96, seq, ts, part, marker=at == len(parts) - 1)
            yield studio.Packet(1, 1, camera.tap, captured_us + camera.delay_us + at * 50, packet, camera.key_id)
            seq += 1
        if number % FPS == FPS // 2:
            yield studio.report(camera, captured_us, ts, captured_us)
