"""How pages write money, times, lengths and states for people: pure functions, used as template filters.

They sit between the values of control (aware UTC datetimes, minor units, state words) and the templates.
No clock, no request, no HTML: `now` and the zone are arguments, escaping is Jinja's.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONG_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

#: Currency → (sign, digits after the point). The five of PRODUCT.md §1; others are written with their code.
_CURRENCIES = {"EUR": ("€", 2), "USD": ("$", 2), "GBP": ("£", 2), "INR": ("₹", 2), "JPY": ("¥", 0)}

_STATES = {
    "pending": "On hold",
    "scheduled": "Scheduled",
    "confirmed": "Confirmed",
    "in_progress": "In progress",
    "completed": "Completed",
    "expired": "Expired",
    "cancelled": "Cancelled",
    "no_show_client": "No-show, client",
    "no_show_practitioner": "No-show, practitioner",
}

_MODES = {"video": "by video", "audio": "by audio", "chat": "by text"}
_MODE_ICONS = {"video": "camera", "audio": "mic", "chat": "chat"}

#: Colours an avatar may take; the plain one first.
_TINTS = ("a", "b", "c", "d", "e")


def money(amount_minor: int, currency: str) -> str:
    """€65.00, ₹2,400.00, ¥7,800; an unknown currency as "12.00 CHF"."""
    sign, digits = _CURRENCIES.get(currency, ("", 2))
    whole, part = divmod(abs(amount_minor), 10**digits)
    text = f"{whole:,}" + (f".{part:0{digits}d}" if digits else "")
    minus = "-" if amount_minor < 0 else ""
    return f"{minus}{sign}{text}" if sign else f"{minus}{text} {currency}"


def amount(amount_minor: int, currency: str) -> str:
    """75.00, as it is typed into a field"""
    _, digits = _CURRENCIES.get(currency, ("", 2))
    return f"{amount_minor / 10**digits:.{digits}f}"


def price(amount_minor: int, currency: str) -> str:
    return money(amount_minor, currency) if amount_minor else "Free"


def zone_name(zone: str) -> str:
    """The part of an IANA name people know: "Europe/Lisbon" → "Lisbon time"."""
    return "UTC" if zone in {"UTC", "Etc/UTC"} else f"{zone_city(zone)} time"


def zone_city(zone: str) -> str:
    return zone.rsplit("/", 1)[-1].replace("_", " ")


def zone_offset(zone: str, at: datetime) -> str:
    """As "UTC+1" or "UTC-3:30": how it stands then."""
    offset = at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
    minutes = int(offset.total_seconds() // 60)
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{hours}" + (f":{rest:02d}" if rest else "")


def clock(at: datetime, zone: str) -> str:
    """16:00"""
    return at.astimezone(ZoneInfo(zone)).strftime("%H:%M")


def day(at: datetime | date, zone: str = "UTC", *, this_year: int | None = None) -> str:
    """Tue 3 Mar; with the year when it is not `this_year`."""
    local = at.astimezone(ZoneInfo(zone)).date() if isinstance(at, datetime) else at
    text = f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]}"
    return text if this_year in (None, local.year) else f"{text} {local.year}"


def weekday(number: int) -> str:
    """Mon, for 0"""
    return _DAYS[number]


def long_weekday(number: int) -> str:
    """Monday, for 0"""
    return _LONG_DAYS[number]


def iso_day(text: str) -> str:
    """Tue 3 Mar, of 2026-03-03"""
    return day(date.fromisoformat(text))


def long_day(at: datetime | date, zone: str = "UTC") -> str:
    """Tuesday, 3 March"""
    local = at.astimezone(ZoneInfo(zone)).date() if isinstance(at, datetime) else at
    return f"{_LONG_DAYS[local.weekday()]}, {local.day} {_LONG_MONTHS[local.month - 1]}"


def month(of: date) -> str:
    """March 2026"""
    return f"{_LONG_MONTHS[of.month - 1]} {of.year}"


def when(at: datetime, zone: str) -> str:
    """Tue 3 Mar, 16:00"""
    return f"{day(at, zone)}, {clock(at, zone)}"


def near_day(at: datetime, zone: str, now: datetime) -> str:
    """Today, Tomorrow, Yesterday or the day, with the year when it is another one."""
    here = ZoneInfo(zone)
    local, today = at.astimezone(here).date(), now.astimezone(here).date()
    named = {-1: "Yesterday", 0: "Today", 1: "Tomorrow"}.get((local - today).days)
    return named or day(local, this_year=today.year)


def near(at: datetime, zone: str, now: datetime) -> str:
    """Today, 16:00"""
    return f"{near_day(at, zone, now)}, {clock(at, zone)}"


def other_zone(at: datetime, zone: str, other: str) -> str:
    """As "15:00 Lisbon time" when that differs from the reader's clock at this moment, else nothing."""
    here, there = at.astimezone(ZoneInfo(zone)), at.astimezone(ZoneInfo(other))
    if here.utcoffset() == there.utcoffset():
        return ""
    text = f"{clock(at, other)} {zone_name(other)}"
    return text if here.date() == there.date() else f"{_DAYS[there.weekday()]} {text}"


