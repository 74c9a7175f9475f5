"""Counts what a piece of code asks the database: for tests that a list costs the same whatever is in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from control.database import Database


@dataclass
class Counted:
    statements: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.statements)


@asynccontextmanager
async def counted(db: Database, *, requests_only: bool = False) -> AsyncIterator[Counted]:
    """BEGIN, COMMIT and PRAGMA are not counted; nor, if asked, what a server does beside its requests."""
    found = Counted()
    assert db._engine is not None

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        coroutine = getattr(asyncio.current_task(), "get_coro", str)()
        name = getattr(coroutine, "__qualname__", "")
        is_request = "RequestHandler" in name or name == "_ask"  # that one asks for requests: control/crowd.py
        if (is_request or not requests_only) and statement.split(" ", 1)[0] not in {"BEGIN", "COMMIT", "PRAGMA"}:
            found.statements.append(statement)

    engine = db._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)
