"""The pool of blur workers: started on demand, bounded, replaced when they die. On the media loop, never waiting.

A track is `started` with the effect its owner chose and is then the pool's to keep going: each time a worker takes it,
the core gets a new frame port. `on_change` says whether blurred pictures flow. What the pool cannot do it does not do
by half: a track without a worker has no port, and the core then shows nothing of it.
"""

import asyncio
import importlib.util
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

from media.types import Background

log = logging.getLogger(__name__)

PACKAGE_ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-m", "media.blur")
CONTROL_BYTES: Final = 4096
PORT_BUFFER_BYTES: Final = 1 << 20
"""Each way: a keyframe is a message, and must fit. The kernel may grant less."""
READY_WITHIN_S: Final = 60.0
SILENT_S: Final = 30.0
"""A worker that is ready and says nothing for so long hangs; it says something every two seconds."""
IDLE_S: Final = 120.0
"""A worker without a camera waits so long for the next: starting one takes seconds."""
AGAIN_AFTER_S: Final = (0.0, 0.5, 2.0)
"""Pause before a track whose worker died is given to another; after as many deaths in a row it is given up."""
STEADY_S: Final = 30.0
"""Pictures flowing so long make earlier deaths forgotten."""


class Flow(Enum):
    starting = auto()
    flows = auto()
    stopped = auto()
    """No blurred picture for now: the camera's keyframe is missing, or its worker died and another is coming."""
    given_up = auto()
    """Its workers died again and again."""


@dataclass(frozen=True)
class BlurSettings:
    model: Path
    workers: int
    streams: int
    """Cameras in one worker."""


@dataclass
class Job:
    track: int
    effect: Background
    worker: "Worker | None" = None
    deaths: int = 0
    again: asyncio.TimerHandle | None = None
    steady: asyncio.TimerHandle | None = None


@dataclass(eq=False)
class Worker:
    process: "subprocess.Popen[bytes]"
    control: socket.socket
    jobs: dict[int, Job] = field(default_factory=dict)
    is_ready: bool = False
    idle: asyncio.TimerHandle | None = None
    """Its time to go, while it has nothing to do."""
    silent: asyncio.TimerHandle | None = None
    """Its time to have said something; at first, to be ready."""


