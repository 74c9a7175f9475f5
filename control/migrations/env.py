"""Alembic's entry: runs the migrations on the url that `control.database.upgrade` was given.

SQLite goes through the standard library's driver, PostgreSQL through asyncpg in a loop of its own, so this must run
outside any event loop (a thread is fine).
"""

import asyncio

from alembic import context
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import control.models  # noqa: F401  registers every table for autogenerate
from control.database import Base, async_url

MIGRATION_LOCK = 7_271_843  # any fixed number: two processes that start together upgrade one after the other


def run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_on_sqlite(url: str) -> None:
    engine = create_engine(make_url(url).set(drivername="sqlite"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        run(connection)


async def run_on_postgresql(url: str) -> None:
    engine = create_async_engine(async_url(url), poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


url = context.config.attributes["url"]
if make_url(url).get_backend_name() == "sqlite":
    run_on_sqlite(url)
else:
    asyncio.run(run_on_postgresql(url))
