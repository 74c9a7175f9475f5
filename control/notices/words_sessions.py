"""The words about one session, from its booking to the time after it."""

from collections.abc import Callable

from control.notices.kinds import NoticeKind, SessionFacts
from control.notices.letters import Facts, InApp, Letter, Reader, Vocabulary, Words, WriteLine, about_of


def _minutes(about: SessionFacts) -> int:
    return round((about.ends_at - about.starts_at).total_seconds() / 60)


def _page(about: SessionFacts, more: str = "") -> str:
    return f"/sessions/{about.appointment_id}{more}"


def _line(title: str, body: Callable[[SessionFacts], str], more: str = "") -> WriteLine:
    """A line that leads to the session's page, or to one behind it."""

    def write(facts: Facts) -> InApp:
        about = about_of(facts)
        return InApp(title, body(about), _page(about, more))

    return write


def _both(about: SessionFacts) -> str:
    return f"{about.client_name} and {about.practitioner_name}"


# -- booking -----------------------------------------------------------------------------------------------------


def _booking_confirmed(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    paid = (f"{about.amount} is held and is paid when the session has taken place.",) if about.amount else ()
    return Letter(
        f"Your session on {reader.time(about.starts_at)}",
        (
            f"{about.service_name} with {about.practitioner_name}, {reader.time(about.starts_at)}, "
            f"{_minutes(about)} minutes.",
            *paid,
            "The invitation for your calendar is attached. The waiting room opens a few minutes before the start.",
        ),
        _page(about),
        "See your session",
    )


def _booking_confirmed_sms(facts: Facts, reader: Reader) -> str:
    about = about_of(facts)
    return (
        f"{reader.practice_name}: your session on {reader.time(about.starts_at)} is booked. "
        f"{reader.base_url}{_page(about)}"
    )


def _new_booking(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        f"New booking on {reader.time(about.starts_at)}",
        (
            f"{about.client_name} booked {about.service_name}, {reader.time(about.starts_at)}, "
            f"{_minutes(about)} minutes.",
            "The invitation for your calendar is attached.",
        ),
        _page(about),
        "See the booking",
    )


def _not_activated(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        f"Not activated: a session on {reader.time(about.starts_at)}",
        (
            f"The session of {about.client_name} with {about.practitioner_name} was not activated before its start. "
            "It has been cancelled, and the client gets everything back.",
        ),
        f"/admin/appointments?id={about.appointment_id}",
        "See what happened",
    )


def _not_activated_line(facts: Facts) -> InApp:
    about = about_of(facts)
    path = f"/admin/appointments?id={about.appointment_id}"
    return InApp("A session was not activated in time", f"{about.client_name} with {about.practitioner_name}", path)


def _guest_invited(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        f"You are invited to a session on {reader.time(about.starts_at)}",
        (
            f"{about.practitioner_name} invites you to a session at {reader.practice_name} on "
            f"{reader.time(about.starts_at)}, {_minutes(about)} minutes. There is nothing to pay.",
            "With this link you sign in; it works once. Later, ask for a new one on the sign-in page.",
        ),
        link_words="See the invitation",
    )


# -- before it ---------------------------------------------------------------------------------------------------


def _reminder(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        f"Reminder: your session on {reader.time(about.starts_at)}",
        (
            f"{_both(about)}, {reader.time(about.starts_at)}, {_minutes(about)} minutes.",
            "The waiting room opens a few minutes before the start. You can try camera and microphone there now.",
        ),
        _page(about),
        "See your session",
    )


def _reminder_sms(facts: Facts, reader: Reader) -> str:
    about = about_of(facts)
    return (
        f"{reader.practice_name}: a reminder of your session on {reader.time(about.starts_at)}. "
        f"{reader.base_url}{_page(about)}"
    )


def _reschedule_requested(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    reason = (f"The reason given: {about.reason}",) if about.reason else ()
    return Letter(
        f"A request to move your session of {_old_time(about, reader)}",
        (
            f"{about.asked_by} has requested to reschedule: from {_old_time(about, reader)} to "
            f"{reader.time(about.starts_at)}, {_minutes(about)} minutes.",
            *reason,
            "It stays where it is until you accept. Nobody pays twice.",
        ),
        _page(about),
        "Accept or reject",
    )


def _reschedule_requested_line(facts: Facts) -> InApp:
    about = about_of(facts)
    return InApp(f"{about.asked_by} has requested to reschedule", about.service_name, _page(about))


def _reschedule_accepted(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        f"Your session is now on {reader.time(about.starts_at)}",
        (
            f"The session of {about.client_name} with {about.practitioner_name} was moved from "
            f"{_old_time(about, reader)} to {reader.time(about.starts_at)}.",
            "The attached invitation moves it in your calendar too.",
        ),
        _page(about),
        "See your session",
    )


def _reschedule_rejected(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        f"Your session stays on {_old_time(about, reader)}",
        (
            f"Moving it to {reader.time(about.starts_at)} does not work for the other side. "
            f"Your session stays on {_old_time(about, reader)}; you may propose another time.",
        ),
        _page(about),
        "See your session",
    )


def _old_time(about: SessionFacts, reader: Reader) -> str:
    return reader.time(about.old_starts_at or about.starts_at)


def _starting_soon(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        "Your session starts soon",
        (
            f"{_both(about)}, {reader.time(about.starts_at)}.",
            "The waiting room is open. Come in when you are ready.",
        ),
        _page(about),
        "Come in",
    )


def _client_waiting(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        "Your client is waiting",
        (f"{about.client_name} is in the waiting room for {reader.time(about.starts_at)}.",),
        "/therapist/dashboard",
        "Open your dashboard",
    )


# -- during and after it -----------------------------------------------------------------------------------------


def _session_started(facts: Facts, _reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        "Your session has started",
        (f"{about.practitioner_name} has started your session. You can come in now.",),
        _page(about, "/waiting-room"),
        "Come in",
    )


def _session_completed(facts: Facts, _reader: Reader) -> Letter:
    return Letter(
        "After your session",
        (
            "Just checking in: be gentle to yourself, drink some water, take the time you need.",
            "If you like, tell us how it was.",
        ),
        _page(about_of(facts), "/afterwards"),
        "How was it?",
    )


def _session_cancelled(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    reason = (f"The reason given: {about.reason}",) if about.reason else ()
    money = (f"{about.amount} goes back to where it came from.",) if about.amount else ()
    return Letter(
        f"Cancelled: your session on {reader.time(about.starts_at)}",
        (
            f"The session of {about.client_name} with {about.practitioner_name} on "
            f"{reader.time(about.starts_at)} has been cancelled.",
            *reason,
            *money,
            "The attached file takes it out of your calendar.",
        ),
        _page(about),
        "See the details",
    )


def _session_cancelled_sms(facts: Facts, reader: Reader) -> str:
    about = about_of(facts)
    return (
        f"{reader.practice_name}: your session on {reader.time(about.starts_at)} has been cancelled. "
        f"{reader.base_url}{_page(about)}"
    )


def _sorry_cancelled(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    money = (f"{about.amount} is refunded in full, you need to do nothing.",) if about.amount else ()
    return Letter(
        "Sorry, your session has been cancelled",
        (
            f"{about.practitioner_name} did not come to your session on "
            f"{reader.time(about.starts_at)}. We are sorry for the time you waited.",
            *money,
            "You can book another time with one click.",
        ),
        _page(about, "/missed"),
        "Book another time",
    )


def _sorry_cancelled_sms(facts: Facts, reader: Reader) -> str:
    about = about_of(facts)
    money = f" {about.amount} is refunded in full." if about.amount else ""
    return (
        f"{reader.practice_name}: sorry, your session on {reader.time(about.starts_at)} has been cancelled.{money} "
        f"{reader.base_url}{_page(about, '/missed')}"
    )


def _client_no_show(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    money = (f"By the terms of your booking {about.amount} is kept for the time held for you.",) if about.amount else ()
    return Letter(
        "We missed you",
        (
            f"{about.practitioner_name} waited for you on {reader.time(about.starts_at)}, "
            "and the session has ended without you. We hope you are well.",
            *money,
            "You can book another time whenever you like.",
        ),
        _page(about),
        "See the details",
    )


_SAID = {"yes": "agreed", "no": "did not agree", "withdrawn": "took back your consent"}


def _recording_receipt(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    said = _SAID[facts["answer"]]
    version = f" (text version {facts['version']})." if "version" in facts else "."
    return Letter(
        "Your answer about recording",
        (
            f"You {said} to the recording of your session with {about.practitioner_name} on "
            f"{reader.time(about.starts_at)}{version}",
            "You can change your answer at any time, also during the session.",
        ),
        _page(about, "/recording-consent"),
        "See or change your answer",
    )


def _recording_ready(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        "A recording is ready",
        (f"The recording of the session on {reader.time(about.starts_at)} can be played now.",),
        facts["path"],
        "See the recording",
    )


def _recording_deleted_soon(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        "A recording will be deleted",
        (
            f"The recording of the session on {reader.time(about.starts_at)} will be deleted in "
            f"{facts['days']} days. Download it before if you need it longer.",
        ),
        facts["path"],
        "See the recording",
    )


def _recordings(title: str) -> WriteLine:
    """Also for the client it is shared with, so the line names both."""

    def line(facts: Facts) -> InApp:
        about = about_of(facts)
        return InApp(title, f"{about.client_name} with {about.practitioner_name}", facts["path"])

    return line


def _testimonial_reminder(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        f"A few words about {reader.practice_name}?",
        (
            f"If you would like to say something about your sessions with {about.practitioner_name}, others may find "
            "it helpful. It is entirely up to you, and you can switch these reminders off in your account.",
        ),
        _page(about, "/afterwards"),
        "Write a few words",
    )


_STAYS = "Your session stays where it is"
_MOVED = "Your session has a new time"

WORDS: Vocabulary = {
    NoticeKind.BOOKING_CONFIRMED: Words(
        _booking_confirmed,
        _line("Your session is booked", lambda about: f"{about.service_name} with {about.practitioner_name}"),
        _booking_confirmed_sms,
    ),
    NoticeKind.NEW_BOOKING: Words(
        _new_booking, _line("New booking", lambda about: f"{about.client_name}, {about.service_name}")
    ),
    NoticeKind.SESSION_ACTIVATED: Words(
        _new_booking, _line("New booking", lambda about: f"{about.client_name}, {about.service_name}")
    ),
    NoticeKind.NOT_ACTIVATED: Words(_not_activated, _not_activated_line),
    NoticeKind.GUEST_INVITED: Words(_guest_invited),
    NoticeKind.REMINDER: Words(_reminder, _line("A reminder of your session", _both), _reminder_sms),
    NoticeKind.RESCHEDULE_REQUESTED: Words(_reschedule_requested, _reschedule_requested_line),
    NoticeKind.RESCHEDULE_ACCEPTED: Words(_reschedule_accepted, _line(_MOVED, _both)),
    NoticeKind.RESCHEDULE_REJECTED: Words(_reschedule_rejected, _line(_STAYS, _both)),
    NoticeKind.STARTING_SOON: Words(
        _starting_soon,
        _line("Your session starts soon", _both),
        push=_line("Your session starts soon", lambda _about: ""),
    ),
    NoticeKind.CLIENT_WAITING: Words(
        _client_waiting,
        lambda facts: InApp("Your client is waiting", about_of(facts).client_name, "/therapist/dashboard"),
        push=lambda _facts: InApp("Your client is waiting", "", "/therapist/dashboard"),
    ),
    NoticeKind.SESSION_STARTED: Words(
        _session_started,
        _line("Your session has started", lambda about: f"{about.practitioner_name} is ready for you", "/waiting-room"),
    ),
    NoticeKind.SESSION_COMPLETED: Words(
        _session_completed, _line("Your session has ended", lambda _: "Be gentle to yourself", "/afterwards")
    ),
    NoticeKind.SESSION_CANCELLED: Words(
        _session_cancelled,
        _line("A session was cancelled", lambda about: f"{about.client_name} with {about.practitioner_name}"),
        _session_cancelled_sms,
    ),
    NoticeKind.SORRY_CANCELLED: Words(
        _sorry_cancelled,
        _line(
            "Sorry, your session has been cancelled", lambda about: f"{about.practitioner_name} did not come", "/missed"
        ),
        _sorry_cancelled_sms,
    ),
    NoticeKind.CLIENT_NO_SHOW: Words(
        _client_no_show,
        _line("We missed you", lambda about: f"Your session with {about.practitioner_name} ended without you"),
    ),
    NoticeKind.RECORDING_CONSENT_RECEIPT: Words(_recording_receipt),
    NoticeKind.RECORDING_READY: Words(_recording_ready, _recordings("A recording is ready")),
    NoticeKind.RECORDING_DELETED_SOON: Words(_recording_deleted_soon, _recordings("A recording will be deleted")),
    NoticeKind.TESTIMONIAL_REMINDER: Words(_testimonial_reminder),
}
