"""Which addresses an answer names."""

import ipaddress

from media.addresses import choose_candidates, interface_addresses
from media.answer import Candidate

INTERFACES = tuple(
    map(ipaddress.ip_address, ["127.0.0.1", "::1", "fe80::1", "fd00::2", "192.0.2.2", "169.254.3.3", "10.0.0.4"])
)

ANY = str(ipaddress.IPv4Address(0))


def bound(ip: str, port: int = 46000) -> tuple[str, int]:
    return ip, port


def chosen(*sockets: tuple[str, int], development: bool = False, **advertise: str) -> list[str]:
    mapping = {key.replace("_", ".").removeprefix("a"): value for key, value in advertise.items()}
    found = choose_candidates(sockets, INTERFACES, advertise=mapping, development=development)
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


def test_candidates_of_tcp_are_marked() -> None:
    sockets = [bound("192.0.2.2", 443)]
    found = choose_candidates(sockets, INTERFACES, advertise={}, development=False, tcp=True)
    assert found == (Candidate("192.0.2.2", 443, tcp=True),)


def test_this_machine_has_a_loopback_address() -> None:
    assert any(address.is_loopback for address in interface_addresses())
