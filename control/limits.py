"""Rate limits in this process: how often one key may do one thing, and whose address a request comes from.

A sliding window of counts, no clock of its own. Several processes each count for themselves; the shared counter is
Redis's when it is configured (a later part), behind the same two methods.
"""

import ipaddress
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web

from control.errors import TooMany

MOST_KEYS = 50_000  # beyond it the oldest key is forgotten: a flood of addresses costs bounded memory


@dataclass(frozen=True)
class Rule:
    name: str
    most: int
    within: timedelta


class Limits:
    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], deque[datetime]] = {}
        self.refused = 0

    def count(self, rule: Rule, key: str, now: datetime) -> None:
        """Count one try; TooMany if it is one too many. A refused try is not counted, so the wait is honest."""
        times = self._seen.pop((rule.name, key), None) or deque()
        while times and times[0] <= now - rule.within:
            times.popleft()
        self._seen[rule.name, key] = times  # at the end again: the dictionary is in order of use
        if len(times) >= rule.most:
            self.refused += 1
            wait = times[0] + rule.within - now
            raise TooMany(
                "rate_limited",
                "That was too often in a short time. Please wait a little.",
                retry_after_s=max(1, round(wait.total_seconds())),
            )
        times.append(now)
        if len(self._seen) > MOST_KEYS:
            del self._seen[next(iter(self._seen))]


def client_address(request: web.Request, trusted_proxies: Sequence[str]) -> str:
    """The address a request really comes from: the last in X-Forwarded-For that no trusted proxy added."""
    nearest = request.remote or ""
    if not trusted_proxies:
        return nearest
    networks = [ipaddress.ip_network(network) for network in trusted_proxies]
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    while hops and _is_in(nearest, networks):
        nearest = hops.pop()
    return nearest


def network_of(address: str) -> str:
    """What one subscriber of a provider holds: an IPv4 address, or the /64 of an IPv6 one (RFC 6177)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def _is_in(address: str, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
