"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 3, 14, 0, tzinfo=UTC)  # a Tuesday, four weeks before the clocks change in Europe


class ManualClock:
    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> datetime:
        """`forward(minutes=5)`; the new time."""
        self.now += timedelta(**by)
        return self.now
