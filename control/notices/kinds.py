"""What kinds of notices there are, in which channels each goes, and what their texts are told.

PRODUCT.md §8 as a table. Plain values: no database, no wording.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class NoticeKind(StrEnum):
    # All three channels.
    BOOKING_CONFIRMED = "booking_confirmed"  # to the client, with the invite
    REMINDER = "reminder"  # to both, a day and a quarter of an hour before
    SESSION_CANCELLED = "session_cancelled"
    SORRY_CANCELLED = "sorry_cancelled"  # the practitioner missed it
    # E-mail only.
    SIGN_IN_LINK = "sign_in_link"
    WELCOME = "welcome"
    RECEIPT = "receipt"
    TOP_UP_RECEIPT = "top_up_receipt"
    RECORDING_CONSENT_RECEIPT = "recording_consent_receipt"
    TESTIMONIAL_REMINDER = "testimonial_reminder"
    ENQUIRY_RECEIVED = "enquiry_received"  # the welcome of who is no member, with the link that proves the address
    ENQUIRY_ANSWERED = "enquiry_answered"  # the answer itself
    GUEST_INVITED = "guest_invited"  # with a link to sign in, and the invite
    ACCOUNT_CHANGED = "account_changed"  # a way to sign in was added or taken away: somebody else may have done it
    # SMS only.
    PHONE_CODE = "phone_code"  # proves the number it is sent to
    # On the pages and by e-mail.
    NEW_BOOKING = "new_booking"  # to the practitioner, with the invite
    SESSION_ACTIVATED = "session_activated"  # to the practitioner, with the invite
    NOT_ACTIVATED = "not_activated"  # to admins
    CLIENT_WAITING = "client_waiting"
    STARTING_SOON = "starting_soon"  # the session can be joined now
    SESSION_STARTED = "session_started"
    SESSION_COMPLETED = "session_completed"
    CLIENT_NO_SHOW = "client_no_show"  # the client missed it
    REFUND_CONFIRMED = "refund_confirmed"
    RESCHEDULE_REQUESTED = "reschedule_requested"
    RESCHEDULE_ACCEPTED = "reschedule_accepted"  # to both, with the invite at its new time
    RESCHEDULE_REJECTED = "reschedule_rejected"
    PAYMENT_CONFIRMED = "payment_confirmed"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_TOO_LATE = "payment_too_late"  # money came after the hold was over, and goes back
    NEW_MESSAGE = "new_message"
    NEW_ENQUIRY = "new_enquiry"
    UNANSWERED_MESSAGES = "unanswered_messages"
    FILE_SHARED = "file_shared"
    RECORDING_READY = "recording_ready"
    RECORDING_DELETED_SOON = "recording_deleted_soon"
    PROBLEM_ALERT = "problem_alert"
    EXPORT_READY = "export_ready"  # the copy of one's data
    NOTES_ASKED = "notes_asked"  # to the practitioner: a client asks for the notes kept on them
    NOTES_ANSWERED = "notes_answered"


class Channel(StrEnum):
    IN_APP = "in_app"
    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"  # on devices that asked for it


_EVERYWHERE = frozenset({Channel.IN_APP, Channel.EMAIL, Channel.SMS})
_E_MAIL = frozenset({Channel.EMAIL})
_PAGES_AND_E_MAIL = frozenset({Channel.IN_APP, Channel.EMAIL})
_WITH_PUSH = _PAGES_AND_E_MAIL | {Channel.PUSH}

CHANNELS: Mapping[NoticeKind, frozenset[Channel]] = {
    NoticeKind.BOOKING_CONFIRMED: _EVERYWHERE,
    NoticeKind.REMINDER: _EVERYWHERE,
    NoticeKind.SESSION_CANCELLED: _EVERYWHERE,
    NoticeKind.SORRY_CANCELLED: _EVERYWHERE,
    NoticeKind.SIGN_IN_LINK: _E_MAIL,
    NoticeKind.WELCOME: _E_MAIL,
    NoticeKind.RECEIPT: _E_MAIL,
    NoticeKind.TOP_UP_RECEIPT: _E_MAIL,
    NoticeKind.RECORDING_CONSENT_RECEIPT: _E_MAIL,
    NoticeKind.TESTIMONIAL_REMINDER: _E_MAIL,
    NoticeKind.ENQUIRY_RECEIVED: _E_MAIL,
    NoticeKind.ENQUIRY_ANSWERED: _E_MAIL,
    NoticeKind.GUEST_INVITED: _E_MAIL,
    NoticeKind.ACCOUNT_CHANGED: _E_MAIL,
    NoticeKind.PHONE_CODE: frozenset({Channel.SMS}),
    NoticeKind.NEW_BOOKING: _PAGES_AND_E_MAIL,
    NoticeKind.SESSION_ACTIVATED: _PAGES_AND_E_MAIL,
    NoticeKind.NOT_ACTIVATED: _PAGES_AND_E_MAIL,
    NoticeKind.CLIENT_WAITING: _WITH_PUSH,
    NoticeKind.STARTING_SOON: _WITH_PUSH,
    NoticeKind.SESSION_STARTED: _PAGES_AND_E_MAIL,
    NoticeKind.SESSION_COMPLETED: _PAGES_AND_E_MAIL,
    NoticeKind.CLIENT_NO_SHOW: _PAGES_AND_E_MAIL,
    NoticeKind.REFUND_CONFIRMED: _PAGES_AND_E_MAIL,
    NoticeKind.RESCHEDULE_REQUESTED: _PAGES_AND_E_MAIL,
    NoticeKind.RESCHEDULE_ACCEPTED: _PAGES_AND_E_MAIL,
    NoticeKind.RESCHEDULE_REJECTED: _PAGES_AND_E_MAIL,
    NoticeKind.PAYMENT_CONFIRMED: _PAGES_AND_E_MAIL,
    NoticeKind.PAYMENT_FAILED: _PAGES_AND_E_MAIL,
    NoticeKind.PAYMENT_TOO_LATE: _PAGES_AND_E_MAIL,
    NoticeKind.NEW_MESSAGE: _PAGES_AND_E_MAIL,
    NoticeKind.NEW_ENQUIRY: _PAGES_AND_E_MAIL,
    NoticeKind.UNANSWERED_MESSAGES: _PAGES_AND_E_MAIL,
    NoticeKind.FILE_SHARED: _PAGES_AND_E_MAIL,
    NoticeKind.RECORDING_READY: _PAGES_AND_E_MAIL,
    NoticeKind.RECORDING_DELETED_SOON: _PAGES_AND_E_MAIL,
    NoticeKind.PROBLEM_ALERT: _PAGES_AND_E_MAIL,
    NoticeKind.EXPORT_READY: _PAGES_AND_E_MAIL,
    NoticeKind.NOTES_ASKED: _PAGES_AND_E_MAIL,
    NoticeKind.NOTES_ANSWERED: _PAGES_AND_E_MAIL,
}

NEVER_OFF: frozenset[NoticeKind] = frozenset(
    {NoticeKind.SIGN_IN_LINK, NoticeKind.PHONE_CODE, NoticeKind.ENQUIRY_RECEIVED, NoticeKind.ENQUIRY_ANSWERED}
)
"""Without these nobody could sign up, prove a number or be answered: an install can't switch them off."""

