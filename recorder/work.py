"""Starts the worker process (worker.py) for one task and answers what it made of it.

Cancelling the caller kills the process: both tasks may be repeated. Keys go by the pipe.
"""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast

from recorder.errors import Damaged, FinishFailed, WrongState

log = logging.getLogger(__name__)

WORKER: Final = (sys.executable, "-m", "recorder.worker")
PACKAGE_ROOT: Final = Path(__file__).parent.parent
ENDS_WITHIN_S: Final = 10.0
"""From its answer to its end; then it is killed."""
LONGEST_LINE_BYTES: Final = 4 << 20
"""A manifest of the largest recording is a few dozen kilobytes."""

Progress = Callable[[float], None]


async def work(
    task: Literal["finish", "compose"],
    root: Path,
    recording_id: str,
    keys: Mapping[int, bytes],
    *,
    silent_s: float,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """`root` is absolute. Raises Damaged, WrongState; FinishFailed if the process died or was silent for `silent_s`."""
    request = {
        "task": task,
        "root": str(root),
        "recording": recording_id,
        "keys": {str(key_id): key.hex() for key_id, key in keys.items()},
    }
    worker = await asyncio.create_subprocess_exec(
        *WORKER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=PACKAGE_ROOT,
        limit=LONGEST_LINE_BYTES,
    )
    stdin, stdout, stderr = (
        cast(asyncio.StreamWriter, worker.stdin),
        cast(asyncio.StreamReader, worker.stdout),
        cast(asyncio.StreamReader, worker.stderr),
    )
    complaints = asyncio.create_task(stderr.read())
    try:
        stdin.write(json.dumps(request).encode())
        stdin.close()
        answer = await _answer_of(stdout, silent_s, progress)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDS_WITHIN_S):
                if complaint := (await complaints).decode(errors="replace")[-2000:]:
                    log.warning("worker task=%s recording=%s said=%s", task, recording_id[:8], complaint)
                await worker.wait()
    except TimeoutError:
        raise FinishFailed(f"the worker process said nothing for {silent_s:.0f} s") from None
    finally:
        if worker.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()
        complaints.cancel()
    if answer is None:
        raise FinishFailed(f"the worker process ended with code {worker.returncode}")
    return _result_of(answer)


async def _answer_of(lines: asyncio.StreamReader, silent_s: float, progress: Progress) -> dict[str, Any] | None:
    """The last line; None where the process ended without one."""
    while True:
        async with asyncio.timeout(silent_s):
            line = await lines.readline()
        try:
            said = json.loads(line)
        except ValueError:
            return None
        if "progress" not in said:
            return dict(said)
        progress(said["progress"])


def _result_of(answer: dict[str, Any]) -> dict[str, Any]:
    if "answer" in answer:
        return dict(answer["answer"])
    for kind in (Damaged, WrongState):
        if answer.get("code") == kind.code:
            raise kind(answer["detail"])
    raise FinishFailed(answer.get("detail", ""))
