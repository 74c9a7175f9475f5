"""A copy of everything of one person, as a ZIP: asked for, made in the background, fetched, gone after a week.

    ask ─▶ waiting ─▶ run_once (the scheduler's errand): part after part, sealed as it is written ─▶ ready ─▶ gone
                         └ cut off by a crash: begun anew under another file id; what was left is deleted

Nothing of it is ever on disk in clear. Practitioners who keep notes on the person are asked for them at the same time.
"""

import asyncio
import io
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor, actor_of
from control.audit import record
from control.database import Database, insert_into, new_id
from control.errors import NotFound
from control.export_parts import PARTS, Entry, Sources
from control.file_store import FileStore
from control.language import choose, speaking
from control.models.my_data import DataExport
from control.note_requests import ask_for_notes
from control.notices.outbox import Notice, NoticeKind, enqueue

log = logging.getLogger(__name__)

CHUNK_BYTES = 524_288
KEPT = timedelta(days=7)
UNDER_WAY = ("waiting", "making")

Tell = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class ExportView:
    id: str
    state: str
    parts_done: int
    parts: int
    size: int
    created_at: datetime
    expires_at: datetime | None
    file_id: str

    @property
    def chunks(self) -> int:
        return -(-self.size // CHUNK_BYTES)

    @property
    def is_under_way(self) -> bool:
        return self.state in UNDER_WAY


class _Sealed(io.RawIOBase):
    """What the ZIP is written into: chunk after chunk, sealed."""

    def __init__(self, store: FileStore, file_id: str) -> None:
        self.size = 0
        self._store = store
        self._file_id = file_id
        self._waiting = bytearray()
        self._index = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        self.size += len(data)
        while len(self._waiting) >= CHUNK_BYTES:
            self._seal(CHUNK_BYTES)
        return len(data)

    def finish(self) -> None:
        if self._waiting:
            self._seal(len(self._waiting))

    def _seal(self, count: int) -> None:
        self._store.write_chunk(self._file_id, self._index, CHUNK_BYTES, bytes(self._waiting[:count]))
        del self._waiting[:count]
        self._index += 1


class Exports:
    """One per application; holds the key and no state."""

    def __init__(
        self,
        db: Database,
        folder: Path,
        master_key: bytes,
        sources: Sources,
        tell: Tell,
        *,
        languages: Sequence[str],
    ) -> None:
        self._db = db
        self._store = FileStore(folder, master_key)
        self._sources = sources
        self._tell = tell
        self._languages = languages
        self._turn = asyncio.Lock()

    async def ask(self, actor: Actor, *, now: datetime) -> ExportView:
        """Begin a copy, or find the one under way."""
        async with self._db.transaction() as session:
            values = {"id": new_id(), "person_id": actor.person_id, "state": "waiting", "created_at": now}
            counts = {"parts_done": 0, "parts": len(PARTS), "size": 0}
            begun = await session.execute(
                insert_into(session, DataExport).values(**values, **counts).on_conflict_do_nothing()
            )
            if cast(CursorResult[Any], begun).rowcount == 1:
                await ask_for_notes(session, actor, now=now)
                record(session, actor, "export.asked", f"person:{actor.person_id}", now=now)
            found = await _newest(session, actor)
            if found is None:
                raise NotFound
            return found

    async def newest(self, actor: Actor) -> ExportView | None:
        async with self._db.reading() as session:
            return await _newest(session, actor)

    async def get(self, actor: Actor, export_id: str, *, now: datetime) -> ExportView:
        """A copy that can be fetched now; the look is in the audit log. NotFound for everybody else's."""
        async with self._db.transaction() as session:
            row = await session.get(DataExport, export_id)
            if row is None or row.person_id != actor.person_id or row.state != "ready":
                raise NotFound
            record(session, actor, "export.fetched", f"person:{actor.person_id}", now=now)
            return _view(row)

    async def read_chunk(self, view: ExportView, index: int) -> bytes:
        return await asyncio.to_thread(self._store.read_chunk, view.file_id, index, CHUNK_BYTES)

    # -- making ------------------------------------------------------------------------------------------------------

    async def run_once(self, now: datetime) -> int:
        """Make what waits, one after the other; take away what is a week old."""
        async with self._turn:
            return await self._run(now)

    async def _run(self, now: datetime) -> int:
        await self._take_away(DataExport.expires_at <= now)
        async with self._db.reading() as session:
            waiting = await session.scalars(
                select(DataExport.id).where(DataExport.state.in_(UNDER_WAY)).order_by(DataExport.created_at).limit(10)
            )
            ids = waiting.all()
        for export_id in ids:
            await self._make(export_id, now)
        return len(ids)

    async def forget(self, person_id: str) -> None:
        """Every copy of a person who is erased."""
        await self._take_away(DataExport.person_id == person_id)

    async def _take_away(self, which: Any) -> None:
        async with self._db.reading() as session:
            rows = (await session.scalars(select(DataExport).where(which, DataExport.state != "gone"))).all()
        for row in rows:
            async with self._db.transaction() as session:
                gone = update(DataExport).where(DataExport.id == row.id)
                await session.execute(gone.values(state="gone", expires_at=None))
            if row.file_id is not None:
                await asyncio.to_thread(self._store.delete, row.file_id)

    async def _make(self, export_id: str, now: datetime) -> None:
        async with self._db.reading() as session:
            row = await session.get_one(DataExport, export_id)
        actor = await actor_of(self._db, row.person_id)
        if actor is None:
            return
        if row.file_id is not None:
            await asyncio.to_thread(self._store.delete, row.file_id)
        file_id = new_id()
        async with self._db.transaction() as session:
            if not await _go_on(session, export_id, row.file_id, state="making", file_id=file_id, parts_done=0):
                return
        try:
            with speaking(choose(self._languages, actor.language)):
                size = await self._pack(export_id, file_id, actor, now)
        except Exception:
            log.exception("export failed export=%s", export_id[:8])
            async with self._db.transaction() as session:
                await _go_on(session, export_id, file_id, state="failed")
            await asyncio.to_thread(self._store.delete, file_id)
            self._say(actor, export_id)
            return
        async with self._db.transaction() as session:
            values = {"state": "ready", "size": size, "ready_at": now, "expires_at": now + KEPT}
            kept = await _go_on(session, export_id, file_id, **values)
            if kept:
                facts = {"path": "/account/data", "days": KEPT.days}
                await enqueue(session, Notice(NoticeKind.EXPORT_READY, actor.person_id, extra=facts), now=now)
        if not kept:
            await asyncio.to_thread(self._store.delete, file_id)
            return
        self._say(actor, export_id)
        log.info("export ready export=%s bytes=%d", export_id[:8], size)

    async def _pack(self, export_id: str, file_id: str, actor: Actor, now: datetime) -> int:
        sealed = _Sealed(self._store, file_id)
        with zipfile.ZipFile(cast(Any, sealed), "w", zipfile.ZIP_DEFLATED) as archive:
            for done, part in enumerate(PARTS, start=1):
                async for entry in part(self._sources, actor, now):
                    await self._add(archive, entry)
                async with self._db.transaction() as session:
                    await _go_on(session, export_id, file_id, parts_done=done)
                self._say(actor, export_id)
            await asyncio.to_thread(archive.close)
        await asyncio.to_thread(sealed.finish)
        return sealed.size

    async def _add(self, archive: zipfile.ZipFile, entry: Entry) -> None:
        if entry.file is None:
            await asyncio.to_thread(lambda: archive.writestr(entry.path, entry.as_bytes()))
            return
        with archive.open(entry.path, "w") as into:
            for index in range(entry.file.chunks):
                chunk = await self._sources.files.read_chunk(entry.file, index)
                await asyncio.to_thread(into.write, chunk)

    def _say(self, actor: Actor, export_id: str) -> None:
        self._tell(actor.person_id, {"type": "export", "about": export_id})


async def _newest(session: AsyncSession, actor: Actor) -> ExportView | None:
    row = await session.scalar(
        select(DataExport)
        .where(DataExport.person_id == actor.person_id)
        .order_by(DataExport.created_at.desc(), DataExport.id)
        .limit(1)
    )
    return None if row is None else _view(row)


def _view(row: DataExport) -> ExportView:
    return ExportView(
        row.id, row.state, row.parts_done, row.parts, row.size, row.created_at, row.expires_at, row.file_id or ""
    )


async def _go_on(session: AsyncSession, export_id: str, attempt: str | None, **values: Any) -> bool:
    """Only while it is under way and this attempt's (None: nobody's yet). Its person may be erased meanwhile."""
    query = update(DataExport).where(
        DataExport.id == export_id,
        DataExport.state.in_(UNDER_WAY),
        DataExport.file_id.is_not_distinct_from(attempt),
    )
    changed = await session.execute(query.values(**values).execution_options(synchronize_session=False))
    return cast(CursorResult[Any], changed).rowcount == 1
