"""What this process measures about itself, in Prometheus' text format.

Pure formatting over numbers that others hold, and one watch that notices when the event loop was held up. Names
start with holdspace_; nothing here is about a person.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WATCH_EVERY_S = 0.25  # finer costs wake-ups on an idle server; coarser misses short stalls


class LoopWatch:
    """How late the event loop ran a timer: the longest since the last reading, and the whole."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._longest_s = 0.0
        self.total_s = 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="loop watch")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def longest_s(self) -> float:
        """Since /metrics was read last."""
        return self._longest_s

    def take_longest_s(self) -> float:
        longest, self._longest_s = self._longest_s, 0.0
        return longest

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + WATCH_EVERY_S
            await asyncio.sleep(WATCH_EVERY_S)
            late = max(0.0, loop.time() - due)
            self._longest_s = max(self._longest_s, late)
            self.total_s += late


@dataclass(frozen=True)
class Measure:
    name: str
    kind: str
    """gauge or counter."""
    value: float
    labels: Mapping[str, str]


def gauge(name: str, value: float, **labels: str) -> Measure:
    return Measure(f"holdspace_{name}", "gauge", value, labels)


def counter(name: str, value: float, **labels: str) -> Measure:
    return Measure(f"holdspace_{name}_total", "counter", value, labels)


_MEDIA_GAUGES = frozenset({"rooms", "transports", "tracks"})


def media_measures(stats: Mapping[str, Any]) -> Iterable[Measure]:
    """From `MediaNode.stats()`: its numbers under their own names, so a new counter of the core shows by itself."""
    for name, value in stats.items():
        if isinstance(value, int):
            yield gauge(f"media_{name}", value) if name in _MEDIA_GAUGES else counter(f"media_{name}", value)
    for reason, count in sorted(stats.get("dropped", {}).items()):
        yield counter("media_dropped", count, reason=reason)
    for thread, nanoseconds in enumerate(stats.get("thread_cpu_ns", ())):
        yield counter("media_thread_cpu_seconds", nanoseconds / 1e9, thread=str(thread))
    yield from _delay_histogram(stats.get("delay_us_buckets", ()))


def _delay_histogram(buckets: Sequence[tuple[int, int]]) -> Iterable[Measure]:
    """Prometheus wants each bucket to hold all smaller ones too."""
    whole = 0
    for bound_us, count in buckets:
        whole += count
        bound = f"{bound_us / 1e6:.6f}"
        yield Measure("holdspace_media_forwarding_delay_seconds_bucket", "histogram", whole, {"le": bound})
    yield Measure("holdspace_media_forwarding_delay_seconds_bucket", "histogram", whole, {"le": "+Inf"})
    yield Measure("holdspace_media_forwarding_delay_seconds_count", "histogram", whole, {})


def as_text(measures: Iterable[Measure]) -> str:
    lines: list[str] = []
    typed: set[str] = set()
    for measure in measures:
        family = measure.name
        if measure.kind == "histogram":
            family = family.removesuffix("_bucket").removesuffix("_count")
        if family not in typed:
            typed.add(family)
            lines.append(f"# TYPE {family} {measure.kind}")
        labels = ",".join(f'{name}="{_escaped(text)}"' for name, text in measure.labels.items())
        lines.append(f"{measure.name}{{{labels}}} {measure.value:g}" if labels else f"{measure.name} {measure.value:g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
