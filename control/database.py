"""The database: SQLite through aiosqlite or PostgreSQL through asyncpg, behind one class.

Every change goes through `transaction()`, every look through `reading()`. What must happen only if a change
really was stored (waking a worker, telling a browser) is registered inside the transaction and leaves after the
commit. Rules live in the action functions, not here; the schema lives in models/ and migrations/.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, cast
from uuid import uuid4
from weakref import WeakSet

import aiosqlite
from sqlalchemy import JSON, CursorResult, DateTime, MetaData, String, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 10_000  # how long one process waits for another's write on SQLite before it gives up
STATEMENT_TIMEOUT_MS = 15_000  # a statement that takes longer on PostgreSQL is a bug; moving it hides the bug
POSTGRES_OPTIONS: dict[str, Any] = {
    "pool_size": 16,
    "max_overflow": 8,
    "pool_pre_ping": True,
    "connect_args": {"server_settings": {"statement_timeout": str(STATEMENT_TIMEOUT_MS), "timezone": "UTC"}},
}

_HOOKS = "holdspace_after_commit"
_BEFORE = "holdspace_before_commit"
_EVENTS = "holdspace_events"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime. SQLite stores it as fixed-width text, so comparing and sorting work there too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the database; every time here is aware UTC")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None] | None:
        """asyncpg gives aware UTC already. A page of rows has hundreds of these, so one call each."""
        return _from_text if dialect.name == "sqlite" else None


def _from_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value + "+00:00")


def new_id() -> str:
    """A database id: 32 hexadecimal digits, never guessable, never a word."""
    return uuid4().hex


class Base(DeclarativeBase):
    """The parent of every table's class. Constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), dict[str, Any]: JSON(), list[str]: JSON()}  # noqa: RUF012  SQLAlchemy reads it from the class


class WithId:
    """Mixin: the id column nearly every table has."""

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)


AfterCommit = Callable[[], Awaitable[None] | None]
BeforeCommit = Callable[[AsyncSession], Awaitable[None]]
Listener = Callable[[Sequence[object]], None]


def after_commit(session: AsyncSession, callback: AfterCommit) -> None:
    """Run `callback` once the transaction of `session` is stored; never if it is rolled back.

    A crash between the commit and the callback loses the callback: whatever must survive belongs in the outbox.
    """
    session.info.setdefault(_HOOKS, []).append(callback)


def before_commit(session: AsyncSession, callback: BeforeCommit) -> None:
    """Run `callback` as the last step inside the transaction: for row locks that must be held only briefly."""
    session.info.setdefault(_BEFORE, []).append(callback)


def publish(session: AsyncSession, happened: object) -> None:
    """Hand an event to `Database.subscribe`'s listeners after the commit, in the order of publishing."""
    session.info.setdefault(_EVENTS, []).append(happened)


def insert_into(session: AsyncSession, table: type[Base]) -> postgresql.Insert:
    """An INSERT that may say ON CONFLICT: the two dialects' own classes write it alike."""
    own = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    return cast("postgresql.Insert", own(table))


async def insert_once(session: AsyncSession, table: type[Base], values: Mapping[str, Any]) -> bool:
    """False if the row was there; a parallel insert of the same key is waited for."""
    done = await session.execute(insert_into(session, table).values(**values).on_conflict_do_nothing())
    return cast(CursorResult[Any], done).rowcount == 1


