"""What the operator's subcommands do, apart from `serve` and `check`: open the database, call one action, say it."""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from control import accounts, audit, demo
from control.accounts import Actor
from control.config import Settings
from control.database import Database, upgrade
from control.models.people import LinkPurpose, Role

T = TypeVar("T")

OPERATOR = Actor("operator", frozenset({Role.ADMIN}), "Operator", "UTC")


def with_database(settings: Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work` on an up-to-date database, outside of any server."""
    upgrade(settings.database_url)

    async def run() -> T:
        db = Database(settings.database_url)
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


def load_demo(_options: argparse.Namespace, settings: Settings) -> int:
    settings = demo.dressed(settings)
    sign_ins = with_database(settings, lambda db: demo.load(db, settings, now=datetime.now(UTC)))
    print("The demo practice is loaded. Start it with: holdspace serve --demo")
    for who in sign_ins:
        print(f"  {who.role:<13} {who.email:<26} {who.password}")
    return 0


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
