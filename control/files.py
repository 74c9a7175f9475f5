"""Files shared inside a session: begun, sent in chunks, looked at, told, fetched, withdrawn.

    begin ─▶ chunk 0, 1, 2 … ─▶ whole: type by content ─▶ ready, told to who may see it ─▶ withdrawn
                 │ cut off: `begin` under the same key says how far it got
                 └ a day old and not whole: taken away

Visible to everybody inside the session or to one of them, then and afterwards; a guest sees nothing from before they
were let in. A crash between a chunk on disk and its count costs that chunk's repeat.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import CursorResult, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import session_facts
from control.appointment_states import State
from control.audit import record
from control.database import Database, new_id, publish
from control.errors import Conflict, Invalid, NotFound
from control.file_store import FileStore
from control.file_types import WANTED, kind_untrusted
from control.language import t
from control.models.appointments import Appointment, Guest
from control.models.files import SharedFile
from control.models.people import Person
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.room_news import RoomNews
from control.room_people import locked_and_made_before, people_inside, require_inside
from control.sealing import Sealer

CHUNK_BYTES = 524_288
MOST_NAME = 200
MOST_FILES = 100  # of one session
MOST_OPEN = 10  # uploads one person has begun in one session and not finished
FORGOTTEN = timedelta(days=1)
MOST_AT_ONCE = 50

OPEN = (State.CONFIRMED, State.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Wanted:
    name: str
    size: int
    visible_to: str | None


@dataclass(frozen=True, slots=True)
class FileView:
    id: str
    appointment_id: str
    owner_id: str
    owner_name: str
    visible_to: str | None
    name: str
    size: int
    mime: str | None
    has_thumbnail: bool
    chunk_bytes: int
    received: int
    at: datetime
    is_ready: bool

    @property
    def chunks(self) -> int:
        return -(-self.size // self.chunk_bytes)

    def as_json(self) -> dict[str, Any]:
        at = self.at.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {
            "id": self.id,
            "name": self.name,
            "size": self.size,
            "type": self.mime,
            "owner": {"id": self.owner_id, "name": self.owner_name},
            "visible_to": self.visible_to,
            "thumbnail": self.has_thumbnail,
            "at": at,
            "ready": self.is_ready,
            "received": self.received,
            "chunk_bytes": self.chunk_bytes,
        }


class Files:
    """One per application; holds the key and no state."""

    def __init__(self, db: Database, folder: Path, master_key: bytes, *, most_bytes: int, chunk_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._db = db
        self._store = FileStore(folder, master_key)
        self._names = Sealer(master_key, "session file names")
        self._chunk_bytes = min(CHUNK_BYTES, chunk_bytes)

    async def begin(self, actor: Actor, appointment_id: str, wanted: Wanted, *, key: str, now: datetime) -> FileView:
        """Begin an upload, or find the one begun under this key and how far it got.

        Raises Conflict("not_open" | "too_many_files"), Invalid("file_too_large" | "not_inside" | "name_invalid").
        """
        name = _checked_name(wanted.name)
        if not 0 < wanted.size <= self.most_bytes:
            most = t("A file can have %(most)s MB at most, and is not empty.", most=self.most_bytes // 1_000_000)
            raise Invalid("file_too_large", most, pointer="/size")
        async with self._db.transaction() as session:
            inside = await require_inside(session, actor, appointment_id)
            by = SharedFile.owner_id
            known = await locked_and_made_before(session, SharedFile, by, actor, appointment_id, key)
            if known is not None:
                found = self._view(known, actor.name)
                if (found.name, found.size, found.visible_to) != (name, wanted.size, wanted.visible_to):
                    raise Invalid("idempotency_key_reused", "This key was used for another file.")
                return found
            if inside.row.state not in OPEN:
                raise Conflict("not_open", "Files can be shared while the session's room is open.")
            people = await people_inside(session, inside.row)
            if wanted.visible_to is not None and wanted.visible_to not in people:
                raise Invalid("not_inside", "This person is not in the session.", pointer="/visible_to")
            await _room_for_one_more(session, appointment_id, actor.person_id)
            file_id = new_id()
            row = SharedFile(
                id=file_id,
                appointment_id=appointment_id,
                owner_id=actor.person_id,
                visible_to=wanted.visible_to,
                key=key,
                sealed_name=self._names.seal(name, file_id),
                size=wanted.size,
                chunk_bytes=self._chunk_bytes,
                received=0,
                has_thumbnail=False,
                created_at=now,
            )
            session.add(row)
            await session.flush()
            return self._view(row, actor.name)

    async def add_chunk(self, actor: Actor, file_id: str, index: int, data: bytes, *, now: datetime) -> FileView:
        """Chunks come in order; one that is there already is passed over.

        Raises Conflict("chunk_out_of_order") with `received`, Invalid("chunk_size" | "type_not_taken").
        """
        async with self._db.reading() as session:
            row = await _own(session, actor, file_id)
            view = self._view(row, actor.name)
        if view.is_ready or index < view.received:
            return view
        if index > view.received:
            raise Conflict("chunk_out_of_order", "Chunks are sent in order.", received=view.received)
        left = view.size - index * view.chunk_bytes
        if len(data) != min(left, view.chunk_bytes):
            raise Invalid("chunk_size", "This chunk has the wrong length.", expected=min(left, view.chunk_bytes))
        await asyncio.to_thread(self._store.write_chunk, file_id, index, view.chunk_bytes, data)
        async with self._db.transaction() as session:
            await session.execute(
                update(SharedFile)
                .where(SharedFile.id == file_id, SharedFile.received == index, SharedFile.withdrawn_at.is_(None))
                .values(received=index + 1)
                .execution_options(synchronize_session=False)
            )
        if index + 1 == view.chunks:
            return await self._finish(actor, file_id, now)
        return await self.get(actor, file_id, unfinished=True)

    async def _finish(self, actor: Actor, file_id: str, now: datetime) -> FileView:
        """It is whole: what is it? A type we don't take is taken away again."""
        view = await self.get(actor, file_id, unfinished=True)
        data = await asyncio.to_thread(self._store.read_all, file_id, view.chunks, view.chunk_bytes)
        kind = await asyncio.to_thread(kind_untrusted, data)
        if kind is None or not kind.fits(view.name):
            await self._take_away(file_id, now)
            why = t("Its content is not what its name says.") if kind else t("We take %(wanted)s.", wanted=t(WANTED))
            raise Invalid("type_not_taken", t("This file can't be shared. %(why)s", why=why))
        if kind.thumbnail is not None:
            await asyncio.to_thread(self._store.write_thumbnail, file_id, kind.thumbnail)
        async with self._db.transaction() as session:
            inside = await require_inside(session, actor, view.appointment_id)
            done = await session.execute(
                update(SharedFile)
                .where(SharedFile.id == file_id, SharedFile.ready_at.is_(None), SharedFile.withdrawn_at.is_(None))
                .values(ready_at=now, mime=kind.mime, has_thumbnail=kind.thumbnail is not None)
                .execution_options(synchronize_session=False)
            )
            row = await _own(session, actor, file_id)
            view = self._view(row, actor.name)
            if cast(CursorResult[Any], done).rowcount == 1:
                await self._tell(session, inside.row, view, now)
        return view

    async def _tell(self, session: AsyncSession, row: Appointment, view: FileView, now: datetime) -> None:
        people = await people_inside(session, row)
        to = tuple(people) if view.visible_to is None else tuple({view.owner_id, view.visible_to})
        publish(session, RoomNews(row.id, "file", view.as_json(), to))
        about = await session_facts(session, row)
        facts = {"from_name": view.owner_name, "path": "/files"}
        for person_id in to:
            if person_id != view.owner_id:
                await enqueue(session, Notice(NoticeKind.FILE_SHARED, person_id, about, extra=facts), now=now)

    async def withdraw(self, actor: Actor, file_id: str, *, now: datetime) -> None:
        """The owner takes it back: the content is gone from disk. Withdrawn already: nothing changes."""
        async with self._db.reading() as session:
            row = await _own(session, actor, file_id, gone_too=True)
            appointment = await session.get(Appointment, row.appointment_id)
            people = await people_inside(session, cast(Appointment, appointment))
        await self._take_away(file_id, now)
        async with self._db.transaction() as session:
            record(session, actor, "file.withdraw", f"appointment:{row.appointment_id}", {"file": file_id}, now=now)
            publish(session, RoomNews(row.appointment_id, "file_gone", {"id": file_id}, tuple(people)))

    async def _take_away(self, file_id: str, now: datetime) -> None:
        """Marked first: what a crash leaves on disk nobody is given, and the next round deletes it."""
        async with self._db.transaction() as session:
            await session.execute(
                update(SharedFile)
                .where(SharedFile.id == file_id, SharedFile.withdrawn_at.is_(None))
                .values(withdrawn_at=now, key=file_id, sealed_name=b"", has_thumbnail=False)
                .execution_options(synchronize_session=False)
            )
        await asyncio.to_thread(self._store.delete, file_id)

    async def forget_unfinished(self, now: datetime) -> int:
        """The scheduler's errand: uploads nobody went on with."""
        async with self._db.reading() as session:
            stale = await session.scalars(
                select(SharedFile.id)
                .where(SharedFile.ready_at.is_(None), SharedFile.withdrawn_at.is_(None))
                .where(SharedFile.created_at <= now - FORGOTTEN)
                .limit(MOST_AT_ONCE)
            )
            ids = stale.all()
        for file_id in ids:
            await self._take_away(file_id, now)
        return len(ids)

    async def forget_person(self, person_id: str, now: datetime) -> None:
        """Every file of somebody who is erased; one whose content a crash left on disk, too."""
        async with self._db.reading() as session:
            ids = (await session.scalars(select(SharedFile.id).where(SharedFile.owner_id == person_id))).all()
        for file_id in ids:
            await self._take_away(file_id, now)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def of_session(self, actor: Actor, appointment_id: str) -> tuple[FileView, ...]:
        """What this person may see of the session's files, oldest first."""
        async with self._db.reading() as session:
            inside = await require_inside(session, actor, appointment_id)
            return await self._seen(session, actor, (appointment_id,), {appointment_id: inside.since})

    async def of_person(self, actor: Actor) -> tuple[FileView, ...]:
        """Of all their sessions, newest first: the account's files."""
        async with self._db.reading() as session:
            mine = or_(Appointment.client_id == actor.person_id, Appointment.practitioner_id == actor.person_id)
            own = (await session.scalars(select(Appointment.id).where(mine))).all()
            guest = await session.execute(
                select(Guest.appointment_id, Guest.admitted_at).where(
                    Guest.person_id == actor.person_id, Guest.removed_at.is_(None), Guest.admitted_at.is_not(None)
                )
            )
            since = {**dict.fromkeys(own), **{row.appointment_id: row.admitted_at for row in guest}}
            return (await self._seen(session, actor, tuple(since), since))[::-1]

    async def _seen(
        self, session: AsyncSession, actor: Actor, ids: Sequence[str], since: dict[str, datetime | None]
    ) -> tuple[FileView, ...]:
        found = await session.execute(
            select(SharedFile, Person.name)
            .join(Person, Person.id == SharedFile.owner_id)
            .where(SharedFile.appointment_id.in_(ids), SharedFile.ready_at.is_not(None))
            .where(SharedFile.withdrawn_at.is_(None))
            .order_by(SharedFile.ready_at, SharedFile.id)
        )
        return tuple(self._view(row, name) for row, name in found if _may_see(actor, row, since[row.appointment_id]))

    async def get(self, actor: Actor, file_id: str, *, unfinished: bool = False) -> FileView:
        """NotFound for everybody who may not see it; an upload under way is its owner's alone."""
        async with self._db.reading() as session:
            row = await session.get(SharedFile, file_id, populate_existing=True)
            if row is None or row.withdrawn_at is not None:
                raise NotFound
            inside = await require_inside(session, actor, row.appointment_id)
            if not _may_see(actor, row, inside.since) or (row.ready_at is None and not unfinished):
                raise NotFound
            name = await session.scalar(select(Person.name).where(Person.id == row.owner_id))
            return self._view(row, name or "")

    async def read_chunk(self, view: FileView, index: int) -> bytes:
        return await asyncio.to_thread(self._store.read_chunk, view.id, index, view.chunk_bytes)

    async def thumbnail(self, actor: Actor, file_id: str) -> bytes:
        view = await self.get(actor, file_id)
        if not view.has_thumbnail:
            raise NotFound
        return await asyncio.to_thread(self._store.read_thumbnail, file_id)

    def _view(self, row: SharedFile, owner_name: str) -> FileView:
        name = self._names.unseal(row.sealed_name, row.id) if row.sealed_name else ""
        return FileView(
            id=row.id,
            appointment_id=row.appointment_id,
            owner_id=row.owner_id,
            owner_name=owner_name,
            visible_to=row.visible_to,
            name=name,
            size=row.size,
            mime=row.mime,
            has_thumbnail=row.has_thumbnail,
            chunk_bytes=row.chunk_bytes,
            received=row.received,
            at=row.ready_at or row.created_at,
            is_ready=row.ready_at is not None,
        )


