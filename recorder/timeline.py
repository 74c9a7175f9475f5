"""Time of a recording: from each stream's RTP timestamps to microseconds of the server's arrival clock.

Pure arithmetic. Within one connection audio and video are brought together by RTCP sender reports, which pair RTP
time with the sender's NTP clock; that clock is laid against ours by the lower envelope of arrival minus sender time,
fitted again for drift. Packets are put in order and duplicates removed here too.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

WINDOW_US: Final = 10_000_000
"""One point of the lower envelope per window. Longer finds quieter minima, shorter follows drift sooner."""

MIN_WINDOWS_FOR_DRIFT: Final = 6
MAX_DRIFT: Final = 300e-6
"""Crystal clocks differ by less than 100 ppm; a steeper fit is noise."""

REORDER_US: Final = 2_500_000
"""How long a gap is waited for: a taped stream is asked again for 2 s (DESIGN.md §5)."""

NTP_FRACTION: Final = 1 << 32


class SeqOrder:
    """Unwraps 16-bit numbers; the first one is its own extended number."""

    __slots__ = ("newest",)

    def __init__(self) -> None:
        self.newest: int | None = None

    def unwrap(self, seq: int) -> int:
        if self.newest is None:
            # Room below, for packets that were sent before the first to arrive.
            self.newest = seq + 0x1_0000
            return self.newest
        step = (seq - self.newest) & 0xFFFF
        value = self.newest + (step if step < 0x8000 else step - 0x1_0000)
        self.newest = max(self.newest, value)
        return value


class TimestampOrder:
    """Unwraps 32-bit RTP timestamps, each near the one before; `near` is where another unwrapping began."""

    __slots__ = ("last",)

    def __init__(self, near: int | None = None) -> None:
        self.last = near

    def unwrap(self, rtp_ts: int) -> int:
        if self.last is None:
            self.last = rtp_ts + 0x1_0000_0000
        else:
            step = (rtp_ts - self.last) & 0xFFFF_FFFF
            self.last += step if step < 0x8000_0000 else step - 0x1_0000_0000
        return self.last


@dataclass
class StreamClock:
    """What one tap's stream shows of its clocks, gathered while the journal is read."""

    clock_hz: int
    minima: dict[int, float] = field(default_factory=dict)
    """By window of arrival: the smallest arrival minus stream time, in µs."""
    reports: list[tuple[float, float]] = field(default_factory=list)
    """(stream time in µs, NTP time minus stream time in µs), from sender reports."""
    timestamps: TimestampOrder = field(default_factory=TimestampOrder)
    first: int | None = None

    def saw_packet(self, rtp_ts: int, arrival_us: int) -> None:
        if self.first is None:
            self.first = self.timestamps.unwrap(rtp_ts)
        behind = arrival_us - self.timestamps.unwrap(rtp_ts) * 1_000_000 / self.clock_hz
        window = arrival_us // WINDOW_US
        known = self.minima.get(window)
        if known is None or behind < known:
            self.minima[window] = behind

    def saw_report(self, ntp_time: int, rtp_ts: int) -> None:
        if self.timestamps.last is None:
            return  # no packet yet to unwrap beside
        step = (rtp_ts - self.timestamps.last) & 0xFFFF_FFFF
        ext = self.timestamps.last + (step if step < 0x8000_0000 else step - 0x1_0000_0000)
        stream_us = ext * 1_000_000 / self.clock_hz
        self.reports.append((stream_us, ntp_time * 1_000_000 / NTP_FRACTION - stream_us))


class StreamTime:
    """Maps one stream's time to the arrival clock: by its sender reports and its connection's line, or by itself."""

    def __init__(self, clock: StreamClock, connection: "Line | None") -> None:
        self._us_per_tick = 1_000_000 / clock.clock_hz
        self._timestamps = TimestampOrder(clock.first)
        reports = sorted(clock.reports)
        self._at = [stream_us for stream_us, _ in reports]
        self._ntp = [offset for _, offset in reports]
        self._line = connection if connection is not None and reports else lower_envelope(clock.minima)
        self._by_ntp = connection is not None and bool(reports)
        self.first_us = self._at_stream((clock.first or 0) * self._us_per_tick)

    def arrival_us(self, rtp_ts: int) -> float:
        """When a packet with that timestamp would have arrived with the least delay; near-ordered input only."""
        return self._at_stream(self._timestamps.unwrap(rtp_ts) * self._us_per_tick)

    def _at_stream(self, stream_us: float) -> float:
        sender_us = stream_us + interpolate(self._at, self._ntp, stream_us) if self._by_ntp else stream_us
        return sender_us + self._line.at_sender(sender_us)


