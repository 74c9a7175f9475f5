"""The worker as a process: pictures through its sockets, people beside each other, and no way to any network."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from media.blur.port import Frame, Gap, KeyframeWanted, pack, parse
from tests.helpers.blurring import ROOT, Viewer, edges, encoded, picture_of, worker_process, written_wall

pytestmark = pytest.mark.timeout(180)


def told(control: socket.socket) -> dict[str, object]:
    """The next news, but that it lives."""
    while (news := dict(json.loads(control.recv(4096)))) == {"alive": True}:
        pass
    return news


def test_a_worker_blurs_for_several_people_and_ends_with_its_server() -> None:
    frames = encoded([picture_of(written_wall())] * 3)
    with worker_process() as worker:
        assert told(worker.control) == {"ready": True}
        with worker.port(1) as first, worker.port(2, "colour") as second:
            for port, track in ((first, 1), (second, 2)):
                viewer = Viewer()
                for ts, data in frames:
                    port.send(pack(Frame(ts, data)))
                    reply = parse(port.recv(1 << 20))
                    assert isinstance(reply, Frame)
                    assert reply.rtp_ts == ts
                    assert edges(viewer.see(reply.data)) < 2
                assert told(worker.control) == {"track": track, "flows": True}
            first.send(b"\x09 what is this?")
            first.send(pack(Frame(90_000, frames[1][1], discontinuity=True)))
            assert [parse(first.recv(9)) for _ in range(2)] == [Gap(), KeyframeWanted()]
            assert told(worker.control) == {"track": 1, "flows": False}
            worker.control.send(b'{"close": 2}')
            assert second.recv(9) == b""
        worker.control.close()
        assert worker.process.wait(20) == 0


LISTENED_TO = "from media.blur import offline; assert offline.cut(offline.KILL)"


def test_neither_loading_nor_blurring_attempts_a_connection() -> None:
    """Under a filter that ends the process at the first socket that is not a local one."""
    attempt = f"{LISTENED_TO}; import socket; socket.socket()"
    done = subprocess.run([sys.executable, "-c", attempt], cwd=ROOT, check=False)  # noqa: S603  ours
    assert done.returncode == -signal.SIGSYS, "else this test would hear nothing"

    frames = encoded([picture_of(written_wall())] * 240)
    with (
        worker_process("-c", f"{LISTENED_TO}; from media.blur.__main__ import main; main()") as worker,
        worker.port(1) as port,
    ):
        assert told(worker.control) == {"ready": True}
        for ts, data in frames:
            port.send(pack(Frame(ts, data)))
            assert isinstance(parse(port.recv(1 << 20)), Frame)
        worker.control.close()
        assert worker.process.wait(20) == 0


def test_a_process_that_is_cut_off_reaches_no_network_but_local_sockets() -> None:
    script = """
import errno, socket
from media.blur import offline
with socket.socket(): pass
assert offline.cut()
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):
    try:
        socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        assert error.errno == errno.EACCES, error
    else:
        raise SystemExit(f"{family} is open")
for pair in socket.socketpair(): pair.close()
import threading
refused = []
def elsewhere():
    try: socket.create_connection(("127.0.0.1", 9))
    except PermissionError: refused.append(1)
threading.Thread(target=elsewhere).start()
import subprocess, sys
child = subprocess.run([sys.executable, "-c", "import socket; socket.socket()"], capture_output=True)
assert b"PermissionError" in child.stderr, child
assert refused
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  ours
    assert done.returncode == 0, done.stderr
