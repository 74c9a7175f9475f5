"""What a number was measured on, and how much of the time the machine was not ours."""

import os
import platform
from pathlib import Path


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


def _ticks() -> list[int]:
    """user nice system idle iowait irq softirq steal, of all CPUs together (proc(5))."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0]
    return [int(word) for word in first.split()[1:9]]
