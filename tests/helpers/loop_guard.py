"""Fails a test in which something held the event loop for longer than a session may stutter.

Counted is work on the loop's thread (CPU, less the garbage collector's) and waiting inside a call (a blocking read, a
sleep). Time in which the machine ran something else instead of us is not counted, so a busy machine fails no test.
"""

import asyncio
import gc
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MOST_WAITING_S = 0.1
MOST_WORKING_S = 0.15  # CPU seconds are up to twice as long on a machine whose cores are all taken


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
        if wall <= MOST_WAITING_S:
            return
        cpu = time.thread_time() - cpu - (collector.total_s - collected)
        after = resource.getrusage(resource.RUSAGE_THREAD)
        waited = after.ru_nvcsw > before.ru_nvcsw and after.ru_nivcsw == before.ru_nivcsw
        if cpu > MOST_WORKING_S or waited:
            held.append(f"{wall * 1000:.0f} ms (CPU {cpu * 1000:.0f} ms) in {handle!r}")

    asyncio.Handle._run = measured  # type: ignore[method-assign]
    gc.callbacks.append(collector)
    try:
        yield held
    finally:
        gc.callbacks.remove(collector)
        asyncio.Handle._run = original  # type: ignore[method-assign]
