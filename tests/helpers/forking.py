"""Servers as forks of a process that has imported them: what a start costs is nearly all imports.

Run as a program it is that process. On each line of its input it forks; the fork goes on as `holdspace serve --demo`
does, with the environment and the log of that line, and ends with its parent.
"""

import asyncio
import atexit
import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PR_SET_PDEATHSIG = 1


class Fork:
    """A running server, by its pidfd: it is a child of the process that forked it, not ours."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        weakref.finalize(self, os.close, self._fd)
        self._ended = select.poll()
        self._ended.register(self._fd, select.POLLIN)

    @property
    def ended(self) -> bool:
        return bool(self._ended.poll(0))

    def send_signal(self, how: signal.Signals) -> None:
        if not self.ended:
            signal.pidfd_send_signal(self._fd, how)

    async def wait(self) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._fd)


@cache
def _parent() -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "tests.helpers.forking"]
    parent = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    atexit.register(parent.communicate)
    return parent


def serve_demo(environment: Mapping[str, str], log: Path) -> Fork:
    parent = _parent()
    assert parent.stdin is not None
    assert parent.stdout is not None
    print(json.dumps([dict(environment), str(log)]), file=parent.stdin, flush=True)
    return Fork(int(parent.stdout.readline()))


def _main() -> int:
    import control.serving  # noqa: F401  what the forks go on with
    from control.__main__ import main

    gc.collect()
    gc.freeze()
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            _become(*json.loads(line))
            return main(["serve", "--demo"])
        print(pid, flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    return 0


def _become(environment: dict[str, str], log: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, wanted in ((0, nothing), (1, written), (2, written)):
        os.dup2(wanted, ours)


if __name__ == "__main__":
    sys.exit(_main())