class Database:
    """One pool of connections. `connect` first; `close` last."""

    def __init__(self, url: str, info: Mapping[str, Any] | None = None) -> None:
        """`info` is in the `info` of every session: what this install has set and actions deep down need."""
        self.url = url
        self._info = dict(info or {})
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self._engine: AsyncEngine | None = None
        self._write: async_sessionmaker[AsyncSession] | None = None
        self._read: async_sessionmaker[AsyncSession] | None = None
        # SQLite has one writer: within this process they queue here, in order, instead of polling its lock.
        self._writer_turn = asyncio.Lock()
        self._writer: asyncio.Task[Any] | None = None
        self._listeners: list[Listener] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._threads: WeakSet[Thread] = WeakSet()  # of SQLite's connections

    async def connect(self) -> None:
        options = self._sqlite_options() if self.is_sqlite else POSTGRES_OPTIONS
        engine = create_async_engine(async_url(self.url), **options)
        if self.is_sqlite:
            _prepare_sqlite(engine)
        self._engine = engine
        writing = engine.execution_options(holdspace_begin="BEGIN IMMEDIATE")
        self._write = async_sessionmaker(writing, expire_on_commit=False, info=self._info)
        self._read = async_sessionmaker(engine, expire_on_commit=False, info=self._info)

    def _sqlite_options(self) -> dict[str, Any]:
        def open_file(*args: Any, **options: Any) -> _SqliteConnection:
            connection = _SqliteConnection(partial(sqlite3.connect, *args, **options), iter_chunk_size=64)
            connection._thread.daemon = True
            self._threads.add(connection._thread)
            return connection

        return {"pool_size": 8, "max_overflow": 0, "connect_args": {"async_creator_fn": open_file}}

    async def close(self) -> None:
        while self._under_way:
            await asyncio.wait(self._under_way)
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = self._write = self._read = None
        for thread in list(self._threads):  # one cut off while it opened its file would speak to a closed loop
            await asyncio.to_thread(thread.join, BUSY_TIMEOUT_MS / 1000)
            if thread.is_alive():
                log.warning("a connection of the database was never given back")

    def subscribe(self, listener: Listener) -> None:
        """`listener` gets the events of each committed transaction, on the loop, and must not block."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction that may write: stored on a clean exit, undone on any exception.

        Not nestable: an action that needs another's work hands its session on. On PostgreSQL the isolation is READ
        COMMITTED, so state is changed by conditional updates, never by read-then-write.
        """
        if self._write is None:
            raise RuntimeError("Database.connect() comes first")
        async with self._turn_to_write(), self._session(self._write) as session:
            yield session
            for step in session.info.pop(_BEFORE, ()):
                await step(session)
            cancelled = await self._to_the_end(session.commit())
        await self._after_commit(session)
        if cancelled is not None:
            raise cancelled

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """One consistent look. Nothing done to this session is ever stored."""
        if self._read is None:
            raise RuntimeError("Database.connect() comes first")
        async with self._session(self._read) as session:
            yield session

    @asynccontextmanager
    async def _session(self, make: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
        """A session whose connection goes back even if its caller is cancelled meanwhile; `close` waits for that."""
        session = make()
        try:
            yield session
        finally:
            await asyncio.shield(self._started(session.close()))

    async def _to_the_end(self, step: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
        """Its caller's cancelling, however often, is answered once it is done: a commit cut off could be either."""
        task = self._started(step)
        cancelled = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
        task.result()
        return cancelled

    def _started(self, step: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of its own, which its caller's cancelling does not reach; `close` waits for it."""
        task = asyncio.create_task(step)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    @asynccontextmanager
    async def _turn_to_write(self) -> AsyncIterator[None]:
        if not self.is_sqlite:
            yield
            return
        if self._writer is asyncio.current_task():
            raise RuntimeError("transaction() inside transaction(): hand the session on instead")
        async with self._writer_turn:
            self._writer = asyncio.current_task()
            try:
                yield
            finally:
                self._writer = None

    async def _after_commit(self, session: AsyncSession) -> None:
        """The change is stored whatever happens here, so a failing listener is logged, not raised."""
        events = tuple(session.info.pop(_EVENTS, ()))
        if events:
            for listener in self._listeners:
                try:
                    listener(events)
                except Exception:
                    log.exception("listener failed after commit")
        for callback in session.info.pop(_HOOKS, ()):
            try:
                outcome = callback()
                if outcome is not None:
                    await outcome
            except Exception:
                log.exception("callback failed after commit")


def async_url(url: str) -> str:
    """`url` with the driver we use: people write sqlite:///… and postgresql://…"""
    parsed = make_url(url)
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}.get(parsed.get_backend_name())
    if driver is None:
        raise ValueError(f"database url must start with sqlite:/// or postgresql://, not {parsed.drivername}://")
    return parsed.set(drivername=driver).render_as_string(hide_password=False)


class _SqliteConnection(aiosqlite.Connection):
    """Its thread ends at the first stop and would never answer a second one, as a statement cut off twice asks for."""

    def stop(self) -> asyncio.Future[Any] | None:
        return super().stop() if self._running else None


def _prepare_sqlite(engine: AsyncEngine) -> None:
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: sqlite3's own begins come too late
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last bookings when the power goes
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("holdspace_begin", "BEGIN"))

    event.listen(engine.sync_engine, "connect", configure)
    event.listen(engine.sync_engine, "begin", begin)


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema to `revision`. Blocking: call it from a thread when a loop is running."""
    from alembic import command  # imported late: it costs a start 0.2 s that only migrations need

    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    command.upgrade(_alembic(url), revision)


def erase(url: str) -> None:
    """Take everything away, tables too. Blocking, and not to be undone: only for practices that are demos."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        for suffix in ("", "-wal", "-shm"):
            Path(f"{parsed.database}{suffix}").unlink(missing_ok=True)
        return

    async def drop() -> None:
        engine = create_async_engine(async_url(url))
        async with engine.begin() as connection:
            await connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            await connection.exec_driver_sql("CREATE SCHEMA public")
        await engine.dispose()

    asyncio.run(drop())


def _alembic(url: str) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    return config
