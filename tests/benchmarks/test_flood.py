"""benchmarks/flood.py: what strangers send, and what the table says of those beside them."""

import socket
import threading
from dataclasses import replace

from aioice import stun

from benchmarks.flood import KINDS, Result, Step, forged
from benchmarks.strangers import SOURCES, flood
from tests.benchmarks.test_sessions import window


def test_forged_checks_name_whom_they_claim_to_know_and_media_looks_like_media() -> None:
    nobody, known, media = (forged(kind, "server:client") for kind in KINDS)
    assert stun.parse_message(known).attributes["USERNAME"] == "server:client"
    assert stun.parse_message(nobody).attributes["USERNAME"].endswith(":nobody")
    assert "MESSAGE-INTEGRITY" in stun.parse_message(known).attributes
    assert (media[0] >> 6, len(media)) == (2, 1_102)


def test_strangers_send_from_many_addresses_until_they_are_told_to_end() -> None:
    ended, counts = threading.Event(), []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        said = {"to": server.getsockname(), "datagram": b"stranger".hex(), "per_second": 200_000, "cpu": None}
        thread = threading.Thread(target=lambda: counts.append(flood(said, ended)))
        thread.start()
        heard: set[str] = set()
        while heard < set(SOURCES):
            datagram, (source, _) = server.recvfrom(100)
            assert datagram == b"stranger"
            heard.add(source)
        ended.set()
        thread.join()
    assert counts[0] >= len(SOURCES)


def test_a_step_tells_its_loss_beside_that_of_the_machine() -> None:
    lossy = replace(window(10), received=window(10).expected // 2)
    step = Step(KINDS[0], 1_000, 999.6, window(10), lossy, 0.25, 7)
    found = Result(10, window(10), (step,)).as_json()["steps"][0]
    assert (found["loss"], found["machine_loss"], found["sent_per_s"]) == (0.5, 0.0, 1_000)
    assert (found["us_per_datagram"], found["socket_overflow"]) == (0.25, 7)