def minutes(count: int) -> str:
    """50 min, 1 h 20 min"""
    hours, rest = divmod(count, 60)
    if count <= 90:
        return f"{count} min"
    return f"{hours} h" + (f" {rest} min" if rest else "")


def clock_length(seconds: float) -> str:
    """4:07, 1:04:07"""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minute, second = divmod(rest, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def spoken_length(seconds: float) -> str:
    """For screen readers: "1 hour 4 minutes 7 seconds"."""
    whole = max(0, int(seconds))
    parts = ((whole // 3600, "hour"), (whole % 3600 // 60, "minute"), (whole % 60, "second"))
    return " ".join(f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in parts if n) or "0 seconds"


def until(at: datetime, now: datetime) -> str:
    """What is left, in the largest two units: "3 days", "1 h 32 min", "4 min", "less than a minute"."""
    seconds = (at - now).total_seconds()
    whole_minutes = int(-(-seconds // 60))
    if whole_minutes <= 0:
        return "now"
    if seconds < 60:
        return "less than a minute"
    days, rest = divmod(whole_minutes, 24 * 60)
    if days >= 2:
        return f"{days} days"
    hours, rest = divmod(whole_minutes, 60)
    if hours:
        return f"{hours} h" + (f" {rest} min" if rest else "")
    return f"{rest} min"


def state_words(state: str) -> str:
    return _STATES.get(state, state.replace("_", " ").capitalize())


def mode_words(mode: str) -> str:
    return _MODES.get(mode, mode)


def mode_icon(mode: str) -> str:
    return _MODE_ICONS.get(mode, "camera")


def size(count: int) -> str:
    """184 kB"""
    if count < 1000:
        return f"{count} bytes"
    for unit, step in (("kB", 10**3), ("MB", 10**6), ("GB", 10**9)):
        if count < step * 1000 or unit == "GB":
            value = count / step
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    raise AssertionError


def initials(name: str) -> str:
    """AO for "Dr. Amara Okafor": titles don't count."""
    words = [word for word in name.split() if not word.endswith(".") and word[0].isalpha()]
    if not words:
        return name[:1].upper()
    first = words[0][0]
    return (first + words[-1][0] if len(words) > 1 else first).upper()


def tint(name: str) -> str:
    """A colour that stays with the name from page to page."""
    return _TINTS[sum(name.encode()) % len(_TINTS)]


def first_name(name: str) -> str:
    """What a page calls somebody: "Mina" for a client, "Dr. Amara" where a title is part of the name."""
    words = name.split()
    if len(words) > 1 and words[0].endswith("."):
        return " ".join(words[:2])
    return words[0] if words else name


def greeting(now: datetime, zone: str) -> str:
    hour = now.astimezone(ZoneInfo(zone)).hour
    if hour < 5 or hour >= 18:
        return "Good evening"
    return "Good morning" if hour < 12 else "Good afternoon"


def number(of: int) -> str:
    """Small numbers as words, inside a sentence."""
    names = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return names[of] if 0 <= of < len(names) else str(of)


def count(number: int, one: str, many: str = "") -> str:
    """As "1 session", "3 sessions"; small numbers as words are the template's business."""
    return f"{number} {one if number == 1 else many or one + 's'}"


_ADDRESS = re.compile(r"https?://[^\s<>\"']{3,500}")


def linked(text: str) -> Markup:
    """What somebody wrote, escaped, its web addresses made links that tell the other site nothing of this one."""
    parts: list[Markup] = []
    at = 0
    for found in _ADDRESS.finditer(text):
        address = found.group().rstrip(".,;:!?)]}")
        parts.append(escape(text[at : found.start()]))
        parts.append(Markup('<a href="{0}" rel="noopener noreferrer nofollow" target="_blank">{0}</a>').format(address))
        at = found.start() + len(address)
    return Markup("").join([*parts, escape(text[at:])])


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """What a practitioner wrote, set for reading: "heading", "list" or "text", each with its lines.

    "# " begins a heading, "- " an item of a list; an empty line ends a paragraph.
    """
    found: list[tuple[str, list[str]]] = []
    for part in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        kind = ""
        for line in part.strip().splitlines():
            mark = {"# ": "heading", "- ": "list"}.get(line[:2], "text")
            if mark == "heading" or mark != kind:
                found.append((mark, []))
            found[-1][1].append(line if mark == "text" else line[2:].strip())
            kind = mark
    return found


def device_words(user_agent: str) -> str:
    """ "Chrome on Windows": a browser as its owner would call it; what can't be told is "A browser"."""
    named = next((name for mark, name in _BROWSERS if mark in user_agent), "A browser")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    return f"{named} on {system}" if system else named


# The first that fits: every browser also claims to be older ones.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


FILTERS = {
    f.__name__: f
    for f in (
        money, amount, price, zone_name, zone_city, zone_offset, clock, day, iso_day, long_day, month, when, near_day,
        near, other_zone,
        minutes, clock_length, spoken_length, until, state_words, mode_words, mode_icon, size, initials, tint,
        first_name, linked, blocks,
    )
}  # fmt: skip
