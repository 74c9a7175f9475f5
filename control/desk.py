"""The practice's staff and messages: the help desk's queue, and reading what others wrote, which they are told of.

The queue holds conversations with the practice itself and enquiries of people who are not members. Everybody else's
are read through `read_as_staff` only: what was written under the notice on monitoring, and never without a line in the
audit log that both people see.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from control.accounts import Actor
from control.audit import record
from control.database import Database, publish
from control.errors import Forbidden, Invalid, NotFound
from control.message_events import MessageStored
from control.message_queries import MOST_SHOWN, MessageView, messages_in
from control.messages import STAFF, MessageRules, people_of
from control.models.audit import AuditEntry
from control.models.messages import Conversation
from control.models.people import Person, PersonRole
from control.paging import Page, Place, Wanted, after, cut

MONITORED_READ = "messages.monitored"

_practitioner = aliased(Person)
_person = aliased(Person)
_assigned = aliased(Person)


@dataclass(frozen=True, slots=True)
class DeskView:
    """A conversation as staff see it in lists: between whom and how long it waits, not what it says."""

    id: str
    person_id: str
    person_name: str
    practitioner_id: str | None
    practitioner_name: str
    is_enquiry: bool
    unanswered: int
    unanswered_since: datetime | None
    last_at: datetime
    messages: int
    assigned_to_id: str | None
    assigned_to_name: str
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class StaffRead:
    """Somebody of the staff read a conversation."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ReadByStaff:
    view: DeskView
    messages: tuple[MessageView, ...]
    hidden: int
    """How many messages were written without the notice and are not shown."""


def require_staff(actor: Actor) -> None:
    if not actor.is_any(*STAFF):
        raise Forbidden("role_missing", "Your account has no access to this page.")


def _select() -> Select[*tuple[Any, ...]]:
    member = select(PersonRole.person_id).where(PersonRole.person_id == Conversation.person_id).exists()
    return (
        select(
            Conversation,
            _person.name.label("person_name"),
            _practitioner.name.label("practitioner_name"),
            _assigned.name.label("assigned_name"),
            member.label("is_member"),
        )
        .join(_person, _person.id == Conversation.person_id)
        .outerjoin(_practitioner, _practitioner.id == Conversation.practitioner_id)
        .outerjoin(_assigned, _assigned.id == Conversation.assigned_to_id)
    )


def _view(found: Any) -> DeskView:
    row: Conversation = found[0]
    return DeskView(
        id=row.id,
        person_id=row.person_id,
        person_name=found.person_name,
        practitioner_id=row.practitioner_id,
        practitioner_name=found.practitioner_name or "",
        is_enquiry=not found.is_member,
        unanswered=row.unanswered,
        unanswered_since=row.unanswered_since,
        last_at=row.last_message_at,
        messages=row.last_seq,
        assigned_to_id=row.assigned_to_id,
        assigned_to_name=found.assigned_name or "",
        closed_at=row.closed_at,
    )


async def queue(db: Database, actor: Actor, wanted: Wanted, *, show: str = "open") -> Page[DeskView]:
    """`show`: "open" (the default), "mine" or "closed"; the longest silent last. Raises Forbidden but for staff."""
    require_staff(actor)
    member = select(PersonRole.person_id).where(PersonRole.person_id == Conversation.person_id).exists()
    query = _select().where(or_(Conversation.practitioner_id.is_(None), ~member))
    query = query.where(Conversation.closed_at.is_not(None) if show == "closed" else Conversation.closed_at.is_(None))
    if show == "mine":
        query = query.where(Conversation.assigned_to_id == actor.person_id)
    return await _page(db, query, wanted)


async def monitored(db: Database, rules: MessageRules, actor: Actor, wanted: Wanted, name: str = "") -> Page[DeskView]:
    """Conversations between members and practitioners, of people with `name` in theirs. Nothing of what they say."""
    require_staff(actor)
    _require_monitoring(rules)
    query = _select().where(Conversation.practitioner_id.is_not(None))
    for word in name.split()[:4]:
        like = f"%{word.replace('%', '').replace('_', '')}%"
        query = query.where(or_(_person.name.ilike(like), _practitioner.name.ilike(like)))
    return await _page(db, query, wanted)


