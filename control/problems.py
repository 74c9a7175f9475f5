"""Problems reported from inside a session: who is told, who never is, and that it is told again until taken.

    technical   something does not work            support and the practitioner
    unsafe      I feel uncomfortable or unsafe     support and admins; never the practitioner of that session
    urgent      I need urgent help                 support, admins and the practitioner

Whoever reports is never alerted. An alert nobody takes goes again to everyone next in line: the same people and the
admins. Each step is in the audit log under "problem:<id>". What was written is sealed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import load, party_in
from control.appointment_states import State
from control.audit import record
from control.database import Database, new_id, publish
from control.errors import Conflict, Forbidden, NotFound
from control.help_numbers import Country, help_for
from control.lifecycle import Party
from control.models.appointments import Appointment
from control.models.people import Person, PersonRole, Role
from control.models.problems import ProblemKind, ProblemReport
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.room_news import RoomNews
from control.sealing import Sealer

MOST_CHARACTERS = 2_000
ALERT_AGAIN = timedelta(seconds=60)
OFTEN_FOR = timedelta(hours=1)
SELDOM = timedelta(hours=1)
"""An alert goes every ALERT_AGAIN for the first hour and every hour from then on: it never stops by itself."""
MOST_AT_ONCE = 50
MOST_LISTED = 200


@dataclass(frozen=True, slots=True)
class Reported:
    id: str
    kind: ProblemKind
    help: Country | None
    """Whom to call, where urgent help is asked for."""
    is_told: bool
    """Somebody is alerted. Not so where nobody works but the practitioner whom it must not reach, or who reports."""


@dataclass(frozen=True, slots=True)
class ProblemView:
    id: str
    appointment_id: str
    kind: ProblemKind
    reporter_name: str
    reporter_role: str
    text: str
    country: str | None
    created_at: datetime
    alerts: int
    taken_by: str | None
    taken_at: datetime | None
    closed_at: datetime | None


class Problems:
    """One per application; holds the key and no state."""

    def __init__(self, db: Database, master_key: bytes) -> None:
        self._db = db
        self._sealer = Sealer(master_key, "problem reports")

    async def report(
        self, actor: Actor, appointment_id: str, kind: ProblemKind, text: str, country: str | None, *, now: datetime
    ) -> Reported:
        """Also from the waiting room, and by the practitioner. Raises Conflict("not_open")."""
        async with self._db.transaction() as session:
            row = await load(session, appointment_id)
            party = await party_in(session, actor, row)
            if party is Party.ADMIN:
                raise Forbidden("not_in_session", "Problems are reported by the people in the session.")
            if row.state in (State.PENDING, State.EXPIRED):
                raise Conflict("not_open", "This session does not take place.")
            report_id = new_id()
            stated = country or await _stated_country(session, row, party, actor)
            report = ProblemReport(
                id=report_id,
                appointment_id=row.id,
                reporter_id=actor.person_id,
                reporter_role=party,
                kind=kind,
                country=stated,
                sealed=self._sealer.seal(text, f"problem {report_id}") if text.strip() else None,
                created_at=now,
                alerts=1,
                next_alert_at=now + ALERT_AGAIN,
            )
            session.add(report)
            await session.flush()
            told = await _alert(session, report, row, now)
            detail = {"kind": kind, "by": party, "told": len(told)}
            record(session, actor, "problem.report", f"problem:{report_id}", detail, now=now)
            _tell_room(session, report, row, actor.name)
        return Reported(report_id, kind, help_for(stated) if kind is ProblemKind.URGENT else None, bool(told))

    async def state_country(self, actor: Actor, appointment_id: str, country: str) -> None:
        """Where the client is today. Forbidden("not_client") for everybody else in the session."""
        async with self._db.transaction() as session:
            row = await load(session, appointment_id)
            if await party_in(session, actor, row) is not Party.CLIENT:
                raise Forbidden("not_client", "Only the client says where they are.")
            await session.execute(
                update(Appointment)
                .where(Appointment.id == row.id)
                .values(client_country=country)
                .execution_options(synchronize_session=False)
            )

    async def help_now(self, actor: Actor, appointment_id: str) -> Country:
        """The numbers of the country this session's client is in; of the guest's own for a guest."""
        async with self._db.reading() as session:
            row = await load(session, appointment_id)
            party = await party_in(session, actor, row)
            return help_for(await _stated_country(session, row, party, actor))

    async def listed(self, actor: Actor) -> tuple[ProblemView, ...]:
        """Newest first, untaken ones before all others. Staff only."""
        _require_staff(actor)
        async with self._db.reading() as session:
            found = await session.execute(
                select(ProblemReport, Appointment.practitioner_id)
                .join(Appointment, Appointment.id == ProblemReport.appointment_id)
                .order_by(ProblemReport.taken_at.is_not(None), ProblemReport.created_at.desc())
                .limit(MOST_LISTED)
            )
            reports = [row for row, practitioner_id in found if _may_know(actor, row, practitioner_id)]
            return await self._views(session, reports)

    async def get(self, actor: Actor, report_id: str) -> ProblemView:
        """NotFound for everybody who must not know of it, its reporter included: they have their own page's words."""
        async with self._db.reading() as session:
            report, _ = await _known(session, actor, report_id)
            (view,) = await self._views(session, [report])
            return view

    async def take(self, actor: Actor, report_id: str, *, now: datetime) -> ProblemView:
        """The first one has it, and alerts end; whoever comes later sees who."""
        async with self._db.transaction() as session:
            report, row = await _known(session, actor, report_id)
            done = await session.execute(
                update(ProblemReport)
                .where(ProblemReport.id == report.id, ProblemReport.taken_at.is_(None))
                .values(taken_by=actor.person_id, taken_at=now, next_alert_at=None)
                .execution_options(synchronize_session=False)
            )
            if cast(CursorResult[Any], done).rowcount == 1:
                record(session, actor, "problem.take", f"problem:{report.id}", {}, now=now)
                publish(session, RoomNews(row.id, "problem_taken", {"id": report.id}, (report.reporter_id,)))
            await session.refresh(report)
            (view,) = await self._views(session, [report])
            return view

    async def close(self, actor: Actor, report_id: str, *, now: datetime) -> ProblemView:
        """Done with. Whoever closes one nobody has taken has taken it."""
        await self.take(actor, report_id, now=now)
        async with self._db.transaction() as session:
            report, _ = await _known(session, actor, report_id)
            done = await session.execute(
                update(ProblemReport)
                .where(ProblemReport.id == report.id, ProblemReport.closed_at.is_(None))
                .values(closed_at=now)
                .execution_options(synchronize_session=False)
            )
            if cast(CursorResult[Any], done).rowcount == 1:
                record(session, actor, "problem.close", f"problem:{report.id}", {}, now=now)
            await session.refresh(report)
            (view,) = await self._views(session, [report])
            return view

    async def escalate_due(self, now: datetime) -> int:
        """The scheduler's errand: alert again for what nobody has taken."""
        async with self._db.reading() as session:
            due = (
                await session.scalars(
                    select(ProblemReport.id)
                    .where(ProblemReport.next_alert_at <= now)
                    .order_by(ProblemReport.next_alert_at)
                    .limit(MOST_AT_ONCE)
                )
            ).all()
        return sum([await self._escalate(report_id, now) for report_id in due])

    async def _escalate(self, report_id: str, now: datetime) -> bool:
        async with self._db.transaction() as session:
            report = await session.get(ProblemReport, report_id, populate_existing=True)
            if report is None or report.next_alert_at is None or report.next_alert_at > now:
                return False
            pause = ALERT_AGAIN if now - report.created_at < OFTEN_FOR else SELDOM
            done = await session.execute(
                update(ProblemReport)
                .where(ProblemReport.id == report.id, ProblemReport.alerts == report.alerts)
                .where(ProblemReport.taken_at.is_(None))
                .values(alerts=report.alerts + 1, next_alert_at=now + pause)
                .execution_options(synchronize_session=False)
            )
            if cast(CursorResult[Any], done).rowcount != 1:
                return False
            await session.refresh(report)
            told = await _alert(session, report, await load(session, report.appointment_id), now)
            detail = {"alert": report.alerts, "told": len(told)}
            record(session, None, "problem.alert_again", f"problem:{report.id}", detail, now=now)
            return True

    async def reported_by(self, actor: Actor) -> tuple[ProblemView, ...]:
        """Their own reports, oldest first, for the copy of their data."""
        query = select(ProblemReport).where(ProblemReport.reporter_id == actor.person_id)
        async with self._db.reading() as session:
            return await self._views(session, await session.scalars(query.order_by(ProblemReport.created_at)))

    async def _views(self, session: AsyncSession, reports: Iterable[ProblemReport]) -> tuple[ProblemView, ...]:
        rows = list(reports)
        ids = {one for row in rows for one in (row.reporter_id, row.taken_by) if one}
        found = await session.execute(select(Person.id, Person.name).where(Person.id.in_(ids)))
        names = {one.id: one.name for one in found}
        return tuple(
            ProblemView(
                id=row.id,
                appointment_id=row.appointment_id,
                kind=ProblemKind(row.kind),
                reporter_name=names[row.reporter_id],
                reporter_role=row.reporter_role,
                text="" if row.sealed is None else self._sealer.unseal(row.sealed, f"problem {row.id}"),
                country=row.country,
                created_at=row.created_at,
                alerts=row.alerts,
                taken_by=names.get(row.taken_by or ""),
                taken_at=row.taken_at,
                closed_at=row.closed_at,
            )
            for row in rows
        )