def _checked_name(untrusted: str) -> str:
    """The last part of a path, without what a file system or a header would trip over."""
    name = untrusted.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not name or name.startswith(".") or len(name) > MOST_NAME or not name.isprintable():
        raise Invalid(
            "name_invalid",
            t("A file's name has 1 to %(most_name)s visible characters.", most_name=MOST_NAME),
            pointer="/name",
        )
    return name


def _may_see(actor: Actor, row: SharedFile, since: datetime | None) -> bool:
    if row.owner_id == actor.person_id:
        return True
    if row.ready_at is None or (since is not None and row.ready_at < since):
        return False
    return row.visible_to in (None, actor.person_id)


async def _own(session: AsyncSession, actor: Actor, file_id: str, *, gone_too: bool = False) -> SharedFile:
    row = await session.get(SharedFile, file_id, populate_existing=True)
    if row is None or row.owner_id != actor.person_id or (row.withdrawn_at is not None and not gone_too):
        raise NotFound
    await require_inside(session, actor, row.appointment_id)
    return row


async def _room_for_one_more(session: AsyncSession, appointment_id: str, person_id: str) -> None:
    here = (
        select(func.count())
        .select_from(SharedFile)
        .where(SharedFile.appointment_id == appointment_id, SharedFile.withdrawn_at.is_(None))
    )
    begun = here.where(SharedFile.owner_id == person_id, SharedFile.ready_at.is_(None))
    if (await session.scalar(here) or 0) >= MOST_FILES or (await session.scalar(begun) or 0) >= MOST_OPEN:
        raise Conflict("too_many_files", "There are too many files here already. Withdraw one first.")
