"""Fails a test in which something held the event loop for longer than a session may stutter.

Two ways to be caught: working too long (CPU time on the loop's thread, less the garbage collector's), and calls that
wait by their nature (sleep, name look-ups, SQLite on the loop's thread). Plain waiting is not measured: on a busy
machine a thread's start or the interpreter's lock takes as long as a bad call.
"""

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MOST_S = 0.1
WAITING_CALLS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "sqlite3.connect"})


class _Watch:
    """What is watched now; the audit hook, which Python never takes away again, asks it."""

    def __init__(self) -> None:
        self.held: list[str] | None = None
        self.on_loop = False
        self.collecting_s = 0.0
        self._since = 0.0

    def audit(self, event: str, _arguments: object) -> None:
        if event in WAITING_CALLS:
            self.called(event)

    def called(self, name: str) -> None:
        on_main = self.on_loop and threading.current_thread() is threading.main_thread()
        if self.held is not None and on_main:
            self.held.append(f"{name} on the loop")

    def collected(self, phase: str, _info: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if phase == "start":
            self._since = time.thread_time()
        else:
            self.collecting_s += time.thread_time() - self._since


_watch = _Watch()
sys.addaudithook(_watch.audit)


def _patience() -> float:
    """1 on a machine with cores to spare; CPU seconds get longer where caches and cores are shared by more."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@contextmanager
def loop_never_held() -> Iterator[list[str]]:
    """The list fills with descriptions of what held the loop."""
    held: list[str] = []
    original, original_sleep = asyncio.Handle._run, time.sleep

    def sleep(seconds: float) -> None:  # Python tells audit hooks of it from 3.13 on only
        _watch.called("time.sleep")
        original_sleep(seconds)

    def measured(handle: asyncio.Handle) -> None:
        if threading.current_thread() is not threading.main_thread():
            original(handle)  # migrations and media run in loops and threads of their own
            return
        cpu, collecting = time.thread_time(), _watch.collecting_s
        _watch.on_loop = True
        try:
            original(handle)
        finally:
            _watch.on_loop = False
        cpu = time.thread_time() - cpu - (_watch.collecting_s - collecting)
        if cpu > MOST_S and cpu > MOST_S * _patience():
            held.append(f"{cpu * 1000:.0f} ms of CPU in {handle!r}")

    asyncio.Handle._run = measured  # type: ignore[method-assign]
    time.sleep = sleep
    gc.callbacks.append(_watch.collected)
    _watch.held = held
    try:
        yield held
    finally:
        _watch.held = None
        gc.callbacks.remove(_watch.collected)
        time.sleep = original_sleep
        asyncio.Handle._run = original  # type: ignore[method-assign]
