"""Bounds on strangers and on the hasty: a token bucket (the clock is the caller's), and how many may be new at once."""

from collections import Counter


class RateBound:
    def __init__(self, per_s: float, burst: int, now_s: float) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._left = float(burst)
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """One more happened at `now_s`; False: over the bound."""
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Newcomers:
    """Sockets nobody has vouched for yet, counted by network."""

    def __init__(self, most_per_network: int, most: int) -> None:
        self._most_per_network = most_per_network
        self._most = most
        self._by_network: Counter[str] = Counter()
        self._all = 0

    def enter(self, network: str) -> "Newcomer | None":
        """None: over a bound."""
        if self._all >= self._most or self._by_network[network] >= self._most_per_network:
            return None
        self._by_network[network] += 1
        self._all += 1
        return Newcomer(self, network)

    def leave(self, network: str) -> None:
        self._all -= 1
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]


class Newcomer:
    def __init__(self, among: Newcomers, network: str) -> None:
        self._among: Newcomers | None = among
        self._network = network

    def leave(self) -> None:
        """Known, or gone. Safe to repeat."""
        among, self._among = self._among, None
        if among is not None:
            among.leave(self._network)
