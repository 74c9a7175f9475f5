"""The process that finishes one recording: `python -m recorder.worker`, a request on stdin, the manifest on stdout.

A process of its own, started afresh and never forked, because remuxing would stall the event loop and because a fault
in the muxer must not take sessions with it. Keys arrive by the pipe and are written nowhere.
"""

import json
import os
import sys
from pathlib import Path

from recorder.errors import RecorderError
from recorder.finish import finish

NICENESS = 10
"""Sessions in progress come first."""


def main() -> int:
    os.nice(NICENESS)
    request = json.load(sys.stdin)
    keys = {int(key_id): bytes.fromhex(key) for key_id, key in request["keys"].items()}
    try:
        manifest = finish(Path(request["root"]), request["recording"], keys)
    except RecorderError as error:
        json.dump({"code": error.code, "detail": str(error)}, sys.stdout)
        return 1
    json.dump({"manifest": manifest}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
