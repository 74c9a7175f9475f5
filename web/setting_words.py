"""The settings in force as admins read them: in sections, those of the practice first, and each value with its unit.

Pure functions of keys and values, and of kinds of notices. What a setting does is said by its own sentence
(control/config.py), which web/catalogs.py hands to the translators.
"""

from collections.abc import Callable, Mapping

from control.config_reading import Key
from control.language import N_, look_up, t, tn
from control.notices.kinds import NoticeKind
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

_KINDS = {
    NoticeKind.BOOKING_CONFIRMED: N_("Booking confirmed"),
    NoticeKind.REMINDER: N_("Reminder of a session"),
    NoticeKind.SESSION_CANCELLED: N_("Session cancelled"),
    NoticeKind.SORRY_CANCELLED: N_("Sorry, the practitioner missed it"),
    NoticeKind.SIGN_IN_LINK: N_("Sign-in link"),
    NoticeKind.WELCOME: N_("Welcome"),
    NoticeKind.RECEIPT: N_("Receipt"),
    NoticeKind.TOP_UP_RECEIPT: N_("Receipt of a top-up"),
    NoticeKind.RECORDING_CONSENT_RECEIPT: N_("Receipt of the answer about recording"),
    NoticeKind.TESTIMONIAL_REMINDER: N_("Reminder of a testimonial"),
    NoticeKind.ENQUIRY_RECEIVED: N_("Enquiry received"),
    NoticeKind.ENQUIRY_ANSWERED: N_("Enquiry answered"),
    NoticeKind.GUEST_INVITED: N_("Guest invited"),
    NoticeKind.ACCOUNT_CHANGED: N_("Account changed"),
    NoticeKind.PHONE_CODE: N_("Code that proves a number"),
    NoticeKind.NEW_BOOKING: N_("New booking"),
    NoticeKind.SESSION_ACTIVATED: N_("Session activated"),
    NoticeKind.NOT_ACTIVATED: N_("Session not activated in time"),
    NoticeKind.CLIENT_WAITING: N_("Client is waiting"),
    NoticeKind.STARTING_SOON: N_("Session starts soon"),
    NoticeKind.SESSION_STARTED: N_("Session started"),
    NoticeKind.SESSION_COMPLETED: N_("Session completed"),
    NoticeKind.CLIENT_NO_SHOW: N_("Client did not come"),
    NoticeKind.REFUND_CONFIRMED: N_("Refund confirmed"),
    NoticeKind.RESCHEDULE_REQUESTED: N_("Reschedule requested"),
    NoticeKind.RESCHEDULE_ACCEPTED: N_("Reschedule accepted"),
    NoticeKind.RESCHEDULE_REJECTED: N_("Reschedule rejected"),
    NoticeKind.PAYMENT_CONFIRMED: N_("Payment confirmed"),
    NoticeKind.PAYMENT_FAILED: N_("Payment failed"),
    NoticeKind.PAYMENT_TOO_LATE: N_("Payment came too late"),
    NoticeKind.NEW_MESSAGE: N_("New message"),
    NoticeKind.NEW_ENQUIRY: N_("New customer enquiry"),
    NoticeKind.UNANSWERED_MESSAGES: N_("Unanswered messages"),
    NoticeKind.FILE_SHARED: N_("File shared"),
    NoticeKind.RECORDING_READY: N_("Recording ready"),
    NoticeKind.RECORDING_DELETED_SOON: N_("Recording will be deleted"),
    NoticeKind.PROBLEM_ALERT: N_("Problem reported"),
    NoticeKind.EXPORT_READY: N_("Copy of one's data ready"),
    NoticeKind.NOTES_ASKED: N_("Notes asked for"),
    NoticeKind.NOTES_ANSWERED: N_("Request for notes answered"),
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


def kind_words(kind: NoticeKind) -> str:
    return look_up(_KINDS[kind])


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
