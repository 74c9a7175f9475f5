"""The server that a benchmark measures: a MediaNode in a process of its own, spoken to by lines of JSON.

`Server` is the benchmark's side; `python -m benchmarks.server` is the other. Requests go to its standard input,
one answer each comes from its standard output: `join`, `offer` (SDP in, SDP out), `usage` (CPU and counters),
`record` (both people of each room of benchmarks/load.py), `stop_recording` (how much their journals hold and miss),
`close`.
Signaling, control and pages are left out: the packet path is what is measured, and it is the whole one.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from media.config import MediaSettings
from media.node import MediaNode
from media.types import Offer, ParticipantId, RoomId, TrackSource
from recorder.journal import RTP, Journal
from recorder.recorder import Recorder
from recorder.storage import KEY_BYTES
from recorder.timeline import SeqOrder
from recorder.verifying import shelves

LINE_BYTES: Final = 1 << 20
CLOSE_WITHIN_S: Final = 30.0


class Server:
    """A running server process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process was started without pipes")
        self._process = process
        self._requests = process.stdin
        self._answers = process.stdout
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, *, cpu: int | None, threads: int = 1, gso: bool = True) -> "Server":
        """`cpu`: all of the process is pinned there."""
        arguments = json.dumps({"cpu": cpu, "threads": threads, "gso": gso})
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.server",
            arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
        server = cls(process)
        await server._answer()
        return server

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        async with self._turn:
            self._requests.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            await self._requests.drain()
            return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        line = await self._answers.readline()
        if not line:
            raise RuntimeError("the measured server ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def close(self) -> None:
        if self._process.returncode is None:
            try:
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self.ask("close")
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


@dataclass
class Recording:
    """All rooms recorded into one folder."""

    recorder: Recorder
    folder: Path
    key: bytes

    @classmethod
    async def start(cls, node: MediaNode, folder: Path, rooms: int) -> "Recording":
        key = os.urandom(KEY_BYTES)
        recorder = Recorder(node, folder, key)
        for number in range(rooms):
            await recorder.start(f"room-{number}", RoomId(f"room-{number}"))
            for person in ("person-0", "person-1"):
                await recorder.include(f"room-{number}", ParticipantId(person), person, f"grant-{number}-{person}")
        return cls(recorder, folder, key)

    async def stop(self) -> dict[str, object]:
        await self.recorder.close()
        kept = missing = size = 0
        for shelf in shelves(self.folder):
            held, lost = _kept(Journal(shelf.journal_path, shelf.read_keys(self.key)))
            kept, missing, size = kept + held, missing + lost, size + shelf.journal_path.stat().st_size
        return {"kept": kept, "missing": missing, "bytes": size}


def _kept(journal: Journal) -> tuple[int, int]:
    """Packets of all streams, and how many are missing between the first and the last of each."""
    orders: dict[int, SeqOrder] = {}
    seen: dict[int, set[int]] = {}
    for chunk in journal.chunks():
        for kind, _, tap, _, packet in chunk.records():
            if kind == RTP:
                order = orders.setdefault(tap, SeqOrder())
                seen.setdefault(tap, set()).add(order.unwrap(int.from_bytes(packet[2:4], "big")))
    held = sum(len(numbers) for numbers in seen.values())
    return held, sum(max(numbers) - min(numbers) + 1 for numbers in seen.values()) - held


async def _work_off(node: MediaNode, recordings: list[Recording], request: Mapping[str, Any]) -> dict[str, object]:
    match request["do"]:
        case "join":
            publishes = frozenset(TrackSource(name) for name in request["may_publish"])
            await node.join(RoomId(request["room"]), ParticipantId(request["participant"]), may_publish=publishes)
            return {}
        case "offer":
            sources = {mid: TrackSource(name) for mid, name in request["sources"].items()}
            offer = Offer(1, request["sdp"], sources)
            answer = await node.negotiate(RoomId(request["room"]), ParticipantId(request["participant"]), offer)
            return {"sdp": answer.sdp}
        case "usage":
            return {"cpu_ns": time.process_time_ns(), "rss_bytes": _rss_bytes(), "stats": node.stats()}
        case "record":
            recordings.append(await Recording.start(node, Path(request["folder"]), request["rooms"]))
            return {}
        case "stop_recording":
            return await recordings.pop().stop()
        case "close":
            await node.close()
            return {}
    raise ValueError(request["do"])


async def _serve(arguments: Mapping[str, Any]) -> None:
    if arguments["cpu"] is not None:
        os.sched_setaffinity(0, {arguments["cpu"]})
    settings = MediaSettings(
        threads=arguments["threads"],
        udp_port=0,
        gso=arguments["gso"],
        development=True,
        bind=("0.0.0.0",),  # noqa: S104
    )
    node = MediaNode(settings)
    await node.start()
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader(limit=LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    recordings: list[Recording] = []
    _say({})
    while line := await requests.readline():
        request = json.loads(line)
        _say(await _work_off(node, recordings, request))
        if request["do"] == "close":
            return
    await node.close()


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _say(answer: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
