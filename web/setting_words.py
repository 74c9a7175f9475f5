"""The settings in force as admins read them: in sections, those of the practice first, and each value with its unit.

Pure functions of keys and values. What a setting does is said by its own sentence (control/config.py).
"""

from collections.abc import Callable, Mapping

from control.config_reading import Key
from control.language import N_, look_up, t, tn
from web.words import size

#: In the order of the page. A section that is missing here stands last, under its own name.
_SECTIONS = {
    "practice": N_("The practice"),
    "booking": N_("Booking and sessions"),
    "payments": N_("Payments"),
    "notices": N_("Notices"),
    "messages": N_("Messages"),
    "consent": N_("Informed consent"),
    "recording": N_("Recordings"),
    "files": N_("Files"),
    "calendars": N_("Calendars"),
    "security": N_("Signing in"),
    "mail": N_("E-mail"),
    "sms": N_("SMS"),
    "push": N_("Notices on devices"),
    "zendesk": N_("Help desk at Zendesk"),
    "server": N_("The server"),
    "database": N_("Database"),
    "media": N_("Picture and sound"),
    "turn": N_("Relay for strict networks"),
    "": N_("Demo"),
}

_UNITS: Mapping[str, Callable[[int], str]] = {
    "_days": lambda count: tn("%(num)s day", "%(num)s days", count),
    "_hours": lambda count: tn("%(num)s hour", "%(num)s hours", count),
    "_minutes": lambda count: tn("%(num)s minute", "%(num)s minutes", count),
    "_seconds": lambda count: tn("%(num)s second", "%(num)s seconds", count),
    "_s": lambda count: tn("%(num)s second", "%(num)s seconds", count),
    "_ms": lambda count: t("%(count)s ms", count=count),
    "_mb": lambda count: t("%(count)s MB", count=count),
    "_bytes": size,
    "_basis_points": lambda count: t("%(count)s (%(percent)s %%)", count=count, percent=f"{count / 100:g}"),
}


def in_order(key: Key) -> int:
    known = list(_SECTIONS)
    return known.index(key.section) if key.section in _SECTIONS else len(known)


def section_words(section: str) -> str:
    return look_up(_SECTIONS.get(section, section.capitalize()))


def value_words(key: Key, value: object) -> str:
    """Never a secret's value."""
    if key.is_secret:
        return t("set") if value else t("not set")
    if isinstance(value, bool):
        return t("on") if value else t("off")
    if value is None or value == "":
        return t("not set")
    if isinstance(value, (tuple, list)):
        return ", ".join(_with_unit(key, one) for one in value) or t("none")
    if isinstance(value, dict):
        return ", ".join(t("%(one)s to %(other)s", one=one, other=other) for one, other in value.items()) or t("none")
    return _with_unit(key, value)


def _with_unit(key: Key, value: object) -> str:
    unit = next((words for ending, words in _UNITS.items() if key.name.endswith(ending)), None)
    if unit is None or not isinstance(value, (int, float)):
        return str(value)
    return unit(int(value))
