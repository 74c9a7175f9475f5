"""Which candidates an answer names: the core's bound sockets against this machine's addresses and the settings.

Pure but for `interface_addresses`. Loopback and link-local addresses are left out; loopback comes last in development.
"""

import ipaddress
from collections.abc import Iterable, Mapping

import ifaddr

from media.answer import Candidate

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def interface_addresses() -> tuple[IpAddress, ...]:
    """Every address of every interface, in the system's order."""
    found = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            found.append(ipaddress.ip_address(entry.ip[0] if isinstance(entry.ip, tuple) else entry.ip))
    return tuple(found)


def choose_candidates(
    bound: Iterable[tuple[str, int]],
    interfaces: Iterable[IpAddress],
    *,
    advertise: Mapping[str, str],
    development: bool,
    tcp: bool = False,
) -> tuple[Candidate, ...]:
    """The candidates of the sockets bound to (ip, port), preferred first: public, then v4 before v6, then loopback.

    `advertise` replaces a bound address (also a wildcard: then it stands for its whole family) by the public one.
    """
    interfaces = tuple(interfaces)
    public: list[Candidate] = []
    local: list[tuple[IpAddress, int]] = []
    for ip, port in bound:
        address = ipaddress.ip_address(ip)
        if ip in advertise:
            public.append(Candidate(advertise[ip], port, tcp))
            continue
        family = [one for one in interfaces if one.version == address.version] if address.is_unspecified else [address]
        for one in family:
            if str(one) in advertise:
                public.append(Candidate(advertise[str(one)], port, tcp))
            elif not one.is_link_local and (development or not one.is_loopback):
                local.append((one, port))
    local.sort(key=lambda pair: (pair[0].is_loopback, pair[0].version))
    return tuple(dict.fromkeys([*public, *(Candidate(str(one), port, tcp) for one, port in local)]))
