"""A PostgreSQL of Debian's binaries for one test session: own folder, unix socket only, gone afterwards.

Its databases are copies of a template that is migrated once. A copy costs up to a second and emptying one a
fiftieth of that, so a used database is emptied and used again, over a connection that stays open.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]

from control.database import upgrade

USER = "holdspace"
TEMPLATE = "template_holdspace"
SETTINGS = (
    ("listen_addresses", ""),
    ("max_connections", "300"),
    ("timezone", "Pacific/Auckland"),  # far from UTC, so that a forgotten zone shows
)

NOT_DURABLE = (("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off"))

# A trigger of an append-only table that refuses to lose rows does not hold a replica back.
OURS = {"session_replication_role": "replica"}

# Not DELETE: rows put into the place of deleted ones come back in another order. A sequence starts anew.
EMPTY = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
DO $$ DECLARE used text; BEGIN
    SELECT string_agg(oid::regclass::text, ', ') INTO used FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0;
    IF used IS NOT NULL THEN EXECUTE 'TRUNCATE ' || used || ' RESTART IDENTITY CASCADE'; END IF;
END $$;
"""


# Lines of pg_dump that say how it wants to be read, and would stay so for what comes after it.
NOT_ROWS = ("--", "SET ", "SELECT pg_catalog.set_config", "\\")


def binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


class PostgresServer:
    def __init__(self, bin_dir: Path, *, durable: bool = False) -> None:
        """`durable`: commits reach the disk, as in a real practice; for measuring."""
        self._settings = SETTINGS if durable else SETTINGS + NOT_DURABLE
        self._bin = bin_dir
        self._folder = Path(tempfile.mkdtemp(prefix="holdspace-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._free: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._connections: dict[str, Any] = {}
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            postgres = pwd.getpwnam("postgres")
            self._identity = {"user": postgres.pw_uid, "group": postgres.pw_gid, "extra_groups": []}
            os.chown(self._folder, postgres.pw_uid, postgres.pw_gid)

    def start(self) -> None:
        data = str(self._folder / "data")
        initdb = ["initdb", "-D", data, "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        self._run(initdb, **self._identity)
        options = [part for name, value in self._settings for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own arguments
                [self._bin / "postgres", "-D", data, "-k", str(self._folder), *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._identity,
            )
        self._run(["pg_isready", "-q", "-h", str(self._folder), "-t", "20"], attempts=200)
        self._run(["createdb", "-h", str(self._folder), "-U", USER, TEMPLATE])
        upgrade(self.url_of(TEMPLATE))

    def stop(self) -> None:
        for connection in self._connections.values():
            self._loop.run_until_complete(connection.close())
        self._loop.close()
        if self._process is not None:
            self._process.terminate()  # the smart shutdown would wait for forgotten connections
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url_of(self, name: str) -> str:
        return f"postgresql://{USER}@/{name}?host={self._folder}"

    def take(self, rows: str = "") -> str:
        """The url of a migrated database with no rows but these, as `rows_of` gave them; for `give_back` when done."""
        url = self._free.pop() if self._free else self.create()
        if rows:
            self._loop.run_until_complete(self._execute(url, rows))
        return url

    def give_back(self, url: str) -> None:
        self._loop.run_until_complete(self._execute(url, EMPTY))
        self._free.append(url)

    async def _execute(self, url: str, statements: str) -> None:
        if url not in self._connections:
            name, folder = _name(url), str(self._folder)
            connection = await asyncpg.connect(host=folder, user=USER, database=name, server_settings=OURS)
            self._connections[url] = connection
        await self._connections[url].execute(statements, timeout=60)

    def rows_of(self, url: str) -> str:
        """All rows, as statements that put them into a database without any."""
        options = ("--data-only", "--rows-per-insert", "100", "--exclude-table", "alembic_version")
        dumped = self._run(["pg_dump", "-h", str(self._folder), "-U", USER, *options, _name(url)])
        ours = (line for line in dumped.splitlines() if not line.startswith(NOT_ROWS))
        return "\n".join(ours)

    def create(self, *, empty: bool = False) -> str:
        """The url of a new database: migrated, or `empty` without any table."""
        name = f"test_{uuid4().hex}"
        template = "template1" if empty else TEMPLATE
        self._run(["createdb", "-h", str(self._folder), "-U", USER, "-T", template, name])
        return self.url_of(name)

    def drop(self, url: str) -> None:
        self._run(["dropdb", "-h", str(self._folder), "-U", USER, "--force", _name(url)])

    def _run(self, command: Sequence[str], *, attempts: int = 1, **identity: Any) -> str:
        """As ourselves unless told otherwise: to start a program as somebody else, all of this process is copied."""
        for attempt in range(attempts):
            done = subprocess.run(  # noqa: S603  our own arguments
                [self._bin / command[0], *command[1:]],
                capture_output=True,
                cwd=self._folder,
                check=False,
                timeout=60,
                **identity,
            )
            if done.returncode == 0:
                said: str = done.stdout.decode()
                return said
            if attempt + 1 == attempts:
                raise RuntimeError(f"{command[0]} failed: {done.stderr.decode()[-2000:]}")
            try:
                if self._process is not None:
                    self._process.wait(0.1)  # ends at once if the server gave up
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError("at least one attempt")


def _name(url: str) -> str:
    return url.split("@/")[1].split("?")[0]