class Workers:
    def __init__(
        self,
        settings: BlurSettings,
        open_port: Callable[[int, int], None],
        on_change: Callable[[int, Flow], None],
        is_expected: Callable[[], bool],
    ) -> None:
        """`open_port` is told a track and the descriptor of the core's end, which is the core's from then on.

        While `is_expected` one worker stays, with or without a camera.
        """
        self._settings = settings
        self._open_port = open_port
        self._on_change = on_change
        self._is_expected = is_expected
        self._has_libraries = all(importlib.util.find_spec(name) for name in ("mediapipe", "cv2"))
        self._workers: list[Worker] = []
        self._jobs: dict[int, Job] = {}

    @property
    def possible(self) -> bool:
        """The model and the libraries are there."""
        return self._settings.workers > 0 and self._has_libraries and self._settings.model.is_file()

    def warm(self) -> None:
        """Have a worker ready: somebody may want it soon."""
        if not self._workers and self.possible:
            self._rest(self._start_worker())

    def start(self, track: int, effect: Background) -> bool:
        """Blur the track, or change its effect. False: every worker is full, or blur isn't possible here."""
        job = self._jobs.get(track)
        if job is not None:
            job.effect = effect
            if job.worker is not None:
                self._tell(job.worker, {"track": track, "effect": effect})
            return True
        worker = self._free_worker()
        if worker is None:
            return False
        self._jobs[track] = Job(track, effect)
        self._give(self._jobs[track], worker)
        return True

    def stop(self, track: int) -> None:
        """Idempotent."""
        job = self._jobs.pop(track, None)
        if job is None:
            return
        for timer in (job.again, job.steady):
            if timer is not None:
                timer.cancel()
        if (worker := job.worker) is not None:
            del worker.jobs[track]
            self._tell(worker, {"close": track})
            self._rest(worker)

    def close(self) -> None:
        for track in list(self._jobs):
            self.stop(track)
        for worker in list(self._workers):
            self._end(worker)

    # one track

    def _give(self, job: Job, worker: Worker) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PORT_BUFFER_BYTES)
        ours.setblocking(False)
        with theirs:
            self._tell(worker, {"open": job.track, "effect": job.effect}, theirs)
        if worker.idle is not None:
            worker.idle.cancel()
            worker.idle = None
        job.worker = worker
        worker.jobs[job.track] = job
        self._on_change(job.track, Flow.starting)
        self._open_port(job.track, ours.detach())

    def _flowed(self, job: Job, flows: bool) -> None:
        if job.steady is not None:
            job.steady.cancel()
            job.steady = None
        if flows and job.deaths:
            job.steady = asyncio.get_running_loop().call_later(STEADY_S, self._forgive, job)
        self._on_change(job.track, Flow.flows if flows else Flow.stopped)

    def _forgive(self, job: Job) -> None:
        job.deaths = 0
        job.steady = None

    def _orphaned(self, job: Job) -> None:
        job.worker = None
        if job.steady is not None:
            job.steady.cancel()
            job.steady = None
        if job.deaths >= len(AGAIN_AFTER_S):
            self._give_up(job)
            return
        pause = AGAIN_AFTER_S[job.deaths]
        job.deaths += 1
        job.again = asyncio.get_running_loop().call_later(pause, self._give_again, job)
        self._on_change(job.track, Flow.stopped)

    def _give_again(self, job: Job) -> None:
        worker = self._free_worker()
        if worker is None:
            self._give_up(job)
        else:
            self._give(job, worker)

    def _give_up(self, job: Job) -> None:
        del self._jobs[job.track]
        log.error("blur given up track=%d", job.track)
        self._on_change(job.track, Flow.given_up)

    # the processes

    def _free_worker(self) -> Worker | None:
        """The fullest with room, so that the others may go; a new one if all are full."""
        free = [worker for worker in self._workers if len(worker.jobs) < self._settings.streams]
        if free:
            return max(free, key=lambda worker: len(worker.jobs))
        if len(self._workers) < self._settings.workers and self.possible:
            return self._start_worker()
        return None

    def _start_worker(self) -> Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        command = [*COMMAND, str(theirs.fileno()), str(self._settings.model)]
        with theirs:
            process = subprocess.Popen(  # noqa: S603  our own module
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], cwd=PACKAGE_ROOT
            )
        worker = Worker(process, ours)
        self._workers.append(worker)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, self._hear, worker)
        worker.silent = loop.call_later(READY_WITHIN_S, self._end, worker)
        log.info("blur worker started pid=%d", process.pid)
        return worker

    def _hear(self, worker: Worker) -> None:
        try:
            text = worker.control.recv(CONTROL_BYTES)
        except BlockingIOError:
            return
        except OSError:
            text = b""
        if not text:
            self._end(worker)
            return
        if worker.silent is not None:
            worker.silent.cancel()
        worker.silent = asyncio.get_running_loop().call_later(SILENT_S, self._end, worker)
        match json.loads(text):
            case {"ready": True}:
                worker.is_ready = True
                self._rest(worker)
            case {"track": int(track), "flows": bool(flows)}:
                if job := worker.jobs.get(track):
                    self._flowed(job, flows)

    def _rest(self, worker: Worker) -> None:
        if not worker.is_ready:
            return
        if worker.idle is not None:
            worker.idle.cancel()
        loop = asyncio.get_running_loop()
        worker.idle = None if worker.jobs else loop.call_later(IDLE_S, self._dismiss, worker)

    def _dismiss(self, worker: Worker) -> None:
        if len(self._workers) == 1 and self._is_expected():
            self._rest(worker)
        else:
            self._end(worker)

    def _end(self, worker: Worker) -> None:
        """It is gone, or is to go; its tracks are given to others."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        asyncio.get_running_loop().remove_reader(worker.control)
        worker.control.close()
        for timer in (worker.idle, worker.silent):
            if timer is not None:
                timer.cancel()
        worker.process.kill()
        threading.Thread(target=worker.process.wait, name="reaper", daemon=True).start()
        jobs, worker.jobs = list(worker.jobs.values()), {}
        log.log(
            logging.ERROR if jobs else logging.INFO,
            "blur worker ended pid=%d cameras=%d",
            worker.process.pid,
            len(jobs),
        )
        for job in jobs:
            self._orphaned(job)

    def _tell(self, worker: Worker, words: dict[str, Any], *ends: socket.socket) -> None:
        """A worker that does not take its orders is as good as dead."""
        try:
            socket.send_fds(worker.control, [json.dumps(words).encode()], [end.fileno() for end in ends])
        except OSError:
            asyncio.get_running_loop().call_soon(self._end, worker)
