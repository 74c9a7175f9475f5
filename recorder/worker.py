"""The process that works on one recording: `python -m recorder.worker`, a request on stdin, JSON lines on stdout.

    {"task": "finish" | "compose", "root", "recording", "keys"}  ─▶  {"progress": 0…1}*, then {"answer"} or {"code"}

A process of its own, started afresh and never forked, because remuxing and encoding would stall the event loop and
because a fault in the codecs must not take sessions with it. Keys arrive by the pipe and are written nowhere.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from av.error import FFmpegError

from recorder.compose import compose
from recorder.errors import RecorderError
from recorder.finish import finish
from recorder.thumbnail import make_thumbnail

NICENESS = {"finish": 10, "compose": 19}
"""Sessions in progress come first, then files that somebody waits for."""

TELL_EVERY_S = 0.5


def main() -> int:
    request = json.load(sys.stdin)
    task = request["task"]
    os.nice(NICENESS[task])
    root, keys = Path(request["root"]), {int(key_id): bytes.fromhex(key) for key_id, key in request["keys"].items()}
    try:
        if task == "compose":
            tell({"answer": compose(root, request["recording"], keys, Progress())})
        else:
            tell({"answer": finish_with_thumbnail(root, request["recording"], keys)})
    except RecorderError as error:
        tell({"code": error.code, "detail": str(error)})
        return 1
    return 0


def finish_with_thumbnail(root: Path, recording_id: str, keys: Mapping[int, bytes]) -> dict[str, Any]:
    manifest = finish(root, recording_id, keys)
    try:
        manifest["thumbnail"] = make_thumbnail(root, keys, manifest)
    except (FFmpegError, OSError, ValueError) as error:
        print(f"no thumbnail: {error}", file=sys.stderr)
    return manifest


class Progress:
    """Tells the parent how far it is, not too often."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, share: float) -> None:
        now = monotonic()
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            tell({"progress": round(share, 4)})


def tell(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
