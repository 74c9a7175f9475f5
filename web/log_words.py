"""The audit log for people: what was done, to what, and what else is known of it. Pure functions of an entry."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from control.audit import Entry
from control.language import N_, look_up, t
from web.words import money, state_words, when

#: Every action that control records: tests/web/test_words.py compares.
DONE = {
    "account.passkey_added": N_("Passkey added"),
    "account.passkey_removed": N_("Passkey removed"),
    "account.password_set": N_("Password changed"),
    "account.phone_proven": N_("Telephone number proven"),
    "account.recovery_code_used": N_("Signed in with a recovery code"),
    "account.recovery_codes_made": N_("New recovery codes made"),
    "account.token_made": N_("App given access"),
    "account.totp_added": N_("Authenticator app added"),
    "account.totp_removed": N_("Authenticator app removed"),
    "appointment.activate": N_("Activated"),
    "appointment.book": N_("Booked"),
    "appointment.cancel": N_("Cancelled"),
    "appointment.complete": N_("Ended"),
    "appointment.confirm": N_("Confirmed"),
    "appointment.expire": N_("The hold ran out"),
    "appointment.forced": N_("Activated by force"),
    "appointment.miss_by_client": N_("Missed by the client"),
    "appointment.miss_by_practitioner": N_("Missed by the practitioner"),
    "appointment.rate": N_("Rated"),
    "appointment.reschedule": N_("Moved"),
    "appointment.secure": N_("Payment secured"),
    "appointment.start": N_("Started"),
    "availability.added": N_("Time opened"),
    "availability.deleted": N_("Time closed"),
    "availability.exception_added": N_("Time off taken"),
    "availability.exception_deleted": N_("Time off taken back"),
    "availability.rule_added": N_("Weekly hours added"),
    "availability.rule_changed": N_("Weekly hours changed"),
    "availability.rule_deleted": N_("Weekly hours removed"),
    "calendar_feed.renewed": N_("Calendar address renewed"),
    "calendar_feed.revoked": N_("Calendar address switched off"),
    "client_file.viewed": N_("Client file opened"),
    "client_note.added": N_("Note written"),
    "client_note.changed": N_("Note changed"),
    "client_note.deleted": N_("Note deleted"),
    "consent.text": N_("Consent text published"),
    "credits.offer": N_("Price of several sessions set"),
    "desk.assigned": N_("Help desk: given to somebody"),
    "desk.closed": N_("Help desk: closed"),
    "enquiry.proven": N_("Enquiry's address proven"),
    "export.asked": N_("Copy of one's data asked for"),
    "export.fetched": N_("Copy of one's data fetched"),
    "file.withdraw": N_("File withdrawn"),
    "guest.admit": N_("Guest let in"),
    "guest.invite": N_("Guest invited"),
    "guest.remove": N_("Guest's invitation taken back"),
    "imported_calendar.removed": N_("Imported calendar removed"),
    "imported_calendar.set": N_("Calendar to import set"),
    "message.by_mail": N_("Message came by e-mail"),
    "messages.monitored": N_("Messages read for the practice"),
    "monitoring.acknowledged": N_("Notice about monitoring acknowledged"),
    "notes.given": N_("Notes given to the client"),
    "notes.refused": N_("Notes refused to the client"),
    "outbox.retried": N_("Letter tried again"),
    "outbox.viewed": N_("Outbox opened"),
    "payment.lost": N_("Payment lost at the gateway"),
    "payment.returned": N_("Late payment given back"),
    "payout.cleared": N_("Short session cleared to be paid out"),
    "payout.recorded": N_("Payout recorded"),
    "person.created": N_("Account made"),
    "person.erased": N_("Erased"),
    "person.erasure_done": N_("Erasure finished"),
    "person.invited": N_("Person invited"),
    "person.invited_again": N_("Invited again"),
    "person.roles": N_("Roles changed"),
    "person.signed_out": N_("Signed out everywhere"),
    "problem.alert_again": N_("Problem: told again"),
    "problem.close": N_("Problem closed"),
    "problem.report": N_("Problem reported"),
    "problem.take": N_("Problem taken"),
    "profile.published": N_("Profile published"),
    "purchase.paid": N_("Purchase paid"),
    "push.off": N_("Notices on a device switched off"),
    "push.on": N_("Notices on a device switched on"),
    "rating.published": N_("Rating made public"),
    "recording.compose_asked": N_("Recording: one film asked for"),
    "recording.compose_cancelled": N_("Recording: making the film stopped"),
    "recording.composed": N_("Recording: film made"),
    "recording.deleted": N_("Recording deleted"),
    "recording.downloaded": N_("Recording downloaded"),
    "recording.erasure_asked": N_("Recording: erasure asked for"),
    "recording.failed": N_("Recording failed"),
    "recording.held": N_("Recording kept past its time"),
    "recording.pause_pressed": N_("Recording: pause pressed"),
    "recording.paused": N_("Recording paused"),
    "recording.person_erased": N_("Recording: a person erased from it"),
    "recording.previewed": N_("Recording: pictures of it seen"),
    "recording.ready": N_("Recording ready"),
    "recording.record_pressed": N_("Recording: record pressed"),
    "recording.released": N_("Recording no longer kept past its time"),
    "recording.resumed": N_("Recording goes on"),
    "recording.shared": N_("Recording shared"),
    "recording.started": N_("Recording started"),
    "recording.stop_pressed": N_("Recording: stop pressed"),
    "recording.stopped": N_("Recording stopped"),
    "recording.unshared": N_("Recording no longer shared"),
    "recording.viewed": N_("Recording watched"),
    "refund.asked": N_("Refund asked for"),
    "refund.declined": N_("Refund declined"),
    "refund.failed": N_("Refund failed"),
    "refund.given": N_("Refund given"),
    "refund.sent_again": N_("Refund sent again"),
    "refund.waived": N_("Fee waived"),
    "reschedule.propose": N_("Another time proposed"),
    "reschedule.reject": N_("Another time rejected"),
    "reschedule.withdraw": N_("Proposal of another time withdrawn"),
    "room.sharing": N_("Screen sharing by clients set"),
    "service.added": N_("Service added"),
    "service.changed": N_("Service changed"),
    "testimonial.approved": N_("Testimonial approved"),
    "testimonial.left": N_("Testimonial left"),
    "testimonial.refused": N_("Testimonial refused"),
    "testimonial.replied": N_("Testimonial replied to"),
    "testimonial.taken_back": N_("Testimonial taken back"),
    "wallet.top_up": N_("Wallet topped up"),
}
_THINGS = {
    "appointment": N_("Appointment"),
    "consent_text": N_("Consent text"),
    "conversation": N_("Conversation"),
    "enquiry": N_("Enquiry"),
    "exception": N_("Time off"),
    "outbox": N_("Outbox"),
    "payment": N_("Payment"),
    "person": N_("Person"),
    "problem": N_("Problem"),
    "purchase": N_("Purchase"),
    "recording": N_("Recording"),
    "rule": N_("Weekly hours"),
    "service": N_("Service"),
    "testimonial": N_("Testimonial"),
    "window": N_("Opened time"),
}
_NAMES = {
    "active": N_("active"),
    "after": N_("after"),
    "alert": N_("alert"),
    "allowed": N_("allowed"),
    "answer": N_("answer"),
    "before": N_("before"),
    "by": N_("by"),
    "consents": N_("consents"),
    "credits": N_("sessions"),
    "failure": N_("failure"),
    "file": N_("file"),
    "from": N_("from"),
    "guest": N_("guest"),
    "kind": N_("kind"),
    "method": N_("paid by"),
    "missing": N_("missing"),
    "monitored": N_("monitored"),
    "note": N_("note"),
    "payout": N_("payout"),
    "person": N_("person"),
    "price_minor": N_("price"),
    "purpose": N_("purpose"),
    "refund": N_("refund"),
    "request": N_("request"),
    "roles": N_("roles"),
    "seq": N_("number"),
    "sessions": N_("sessions"),
    "shown": N_("shown"),
    "state": N_("state"),
    "text_version": N_("version"),
    "to": N_("into"),
    "told": N_("told"),
    "version": N_("version"),
    "why": N_("because of"),
    "with": N_("with"),
}
_VALUES = {
    "yes": N_("yes"),
    "withdrawn": N_("taken back"),
    "operator": N_("operator"),
    "client": N_("client"),
    "practitioner": N_("practitioner"),
    "admin": N_("admin"),
    "support": N_("support"),
    "guest": N_("guest"),
    "technical": N_("something technical"),
    "unsafe": N_("uncomfortable or unsafe"),
    "urgent": N_("urgent help"),
    "wallet": N_("wallet"),
    "credits": N_("sessions bought before"),
    "original": N_("the way it was paid"),
    "retention": N_("the end of its time"),
    "nobody_left": N_("nobody left in it"),
}
_ID = re.compile("[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")


def done(entry: Entry) -> str:
    if entry.action == "consent.answer":
        purpose = {"care": t("Care consent"), "recording": t("Recording consent")}.get(
            str(entry.detail.get("purpose")), ""
        )
        return f"{purpose or t('Consent')}: {_plain(str(entry.detail.get('answer')))}"
    return look_up(DONE.get(entry.action, entry.action.replace(".", " ").replace("_", " ").capitalize()))


def done_to(entry: Entry) -> str:
    """Appointment ea9bda0d"""
    kind, _, which = entry.subject.partition(":")
    return f"{look_up(_THINGS.get(kind, kind.replace('_', ' ').capitalize()))} {_short(which)}".strip()


def more(entry: Entry, zone: str, this_year: int) -> str:
    """from On hold, into Expired"""
    return ", ".join(_facts(entry, zone, this_year))


def _facts(entry: Entry, zone: str, this_year: int) -> Iterator[str]:
    currency = entry.detail.get("currency")
    for name, value in entry.detail.items():
        if name == "amount_minor" and currency and isinstance(value, int):
            yield money(value, str(currency))
        elif name != "currency":
            of_session = entry.action.startswith("appointment.") and name in {"from", "to"}
            named = look_up(_NAMES.get(name, name.replace("_", " ")))
            yield f"{named} {state_words(value) if of_session else _value(value, zone, this_year)}"


def _value(value: Any, zone: str, this_year: int) -> str:
    if isinstance(value, bool):
        return _plain("yes" if value else "no")
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(one, zone, this_year) for one in value) or t("none")
    if isinstance(value, dict):
        return ", ".join(f"{_short(one)} {_value(other, zone, this_year)}" for one, other in value.items()) or t("none")
    text = str(value)
    if _TIME.match(text):
        return when(datetime.fromisoformat(text), zone, this_year=this_year)
    return _plain(_short(text))


def _short(text: str) -> str:
    return text[:8] if _ID.fullmatch(text) else text


def _plain(text: str) -> str:
    if text == "no":
        return t("No").lower()  # "no" itself is the number before a noun: "keine"
    return look_up(_VALUES.get(text, text.replace("_", " ")))
