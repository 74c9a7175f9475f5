"""Fails a test in which something held the event loop for longer than a session may stutter.

Counted is work on the loop's thread (CPU) and waiting inside a call (a blocking read, a sleep). Time in which the
machine ran something else instead of us is not counted, so a busy machine does not fail tests.
"""

import asyncio
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

MOST_S = 0.1


@contextmanager
def loop_never_held() -> Iterator[list[str]]:
    """The list fills with descriptions of callbacks that held the loop."""
    held: list[str] = []
    original = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        before = resource.getrusage(resource.RUSAGE_THREAD)
        wall, cpu = time.monotonic(), time.thread_time()
        original(handle)
        wall, cpu = time.monotonic() - wall, time.thread_time() - cpu
        if wall <= MOST_S:
            return
        after = resource.getrusage(resource.RUSAGE_THREAD)
        waited = after.ru_nvcsw > before.ru_nvcsw and after.ru_nivcsw == before.ru_nivcsw
        if cpu > MOST_S or waited:
            held.append(f"{wall * 1000:.0f} ms (CPU {cpu * 1000:.0f} ms) in {handle!r}")

    asyncio.Handle._run = measured  # type: ignore[method-assign]
    try:
        yield held
    finally:
        asyncio.Handle._run = original  # type: ignore[method-assign]
