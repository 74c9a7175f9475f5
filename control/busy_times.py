"""Busy times from one imported calendar per practitioner: fetched now and then, kept as spans, never as contents.

    due ─▶ claimed ─▶ fetched (control/calendar_fetching.py) ─▶ read in a child (control/busy_reading.py) ─▶ replaced

A failure is kept and shown, and the busy times of the last good reading stay. A crash between two steps leaves the
calendar claimed for CLAIM_FOR, then it is tried again. Nothing here is logged of an address: it is a secret.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from sqlalchemy import CursorResult, delete, select, update

from control.accounts import Actor
from control.audit import record
from control.availability import FARTHEST_WINDOW, lock_calendar, require_profile
from control.calendar_fetching import FetchFailed, check_address_untrusted, fetch_untrusted
from control.config import Settings
from control.database import Database
from control.errors import Forbidden, Invalid
from control.language import t
from control.models.calendars import BusyTime, ImportedCalendar
from control.models.people import Person, Role
from control.slots import Span

log = logging.getLogger(__name__)

CLAIM_FOR = timedelta(minutes=5)
MOST_AT_ONCE = 10  # calendars of one errand, one after the other
READ_TIMEOUT_S = 20.0
MOST_FAILED_WAIT = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class ImportRules:
    every: timedelta = timedelta(minutes=30)
    allow_private: bool = False
    own_host: str = "localhost"


def rules_from(settings: Settings) -> ImportRules:
    host = urlsplit(settings.server.public_url).hostname or "localhost"
    return ImportRules(settings.calendars.import_every, settings.calendars.allow_private_addresses, host)


@dataclass(frozen=True, slots=True)
class ImportView:
    """`read_at` is when the busy times shown were read."""

    address: str
    state: str
    failure: str | None
    tried_at: datetime | None
    read_at: datetime | None


def _view(row: ImportedCalendar) -> ImportView:
    return ImportView(row.address, row.state, row.failure, row.tried_at, row.read_at)


async def my_import(db: Database, actor: Actor) -> ImportView | None:
    async with db.reading() as session:
        row = await session.get(ImportedCalendar, actor.person_id)
        return None if row is None else _view(row)


async def set_import(
    db: Database, actor: Actor, address_untrusted: str, *, rules: ImportRules, now: datetime
) -> ImportView:
    """Read this calendar from now on; the next scheduler round fetches it. Another address forgets the old times."""
    if not actor.is_any(Role.PRACTITIONER):
        raise Forbidden("not_practitioner", "Only a practitioner has busy times.")
    try:
        address = check_address_untrusted(address_untrusted, allow_private=rules.allow_private)
    except FetchFailed as error:
        words = t("This address can't be used. Give the full https:// address of your calendar's .ics file.")
        raise Invalid("address_refused", words, pointer="/address") from error
    async with db.transaction() as session:
        await require_profile(session, actor.person_id)
        await lock_calendar(session, actor.person_id)
        row = await session.get(ImportedCalendar, actor.person_id)
        if row is None or row.address != address:
            await session.execute(delete(BusyTime).where(BusyTime.practitioner_id == actor.person_id))
            if row is not None:
                await session.delete(row)
                await session.flush()
            row = ImportedCalendar(
                practitioner_id=actor.person_id, address=address, state="waiting", next_try_at=now, created_at=now
            )
            session.add(row)
            record(session, actor, "imported_calendar.set", f"person:{actor.person_id}", now=now)
        row.next_try_at = now
        await session.flush()
        return _view(row)


async def remove_import(db: Database, actor: Actor, *, now: datetime) -> None:
    async with db.transaction() as session:
        await lock_calendar(session, actor.person_id)
        await session.execute(delete(ImportedCalendar).where(ImportedCalendar.practitioner_id == actor.person_id))
        await session.execute(delete(BusyTime).where(BusyTime.practitioner_id == actor.person_id))
        record(session, actor, "imported_calendar.removed", f"person:{actor.person_id}", now=now)


# -- reading -----------------------------------------------------------------------------------------------------


async def read_due(db: Database, now: datetime, *, rules: ImportRules) -> None:
    """The scheduler's errand: every calendar whose time has come."""
    async with db.reading() as session:
        found = await session.execute(
            select(ImportedCalendar.practitioner_id, ImportedCalendar.address, ImportedCalendar.next_try_at)
            .where(ImportedCalendar.next_try_at <= now)
            .order_by(ImportedCalendar.next_try_at)
            .limit(MOST_AT_ONCE)
        )
        due = found.all()
    for row in due:
        if await _claim(db, row.practitioner_id, row.next_try_at, now):
            await _read(db, row.practitioner_id, row.address, now, rules)


async def _claim(db: Database, practitioner_id: str, due_at: datetime, now: datetime) -> bool:
    async with db.transaction() as session:
        claimed = await session.execute(
            update(ImportedCalendar)
            .where(ImportedCalendar.practitioner_id == practitioner_id, ImportedCalendar.next_try_at == due_at)
            .values(next_try_at=now + CLAIM_FOR)
        )
        return cast(CursorResult[Any], claimed).rowcount == 1


async def _read(db: Database, practitioner_id: str, address: str, now: datetime, rules: ImportRules) -> None:
    async with db.reading() as session:
        zone = await session.scalar(select(Person.time_zone).where(Person.id == practitioner_id)) or "UTC"
    try:
        data = await fetch_untrusted(address, allow_private=rules.allow_private)
        spans = await _spans_of(data, zone, rules.own_host, now)
    except FetchFailed as failed:
        log.info("imported calendar failed practitioner=%s code=%s", practitioner_id[:8], failed.code)
        await _keep_failure(db, practitioner_id, address, failed.code, now, rules)
    else:
        await _keep_spans(db, practitioner_id, address, spans, now, rules)


async def _spans_of(data: bytes, zone: str, own_host: str, now: datetime) -> list[Span]:
    first, last = now - timedelta(days=1), now + FARTHEST_WINDOW
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "control.busy_reading", first.isoformat(), last.isoformat(), zone, own_host),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            out, _ = await child.communicate(data)
    except TimeoutError as error:
        raise FetchFailed("not_a_calendar") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise FetchFailed("not_a_calendar")
    return [Span(datetime.fromtimestamp(a, UTC), datetime.fromtimestamp(b, UTC)) for a, b in json.loads(out)]


async def _keep_spans(
    db: Database, practitioner_id: str, address: str, spans: Sequence[Span], now: datetime, rules: ImportRules
) -> None:
    async with db.transaction() as session:
        await lock_calendar(session, practitioner_id)
        row = await session.get(ImportedCalendar, practitioner_id)
        if row is None or row.address != address:
            return  # changed meanwhile: what was read is no longer wanted
        await session.execute(delete(BusyTime).where(BusyTime.practitioner_id == practitioner_id))
        session.add_all(
            BusyTime(practitioner_id=practitioner_id, starts_at=span.start, ends_at=span.end) for span in spans
        )
        row.state, row.failure, row.tried_at, row.read_at = "read", None, now, now
        row.next_try_at = now + rules.every


async def _keep_failure(
    db: Database, practitioner_id: str, address: str, code: str, now: datetime, rules: ImportRules
) -> None:
    """Tried again after as long as it has been failing, between `every` and MOST_FAILED_WAIT."""
    async with db.transaction() as session:
        row = await session.get(ImportedCalendar, practitioner_id)
        if row is None or row.address != address:
            return
        failing_for = now - (row.read_at or row.created_at)
        row.state, row.failure, row.tried_at = "failed", code, now
        row.next_try_at = now + max(rules.every, min(failing_for, MOST_FAILED_WAIT))
