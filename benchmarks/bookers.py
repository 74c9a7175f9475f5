"""A server on either kind of database, and many signed-in people who ask it at once, each over a connection kept open.

What the benchmarks of booking and API share. People and appointments are put into the database beside the server; what
is measured goes over HTTP, as pages and apps do it.
"""

import asyncio
import math
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import aiohttp

from benchmarks.practice import serving
from control import accounts
from control.database import Database, upgrade
from control.models.people import LinkPurpose, Role

SETTLE_S: Final = 0.5
"""Between what was prepared and what is measured: the server's own work for it (letters) comes to rest."""


@dataclass(frozen=True)
class Hand:
    """One person's requests. `session` is shared, so the number of connections is what the server sees."""

    url: str
    session: aiohttp.ClientSession
    cookie: str
    csrf: str

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.url + path, headers={"Cookie": self.cookie}) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        headers = {
            "Cookie": self.cookie,
            "Origin": self.url,
            "X-CSRF-Token": self.csrf,
            "Idempotency-Key": uuid4().hex,
        }
        async with self.session.post(self.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Name → url of an empty database of each kind this machine has; all gone afterwards."""
    from tests.helpers.postgres import PostgresServer, binaries  # the private server the tests use too

    with tempfile.TemporaryDirectory() as folder:
        found = {"sqlite": f"sqlite:///{folder}/holdspace.db"}
        programs = binaries()
        if programs is None:
            yield found
            return
        server = PostgresServer(programs, durable=True)
        try:
            server.start()
            yield found | {"postgresql": server.create()}
        finally:
            server.stop()


@asynccontextmanager
async def practice(url: str) -> AsyncIterator[tuple[Database, str, aiohttp.ClientSession]]:
    """The demo practice on this database: the database itself, the server's address, and a client without limits."""
    await asyncio.to_thread(upgrade, url)
    settings = {"HOLDSPACE_DATABASE__URL": url, "HOLDSPACE_SECURITY__WRITES_PER_PERSON": "1000000"}
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), settings) as address:
            db = Database(url)
            await db.connect()
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=300)
            jar = aiohttp.DummyCookieJar()
            async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as client:
                yield db, address, client
            await db.close()


async def sign_in_people(
    db: Database, url: str, client: aiohttp.ClientSession, count: int, role: Role = Role.CLIENT
) -> list[Hand]:
    """New people who are signed in; each has opened a connection by asking who they are."""
    now = datetime.now(UTC)
    async with db.transaction() as session:
        people = [
            await accounts.add_person(
                session,
                email=f"{uuid4().hex}@example.com",
                name=f"Person {number}",
                roles=[role],
                proven=True,
                is_demo=True,
                now=now,
            )
            for number in range(count)
        ]
        links = [await accounts.issue_link(session, one.id, LinkPurpose.SIGN_IN, now=now) for one in people]
    return await asyncio.gather(*(_signed_in(db, url, client, link) for link in links))


async def hand_of(db: Database, url: str, client: aiohttp.ClientSession, person_id: str) -> Hand:
    now = datetime.now(UTC)
    async with db.transaction() as session:
        link = await accounts.issue_link(session, person_id, LinkPurpose.SIGN_IN, now=now)
    return await _signed_in(db, url, client, link)


async def _signed_in(db: Database, url: str, client: aiohttp.ClientSession, link: str) -> Hand:
    signed_in = await accounts.consume_link(db, link, now=datetime.now(UTC))
    cookie = f"holdspace={signed_in.token}"
    async with client.get(f"{url}/api/me", headers={"Cookie": cookie}) as answer:
        return Hand(url, client, cookie, (await answer.json())["csrf_token"])


@dataclass(frozen=True)
class Load:
    """`milliseconds` of each request, and how long all of them took together."""

    milliseconds: tuple[float, ...]
    seconds: float

    @property
    def per_second(self) -> float:
        return len(self.milliseconds) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


async def at_once(requests: Sequence[Callable[[], Awaitable[None]]], parallel: int) -> Load:
    """Each request once, `parallel` of them at a time."""
    waiting = iter(requests)
    times: list[float] = []

    async def work() -> None:
        for request in waiting:
            began = time.perf_counter()
            await request()
            times.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(parallel)))
    return Load(tuple(times), time.perf_counter() - began)
