"""benchmarks/peers.py: what two servers cost beside each other, and what Janus' descriptions say."""

import sys
from dataclasses import replace

import pytest

from benchmarks.__main__ import CANNOT_HERE, main
from benchmarks.janus import ADDRESS, read_description
from benchmarks.peers import Result, Side
from tests.benchmarks.test_sessions import window

DESCRIPTION = "\r\n".join(
    (
        "v=0",
        "a=group:BUNDLE a v",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:0123456789012345678901",
        "a=fingerprint:sha-256 AA:BB",
        "a=ssrc:11 cname:janus",
        "a=candidate:1 1 udp 2015363327 192.0.2.1 1000 typ host",
        f"a=candidate:2 1 udp 2015363327 {ADDRESS} 22278 typ host",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=ssrc:12 cname:janus",
        "",
    )
)


def test_a_subscribers_description_names_streams_and_the_address_of_the_namespace() -> None:
    found = read_description(DESCRIPTION, receives=True)
    assert (found.ice_ufrag, found.fingerprint, found.server) == ("abcd", "AA:BB", (ADDRESS, 22278))
    assert found.streams == ((11, False), (12, True))
    assert read_description(DESCRIPTION, receives=False).streams == ()


def test_a_description_without_a_candidate_is_refused() -> None:
    with pytest.raises(RuntimeError, match="candidate"):
        read_description(DESCRIPTION.replace(ADDRESS, "192.0.2.2"), receives=True)


def test_ratios_say_how_much_more_the_other_costs() -> None:
    ours = Side((window(10), window(10)), 50_000_000)
    theirs = Side((replace(window(10), cpu_s=10 * window(10).cpu_s),), 38_000_000)
    found = Result(ours, theirs).as_json()["janus_to_ours"]
    assert found == {"cpu_per_packet": 10.0, "memory": 3.0}


def test_the_worst_window_tells_loss_and_delay() -> None:
    side = Side((window(10, p99_us=100.0), window(10, lost=10, p99_us=4_000.0)), 50_000_000)
    assert (side.loss, side.delay_us_p99) == (pytest.approx(0.01), 4_000.0)


def test_without_janus_it_says_how_to_install_it_and_exits_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "peers"])
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main() == CANNOT_HERE == 3
    said = capsys.readouterr()
    assert "apt-get install janus" in said.err
    assert said.out == ""
