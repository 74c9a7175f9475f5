"""People as admins see them: found, invited, given roles; and what everybody may change about themselves."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control import web_sessions
from control.accounts import Actor, add_person, checked_name, checked_zone, hash_password, issue_link, set_password_hash
from control.audit import record
from control.countries import COUNTRIES
from control.database import Database
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.messages import STAFF
from control.models.messages import Conversation
from control.models.people import Credential, LinkPurpose, Person, PersonRole, Role
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.paging import Page, Place, Wanted, after, cut
from control.second_factor import tell_and_record

INVITE_LIFETIME = timedelta(days=7)


@dataclass(frozen=True)
class PersonView:
    id: str
    name: str
    email: str
    roles: frozenset[Role]
    time_zone: str
    language: str
    country: str | None
    phone: str | None
    phone_proven_at: datetime | None
    wants_sms: bool
    wants_testimonial_reminders: bool
    email_proven_at: datetime | None
    second_factor_at: datetime | None
    has_password: bool
    created_at: datetime


_HAS_PASSWORD = exists().where(Credential.person_id == Person.id, Credential.kind == "password")


def _view(person: Person, has_password: bool) -> PersonView:
    copied = {name: getattr(person, name) for name in PersonView.__dataclass_fields__ if hasattr(Person, name)}
    return PersonView(**(copied | {"roles": person.role_names, "has_password": has_password}))


async def get_person(db: Database, person_id: str) -> PersonView:
    async with db.reading() as session:
        found = (await session.execute(select(Person, _HAS_PASSWORD).where(Person.id == person_id))).one_or_none()
    if found is None:
        raise NotFound
    return _view(*found)


async def page_of_people(
    db: Database, actor: Actor, wanted: Wanted, *, query: str = "", role: Role | None = None
) -> Page[PersonView]:
    """Everybody, the newest first; `query` is part of a name or e-mail. For admins only."""
    if not actor.is_any(Role.ADMIN):
        raise NotFound
    people = select(Person, _HAS_PASSWORD)
    if query:
        part = "%" + query.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        people = people.where(
            or_(func.lower(Person.name).like(part, escape="\\"), Person.email.like(part, escape="\\"))
        )
    if role is not None:
        people = people.where(exists().where(PersonRole.person_id == Person.id, PersonRole.role == role))
    async with db.reading() as session:
        rows = (await session.execute(after(people, wanted, Person.created_at, Person.id))).all()
    page = cut(rows, wanted, lambda row: Place(row[0].created_at, row[0].id))
    return Page(tuple(_view(*row) for row in page.rows), page.next_cursor)


# -- by an admin -------------------------------------------------------------------------------------------------


async def invite(
    db: Database, actor: Actor, *, email: str, name: str, roles: Iterable[Role], time_zone: str, now: datetime
) -> PersonView:
    """A new person, who proves the address and signs in by the link sent to it. Conflict if it has an account."""
    roles = frozenset(roles)
    _require_some(roles)
    async with db.transaction() as session:
        person = await add_person(session, email=email, name=name, roles=roles, time_zone=time_zone, now=now)
        await _owe_invitation(session, person.id, now)
        record(session, actor, "person.invited", f"person:{person.id}", {"roles": sorted(roles)}, now=now)
    return await get_person(db, person.id)


async def invite_again(db: Database, actor: Actor, person_id: str, *, now: datetime) -> None:
    async with db.transaction() as session:
        person = await session.get(Person, person_id)
        if person is None:
            raise NotFound
        if person.email_proven_at is not None:
            raise Conflict("signed_in_before", "This person has signed in already.")
        await _owe_invitation(session, person_id, now)
        record(session, actor, "person.invited_again", f"person:{person_id}", now=now)


async def _owe_invitation(session: AsyncSession, person_id: str, now: datetime) -> None:
    token = await issue_link(
        session, person_id, LinkPurpose.SIGN_UP, return_path="/account", lifetime=INVITE_LIFETIME, now=now
    )
    minutes = int(INVITE_LIFETIME.total_seconds() // 60)
    notice = Notice(
        NoticeKind.SIGN_IN_LINK,
        person_id,
        extra={"minutes": minutes, "invited": True},
        secrets={"path": f"/sign-in/link/{token}"},
    )
    await enqueue(session, notice, now=now)


async def set_roles(db: Database, actor: Actor, person_id: str, roles: Iterable[Role], *, now: datetime) -> PersonView:
    """Exactly these from now on. Who loses one is signed out everywhere; who is staff no more gives back what they had
    taken at the help desk. The last admin stays one."""
    wanted = frozenset(roles)
    _require_some(wanted)
    async with db.transaction() as session:
        person = await session.get(Person, person_id, with_for_update=True)
        if person is None:
            raise NotFound
        before = person.role_names
        if Role.ADMIN in before - wanted:
            if person_id == actor.person_id:
                raise Forbidden("own_admin_role", "Another admin has to take this role from you.")
            await _require_another_admin(session, person_id)
        await session.execute(delete(PersonRole).where(PersonRole.person_id == person_id))
        session.expire(person, ["roles"])
        session.add_all(PersonRole(person_id=person_id, role=role) for role in sorted(wanted))
        if before - wanted:
            await web_sessions.revoke_all(session, person_id, now=now)
        if wanted.isdisjoint(STAFF):
            mine = update(Conversation).where(Conversation.assigned_to_id == person_id)
            await session.execute(mine.values(assigned_to_id=None))
        if before != wanted:
            detail = {"before": sorted(before), "after": sorted(wanted)}
            record(session, actor, "person.roles", f"person:{person_id}", detail, now=now)
    return await get_person(db, person_id)


def _require_some(roles: frozenset[Role]) -> None:
    if not roles:
        raise Invalid("roles_missing", "A person has at least one role.", pointer="/roles")


async def _require_another_admin(session: AsyncSession, person_id: str) -> None:
    others = select(func.count()).where(PersonRole.role == Role.ADMIN, PersonRole.person_id != person_id)
    if not await session.scalar(others):
        raise Conflict("last_admin", "This is the last admin. Make somebody else an admin first.")


async def sign_out_person(db: Database, actor: Actor, person_id: str, *, now: datetime) -> int:
    """An admin ends every session of somebody, such as on a lost telephone."""
    async with db.transaction() as session:
        if await session.get(Person, person_id) is None:
            raise NotFound
        ended = await web_sessions.revoke_all(session, person_id, now=now)
        record(session, actor, "person.signed_out", f"person:{person_id}", {"sessions": ended}, now=now)
        return ended


# -- by oneself --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Changes:
    """None leaves a thing as it is; country "" takes it away."""

    name: str | None = None
    time_zone: str | None = None
    language: str | None = None
    country: str | None = None
    wants_sms: bool | None = None
    wants_testimonial_reminders: bool | None = None


async def change(db: Database, person_id: str, changes: Changes) -> PersonView:
    values: dict[str, object] = {
        name: value for name, value in changes.__dict__.items() if value is not None and name != "country"
    }
    if changes.name is not None:
        values["name"] = checked_name(changes.name)
    if changes.time_zone is not None:
        checked_zone(changes.time_zone)
    if changes.country is not None:
        if changes.country and changes.country not in COUNTRIES:
            raise Invalid("country_unknown", "This is no country's code.", pointer="/country")
        values["country"] = changes.country or None
    if values:
        async with db.transaction() as session:
            await session.execute(update(Person).where(Person.id == person_id).values(values))
    return await get_person(db, person_id)


async def set_password(db: Database, person_id: str, session_id: str, password: str, *, now: datetime) -> None:
    """A new password; every other session of this person ends."""
    password_hash = await hash_password(password)
    async with db.transaction() as session:
        await set_password_hash(session, person_id, password_hash, now=now)
        await web_sessions.revoke_all(session, person_id, but=session_id, now=now)
        await tell_and_record(session, person_id, "password_set", now=now)
