"""The words about one session, from its booking to the time after it."""

from collections.abc import Callable

from control.language import N_, look_up, t
from control.notices.kinds import NoticeKind, SessionFacts
from control.notices.letters import Facts, InApp, Letter, Reader, Vocabulary, Words, WriteLine, about_of, money_of


def _minutes(about: SessionFacts) -> int:
    return round((about.ends_at - about.starts_at).total_seconds() / 60)


def _page(about: SessionFacts, more: str = "") -> str:
    return f"/sessions/{about.appointment_id}{more}"


def _line(title: str, body: Callable[[SessionFacts], str], more: str = "") -> WriteLine:
    """A line that leads to the session's page, or to one behind it."""

    def write(facts: Facts) -> InApp:
        about = about_of(facts)
        return InApp(t(title), body(about), _page(about, more))

    return write


def _both(about: SessionFacts) -> str:
    return t(
        "%(client_name)s and %(practitioner_name)s",
        client_name=about.client_name,
        practitioner_name=about.practitioner_name,
    )


# -- booking -----------------------------------------------------------------------------------------------------


def _booking_confirmed(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    paid = (
        (t("%(amount)s is held and is paid when the session has taken place.", amount=money_of(about)),)
        if about.amount_minor
        else ()
    )
    return Letter(
        t("Your session on %(time)s", time=reader.time(about.starts_at)),
        (
            t(
                "%(service_name)s with %(practitioner_name)s, %(time)s, %(minutes)s minutes.",
                service_name=about.service_name,
                practitioner_name=about.practitioner_name,
                time=reader.time(about.starts_at),
                minutes=_minutes(about),
            ),
            *paid,
            t("The invitation for your calendar is attached. The waiting room opens a few minutes before the start."),
        ),
        _page(about),
        t("See your session"),
    )


def _booking_confirmed_sms(facts: Facts, reader: Reader) -> str:
    about = about_of(facts)
    return t(
        "%(practice_name)s: your session on %(time)s is booked. %(base_url)s%(page)s",
        practice_name=reader.practice_name,
        time=reader.time(about.starts_at),
        base_url=reader.base_url,
        page=_page(about),
    )


def _new_booking(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("New booking on %(time)s", time=reader.time(about.starts_at)),
        (
            t(
                "%(client_name)s booked %(service_name)s, %(time)s, %(minutes)s minutes.",
                client_name=about.client_name,
                service_name=about.service_name,
                time=reader.time(about.starts_at),
                minutes=_minutes(about),
            ),
            t("The invitation for your calendar is attached."),
        ),
        _page(about),
        t("See the booking"),
    )


def _not_activated(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("Not activated: a session on %(time)s", time=reader.time(about.starts_at)),
        (
            t(
                "The session of %(client_name)s with %(practitioner_name)s was not activated before "
                "its start. It has been cancelled, and the client gets everything back.",
                client_name=about.client_name,
                practitioner_name=about.practitioner_name,
            ),
        ),
        f"/admin/appointments?id={about.appointment_id}",
        t("See what happened"),
    )


def _not_activated_line(facts: Facts) -> InApp:
    about = about_of(facts)
    path = f"/admin/appointments?id={about.appointment_id}"
    return InApp(
        t("A session was not activated in time"),
        t(
            "%(client_name)s with %(practitioner_name)s",
            client_name=about.client_name,
            practitioner_name=about.practitioner_name,
        ),
        path,
    )


def _guest_invited(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("You are invited to a session on %(time)s", time=reader.time(about.starts_at)),
        (
            t(
                "%(practitioner_name)s invites you to a session at %(practice_name)s on %(time)s, "
                "%(minutes)s minutes. There is nothing to pay.",
                practitioner_name=about.practitioner_name,
                practice_name=reader.practice_name,
                time=reader.time(about.starts_at),
                minutes=_minutes(about),
            ),
            t("With this link you sign in; it works once. Later, ask for a new one on the sign-in page."),
        ),
        link_words=t("See the invitation"),
    )


# -- before it ---------------------------------------------------------------------------------------------------


def _reminder(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("Reminder: your session on %(time)s", time=reader.time(about.starts_at)),
        (
            t(
                "%(both)s, %(time)s, %(minutes)s minutes.",
                both=_both(about),
                time=reader.time(about.starts_at),
                minutes=_minutes(about),
            ),
            t("The waiting room opens a few minutes before the start. You can try camera and microphone there now."),
        ),
        _page(about),
        t("See your session"),
    )


def _reminder_sms(facts: Facts, reader: Reader) -> str:
    about = about_of(facts)
    return t(
        "%(practice_name)s: a reminder of your session on %(time)s. %(base_url)s%(page)s",
        practice_name=reader.practice_name,
        time=reader.time(about.starts_at),
        base_url=reader.base_url,
        page=_page(about),
    )


def _reschedule_requested(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    reason = (t("The reason given: %(reason)s", reason=about.reason),) if about.reason else ()
    return Letter(
        t("A request to move your session of %(old_time)s", old_time=_old_time(about, reader)),
        (
            t(
                "%(asked_by)s has requested to reschedule: from %(old_time)s to %(time)s, %(minutes)s minutes.",
                asked_by=about.asked_by,
                old_time=_old_time(about, reader),
                time=reader.time(about.starts_at),
                minutes=_minutes(about),
            ),
            *reason,
            t("It stays where it is until you accept. Nobody pays twice."),
        ),
        _page(about),
        t("Accept or reject"),
    )


def _reschedule_requested_line(facts: Facts) -> InApp:
    about = about_of(facts)
    return InApp(
        t("%(asked_by)s has requested to reschedule", asked_by=about.asked_by), about.service_name, _page(about)
    )


def _reschedule_accepted(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("Your session is now on %(time)s", time=reader.time(about.starts_at)),
        (
            t(
                "The session of %(client_name)s with %(practitioner_name)s was moved from %(old_time)s to %(time)s.",
                client_name=about.client_name,
                practitioner_name=about.practitioner_name,
                old_time=_old_time(about, reader),
                time=reader.time(about.starts_at),
            ),
            t("The attached invitation moves it in your calendar too."),
        ),
        _page(about),
        t("See your session"),
    )


def _reschedule_rejected(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("Your session stays on %(old_time)s", old_time=_old_time(about, reader)),
        (
            t(
                "Moving it to %(time)s does not work for the other side. Your session stays on "
                "%(old_time)s; you may propose another time.",
                time=reader.time(about.starts_at),
                old_time=_old_time(about, reader),
            ),
        ),
        _page(about),
        t("See your session"),
    )


def _old_time(about: SessionFacts, reader: Reader) -> str:
    return reader.time(about.old_starts_at or about.starts_at)


def _starting_soon(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("Your session starts soon"),
        (
            f"{_both(about)}, {reader.time(about.starts_at)}.",
            t("The waiting room is open. Come in when you are ready."),
        ),
        _page(about),
        t("Come in"),
    )


def _client_waiting(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("Your client is waiting"),
        (
            t(
                "%(client_name)s is in the waiting room for %(time)s.",
                client_name=about.client_name,
                time=reader.time(about.starts_at),
            ),
        ),
        "/therapist/dashboard",
        t("Open your dashboard"),
    )


# -- during and after it -----------------------------------------------------------------------------------------


def _session_started(facts: Facts, _reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("Your session has started"),
        (
            t(
                "%(practitioner_name)s has started your session. You can come in now.",
                practitioner_name=about.practitioner_name,
            ),
        ),
        _page(about, "/waiting-room"),
        t("Come in"),
    )


def _session_completed(facts: Facts, _reader: Reader) -> Letter:
    return Letter(
        t("After your session"),
        (
            t("Just checking in: be gentle to yourself, drink some water, take the time you need."),
            t("If you like, tell us how it was."),
        ),
        _page(about_of(facts), "/afterwards"),
        t("How was it?"),
    )


def _session_cancelled(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    reason = (t("The reason given: %(reason)s", reason=about.reason),) if about.reason else ()
    money = (t("%(amount)s goes back to where it came from.", amount=money_of(about)),) if about.amount_minor else ()
    return Letter(
        t("Cancelled: your session on %(time)s", time=reader.time(about.starts_at)),
        (
            t(
                "The session of %(client_name)s with %(practitioner_name)s on %(time)s has been cancelled.",
                client_name=about.client_name,
                practitioner_name=about.practitioner_name,
                time=reader.time(about.starts_at),
            ),
            *reason,
            *money,
            t("The attached file takes it out of your calendar."),
        ),
        _page(about),
        t("See the details"),
    )


def _session_cancelled_sms(facts: Facts, reader: Reader) -> str:
    about = about_of(facts)
    return t(
        "%(practice_name)s: your session on %(time)s has been cancelled. %(base_url)s%(page)s",
        practice_name=reader.practice_name,
        time=reader.time(about.starts_at),
        base_url=reader.base_url,
        page=_page(about),
    )


def _sorry_cancelled(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    money = (
        (t("%(amount)s is refunded in full, you need to do nothing.", amount=money_of(about)),)
        if about.amount_minor
        else ()
    )
    return Letter(
        t("Sorry, your session has been cancelled"),
        (
            t(
                "%(practitioner_name)s did not come to your session on %(time)s. We are sorry for the time you waited.",
                practitioner_name=about.practitioner_name,
                time=reader.time(about.starts_at),
            ),
            *money,
            t("You can book another time with one click."),
        ),
        _page(about, "/missed"),
        t("Book another time"),
    )


def _sorry_cancelled_sms(facts: Facts, reader: Reader) -> str:
    about = about_of(facts)
    money = t(" %(amount)s is refunded in full.", amount=money_of(about)) if about.amount_minor else ""
    return t(
        "%(practice_name)s: sorry, your session on %(time)s has been cancelled.%(money)s %(base_url)s%(page)s",
        practice_name=reader.practice_name,
        time=reader.time(about.starts_at),
        money=money,
        base_url=reader.base_url,
        page=_page(about, "/missed"),
    )


def _client_no_show(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    money = (
        (t("By the terms of your booking %(amount)s is kept for the time held for you.", amount=money_of(about)),)
        if about.amount_minor
        else ()
    )
    return Letter(
        t("We missed you"),
        (
            t(
                "%(practitioner_name)s waited for you on %(time)s, and the session has ended without "
                "you. We hope you are well.",
                practitioner_name=about.practitioner_name,
                time=reader.time(about.starts_at),
            ),
            *money,
            t("You can book another time whenever you like."),
        ),
        _page(about),
        t("See the details"),
    )


_SAID = {"yes": N_("agreed"), "no": N_("did not agree"), "withdrawn": N_("took back your consent")}


def _recording_receipt(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    said = look_up(_SAID[facts["answer"]])
    version = t(" (text version %(version)s).", version=facts["version"]) if "version" in facts else "."
    return Letter(
        t("Your answer about recording"),
        (
            t(
                "You %(said)s to the recording of your session with %(practitioner_name)s on %(time)s%(version)s",
                said=said,
                practitioner_name=about.practitioner_name,
                time=reader.time(about.starts_at),
                version=version,
            ),
            t("You can change your answer at any time, also during the session."),
        ),
        _page(about, "/recording-consent"),
        t("See or change your answer"),
    )


def _recording_ready(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("A recording is ready"),
        (t("The recording of the session on %(time)s can be played now.", time=reader.time(about.starts_at)),),
        facts["path"],
        t("See the recording"),
    )


def _recording_deleted_soon(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("A recording will be deleted"),
        (
            t(
                "The recording of the session on %(time)s will be deleted in %(days)s days. Download "
                "it before if you need it longer.",
                time=reader.time(about.starts_at),
                days=facts["days"],
            ),
        ),
        facts["path"],
        t("See the recording"),
    )


def _recordings(title: str) -> WriteLine:
    """Also for the client it is shared with, so the line names both."""

    def line(facts: Facts) -> InApp:
        about = about_of(facts)
        return InApp(
            t(title),
            t(
                "%(client_name)s with %(practitioner_name)s",
                client_name=about.client_name,
                practitioner_name=about.practitioner_name,
            ),
            facts["path"],
        )

    return line


def _testimonial_reminder(facts: Facts, reader: Reader) -> Letter:
    about = about_of(facts)
    return Letter(
        t("A few words about %(practice_name)s?", practice_name=reader.practice_name),
        (
            t(
                "If you would like to say something about your sessions with %(practitioner_name)s, "
                "others may find it helpful. It is entirely up to you, and you can switch these "
                "reminders off in your account.",
                practitioner_name=about.practitioner_name,
            ),
        ),
        _page(about, "/afterwards"),
        t("Write a few words"),
    )


_STAYS = N_("Your session stays where it is")
_MOVED = N_("Your session has a new time")

WORDS: Vocabulary = {
    NoticeKind.BOOKING_CONFIRMED: Words(
        _booking_confirmed,
        _line(
            N_("Your session is booked"),
            lambda about: t(
                "%(service_name)s with %(practitioner_name)s",
                service_name=about.service_name,
                practitioner_name=about.practitioner_name,
            ),
        ),
        _booking_confirmed_sms,
    ),
    NoticeKind.NEW_BOOKING: Words(
        _new_booking, _line(N_("New booking"), lambda about: f"{about.client_name}, {about.service_name}")
    ),
    NoticeKind.SESSION_ACTIVATED: Words(
        _new_booking, _line(N_("New booking"), lambda about: f"{about.client_name}, {about.service_name}")
    ),
    NoticeKind.NOT_ACTIVATED: Words(_not_activated, _not_activated_line),
    NoticeKind.GUEST_INVITED: Words(_guest_invited),
    NoticeKind.REMINDER: Words(_reminder, _line(N_("A reminder of your session"), _both), _reminder_sms),
    NoticeKind.RESCHEDULE_REQUESTED: Words(_reschedule_requested, _reschedule_requested_line),
    NoticeKind.RESCHEDULE_ACCEPTED: Words(_reschedule_accepted, _line(_MOVED, _both)),
    NoticeKind.RESCHEDULE_REJECTED: Words(_reschedule_rejected, _line(_STAYS, _both)),
    NoticeKind.STARTING_SOON: Words(
        _starting_soon,
        _line(N_("Your session starts soon"), _both),
        push=_line(N_("Your session starts soon"), lambda _about: ""),
    ),
    NoticeKind.CLIENT_WAITING: Words(
        _client_waiting,
        lambda facts: InApp(t("Your client is waiting"), about_of(facts).client_name, "/therapist/dashboard"),
        push=lambda _facts: InApp(t("Your client is waiting"), "", "/therapist/dashboard"),
    ),
    NoticeKind.SESSION_STARTED: Words(
        _session_started,
        _line(
            N_("Your session has started"),
            lambda about: t("%(practitioner_name)s is ready for you", practitioner_name=about.practitioner_name),
            "/waiting-room",
        ),
    ),
    NoticeKind.SESSION_COMPLETED: Words(
        _session_completed, _line(N_("Your session has ended"), lambda _: t("Be gentle to yourself"), "/afterwards")
    ),
    NoticeKind.SESSION_CANCELLED: Words(
        _session_cancelled,
        _line(
            N_("A session was cancelled"),
            lambda about: t(
                "%(client_name)s with %(practitioner_name)s",
                client_name=about.client_name,
                practitioner_name=about.practitioner_name,
            ),
        ),
        _session_cancelled_sms,
    ),
    NoticeKind.SORRY_CANCELLED: Words(
        _sorry_cancelled,
        _line(
            N_("Sorry, your session has been cancelled"),
            lambda about: t("%(practitioner_name)s did not come", practitioner_name=about.practitioner_name),
            "/missed",
        ),
        _sorry_cancelled_sms,
    ),
    NoticeKind.CLIENT_NO_SHOW: Words(
        _client_no_show,
        _line(
            N_("We missed you"),
            lambda about: t(
                "Your session with %(practitioner_name)s ended without you", practitioner_name=about.practitioner_name
            ),
        ),
    ),
    NoticeKind.RECORDING_CONSENT_RECEIPT: Words(_recording_receipt),
    NoticeKind.RECORDING_READY: Words(_recording_ready, _recordings(N_("A recording is ready"))),
    NoticeKind.RECORDING_DELETED_SOON: Words(_recording_deleted_soon, _recordings(N_("A recording will be deleted"))),
    NoticeKind.TESTIMONIAL_REMINDER: Words(_testimonial_reminder),
}