@dataclass(frozen=True, slots=True)
class Line:
    """Arrival minus sender time as `offset + slope × (arrival − origin)`."""

    origin_us: float
    offset_us: float
    slope: float

    def at_sender(self, sender_us: float) -> float:
        arrival_guess = sender_us + self.offset_us
        return self.offset_us + self.slope * (arrival_guess - self.origin_us)


def connection_line(clocks: Iterable[StreamClock]) -> Line | None:
    """The line of one connection from all its streams that have sender reports; None if none has."""
    minima: dict[int, float] = {}
    for clock in clocks:
        reports = sorted(clock.reports)
        if not reports:
            continue
        at = [stream_us for stream_us, _ in reports]
        ntp = [offset for _, offset in reports]
        for window, behind in clock.minima.items():
            stream_us = window * WINDOW_US + WINDOW_US / 2 - behind
            value = behind - interpolate(at, ntp, stream_us)
            minima[window] = min(value, minima.get(window, value))
    return lower_envelope(minima) if minima else None


def lower_envelope(minima: Mapping[int, float]) -> Line:
    """A line on or below every window's minimum, sloped by least squares where there is enough to fit."""
    if not minima:
        return Line(0.0, 0.0, 0.0)
    points = [(window * WINDOW_US + WINDOW_US / 2, value) for window, value in sorted(minima.items())]
    origin = points[0][0]
    slope = _slope(points) if len(points) >= MIN_WINDOWS_FOR_DRIFT else 0.0
    offset = min(value - slope * (at - origin) for at, value in points)
    return Line(origin, offset, slope)


def _slope(points: Sequence[tuple[float, float]]) -> float:
    count = len(points)
    mean_at = sum(at for at, _ in points) / count
    mean_value = sum(value for _, value in points) / count
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    if spread == 0:
        return 0.0
    slope = sum((at - mean_at) * (value - mean_value) for at, value in points) / spread
    return max(-MAX_DRIFT, min(MAX_DRIFT, slope))


def interpolate(at: Sequence[float], values: Sequence[float], wanted: float) -> float:
    """Linear between points, constant beyond them. `at` ascends and is not empty."""
    right = bisect_right(at, wanted)
    if right == 0:
        return values[0]
    if right == len(at):
        return values[-1]
    left = right - 1
    share = (wanted - at[left]) / (at[right] - at[left])
    return values[left] + share * (values[right] - values[left])


class Reorder:
    """Puts one stream's packets in order of sequence number and drops repeats.

    A gap is waited for until a packet arrived `REORDER_US` after the first one that waits; then it is given up, and
    the next item is marked as not continuing the one before.
    """

    def __init__(self) -> None:
        self._order = SeqOrder()
        self._next: int | None = None
        self._waiting: dict[int, tuple[int, bytes]] = {}
        self._gap_since_us: int | None = None
        self._started_us: int | None = None

    def push(self, packet: bytes, arrival_us: int) -> Iterator[tuple[bool, bytes]]:
        """Yields (continues the previous, packet) for everything that is now in order."""
        ext_seq = self._order.unwrap(int.from_bytes(packet[2:4], "big"))
        if self._next is not None and ext_seq == self._next and not self._waiting:
            self._next = ext_seq + 1
            yield True, packet
            return
        if (self._next is not None and ext_seq < self._next) or ext_seq in self._waiting:
            return
        self._waiting[ext_seq] = (arrival_us, packet)
        if self._gap_since_us is None:
            self._gap_since_us = arrival_us
        while self._gap_since_us is not None:
            released = list(self._release(give_up=arrival_us - self._gap_since_us >= REORDER_US))
            yield from released
            if not released:
                return

    def flush(self) -> Iterator[tuple[bool, bytes]]:
        while self._waiting:
            yield from self._release(give_up=True)

    def _release(self, *, give_up: bool) -> Iterator[tuple[bool, bytes]]:
        if self._next is None and not give_up:
            return  # the stream's first packet may still be on its way
        waiting = self._waiting
        continues = self._next in waiting
        if not continues:
            if not give_up:
                return
            self._next = min(waiting)
        at = self._next
        while at is not None and (held := waiting.pop(at, None)) is not None:
            yield continues, held[1]
            continues = True
            at += 1
        self._next = at
        self._gap_since_us = min((arrival for arrival, _ in waiting.values()), default=None)
