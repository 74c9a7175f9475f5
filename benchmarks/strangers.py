"""A crowd of strangers that `flood` sends against the server: one process, nothing but UDP, in the kernel's own runs.

`python -m benchmarks.strangers JSON` with {"to": [ip, port], "datagram": hex, "per_second": N, "cpu": N or null} sends
until its standard input ends, then writes how many it sent. Each run of datagrams comes from another of its addresses.
"""

import json
import os
import socket
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any, Final

SOURCES: Final = tuple(f"127.9.0.{last}" for last in range(1, 17))
RUN_DATAGRAMS: Final = 64
"""The most that one system call sends."""
UDP_SEGMENT: Final = 103
"""linux/udp.h"""
LATE_S: Final = 0.1
"""What could not be sent for so long is not made up for."""


def flood(arguments: dict[str, Any], ended: threading.Event) -> int:
    if arguments["cpu"] is not None:
        os.sched_setaffinity(0, {arguments["cpu"]})
    datagram, to = bytes.fromhex(arguments["datagram"]), tuple(arguments["to"])
    run = datagram * min(RUN_DATAGRAMS, 65_000 // len(datagram))
    run_s = len(run) / len(datagram) / arguments["per_second"]
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in SOURCES]
        for each, source in zip(sockets, SOURCES, strict=True):
            each.bind((source, 0))
            each.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, len(datagram))
        sent, due = 0, time.monotonic()
        while not ended.is_set():
            sockets[sent % len(sockets)].sendto(run, to)
            sent += 1
            due = max(due + run_s, time.monotonic() - LATE_S)
            if (early := due - time.monotonic()) > 0.001:
                time.sleep(early)
    return sent * (len(run) // len(datagram))


def _wait(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main() -> None:
    ended = threading.Event()
    threading.Thread(target=_wait, args=(ended,), daemon=True).start()
    sys.stdout.write(f"{flood(json.loads(sys.argv[1]), ended)}\n")


if __name__ == "__main__":
    main()
