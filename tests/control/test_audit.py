"""The audit log: entries are part of their transaction, and nobody changes them, not even with SQL."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from control import audit
from control.accounts import OPERATOR
from control.database import Database
from control.models.people import Role
from tests.helpers.clock import ManualClock
from tests.helpers.control import AddSomeone


async def test_an_entry_tells_who_did_what_and_when(db: Database, add_someone: AddSomeone, clock: ManualClock) -> None:
    mina = (await add_someone("Mina", Role.CLIENT)).actor
    async with db.transaction() as session:
        audit.record(session, mina, "session.viewed", "appointment:1", {"from": "page"}, now=clock())
        audit.record(session, None, "session.expired", "appointment:2", now=clock())
    entries = await audit.entries_about(db, "appointment:1")
    assert entries == (audit.Entry(clock(), mina.person_id, "session.viewed", "appointment:1", {"from": "page"}),)
    assert (await audit.entries_about(db, "appointment:2"))[0].actor_id is None


async def test_the_operator_is_named_though_not_in_the_table_of_people(db: Database, clock: ManualClock) -> None:
    async with db.transaction() as session:
        audit.record(session, OPERATOR, "session.forced", "appointment:1", now=clock())
    entry = (await audit.entries_about(db, "appointment:1"))[0]
    assert (entry.actor_id, entry.detail) == (None, {"by": "operator"})


async def test_an_undone_action_leaves_no_entry(db: Database, clock: ManualClock) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  what is undone needs to be done first
        async with db.transaction() as session:
            audit.record(session, None, "session.viewed", "appointment:1", now=clock())
            raise ZeroDivisionError
    assert await audit.entries_about(db, "appointment:1") == ()


@pytest.mark.parametrize("change", ["UPDATE audit_entries SET action = 'x'", "DELETE FROM audit_entries"])
async def test_the_database_refuses_to_change_an_entry(db: Database, clock: ManualClock, change: str) -> None:
    async with db.transaction() as session:
        audit.record(session, None, "session.viewed", "appointment:1", now=clock())
    with pytest.raises(DBAPIError, match="append-only"):
        async with db.transaction() as session:
            await session.execute(text(change))
    assert len(await audit.entries_about(db, "appointment:1")) == 1
