"""The private feed: a practitioner's bookings as iCalendar (RFC 5545), read by a calendar program from one address.

The address is a nonce and its HMAC under the install's session secret, so it can't be guessed, a copy of the database
does not open it, and it can be shown again. Renewing or revoking changes the nonce: the old address is gone at once.
An entry says when and at which practice, never who or what for: calendars are shared and shown on lock screens.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from icalendar import Calendar, Event
from sqlalchemy import delete, select

from control.accounts import Actor
from control.appointment_states import State
from control.audit import record
from control.availability import FARTHEST_WINDOW, require_profile
from control.database import Database
from control.errors import Forbidden, NotFound
from control.language import choose, speaking, t
from control.models.appointments import Appointment
from control.models.calendars import CalendarFeed
from control.models.people import Person, Role

SHOWN = (State.SCHEDULED, State.CONFIRMED, State.IN_PROGRESS, State.COMPLETED)
KEPT_BACK = timedelta(days=31)  # how long past sessions stay in the feed
MOST_ENTRIES = 5_000
NONCE_CHARS = 32
TOKEN_CHARS = 2 * NONCE_CHARS
REFRESH = timedelta(hours=1)


def token_of(nonce: str, secret: bytes) -> str:
    digest = hmac.new(secret, f"calendar feed {nonce}".encode(), hashlib.sha256).hexdigest()
    return nonce + digest[:NONCE_CHARS]


def nonce_of_untrusted(token: str, secret: bytes) -> str:
    """Raises NotFound unless we have made this token. Reads no database."""
    nonce = token[:NONCE_CHARS]
    if len(token) != TOKEN_CHARS or not hmac.compare_digest(token_of(nonce, secret).encode(), token.encode()):
        raise NotFound
    return nonce


async def my_feed(db: Database, actor: Actor, secret: bytes) -> str | None:
    """The token of the practitioner's feed, if there is one."""
    async with db.reading() as session:
        row = await session.get(CalendarFeed, actor.person_id)
        return None if row is None else token_of(row.nonce, secret)


async def renew_feed(db: Database, actor: Actor, secret: bytes, *, now: datetime) -> str:
    """A new address; the one before opens nothing any more."""
    if not actor.is_any(Role.PRACTITIONER):
        raise Forbidden("not_practitioner", "Only a practitioner has a feed of bookings.")
    async with db.transaction() as session:
        await require_profile(session, actor.person_id)
        row = await session.get(CalendarFeed, actor.person_id, with_for_update=True)
        if row is None:
            row = CalendarFeed(practitioner_id=actor.person_id)
            session.add(row)
        row.nonce, row.created_at = secrets.token_hex(NONCE_CHARS // 2), now
        record(session, actor, "calendar_feed.renewed", f"person:{actor.person_id}", now=now)
        return token_of(row.nonce, secret)


async def revoke_feed(db: Database, actor: Actor, *, now: datetime) -> None:
    async with db.transaction() as session:
        await session.execute(delete(CalendarFeed).where(CalendarFeed.practitioner_id == actor.person_id))
        record(session, actor, "calendar_feed.revoked", f"person:{actor.person_id}", now=now)


async def feed_text(
    db: Database,
    token_untrusted: str,
    secret: bytes,
    *,
    practice_name: str,
    base_url: str,
    languages: Sequence[str],
    now: datetime,
) -> bytes:
    """Two queries, whatever is booked. Raises NotFound for an address that is not, or no longer, ours."""
    nonce = nonce_of_untrusted(token_untrusted, secret)
    async with db.reading() as session:
        whose = select(Person.id, Person.language).join(CalendarFeed, CalendarFeed.practitioner_id == Person.id)
        owner = (await session.execute(whose.where(CalendarFeed.nonce == nonce))).one_or_none()
        if owner is None:
            raise NotFound
        rows = await session.scalars(
            select(Appointment)
            .where(
                Appointment.practitioner_id == owner.id,
                Appointment.state.in_(SHOWN),
                Appointment.starts_at > now - KEPT_BACK,
                Appointment.starts_at < now + FARTHEST_WINDOW,
            )
            .order_by(Appointment.starts_at, Appointment.id)
            .limit(MOST_ENTRIES)
        )
        with speaking(choose(languages, owner.language)):
            return _calendar(rows.all(), practice_name, base_url, now)


def _calendar(rows: Sequence[Appointment], practice_name: str, base_url: str, now: datetime) -> bytes:
    calendar = Calendar()
    calendar.add("prodid", "-//Holdspace//Bookings//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", t("Sessions at %(practice_name)s", practice_name=practice_name))
    calendar.add("refresh-interval", REFRESH, parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", "PT1H")
    for row in rows:
        event = Event()
        link = f"{base_url}/sessions/{row.id}"
        event.add("uid", f"session-{row.id}@{urlsplit(base_url).hostname}")  # the invite's, control/notices/calendar.py
        event.add("sequence", row.calendar_sequence)
        event.add("dtstamp", now)
        event.add("dtstart", row.starts_at)
        event.add("dtend", row.ends_at)
        event.add("summary", t("Session at %(practice_name)s", practice_name=practice_name))
        event.add("url", link)
        event.add("status", "CONFIRMED")
        event.add("class", "PRIVATE")
        event.add("transp", "OPAQUE")
        calendar.add_component(event)
    text: bytes = calendar.to_ical()
    return text
