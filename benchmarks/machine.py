"""What a number was measured on, when, and how much of the time the machine was not ours."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def describe() -> str:
    """`processor, n CPUs, kernel`."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"


class StealClock:
    """Share of CPU time that the hypervisor gave to others, and that other processes here had, since it was made."""

    def __init__(self) -> None:
        self._before = _ticks()

    def read(self) -> tuple[float, float]:
        """(stolen, busy) as shares of all CPU time since the start."""
        after = _ticks()
        spent = [late - early for early, late in zip(self._before, after, strict=True)]
        total = sum(spent) or 1
        idle = spent[3] + spent[4]
        return spent[7] / total, (total - idle) / total


@dataclass(frozen=True)
class Circumstances:
    """Of one benchmark, in every table, JSON and plot."""

    machine: str
    date: str
    stolen: float
    busy: float
    load_before: float
    """One-minute load average when it began: over 1, others were at work."""

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "date": self.date,
            "stolen": round(self.stolen, 4),
            "busy": round(self.busy, 3),
            "load_before": round(self.load_before, 2),
        }

    def rows(self) -> list[tuple[str, str]]:
        return [
            ("stolen, busy (all CPUs)", f"{self.stolen:.1%}, {self.busy:.0%}"),
            ("load average before", f"{self.load_before:.2f}"),
        ]

    def caption(self) -> str:
        return f"{self.machine}, {self.date}; stolen {self.stolen:.1%}, load average before {self.load_before:.1f}"


class Measuring:
    """From the benchmark's begin to its end."""

    def __init__(self) -> None:
        self._clock = StealClock()
        self._load = os.getloadavg()[0]

    def end(self) -> Circumstances:
        stolen, busy = self._clock.read()
        return Circumstances(describe(), datetime.now(UTC).date().isoformat(), stolen, busy, self._load)


def _ticks() -> list[int]:
    """user nice system idle iowait irq softirq steal, of all CPUs together (proc(5))."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0]
    return [int(word) for word in first.split()[1:9]]
