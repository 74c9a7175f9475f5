"""Enquiries: somebody who is not a member writes to a practitioner through the help portal (PRODUCT.md §7).

    form ─▶ enquiry, sealed, unproven ─▶ welcome e-mail with a link
    link ─▶ the person's address is proven ─▶ a conversation, "New customer enquiry" at the practitioner

Nothing reaches the practitioner before the address is proven, so the form can't be used to send anybody anything. The
answer is the same whether the address has an account or not. Answers leave by e-mail (notices ENQUIRY_ANSWERED).
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from control import accounts
from control.accounts import Actor
from control.audit import record
from control.database import Database, new_id
from control.errors import Conflict, Invalid, NotFound
from control.language import N_
from control.messages import MessageRules, Pair, Written, add_message, begin, checked_text
from control.models.messages import Enquiry
from control.models.people import Person
from control.models.practice import PractitionerProfile
from control.monitoring import require_acknowledgement
from control.notices.outbox import Notice, NoticeKind, enqueue

LINK_FOR = timedelta(days=3)
LEAST_WRITING = timedelta(seconds=4)  # nobody types a name, an address and a message faster; scripts do
LONGEST_WRITING = timedelta(hours=24)
THANKS = N_(
    "Thank you for contacting the practitioner through our help portal. We have added your practitioner and you will "
    "receive a response via email"
)


@dataclass(frozen=True)
class NewEnquiry:
    practitioner_id: str | None  # none: to the practice itself
    name: str
    email: str
    text: str
    seen_notice: str


# -- the form's clock --------------------------------------------------------------------------------------------


def form_stamp(key: bytes, now: datetime) -> str:
    """When a form was opened, signed, to go back with it."""
    opened = str(int(now.timestamp()))
    return f"{opened}.{_signature(key, opened)}"


def check_stamp(key: bytes, stamp_untrusted: str, now: datetime) -> None:
    """Invalid if the form was filled in faster than a person does, is a day old, or not ours."""
    opened, _, signature = stamp_untrusted.partition(".")
    if not hmac.compare_digest(_signature(key, opened).encode(), signature.encode("utf-8", "replace")):
        raise Invalid("form_out_of_date", "This form is out of date. Load the page again; copy your words first.")
    age = now - datetime.fromtimestamp(int(opened), UTC)
    if age < LEAST_WRITING:
        raise Invalid("too_fast", "That was very quick. Please wait a few seconds and send it again.")
    if age > LONGEST_WRITING:
        raise Invalid("form_out_of_date", "This form is out of date. Load the page again; copy your words first.")


def _signature(key: bytes, opened: str) -> str:
    return hmac.new(key, f"holdspace enquiry form 1 {opened}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


# -- sending and proving -----------------------------------------------------------------------------------------


async def send(db: Database, rules: MessageRules, wanted: NewEnquiry, *, now: datetime) -> None:
    """Keep the enquiry and owe its writer the link that proves the address. Says nothing of who has an account."""
    email, name, text = (
        accounts.normalised_email(wanted.email),
        accounts.checked_name(wanted.name),
        checked_text(wanted.text),
    )
    if wanted.seen_notice != rules.notice.version:
        raise Conflict("notice_not_seen", "The notice on this page has changed. Load the page again to read it.")
    token = secrets.token_urlsafe(32)
    async with db.transaction() as session:
        practitioner_id, practitioner_name = await _addressee(session, wanted.practitioner_id)
        person = await accounts.find_person(session, email)
        if person is None:
            person = await accounts.add_person(session, email=email, name=name, roles=(), now=now)
        if person.id == practitioner_id:
            return  # nobody enquires of themselves; the answer says nothing of it
        enquiry_id = new_id()
        session.add(
            Enquiry(
                id=enquiry_id,
                practitioner_id=practitioner_id,
                person_id=person.id,
                sealed=rules.sealer.seal(text, _context(enquiry_id)),
                seen_notice=wanted.seen_notice,
                token_hash=_hash(token),
                created_at=now,
                expires_at=now + LINK_FOR,
            )
        )
        await enqueue(
            session,
            Notice(
                NoticeKind.ENQUIRY_RECEIVED,
                person.id,
                extra={"practitioner_name": practitioner_name},
                secrets={"path": f"/enquiries/{token}"},
            ),
            now=now,
        )


async def _addressee(session: AsyncSession, practitioner_id: str | None) -> tuple[str | None, str]:
    """Id and name; a practitioner must be listed."""
    if practitioner_id is None:
        return None, ""
    name = await session.scalar(
        select(Person.name)
        .join(PractitionerProfile, PractitionerProfile.person_id == Person.id)
        .where(Person.id == practitioner_id, PractitionerProfile.published.is_(True))
    )
    if name is None:
        raise NotFound("practitioner_not_found", "There is no such practitioner.")
    return practitioner_id, name


async def prove(db: Database, rules: MessageRules, token_untrusted: str, *, now: datetime) -> Written:
    """The link was used: the enquiry becomes a message. Conflict `link_used_or_expired` for every other token."""
    async with db.transaction() as session:
        used = await session.execute(
            delete(Enquiry)
            .where(Enquiry.token_hash == _hash(token_untrusted), Enquiry.expires_at > now)
            .returning(Enquiry.id, Enquiry.practitioner_id, Enquiry.person_id, Enquiry.sealed, Enquiry.seen_notice)
        )
        enquiry = used.one_or_none()
        if enquiry is None:
            raise Conflict("link_used_or_expired", "This link has been used or has expired. You can write again.")
        person = await session.get_one(Person, enquiry.person_id)
        person.email_proven_at = person.email_proven_at or now
        writer = Actor(person.id, person.role_names, person.name, person.time_zone)
        told = enquiry.seen_notice == rules.notice.version
        if told:
            await require_acknowledgement(session, writer, rules.notice, enquiry.seen_notice, now=now)
        text = rules.sealer.unseal(enquiry.sealed, _context(enquiry.id))
        row = await begin(session, Pair(enquiry.practitioner_id, person.id), now)
        monitored = told and rules.notice.monitored
        written = await add_message(session, rules, writer, row, text, monitored=monitored, now=now)
        record(session, writer, "enquiry.proven", f"conversation:{row.id}", now=now)
        return written


async def forget_unproven(db: Database, now: datetime) -> None:
    """What was never proven is taken away once its link has expired: an errand of the scheduler's."""
    async with db.transaction() as session:
        await session.execute(delete(Enquiry).where(Enquiry.expires_at <= now))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _context(enquiry_id: str) -> str:
    return f"enquiry:{enquiry_id}"
