"""Fails a test in which something held the event loop for longer than a session may stutter.

Counted is work on the loop's thread (CPU, less the garbage collector's) and waiting inside a call (a blocking read, a
sleep). Waiting for the interpreter's lock looks alike, so more is allowed while the machine has more to do than cores.
"""

import asyncio
import gc
import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MOST_S = 0.1


class _Collector:
    """CPU time that the garbage collector took on this thread: it depends on the whole test run, not on the test."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._since = 0.0

    def __call__(self, phase: str, _info: object) -> None:
        if phase == "start":
            self._since = time.thread_time()
        else:
            self.total_s += time.thread_time() - self._since


def _patience() -> float:
    """1 on a machine with cores to spare, growing with the number of runnable threads per core."""
    return max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


@contextmanager
def loop_never_held() -> Iterator[list[str]]:
    """The list fills with descriptions of callbacks that held the loop."""
    held: list[str] = []
    collector = _Collector()
    original = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        if threading.current_thread() is not threading.main_thread():
            original(handle)  # migrations run in a loop and thread of their own
            return
        before = resource.getrusage(resource.RUSAGE_THREAD)
        wall, cpu, collected = time.monotonic(), time.thread_time(), collector.total_s
        original(handle)
        wall = time.monotonic() - wall
        if wall <= MOST_S:
            return
        most_s = MOST_S * _patience()
        cpu = time.thread_time() - cpu - (collector.total_s - collected)
        after = resource.getrusage(resource.RUSAGE_THREAD)
        waited = after.ru_nvcsw > before.ru_nvcsw and after.ru_nivcsw == before.ru_nivcsw
        if cpu > most_s or (waited and wall > most_s):
            held.append(f"{wall * 1000:.0f} ms (CPU {cpu * 1000:.0f} ms) in {handle!r}")

    asyncio.Handle._run = measured  # type: ignore[method-assign]
    gc.callbacks.append(collector)
    try:
        yield held
    finally:
        gc.callbacks.remove(collector)
        asyncio.Handle._run = original  # type: ignore[method-assign]