def _require_staff(actor: Actor) -> None:
    if not actor.is_any(Role.SUPPORT, Role.ADMIN):
        raise Forbidden("not_staff", "Problem reports are read by the practice's staff.")


def _may_know(actor: Actor, report: ProblemReport, practitioner_id: str) -> bool:
    """The session's own practitioner knows nothing of an `unsafe` report, whatever other role they have."""
    if actor.person_id == report.reporter_id:
        return False
    if actor.person_id == practitioner_id:
        return report.kind != ProblemKind.UNSAFE
    return actor.is_any(Role.SUPPORT, Role.ADMIN)


async def _known(session: AsyncSession, actor: Actor, report_id: str) -> tuple[ProblemReport, Appointment]:
    report = await session.get(ProblemReport, report_id, populate_existing=True)
    if report is None:
        raise NotFound
    row = await load(session, report.appointment_id)
    if not _may_know(actor, report, row.practitioner_id):
        raise NotFound
    return report, row


async def _stated_country(session: AsyncSession, row: Appointment, party: Party, actor: Actor) -> str | None:
    """Practitioners call for their client's country."""
    if party is Party.GUEST:
        return await session.scalar(select(Person.country).where(Person.id == actor.person_id))
    return row.client_country or await session.scalar(select(Person.country).where(Person.id == row.client_id))


