"""How pages write money, times, lengths and states for people: pure functions, used as template filters.

They sit between the values of control (aware UTC datetimes, minor units, state words) and the templates.
No clock, no request, no HTML: `now` and the zone are arguments, escaping is Jinja's. English is written by hand, as
PRODUCT.md shows it; of other languages Babel knows names and money.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from babel.numbers import format_currency, format_decimal
from markupsafe import Markup, escape

from control.language import ENGLISH, N_, locale, look_up, spoken, t, tn

#: Currency → (sign, digits after the point). The five of PRODUCT.md §1; others are written with their code.
_CURRENCIES = {"EUR": ("€", 2), "USD": ("$", 2), "GBP": ("£", 2), "INR": ("₹", 2), "JPY": ("¥", 0)}

_STATES = {
    "pending": N_("On hold"),
    "scheduled": N_("Scheduled"),
    "confirmed": N_("Confirmed"),
    "in_progress": N_("In progress"),
    "completed": N_("Completed"),
    "expired": N_("Expired"),
    "cancelled": N_("Cancelled"),
    "no_show_client": N_("No-show, client"),
    "no_show_practitioner": N_("No-show, practitioner"),
}

_MODES = {"video": N_("by video"), "audio": N_("by audio"), "chat": N_("by text")}
_MODE_NAMES = {"video": N_("Video"), "audio": N_("Audio"), "chat": N_("Chat")}
_ROLES = {
    "client": N_("client"),
    "practitioner": N_("practitioner"),
    "admin": N_("admin"),
    "support": N_("support"),
    "guest": N_("guest"),
}
_MODE_ICONS = {"video": "camera", "audio": "mic", "chat": "chat"}

#: Colours an avatar may take; the plain one first.
_TINTS = ("a", "b", "c", "d", "e")


def money(amount_minor: int, currency: str) -> str:
    """€65.00, ₹2,400.00, ¥7,800; an unknown currency as "12.00 CHF"."""
    sign, digits = _CURRENCIES.get(currency, ("", 2))
    if spoken() != ENGLISH:
        return format_currency(Decimal(amount_minor).scaleb(-digits), currency, locale=locale())
    whole, part = divmod(abs(amount_minor), 10**digits)
    text = f"{whole:,}" + (f".{part:0{digits}d}" if digits else "")
    minus = "-" if amount_minor < 0 else ""
    return f"{minus}{sign}{text}" if sign else f"{minus}{text} {currency}"


def amount(amount_minor: int, currency: str) -> str:
    """75.00, as it is typed into a field"""
    _, digits = _CURRENCIES.get(currency, ("", 2))
    return f"{amount_minor / 10**digits:.{digits}f}"


def price(amount_minor: int, currency: str) -> str:
    return money(amount_minor, currency) if amount_minor else t("Free")


def zone_name(zone: str) -> str:
    """The part of an IANA name people know: "Europe/Lisbon" → "Lisbon time"."""
    return "UTC" if zone in {"UTC", "Etc/UTC"} else t("%(place)s time", place=zone_city(zone))


def zone_city(zone: str) -> str:
    return zone.rsplit("/", 1)[-1].replace("_", " ")


def zone_offset(zone: str, at: datetime) -> str:
    """As "UTC+1" or "UTC-3:30": how it stands then."""
    offset = at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
    minutes = int(offset.total_seconds() // 60)
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{hours}" + (f":{rest:02d}" if rest else "")


def zone_words(zone: str, at: datetime) -> str:
    """Tokyo, UTC+9"""
    return zone_name(zone) if zone_name(zone) == "UTC" else f"{zone_city(zone)}, {zone_offset(zone, at)}"


def clock(at: datetime, zone: str) -> str:
    """16:00"""
    return at.astimezone(ZoneInfo(zone)).strftime("%H:%M")


def day(at: datetime | date, zone: str = "UTC", *, this_year: int | None = None) -> str:
    """Tue 3 Mar; with the year when it is not `this_year`."""
    local = at.astimezone(ZoneInfo(zone)).date() if isinstance(at, datetime) else at
    named = {"weekday": weekday(local.weekday()), "day": local.day, "month": _month_name(local.month, "abbreviated")}
    text = t("%(weekday)s %(day)s %(month)s", **named)
    return text if this_year in (None, local.year) else f"{text} {local.year}"


def _day_name(number: int, width: Literal["abbreviated", "wide"]) -> str:
    return str(locale().days["stand-alone"][width][number])


def _month_name(number: int, width: Literal["abbreviated", "wide"]) -> str:
    return str(locale().months["stand-alone"][width][number])


def weekday(number: int) -> str:
    """Mon, for 0"""
    return _day_name(number, "abbreviated")


def long_weekday(number: int) -> str:
    """Monday, for 0"""
    return _day_name(number, "wide")


def iso_day(text: str, *, this_year: int | None = None) -> str:
    """Tue 3 Mar, of 2026-03-03"""
    return day(date.fromisoformat(text), this_year=this_year)


def long_day(at: datetime | date, zone: str = "UTC", *, this_year: int | None = None) -> str:
    """Tuesday, 3 March; with the year when it is not `this_year`."""
    local = at.astimezone(ZoneInfo(zone)).date() if isinstance(at, datetime) else at
    named = {"weekday": long_weekday(local.weekday()), "day": local.day, "month": _month_name(local.month, "wide")}
    text = t("%(weekday)s, %(day)s %(month)s", **named)
    return text if this_year in (None, local.year) else f"{text} {local.year}"


def month(of: date) -> str:
    """March 2026"""
    return f"{_month_name(of.month, 'wide')} {of.year}"


def when(at: datetime, zone: str, *, this_year: int | None = None) -> str:
    """Tue 3 Mar, 16:00"""
    return f"{day(at, zone, this_year=this_year)}, {clock(at, zone)}"


def tenths(value: float) -> str:
    """4.0, or 4,0 where that is how it is written"""
    return str(format_decimal(value, "0.0", locale()))


def year(at: datetime, zone: str) -> int:
    return at.astimezone(ZoneInfo(zone)).year


def near_day(at: datetime, zone: str, now: datetime, *, within: bool = False) -> str:
    """Today, Tomorrow, Yesterday or the day, with the year when it is another one. Small `within` a sentence."""
    here = ZoneInfo(zone)
    local, today = at.astimezone(here).date(), now.astimezone(here).date()
    named = {-1: t("Yesterday"), 0: t("Today"), 1: t("Tomorrow")}.get((local - today).days)
    if named is None:
        return day(local, this_year=today.year)
    return named.lower() if within else named


def near(at: datetime, zone: str, now: datetime, *, within: bool = False) -> str:
    """Today, 16:00"""
    return f"{near_day(at, zone, now, within=within)}, {clock(at, zone)}"


def other_zone(at: datetime, zone: str, other: str) -> str:
    """As "15:00 Lisbon time" when that differs from the reader's clock at this moment, else nothing."""
    here, there = at.astimezone(ZoneInfo(zone)), at.astimezone(ZoneInfo(other))
    if here.utcoffset() == there.utcoffset():
        return ""
    text = f"{clock(at, other)} {zone_name(other)}"
    return text if here.date() == there.date() else f"{weekday(there.weekday())} {text}"