INVITES: frozenset[NoticeKind] = frozenset(
    {
        NoticeKind.BOOKING_CONFIRMED,
        NoticeKind.NEW_BOOKING,
        NoticeKind.SESSION_ACTIVATED,
        NoticeKind.RESCHEDULE_ACCEPTED,
        NoticeKind.GUEST_INVITED,
    }
)
CANCELLATIONS: frozenset[NoticeKind] = frozenset({NoticeKind.SESSION_CANCELLED, NoticeKind.SORRY_CANCELLED})


@dataclass(frozen=True)
class SessionFacts:
    """What the texts about one appointment need. Copied when the notice is written: a text tells of that moment."""

    appointment_id: str
    service_name: str
    practitioner_name: str
    client_name: str
    starts_at: datetime
    ends_at: datetime
    mode: str = "video"
    sequence: int = 0
    """Grows with each change of the appointment's time or state: calendars replace the invite by it."""
    reason: str = ""
    old_starts_at: datetime | None = None
    """The start before, where the text is about another one."""
    asked_by: str = ""
    """The name of who proposed that."""
    amount_minor: int = 0
    """Money, where the text speaks of it; written as the reader's language does."""
    currency: str = ""

    def as_json(self) -> dict[str, Any]:
        values = self.__dict__.copy()
        values["starts_at"] = self.starts_at.isoformat()
        values["ends_at"] = self.ends_at.isoformat()
        values["old_starts_at"] = None if self.old_starts_at is None else self.old_starts_at.isoformat()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SessionFacts":
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        known["starts_at"] = datetime.fromisoformat(values["starts_at"])
        known["ends_at"] = datetime.fromisoformat(values["ends_at"])
        if known.get("old_starts_at"):
            known["old_starts_at"] = datetime.fromisoformat(values["old_starts_at"])
        return cls(**known)
