"""What kinds of notices there are and what their texts are told. Plain values: no database, no wording."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class NoticeKind(StrEnum):
    SIGN_IN_LINK = "sign_in_link"
    WELCOME = "welcome"
    BOOKING_CONFIRMED = "booking_confirmed"  # to the client, with the invite
    NEW_BOOKING = "new_booking"  # to the practitioner, with the invite
    CLIENT_WAITING = "client_waiting"
    SESSION_STARTED = "session_started"
    SESSION_COMPLETED = "session_completed"
    SESSION_CANCELLED = "session_cancelled"
    SORRY_CANCELLED = "sorry_cancelled"  # the practitioner missed it
    CLIENT_NO_SHOW = "client_no_show"  # the client missed it
    STARTING_SOON = "starting_soon"  # the session can be joined now
    RECORDING_CONSENT_RECEIPT = "recording_consent_receipt"
    REFUND_CONFIRMED = "refund_confirmed"
    PAYMENT_CONFIRMED = "payment_confirmed"
    PAYMENT_FAILED = "payment_failed"
    RECEIPT = "receipt"
    TOP_UP_RECEIPT = "top_up_receipt"
    PAYMENT_TOO_LATE = "payment_too_late"  # money came after the hold was over, and goes back


E_MAIL_ONLY = frozenset(
    {
        NoticeKind.SIGN_IN_LINK,
        NoticeKind.WELCOME,
        NoticeKind.RECORDING_CONSENT_RECEIPT,
        NoticeKind.RECEIPT,
        NoticeKind.TOP_UP_RECEIPT,
    }
)


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
    amount: str = ""
    """Money as it is to be read ("€50.00"), where the text speaks of money."""

    def as_json(self) -> dict[str, Any]:
        values = self.__dict__.copy()
        values["starts_at"] = self.starts_at.isoformat()
        values["ends_at"] = self.ends_at.isoformat()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SessionFacts":
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        known["starts_at"] = datetime.fromisoformat(values["starts_at"])
        known["ends_at"] = datetime.fromisoformat(values["ends_at"])
        return cls(**known)
