"""The database: transactions, what leaves after them, and the schema, on SQLite and PostgreSQL."""

import asyncio
import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import control.models  # noqa: F401
from control.accounts import add_person
from control.database import Base, Database, after_commit, async_url, before_commit, erase, publish, upgrade
from control.models.people import Person, Role
from tests.helpers.clock import START
from tests.helpers.databases import OWN_PREPARE


async def _add(session: Any, name: str) -> Person:
    return await add_person(session, email=f"{name}@example.com", name=name, roles=[Role.CLIENT], now=START)


async def _names(db: Database) -> list[str]:
    async with db.reading() as session:
        return list(await session.scalars(select(Person.name).order_by(Person.name)))


async def test_a_clean_exit_stores_the_change(db: Database) -> None:
    async with db.transaction() as session:
        await _add(session, "mina")
    assert await _names(db) == ["mina"]


async def test_an_exception_undoes_the_whole_transaction(db: Database) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  what is undone needs to be done first
        async with db.transaction() as session:
            await _add(session, "mina")
            raise ZeroDivisionError
    assert await _names(db) == []


async def test_closing_waits_for_the_connection_of_a_look_that_was_cancelled_twice(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, let_go, given_back = asyncio.Event(), asyncio.Event(), asyncio.Event()
    close = AsyncSession.close

    async def slow_close(session: AsyncSession) -> None:
        await let_go.wait()
        await close(session)
        given_back.set()

    async def look() -> None:
        async with db.reading() as session:
            await session.execute(text("SELECT 1"))
            looking.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(AsyncSession, "close", slow_close)
    task = asyncio.create_task(look())
    await looking.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.05, let_go.set)
    await db.close()
    assert (task.cancelled(), given_back.is_set()) == (True, True)
    await db.connect()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_closing_waits_for_a_connection_cut_off_while_its_file_was_opened(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go_on, connect = asyncio.Event(), threading.Event(), sqlite3.connect
    loop = asyncio.get_running_loop()

    def slow_connect(*args: Any, **options: Any) -> sqlite3.Connection:
        loop.call_soon_threadsafe(opening.set)
        assert go_on.wait(20)
        return connect(*args, **options)

    monkeypatch.setattr(sqlite3, "connect", slow_connect)
    before = set(threading.enumerate())
    task = asyncio.create_task(_names(db))
    await opening.wait()
    (opener,) = set(threading.enumerate()) - before
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), opener.is_alive()) == (True, True)
    loop.call_later(0.05, go_on.set)
    await db.close()
    assert not opener.is_alive()


async def test_a_statement_cancelled_twice_leaves_nothing_behind(db: Database) -> None:
    slow = (
        "SELECT pg_sleep(0.2)"
        if not db.is_sqlite
        else (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT count(*) FROM n"
        )
    )

    async def look() -> None:
        async with db.reading() as session:
            await session.execute(text("SELECT 1"))
            begun.set()
            await session.execute(text(slow))

    begun = asyncio.Event()
    task = asyncio.create_task(look())
    await begun.wait()
    for _ in range(2):
        await asyncio.sleep(0.02)
        task.cancel()
    await asyncio.wait([task])
    await db.close()
    await asyncio.sleep(0.05)
    assert (task.cancelled(), asyncio.all_tasks() - {asyncio.current_task()}) == (True, set())


