"""Calendar invites (RFC 5545, iTIP RFC 5546) for one appointment.

The UID stays for the appointment's life and SEQUENCE grows with each change, so that calendars replace the entry
instead of adding one. Pure: facts in, text out, in the language that is spoken.
"""

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from icalendar import Alarm, Calendar, Event, vCalAddress, vText

from control.language import t
from control.notices.kinds import SessionFacts

REMINDER = timedelta(minutes=15)


def invite(
    about: SessionFacts, *, practice_name: str, base_url: str, organizer: str, attendee: str, now: datetime
) -> str:
    """METHOD:REQUEST, to be put into the attendee's calendar."""
    return _calendar(about, "REQUEST", practice_name, base_url, organizer, attendee, now)


def cancellation(
    about: SessionFacts, *, practice_name: str, base_url: str, organizer: str, attendee: str, now: datetime
) -> str:
    """METHOD:CANCEL, which takes the entry out again."""
    return _calendar(about, "CANCEL", practice_name, base_url, organizer, attendee, now)


def _calendar(
    about: SessionFacts, method: str, practice_name: str, base_url: str, organizer: str, attendee: str, now: datetime
) -> str:
    link = f"{base_url}/sessions/{about.appointment_id}"
    event = Event()
    event.add("uid", f"session-{about.appointment_id}@{urlsplit(base_url).hostname}")
    event.add("sequence", about.sequence)
    event.add("dtstamp", now)
    event.add("dtstart", about.starts_at)
    event.add("dtend", about.ends_at)
    # A calendar is often shared or shown on a lock screen: the practice's name, not what the session is for.
    title = t("Session at %(practice_name)s", practice_name=practice_name)
    event.add("summary", title)
    event.add("description", t("Open your session: %(link)s", link=link))
    event.add("location", link)
    event.add("url", link)
    event.add("status", "CANCELLED" if method == "CANCEL" else "CONFIRMED")
    event.add("class", "PRIVATE")
    event["organizer"] = _address(organizer, practice_name)
    event.add("attendee", _invited(attendee), encode=False)
    if method == "REQUEST":
        alarm = Alarm()
        alarm.add("action", "DISPLAY")
        alarm.add("description", title)
        alarm.add("trigger", -REMINDER)
        event.add_component(alarm)
    calendar = Calendar()
    calendar.add("prodid", "-//Holdspace//Sessions//EN")
    calendar.add("version", "2.0")
    calendar.add("method", method)
    calendar.add_component(event)
    # RFC 5546 §1.4: the method tells the reading program what to do with the entry of this UID.
    text: str = calendar.to_ical().decode("utf-8")
    return text


def _address(email: str, name: str) -> vCalAddress:
    address = vCalAddress(f"mailto:{email}")
    if name:
        address.params["CN"] = vText(name)
    return address


def _invited(email: str) -> vCalAddress:
    """Nobody reads replies by e-mail here: booking was the answer."""
    address = _address(email, "")
    address.params["ROLE"] = vText("REQ-PARTICIPANT")
    address.params["PARTSTAT"] = vText("ACCEPTED")
    address.params["RSVP"] = vText("FALSE")
    return address
