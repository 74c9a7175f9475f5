"""The invites in a calendar program that people use (khal, from Debian): entered once, moved, and marked cancelled.

The texts are the ones the outbox wrote for a booking, a move and a cancellation of one session; RFC 5546 is checked on
the same texts, property by property.
"""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from icalendar import Calendar
from sqlalchemy import select

from control import appointments, reschedules
from control.config import Settings
from control.models.outbox import OutboxRow
from control.notices.worker import OutboxWorker
from control.reschedules import Proposal
from tests.helpers.practice import World

pytestmark = pytest.mark.servers

CONFIG = """
[calendars]
[[sessions]]
path = {folder}/calendar
type = calendar

[locale]
timeformat = %H:%M
dateformat = %Y-%m-%d
longdateformat = %Y-%m-%d
datetimeformat = %Y-%m-%d %H:%M
longdatetimeformat = %Y-%m-%d %H:%M
local_timezone = UTC
default_timezone = UTC

[sqlite]
path = {folder}/khal.db
"""


class Khal:
    """One person's calendar."""

    def __init__(self, folder: Path) -> None:
        (folder / "calendar").mkdir(parents=True)
        self._folder = folder
        self._config = folder / "config"
        self._config.write_text(CONFIG.format(folder=folder), encoding="utf-8")

    async def take(self, invite: str) -> None:
        file = self._folder / "invite.ics"
        file.write_bytes(invite.encode())
        await self._run("import", "--batch", str(file))

    async def shows(self) -> list[str]:
        """ "start-end title" of every entry in the test's days."""
        lines = "{cancelled}{start-date} {start-time}-{end-time} {title}"
        said = await self._run("list", "--format", lines, "--day-format", "", "2026-03-01", "2026-03-10")
        return [line for line in said.splitlines() if line.strip()]

    async def _run(self, *arguments: str) -> str:
        ran = await asyncio.create_subprocess_exec(
            *("khal", "--config", str(self._config), *arguments),
            env={"PATH": os.environ["PATH"], "HOME": str(self._folder), "LC_ALL": "C.UTF-8"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await ran.communicate()
        assert ran.returncode == 0, said.decode()
        return said.decode()


async def _invites(world: World, settings: Settings, person_id: str) -> list[str]:
    """Every calendar text this person has been sent, in order."""
    worker = OutboxWorker(world.db, settings, world.clock)
    while await worker.work_once():
        pass
    world.clock.forward(seconds=1)
    async with world.db.reading() as session:
        rows = await session.scalars(
            select(OutboxRow)
            .where(OutboxRow.person_id == person_id, OutboxRow.calendar.is_not(None))
            .order_by(OutboxRow.created_at)
        )
        return [str(row.calendar) for row in rows]


async def _booked_moved_cancelled(world: World, settings: Settings, person_id: str) -> list[str]:
    view = await world.scheduled()
    assert len(await _invites(world, settings, person_id)) == 1
    proposal = Proposal(view.starts_at + timedelta(hours=2))
    request = await reschedules.propose(world.db, world.bob, view.id, proposal, now=world.clock())
    await reschedules.accept(world.db, world.alice, request.id, now=world.clock())
    assert len(await _invites(world, settings, person_id)) == 2
    await appointments.cancel(world.db, world.alice, view.id, now=world.clock())
    return await _invites(world, settings, person_id)


@pytest.mark.parametrize("who", ["bob", "alice"])
async def test_a_calendar_program_has_one_entry_that_moves_and_is_cancelled(
    world: World, settings: Settings, tmp_path: Path, who: str
) -> None:
    khal = Khal(tmp_path / "khal")
    texts = await _booked_moved_cancelled(world, settings, getattr(world, who).person_id)
    shown = []
    for text in texts:
        await khal.take(text)
        shown.append(await khal.shows())
    assert shown == [
        ["2026-03-02 14:00-14:50 Session at Test Row"],
        ["2026-03-02 16:00-16:50 Session at Test Row"],
        ["CANCELLED 2026-03-02 16:00-16:50 Session at Test Row"],
    ]


async def test_each_message_is_whole_by_rfc_5546_and_follows_the_one_before(world: World, settings: Settings) -> None:
    texts = await _booked_moved_cancelled(world, settings, world.bob.person_id)
    calendars = [Calendar.from_ical(text) for text in texts]
    events: list[Any] = [one.walk("VEVENT")[0] for one in calendars]
    assert [str(one["METHOD"]) for one in calendars] == ["REQUEST", "REQUEST", "CANCEL"]
    assert len({str(one["UID"]) for one in events}) == 1
    assert [one["SEQUENCE"] for one in events] == [0, 1, 2]
    stamps = [one["DTSTAMP"].dt for one in events]
    assert stamps == sorted(stamps)
    for calendar, event in zip(calendars, events, strict=True):
        assert len(calendar.walk("VEVENT")) == 1
        assert str(calendar["VERSION"]) == "2.0"
        assert calendar["PRODID"]
        for needed in ("ORGANIZER", "ATTENDEE", "DTSTART", "SUMMARY"):
            assert needed in event, needed
        assert str(event["ATTENDEE"]) == "mailto:bob.client@example.org"
        assert str(event["STATUS"]) == ("CANCELLED" if event is events[-1] else "CONFIRMED")
    for text in texts:
        assert "\r\n" in text
        assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
