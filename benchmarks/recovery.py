"""How a session feels on a bad line: real Chromium behind loss, delay and a narrow rate (`--case` picks one, ≈ 25 s).

A practitioner on a good line and a client behind a bad one (badline.py) see and hear each other through the room page.
`down` is what the client sees and hears, `up` what reaches the practitioner; both directions are bad alike. The camera
is a moving, noisy picture that fills 2 Mbit/s, the microphones hear speech.

JSON: `cases.NAME` = `loss rtt_ms jitter_ms`, `phases` (a list; one phase but for `steps-…`) each with `rate_kbps
seconds`, `down` and `up` = {frames_per_second, longest_gap_ms, freezes (gaps > 150 ms), browser_freezes (getStats),
concealment, worst_second_concealment (shares of heard samples, silence left out), audio_kbps, sent_kbps, received_kbps
(video), nacks, plis, rtt_ms}, `recovery_s` {down, up} (after the phase's begin until pictures come steadily: no gap
over 300 ms for a second; null: not within the phase), `rise_s` {down, up} (until 80 % of the first phase's rate; only
in a last phase that widens the line).
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import charts, namespace
from benchmarks.badline import RELAY_IP, SERVER_IP, BadLine, Conditions, bad_line
from benchmarks.line import Line, Sample, rates_kbps, read_sample, recovery_s, rise_s, summarize
from benchmarks.practice import CHROMIUM, FLAGS, book_session, serving

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from playwright.async_api import Browser, Page, Playwright

PROBE: Final = Path(__file__).with_name("recovery.js")
PAGES_PORT: Final = 8080
MEDIA_PORT: Final = 46_000
"""Any will do: the namespaces are our own."""
PICTURE_S: Final = 30
SETTLE_S: Final = 4.0
"""Between the first picture, or a case before, and the measured stretch: estimates are up again."""
VOICES: Final = {
    "amara": "When did you first notice that the evenings were the hard part of the day? What did you do about it? "
    "Take your time. You said that walking helps; tell me how far you go, and whether anybody comes along.",
    "mina": "I think it was in spring, when work slowed down and there was more time to think. At first I only slept "
    "badly. Then I stopped calling people back, because I had nothing to tell them, and that made it worse.",
}


@dataclass(frozen=True)
class Case:
    line: Conditions
    rates: tuple[tuple[int | None, float], ...] = ()
    """(kbit/s, seconds) one after the other; empty: as wide as it is, for the time asked for."""


CASES: Final[dict[str, Case]] = {
    **{f"loss-{loss}-rtt-{rtt}": Case(Conditions(loss / 100, rtt)) for rtt in (20, 150) for loss in (0, 1, 5, 10)},
    "jitter-30-rtt-50": Case(Conditions(rtt_ms=50, jitter_ms=30)),
    **{f"steps-rtt-{rtt}": Case(Conditions(rtt_ms=rtt), ((2_000, 6.0), (300, 8.0), (2_000, 8.0))) for rtt in (20, 150)},
}


@dataclass(frozen=True)
class Phase:
    began: float
    rate_kbps: int | None
    seconds: float
    directions: dict[str, Line]
    """`down` and `up`."""
    recovery_s: dict[str, float | None]
    rise_s: dict[str, float | None]

    def as_json(self) -> dict[str, Any]:
        return {
            "rate_kbps": self.rate_kbps,
            "seconds": self.seconds,
            **{name: line.as_json() for name, line in self.directions.items()},
            "recovery_s": self.recovery_s,
            **({"rise_s": self.rise_s} if self.rise_s else {}),
        }


@dataclass(frozen=True)
class Result:
    cases: dict[str, list[Phase]]
    traces: "dict[str, Trace]"
    """`down`: of the client's page, `up`: of the practitioner's; all cases one after the other."""

    @property
    def title(self) -> str:
        return "recovery: Chromium to Chromium through the server, one of them on a bad line"

    def as_json(self) -> dict[str, Any]:
        def one(name: str) -> dict[str, Any]:
            line = CASES[name].line
            phases = [phase.as_json() for phase in self.cases[name]]
            return {"loss": line.loss, "rtt_ms": line.rtt_ms, "jitter_ms": line.jitter_ms, "phases": phases}

        return {"cases": {name: one(name) for name in self.cases}}

    def rows(self) -> list[tuple[str, str]]:
        rows = [("case", "direction: longest gap, freezes > 150 ms, concealed speech, video received / sent")]
        for name, phases in self.cases.items():
            for phase in phases:
                title = f"{name}, {phase.rate_kbps} kbit/s" if phase.rate_kbps else name
                for direction, line in phase.directions.items():
                    rows.append((title, _in_words(direction, line, phase)))
        return rows

    def draw(self, figure: "Figure") -> None:
        stepped = {name: phases for name, phases in self.cases.items() if len(phases) > 1}
        plain = {name: phases[0] for name, phases in self.cases.items() if len(phases) == 1}
        figure.set_size_inches(9, 3.2 * (2 * bool(plain) + len(stepped)))
        places = iter(figure.subplots(2 * bool(plain) + len(stepped), 1, squeeze=False)[:, 0])
        if plain:
            _draw_bars(
                next(places), plain, "longest gap between pictures, ms", lambda line: line.longest_gap_ms, "{:.0f}"
            )
            _draw_bars(next(places), plain, "concealed speech, %", lambda line: 100 * line.concealment, "{:.2f}")
        for name, phases in stepped.items():
            self._draw_steps(next(places), name, phases)

    def _draw_steps(self, axes: "Axes", name: str, phases: list[Phase]) -> None:
        began, ended = phases[0].began, phases[-1].began + phases[-1].seconds
        limits = [phase.rate_kbps or 0 for phase in phases]
        times = [phase.began - began for phase in phases]
        axes.step([*times, ended - began], [*limits, limits[-1]], where="post", color=charts.GOAL, linestyle="--")
        for (direction, trace), color in zip(self.traces.items(), (charts.OURS, charts.THEIRS), strict=True):
            points = rates_kbps([each for each in trace.samples if began <= each.at <= ended])
            axes.plot([at - began for at, _ in points], [kbps for _, kbps in points], color=color, label=direction)
            frames = [at - began for at in trace.frames if began <= at <= ended]
            height = -100 if direction == "down" else -180
            axes.plot(frames, [height] * len(frames), "|", color=color, markersize=4)
        axes.set_title(f"{name}: video received (kbit/s) under the line's rate; a tick per decoded picture", fontsize=9)
        axes.set_xlabel("s")
        axes.legend(frameon=False, fontsize=8)


def _draw_bars(axes: "Axes", phases: dict[str, Phase], title: str, value: Callable[[Line], float], number: str) -> None:
    series = {name: [value(phase.directions[name]) for phase in phases.values()] for name in ("down", "up")}
    charts.bars(axes, list(phases), series, number=number, rotate=True)
    axes.set_title(title, fontsize=9)


def _in_words(direction: str, line: Line, phase: Phase) -> str:
    recovered = phase.recovery_s[direction]
    words = [
        f"{direction:<4} {line.longest_gap_ms:5.0f} ms {line.freezes:3d}",
        f"{line.concealment:7.2%} (worst second {line.worst_second_concealment:.0%})",
        f"{line.received_kbps:5.0f} / {line.sent_kbps:.0f} kbit/s, {line.frames_per_second:.1f} fps",
    ]
    if phase.rate_kbps:
        words.append(f"steady after {recovered:.1f} s" if recovered is not None else "never steady")
    if phase.rise_s:
        risen = phase.rise_s[direction]
        words.append(f"80 % of the rate after {risen:.1f} s" if risen is not None else "rate not back")
    return ", ".join(words)


class Trace:
    """What one page reported, as it came in."""

    def __init__(self, page: "Page") -> None:
        self._page = page
        self.frames: list[float] = []
        self.samples: list[Sample] = []

    async def read(self) -> None:
        taken = await self._page.evaluate("window.recovery.take()")
        self.frames += [at / 1000 for at in taken["frames"]]
        self.samples += [read_sample(each) for each in taken["samples"]]

    async def wait_for_picture(self) -> None:
        for _ in range(PICTURE_S * 10):
            if await self._page.evaluate("window.recovery.decoded()") > 0:
                return
            await asyncio.sleep(0.1)
        raise RuntimeError(f"no picture within {PICTURE_S} s of the join")


SUMMARY = "freezes, broken sound and recovery on a bad line, in Chromium"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this one; may be repeated")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="length of a case without rate steps")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> Result:
    return asyncio.run(measure(options.case or list(CASES), options.seconds, tell))


async def measure(names: list[str], seconds: float, tell: Callable[[str], None]) -> Result:
    """Changes this process into another network namespace. Raises namespace.NoRight, RuntimeError."""
    namespace.enter_new("nft", "tc", "nsenter", "espeak-ng", "ffmpeg")
    cases: dict[str, list[Phase]] = {}
    async with _session(tell) as (line, client, practitioner):
        for name in names:
            tell(f"{name}: {len(cases) + 1} of {len(names)}")
            cases[name] = await _run_case(CASES[name], seconds, line, {"down": client, "up": practitioner})
    return Result(cases, {"down": client, "up": practitioner})


async def _run_case(case: Case, seconds: float, line: BadLine, traces: dict[str, Trace]) -> list[Phase]:
    line.set(Conditions())
    await asyncio.sleep(SETTLE_S / 2)
    rates = case.rates or ((None, seconds),)
    stretches = []
    for number, (rate, length) in enumerate(rates):
        line.set(Conditions(case.line.loss, case.line.rtt_ms, case.line.jitter_ms, rate))
        if number == 0:
            await asyncio.sleep(SETTLE_S / 2)
        begin = time.time()
        await asyncio.sleep(length)
        stretches.append((rate, begin, time.time()))
    for trace in traces.values():
        await trace.read()
    return [_phase(rate, begin, end, traces, stretches[0]) for rate, begin, end in stretches]


def _phase(
    rate: int | None, begin: float, end: float, traces: dict[str, Trace], first: tuple[int | None, float, float]
) -> Phase:
    senders = {"down": traces["up"].samples, "up": traces["down"].samples}
    directions, recoveries, rises = {}, {}, {}
    for name, trace in traces.items():
        directions[name] = summarize(trace.frames, trace.samples, senders[name], begin, end)
        recoveries[name] = recovery_s(trace.frames, begin, end)
        if first[1] < begin and rate == first[0]:
            before = summarize(trace.frames, trace.samples, senders[name], first[1], first[2])
            samples = [each for each in trace.samples if each.at <= end]
            rises[name] = rise_s(samples, begin, before.received_kbps)
    return Phase(begin, rate, round(end - begin, 2), directions, recoveries, rises)


@asynccontextmanager
async def _session(tell: Callable[[str], None]) -> AsyncIterator[tuple[BadLine, Trace, Trace]]:
    """Line, the client behind it, the practitioner; both see the other."""
    from playwright.async_api import async_playwright  # a test dependency: other benchmarks do without it

    settings = {
        "HOLDSPACE_SERVER__PORT": str(PAGES_PORT),
        "HOLDSPACE_MEDIA__UDP_PORT": str(MEDIA_PORT),
        "HOLDSPACE_MEDIA__THREADS": "1",
        "HOLDSPACE_MEDIA__BIND": SERVER_IP,
        "HOLDSPACE_MEDIA__ADVERTISE": f'{{ "{SERVER_IP}" = "{RELAY_IP}" }}',
        "HOLDSPACE_MEDIA__DEVELOPMENT": "false",
    }
    tell("camera, speech, server, browsers")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await asyncio.to_thread(_make_media, folder)
        async with (
            bad_line(PAGES_PORT, MEDIA_PORT) as line,
            serving(folder, settings) as url,
            async_playwright() as driver,
        ):
            near = await _launch(driver, Path(CHROMIUM), folder, "amara")
            far = await _launch(driver, line.chromium(folder), folder, "mina")
            contexts = [
                await each.new_context(base_url=url, permissions=["camera", "microphone"]) for each in (near, far)
            ]
            for context in contexts:
                await context.add_init_script(path=PROBE)
            appointment = await book_session(url, *contexts)
            pages = [await context.new_page() for context in contexts]
            for page in pages:
                await page.goto(f"/sessions/{appointment}/room")
            practitioner, client = (Trace(page) for page in pages)
            await practitioner.wait_for_picture()
            await client.wait_for_picture()
            await asyncio.sleep(SETTLE_S)
            yield line, client, practitioner
            await near.close()
            await far.close()


async def _launch(driver: "Playwright", program: Path, folder: Path, person: str) -> "Browser":
    files = (
        f"--use-file-for-fake-video-capture={folder}/camera.y4m",
        f"--use-file-for-fake-audio-capture={folder}/{person}.wav",
    )
    return await driver.chromium.launch(executable_path=program, args=[*FLAGS, *files])


def _make_media(folder: Path) -> None:
    picture = "testsrc2=size=640x480:rate=24:duration=5,noise=alls=10:allf=t"
    namespace.run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-pix_fmt", "yuv420p", f"{folder}/camera.y4m")
    for person, words in VOICES.items():
        namespace.run("espeak-ng", "-s", "150", "-w", f"{folder}/{person}.wav", words)