def minutes(count: int) -> str:
    """50 min, 1 h 20 min"""
    hours, rest = divmod(count, 60)
    if count <= 90:
        return t("%(minutes)s min", minutes=count)
    return _hours(hours, rest)


def _hours(hours: int, minutes: int) -> str:
    return t("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes) if minutes else t("%(hours)s h", hours=hours)


def clock_length(seconds: float) -> str:
    """4:07, 1:04:07"""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minute, second = divmod(rest, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def spoken_length(seconds: float) -> str:
    """For screen readers: "1 hour 4 minutes 7 seconds"."""
    whole = max(0, int(seconds))
    hours, minute, second = whole // 3600, whole % 3600 // 60, whole % 60
    parts = (
        tn("%(num)s hour", "%(num)s hours", hours) if hours else "",
        tn("%(num)s minute", "%(num)s minutes", minute) if minute else "",
        tn("%(num)s second", "%(num)s seconds", second) if second else "",
    )
    return " ".join(part for part in parts if part) or t("0 seconds")


def until(at: datetime, now: datetime) -> str:
    """What is left, in the largest two units: "3 days", "1 h 32 min", "4 min", "less than a minute"."""
    seconds = (at - now).total_seconds()
    whole_minutes = int(-(-seconds // 60))
    if whole_minutes <= 0:
        return t("now")
    if seconds < 60:
        return t("less than a minute")
    days, rest = divmod(whole_minutes, 24 * 60)
    if days >= 2:
        return t("%(days)s days", days=days)
    hours, rest = divmod(whole_minutes, 60)
    return _hours(hours, rest) if hours else t("%(minutes)s min", minutes=rest)


def state_words(state: str) -> str:
    return look_up(_STATES.get(state, state.replace("_", " ").capitalize()))


def mode_words(mode: str) -> str:
    return look_up(_MODES.get(mode, mode))


def mode_name(mode: str) -> str:
    """Video, in a list of facts"""
    return look_up(_MODE_NAMES.get(mode, mode.capitalize()))


def role_name(role: str) -> str:
    return look_up(_ROLES.get(role, role)).capitalize()


def role_words(roles: Iterable[str]) -> str:
    """Client, practitioner"""
    return ", ".join(look_up(_ROLES.get(role, role)) for role in sorted(roles)).capitalize()


def mode_icon(mode: str) -> str:
    return _MODE_ICONS.get(mode, "camera")


def size(count: int) -> str:
    """184 kB"""
    if count < 1000:
        return t("%(bytes)s bytes", bytes=count)
    for unit, step in (("kB", 10**3), ("MB", 10**6), ("GB", 10**9)):
        if count < step * 1000 or unit == "GB":
            value = count / step
            return f"{format_decimal(value, '0' if value >= 10 else '0.0', locale())} {unit}"
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
        return t("Good evening")
    return t("Good morning") if hour < 12 else t("Good afternoon")


_NUMBERS = (
    *(N_("no"), N_("one"), N_("two"), N_("three"), N_("four"), N_("five")),
    *(N_("six"), N_("seven"), N_("eight"), N_("nine"), N_("ten")),
)


def number(of: int) -> str:
    """Small numbers as words, inside a sentence."""
    return look_up(_NUMBERS[of]) if 0 <= of < len(_NUMBERS) else str(of)


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
    named = next((name for mark, name in _BROWSERS if mark in user_agent), t("A browser"))
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    return t("%(browser)s on %(system)s", browser=named, system=system) if system else named


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
        money, amount, price, zone_name, zone_city, zone_offset, zone_words, clock, day, iso_day, long_day, month, when,
        near_day, near, other_zone,
        minutes, clock_length, spoken_length, until, state_words, mode_words,
        mode_name, mode_icon, role_name, role_words, size, initials, tint,
        first_name, linked, blocks, tenths,
    )
}  # fmt: skip
