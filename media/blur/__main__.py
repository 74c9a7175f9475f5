"""`python -m media.blur FD MODEL`: a blur worker. First off the network, then everything else (worker.py).

FD is the control socket that workers.py holds the other end of, MODEL the segmenter's file.
"""

import logging
import os
import socket
import sys
from pathlib import Path
from typing import Final

from media.blur import offline

NICENESS: Final = 5
"""Packets go first."""


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if not offline.cut():
        logging.warning("this machine cannot cut the blur worker off from the network")
    os.nice(NICENESS)

    from media.blur.worker import Worker  # behind the cut, with all it loads

    Worker(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])).run()
    os._exit(0)  # without the libraries' goodbyes: they own threads, and nothing is left to keep


if __name__ == "__main__":
    main()