@pytest.mark.parametrize("times", [1, 2])
async def test_a_commit_is_not_cut_off_by_a_cancelling_and_is_told_of(
    db: Database, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    committing, let_go = asyncio.Event(), asyncio.Event()
    commit, heard = AsyncSession.commit, []

    async def slow_commit(session: AsyncSession) -> None:
        committing.set()
        await let_go.wait()
        await commit(session)

    async def change() -> None:
        async with db.transaction() as session:
            publish(session, "told")
            await _add(session, "mina")

    db.subscribe(heard.extend)
    monkeypatch.setattr(AsyncSession, "commit", slow_commit)
    task = asyncio.create_task(change())
    await committing.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == ["told"]
    assert await _names(db) == ["mina"]


async def test_a_server_s_sqlite_waits_for_the_disk(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/one.db")
    OWN_PREPARE(engine)
    async with engine.connect() as connection:
        pragmas = [await connection.exec_driver_sql(f"PRAGMA {name}") for name in ("synchronous", "journal_mode")]
        found = [pragma.scalar() for pragma in pragmas]
    await engine.dispose()
    assert found == [2, "wal"]  # 2: FULL


async def test_callbacks_and_events_leave_only_after_the_commit(db: Database) -> None:
    seen: list[object] = []
    db.subscribe(lambda events: seen.extend(events))

    async def called() -> None:
        seen.append(await _names(db))

    async with db.transaction() as session:
        publish(session, "told")
        after_commit(session, called)
        await _add(session, "mina")
        assert seen == []
    assert seen == ["told", ["mina"]]


async def test_nothing_leaves_when_the_transaction_is_undone(db: Database) -> None:
    seen: list[object] = []
    db.subscribe(lambda events: seen.extend(events))
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  what is undone needs to be done first
        async with db.transaction() as session:
            publish(session, "told")
            after_commit(session, lambda: seen.append("called"))
            raise ZeroDivisionError
    assert seen == []


async def test_the_last_step_before_the_commit_is_part_of_the_transaction(db: Database) -> None:
    async def add_one_more(session: Any) -> None:
        await _add(session, "theo")

    async with db.transaction() as session:
        before_commit(session, add_one_more)
        await _add(session, "mina")
    assert await _names(db) == ["mina", "theo"]


async def test_a_failing_listener_keeps_neither_the_change_nor_the_other_listeners_back(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[object] = []

    def fails(_events: object) -> None:
        raise ZeroDivisionError

    db.subscribe(fails)
    db.subscribe(lambda events: seen.extend(events))
    async with db.transaction() as session:
        publish(session, "told")
        await _add(session, "mina")
    assert seen == ["told"]
    assert await _names(db) == ["mina"]
    assert "listener failed" in caplog.text


async def test_a_hundred_writers_at_once_all_get_their_turn(db: Database) -> None:
    async def write(number: int) -> None:
        async with db.transaction() as session:
            await _add(session, f"p{number:03}")

    await asyncio.gather(*(write(number) for number in range(100)))
    assert len(await _names(db)) == 100


async def test_a_transaction_inside_a_transaction_is_refused_instead_of_waiting_for_itself(db: Database) -> None:
    if not db.is_sqlite:
        pytest.skip("PostgreSQL has many writers")
    async with db.transaction():
        with pytest.raises(RuntimeError, match="inside"):
            async with db.transaction():
                pass


async def test_times_come_back_as_aware_utc_whatever_zone_they_went_in_with(db: Database) -> None:
    in_oslo = datetime(2026, 3, 3, 16, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    async with db.transaction() as session:
        person = await _add(session, "mina")
        person.email_proven_at = in_oslo
    async with db.reading() as session:
        read = (await session.scalars(select(Person.email_proven_at))).one()
    assert read == in_oslo
    assert read is not None
    assert read.tzinfo is UTC


async def test_a_naive_time_is_refused(db: Database) -> None:
    with pytest.raises(Exception, match="naive"):
        async with db.transaction() as session:
            (await _add(session, "mina")).email_proven_at = datetime(2026, 3, 3)  # noqa: DTZ001  that is the point


async def test_foreign_keys_are_enforced(db: Database) -> None:
    with pytest.raises(DBAPIError):
        async with db.transaction() as session:
            await session.execute(text("INSERT INTO person_roles (person_id, role) VALUES ('nobody', 'client')"))


@pytest.mark.parametrize("url", ["mysql://x/y", "http://x"])
def test_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(Exception, match=r"sqlite:///|Could not parse|Can't load"):
        async_url(url)


def test_migrations_make_exactly_the_tables_of_the_models(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    upgrade(empty_database_url)
    assert _differences(empty_database_url) == []


def test_an_erased_database_can_be_made_anew(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    erase(empty_database_url)
    upgrade(empty_database_url)
    assert _differences(empty_database_url) == []


def _differences(url: str) -> list[Any]:
    def compare(connection: Any) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    if url.startswith("sqlite"):
        engine = create_engine(url)
        with engine.connect() as connection:
            found = compare(connection)
        engine.dispose()
        return found

    async def on_postgresql() -> list[Any]:
        engine = create_async_engine(async_url(url))
        async with engine.connect() as connection:
            found: list[Any] = await connection.run_sync(compare)
        await engine.dispose()
        return found

    return asyncio.run(on_postgresql())
