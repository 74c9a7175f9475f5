"""Fixtures of everything that stands on control: the application, people and browsers.

A conftest takes them by `from tests.helpers.control import *`, beside those of databases.py.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from argon2 import PasswordHasher
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.engine import Engine
from sqlalchemy.util import LRUCache

from control import accounts
from control.accounts import Actor
from control.app import create_app
from control.config import Settings
from control.database import Database
from control.models.people import Role
from media.node import MediaNode
from tests.helpers.browsers import PASSWORD, Browser, Someone, open_browser
from tests.helpers.clock import ManualClock
from tests.helpers.fake_core import FakeCore
from tests.helpers.loop_guard import loop_never_held
from web.render import compile_templates, setup_templates

__all__ = [
    "add_someone",
    "app",
    "clock",
    "compiled_templates",
    "db",
    "loop_is_free",
    "new_browser",
    "passwords_are_hashed_quickly",
    "server",
    "settings",
    "statements_are_compiled_once",
]

ORIGIN = "http://localhost:8080"
OWN_HASHER = accounts._HASHER
"""Takes 50 ms and all cores for a password; tests have a quick one instead."""

AddSomeone = Callable[..., Awaitable[Someone]]
NewBrowser = Callable[..., Awaitable[Browser]]


@pytest.fixture(autouse=True)
def loop_is_free(request: pytest.FixtureRequest) -> Iterator[None]:
    """For tests that run on the loop; one that starts a loop of its own (a migration) may hold it."""
    if not inspect.iscoroutinefunction(request.function):
        yield
        return
    with loop_never_held() as held:
        yield
    assert held == [], f"the event loop was held: {held}"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.connect()
    yield database
    await database.close()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "server": {"data_dir": tmp_path / "var", "base_url": ORIGIN},
            "database": {"url": database_url, "upgrade_on_start": False},
            "practice": {"name": "Test Row"},
            "media": {"udp_port": 0, "threads": 1},
            "security": {"answer_floor_ms": 0, "second_factor": False},
        }
    )


@pytest.fixture(scope="session", autouse=True)
def compiled_templates() -> None:
    """As before a server is ready: compiling holds the loop."""
    app = web.Application()
    setup_templates(app)
    compile_templates(app)


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> Iterator[None]:
    """As in a server, which has one engine: each test has its own, and compiling took a quarter of its time.

    A compiled statement is found by its dialect, so two dialects of one kind have to be equal.
    """
    compiled: LRUCache[Any, Any] = LRUCache(5_000)

    def shared(_engine: Engine) -> LRUCache[Any, Any]:
        return compiled

    with pytest.MonkeyPatch.context() as patch:
        for kind in (SQLiteDialect_aiosqlite, PGDialect_asyncpg):
            patch.setattr(kind, "__eq__", lambda one, other: type(one) is type(other))
            patch.setattr(kind, "__hash__", lambda one: hash(type(one)))
        patch.setattr(Engine, "_compiled_cache", property(shared, lambda _engine, _own: None), raising=False)
        yield


@pytest.fixture
def app(settings: Settings, clock: ManualClock) -> web.Application:
    def open_core(options: Any) -> Any:
        return FakeCore(options)

    return create_app(settings, clock=clock, media=MediaNode(settings.media, open_core=open_core))


@pytest_asyncio.fixture
async def server(app: web.Application) -> AsyncIterator[TestServer]:
    """The whole application over a packet core without packets."""
    running = TestServer(app, host="127.0.0.1")
    await running.start_server()
    yield running
    await running.close()


@pytest.fixture(scope="session", autouse=True)
def passwords_are_hashed_quickly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
        yield


@lru_cache(maxsize=1)
def _password_hash() -> str:
    return accounts._HASHER.hash(PASSWORD)


@pytest.fixture
def add_someone(db: Database, clock: ManualClock) -> AddSomeone:
    """`await add_someone("Mina", Role.CLIENT)`: a proven person with PASSWORD."""
    password_hash = _password_hash()

    async def add(name: str, *roles: Role, proven: bool = True, time_zone: str = "UTC") -> Someone:
        email = f"{name.lower().replace(' ', '.')}@example.com"
        async with db.transaction() as session:
            person = await accounts.add_person(
                session,
                email=email,
                name=name,
                roles=roles or (Role.CLIENT,),
                time_zone=time_zone,
                password_hash=password_hash,
                proven=proven,
                now=clock(),
            )
        return Someone(Actor(person.id, frozenset(roles or (Role.CLIENT,)), name, time_zone), email)

    return add


@pytest_asyncio.fixture
async def new_browser(server: TestServer) -> AsyncIterator[NewBrowser]:
    """`await new_browser()` for a stranger, `await new_browser(someone)` signed in."""
    opened: list[Browser] = []

    async def open_one(someone: Someone | None = None) -> Browser:
        browser = await open_browser(server, ORIGIN)
        opened.append(browser)
        if someone is not None:
            answer = await browser.sign_in(someone.email, someone.password)
            assert answer.status == 200, answer
        return browser

    yield open_one
    for browser in opened:
        await browser.client.session.close()
