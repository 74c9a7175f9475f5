"""Which addresses an answer names."""

import ipaddress
from typing import Any

from media.addresses import choose_candidates, interface_addresses
from media.answer import Candidate

INTERFACES = tuple(
    map(ipaddress.ip_address, ["127.0.0.1", "::1", "fe80::1", "fd00::2", "192.0.2.2", "169.254.3.3", "10.0.0.4"])
)

ANY = str(ipaddress.IPv4Address(0))


def bound(ip: str, port: int = 46000, thread: int = 0) -> Any:
    return {"thread": thread, "ip": ip, "port": port, "receive_buffer_bytes": 0}


def chosen(*sockets: Any, development: bool = False, **advertise: str) -> list[str]:
    mapping = {key.replace("_", ".").removeprefix("a"): value for key, value in advertise.items()}
    found = choose_candidates(sockets, 0, INTERFACES, advertise=mapping, development=development)
    return [candidate.ip for candidate in found]


def test_a_wildcard_stands_for_every_address_but_loopback_and_link_local() -> None:
    assert chosen(bound(ANY), bound("::")) == ["192.0.2.2", "10.0.0.4", "fd00::2"]


def test_loopback_comes_last_and_only_in_development() -> None:
    found = chosen(bound("::"), bound(ANY), development=True)
    assert found == ["192.0.2.2", "10.0.0.4", "fd00::2", "127.0.0.1", "::1"]
    assert chosen(bound("127.0.0.1")) == []
    assert chosen(bound("127.0.0.1"), development=True) == ["127.0.0.1"]


def test_an_advertised_address_comes_first_and_hides_the_one_it_stands_for() -> None:
    assert chosen(bound(ANY), a192_0_2_2="203.0.113.9") == ["203.0.113.9", "10.0.0.4"]
    assert chosen(bound(ANY), a0_0_0_0="203.0.113.9") == ["203.0.113.9"]


def test_only_the_rooms_thread_is_named_with_its_own_port() -> None:
    sockets = [bound("192.0.2.2", 46000, 0), bound("192.0.2.2", 46001, 1)]
    assert choose_candidates(sockets, 1, INTERFACES, advertise={}, development=False) == (
        Candidate("192.0.2.2", 46001),
    )


def test_this_machine_has_a_loopback_address() -> None:
    assert any(address.is_loopback for address in interface_addresses())