async def _alert(session: AsyncSession, report: ProblemReport, row: Appointment, now: datetime) -> list[str]:
    told = await _recipients(session, report, row)
    for person_id in told:
        facts = {"path": f"/problems/{report.id}", "problem_id": report.id}
        await enqueue(session, Notice(NoticeKind.PROBLEM_ALERT, person_id, extra=facts), now=now)
    return told


async def _recipients(session: AsyncSession, report: ProblemReport, row: Appointment) -> list[str]:
    """This alert's people: from the second alert on, and where nobody is support, the admins are in it."""
    roles = (
        {Role.SUPPORT} if report.kind == ProblemKind.TECHNICAL and report.alerts == 1 else {Role.SUPPORT, Role.ADMIN}
    )
    staff = await _with_roles(session, roles)
    if not staff:
        staff = await _with_roles(session, {Role.ADMIN})
    people = staff - {row.practitioner_id}
    if report.kind != ProblemKind.UNSAFE:
        people |= {row.practitioner_id}
    return sorted(people - {report.reporter_id})


async def _with_roles(session: AsyncSession, roles: Iterable[Role]) -> set[str]:
    return set(await session.scalars(select(PersonRole.person_id).where(PersonRole.role.in_(roles))))


def _tell_room(session: AsyncSession, report: ProblemReport, row: Appointment, name: str) -> None:
    """The practitioner in the room sees at once what is theirs to see."""
    if report.kind == ProblemKind.UNSAFE or report.reporter_id == row.practitioner_id:
        return
    body = {"id": report.id, "kind": report.kind, "name": name}
    publish(session, RoomNews(row.id, "problem", body, (row.practitioner_id,)))
