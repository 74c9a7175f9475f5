"""How a letter writes a moment: with weekday, date and the reader's zone."""

from datetime import datetime
from zoneinfo import ZoneInfo


def written_time(at: datetime, zone: str) -> str:
    """'Tue 3 Mar, 15:00 Lisbon time'."""
    local = at.astimezone(ZoneInfo(zone))
    place = "UTC" if zone == "UTC" else f"{zone.rsplit('/', 1)[-1].replace('_', ' ')} time"
    return f"{local:%a} {local.day} {local:%b}, {local:%H:%M} {place}"
