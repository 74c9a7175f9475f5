"""Databases for tests of control: migrated once and copied for each test; with the practice in it for one of `world`.

A conftest takes the fixtures by `from tests.helpers.databases import *`. `database_url` runs a test on SQLite and
PostgreSQL.
"""

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from control import database
from control.database import Database, upgrade
from tests.helpers.clock import ManualClock
from tests.helpers.postgres import PostgresServer, binaries
from tests.helpers.practice import MONDAY, World, found_practice

__all__ = [
    "database_url",
    "empty_database_url",
    "postgres_practice",
    "postgres_server",
    "sqlite_practice",
    "sqlite_template",
    "sqlite_waits_for_no_disk",
]

OWN_PREPARE = database._prepare_sqlite
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    found = binaries()
    if found is None:
        pytest.fail("PostgreSQL's programs are missing: apt-get install postgresql")
    server = PostgresServer(found)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session", autouse=True)
def sqlite_waits_for_no_disk() -> Iterator[None]:
    """As PostgreSQL here: no test is of a power cut, and each commit would wait for milliseconds."""

    def not_durable(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = OFF")
        cursor.close()

    def prepared(engine: AsyncEngine) -> None:
        OWN_PREPARE(engine)
        event.listen(engine.sync_engine, "connect", not_durable)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_prepare_sqlite", prepared)
        yield


def founded(url: str) -> World:
    """Puts the practice there; in a thread, for it needs a loop and the test's is not to be disturbed."""

    async def found() -> World:
        db = Database(url)
        await db.connect()
        try:
            return await found_practice(db, ManualClock(MONDAY))
        finally:
            await db.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, found()).result()


@pytest.fixture(scope="session")
def sqlite_practice(sqlite_template: Path) -> tuple[Path, World]:
    path = sqlite_template.with_name("practice.db")
    shutil.copy(sqlite_template, path)
    world = founded(f"sqlite:///{path}")
    assert not path.with_name("practice.db-wal").exists(), "all of it is in the one file that is copied"
    return path, world


@pytest.fixture(scope="session")
def postgres_practice(postgres_server: PostgresServer) -> tuple[str, World]:
    """As statements that insert it."""
    url = postgres_server.take()
    world = founded(url)
    rows = postgres_server.rows_of(url)
    postgres_server.give_back(url)
    return rows, world


def sqlite_url(request: pytest.FixtureRequest, folder: Path) -> str:
    """Of a copy in the folder, with the practice if the test is of it."""
    if "world" in request.fixturenames:
        template: Path = request.getfixturevalue("sqlite_practice")[0]
    else:
        template = request.getfixturevalue("sqlite_template")
    shutil.copy(template, folder / "test.db")
    return f"sqlite:///{folder / 'test.db'}"


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of its own, of either kind."""
    if request.param == "sqlite":
        yield sqlite_url(request, tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.take(request.getfixturevalue("postgres_practice")[0] if "world" in request.fixturenames else "")
    yield url
    server.give_back(url)


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create(empty=True)
    yield url
    server.drop(url)
