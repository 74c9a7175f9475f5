"""What the operator's subcommands do, apart from `serve` and `check`: open the database, call one action, say it."""

import argparse
import asyncio
import getpass
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import func, select

from control import accounts, appointments, audit, demo, waiting_room
from control.accounts import OPERATOR
from control.config import Settings
from control.database import Database, erase, upgrade
from control.install import open_database
from control.models.appointments import Appointment
from control.models.people import LinkPurpose, Person, Role
from control.notices.push import sender_of
from control.notices.worker import OutboxWorker

T = TypeVar("T")


def with_database(settings: Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work` on an up-to-date database, outside of any server."""
    upgrade(settings.database_url)

    async def run() -> T:
        db = open_database(settings)
        await db.connect()
        try:
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(run())


def db_upgrade(_options: argparse.Namespace, settings: Settings) -> int:
    upgrade(settings.database_url)
    print("The database is up to date.")
    return 0


def load_demo(options: argparse.Namespace, settings: Settings) -> int:
    if options.reset and not _emptied(settings):
        return 1
    sign_ins = with_database(settings, lambda db: demo.load(db, now=datetime.now(UTC)))
    print("The demo practice is loaded. Start it with: holdspace serve --demo")
    for who in sign_ins:
        print(f"  {who.role:<13} {who.email:<26} {who.password}")
    return 0


def _emptied(settings: Settings) -> bool:
    """Take everything away, but only from a database in which nobody is real."""

    async def real_people(db: Database) -> int:
        async with db.reading() as session:
            count = await session.scalar(select(func.count()).select_from(Person).where(Person.is_demo.is_(False)))
        return count or 0

    real = with_database(settings, real_people)
    if real:
        print(f"Not reset: {real} people in this database are not of the demo practice.", file=sys.stderr)
        return False
    erase(settings.database_url)
    shutil.rmtree(settings.recordings_dir, ignore_errors=True)
    return True


def create_user(options: argparse.Namespace, settings: Settings) -> int:
    password = _asked_password(options)
    now = datetime.now(UTC)

    async def work(db: Database) -> str | None:
        password_hash = await accounts.hash_password(password) if password else None
        async with db.transaction() as session:
            person = await accounts.add_person(
                session,
                email=options.email,
                name=options.name,
                roles=[Role(role) for role in options.role],
                time_zone=options.time_zone or settings.practice.time_zone,
                password_hash=password_hash,
                proven=password_hash is not None,
                now=now,
            )
            audit.record(
                session, None, "person.created", f"person:{person.id}", {"roles": sorted(options.role)}, now=now
            )
            if password_hash is not None:
                return None
            return await accounts.issue_link(session, person.id, LinkPurpose.SIGN_UP, now=now)

    token = with_database(settings, work)
    print(f"Created {options.email} as {', '.join(options.role)}.")
    if token is not None:
        print(f"First sign-in, once, within 30 minutes: {settings.server.public_url}/sign-in/link/{token}")
    return 0


def _asked_password(options: argparse.Namespace) -> str | None:
    """From a prompt or a pipe: an argument would stand in the shell's history."""
    if not options.password:
        return None
    return getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


# -- sessions ----------------------------------------------------------------------------------------------------


def sessions_activate(options: argparse.Namespace, settings: Settings) -> int:
    now = datetime.now(UTC)
    if options.id is None:
        if options.force:
            print("--force needs the id of one session.", file=sys.stderr)
            return 2
        print(f"Moved on by their time: {with_database(settings, lambda db: _run_due(db, now))}")
        return 0
    state = with_database(
        settings, lambda db: appointments.activate(db, None, options.id, force=options.force, now=now)
    )
    print(f"{options.id} is {state}.")
    return 0


def sessions_end(options: argparse.Namespace, settings: Settings) -> int:
    now = datetime.now(UTC)
    if options.id is None:
        print(f"Moved on by their time: {with_database(settings, lambda db: _run_due(db, now))}")
        return 0

    async def end(db: Database) -> str:
        ended = await appointments.complete(db, OPERATOR, options.id, now=now)
        return str(ended.state)

    print(f"{options.id} is {with_database(settings, end)}.")
    return 0


def sessions_remind(_options: argparse.Namespace, settings: Settings) -> int:
    async def work(db: Database) -> int:
        worker = OutboxWorker(db, settings, lambda: datetime.now(UTC), push_sender=sender_of(settings))
        done = 0
        while step := await worker.work_once():
            done += step
        return done

    print(f"Notices dealt with: {with_database(settings, work)}")
    return 0


async def _run_due(db: Database, now: datetime) -> int:
    """What the scheduler does, without its lease: each step is safe to take twice."""
    async with db.reading() as session:
        due = (await session.scalars(select(Appointment.id).where(Appointment.due_at <= now))).all()
    for appointment_id in due:
        await appointments.catch_up(db, appointment_id, now=now)
    return len(due)


def sessions_explain(options: argparse.Namespace, settings: Settings) -> int:
    now = datetime.now(UTC)

    async def work(db: Database) -> list[str]:
        seen = await appointments.get_for(db, OPERATOR, options.id)
        lines = [f"Session {options.id}, {seen.state}, starts {seen.starts_at:%a %d %b %Y %H:%M} UTC"]
        for person_id in (seen.practitioner_id, seen.client_id):
            person = await accounts.actor_of(db, person_id)
            if person is not None:
                explanation = await waiting_room.explain(db, person, options.id, now)
                lines.append(f"{person.name}: {'can join now' if explanation.can_join else 'can not join'}")
                lines += [f"  {reason.text} ({reason.code})" for reason in explanation.reasons]
        return lines

    print("\n".join(with_database(settings, work)))
    return 0


# -- measuring ---------------------------------------------------------------------------------------------------


def bench(options: argparse.Namespace, _settings: Settings) -> int:
    """A process of its own: what is measured must not share a loop with what asks."""
    return subprocess.run([sys.executable, "-m", "benchmarks", *options.rest], check=False).returncode  # noqa: S603  our own module