async def _page(db: Database, query: Select[*tuple[Any, ...]], wanted: Wanted) -> Page[DeskView]:
    async with db.reading() as session:
        found = (await session.execute(after(query, wanted, Conversation.last_message_at, Conversation.id))).all()
    page = cut(found, wanted, lambda one: Place(one[0].last_message_at, one[0].id))
    return Page(tuple(_view(one) for one in page.rows), page.next_cursor)


def _require_monitoring(rules: MessageRules) -> None:
    if not rules.notice.monitored:
        raise Forbidden("monitoring_off", "Messages are not monitored in this practice, so nobody may read them.")


async def read_as_staff(
    db: Database, rules: MessageRules, actor: Actor, conversation_id: str, *, now: datetime
) -> ReadByStaff:
    """The newest messages of somebody else's conversation; the log entry is stored before they are handed out."""
    require_staff(actor)
    async with db.transaction() as session:
        found = (await session.execute(_select().where(Conversation.id == conversation_id))).one_or_none()
        if found is None:
            raise NotFound
        view = _view(found)
        is_desks = view.practitioner_id is None or view.is_enquiry
        if not is_desks:
            _require_monitoring(rules)
        said = await messages_in(session, rules, conversation_id, limit=MOST_SHOWN)
        shown = said if is_desks else tuple(one for one in said if one.monitored)
        if view.practitioner_id is not None:
            record(session, actor, MONITORED_READ, f"conversation:{conversation_id}", {"shown": len(shown)}, now=now)
            people = await people_of(session, found[0])
            publish(session, MessageStored(conversation_id, people, None, view.messages))
    return ReadByStaff(view, shown, len(said) - len(shown))


async def staff_reads(db: Database, conversation_id: str, *, limit: int = 20) -> tuple[StaffRead, ...]:
    """Who of the staff has read a conversation, the newest first. That the asker takes part in it is the caller's."""
    async with db.reading() as session:
        found = await session.execute(
            select(Person.name, AuditEntry.at)
            .join(Person, Person.id == AuditEntry.actor_id)
            .where(AuditEntry.subject == f"conversation:{conversation_id}", AuditEntry.action == MONITORED_READ)
            .order_by(AuditEntry.at.desc())
            .limit(limit)
        )
        return tuple(StaffRead(name, at) for name, at in found)


# -- working the queue -------------------------------------------------------------------------------------------


async def assign(db: Database, actor: Actor, conversation_id: str, to_id: str | None, *, now: datetime) -> DeskView:
    """Give it to one of the staff, or back to all. Repeating it changes nothing."""
    async with db.transaction() as session:
        row = await _desks(session, actor, conversation_id)
        if to_id is not None:
            roles = set(await session.scalars(select(PersonRole.role).where(PersonRole.person_id == to_id)))
            if not roles & {str(role) for role in STAFF}:
                raise Invalid("not_staff", "Only somebody of the staff can take it.", pointer="/to")
        if row.assigned_to_id != to_id:
            row.assigned_to_id = to_id
            record(session, actor, "desk.assigned", f"conversation:{row.id}", {"to": to_id}, now=now)
            publish(session, MessageStored(row.id, await people_of(session, row), None, row.last_seq))
        await session.flush()
        return await _one(session, row.id)


async def close(db: Database, actor: Actor, conversation_id: str, *, now: datetime) -> DeskView:
    """Nothing more is expected; the next message opens it again. No reminders any more."""
    async with db.transaction() as session:
        row = await _desks(session, actor, conversation_id)
        if row.closed_at is None:
            await session.execute(
                update(Conversation)
                .where(Conversation.id == row.id)
                .values(closed_at=now, unanswered=0, unanswered_since=None, remind_at=None)
            )
            record(session, actor, "desk.closed", f"conversation:{row.id}", now=now)
        return await _one(session, row.id)


async def _one(session: AsyncSession, conversation_id: str) -> DeskView:
    query = _select().where(Conversation.id == conversation_id).execution_options(populate_existing=True)
    return _view((await session.execute(query)).one())


async def _desks(session: AsyncSession, actor: Actor, conversation_id: str) -> Conversation:
    require_staff(actor)
    row = await session.get(Conversation, conversation_id, with_for_update=True)
    if row is None:
        raise NotFound
    if row.practitioner_id is not None:
        view = await _one(session, conversation_id)
        if not view.is_enquiry:
            raise NotFound
    return row
