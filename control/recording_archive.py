"""What becomes of finished recordings: seen, downloaded, shared with the client, held, erased, deleted in time.

    ready ─▶ told of deletion [7 days] before ─▶ deleted [90 days] after it was finished, by key and then by file
      └────▶ shared, unshared; held (nothing of it is deleted); one person's part erased on their wish

Only the practitioner of the session sees a recording, and its client while it is shared; each look is audited, and
the people recorded read that log (recording_access.py). Files go before rows say so: a crash in between leaves a row
that can be deleted again, never files that no row names.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import load, party_in, session_facts
from control.audit import record
from control.consents import Answer, Purpose, answer_of, standing_in
from control.database import Database
from control.errors import Conflict, Forbidden, NotFound
from control.lifecycle import Party
from control.models.appointments import Appointment, Guest
from control.models.people import Role
from control.models.recordings import Recording, RecordingErasure, RecordingFile
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.recording_ports import RangedFile, RecorderPort
from control.recording_queries import THUMBNAIL, own, seen_by
from control.recording_rows import file_rows
from control.recording_rule import Composition, RecordingState
from media.types import ParticipantId

log = logging.getLogger(__name__)

VIEW_NOTED_FOR = timedelta(minutes=10)
"""A player asks for many ranges: one viewing of a file is one audit entry for this long."""

PREVIEW_NOTED_FOR = timedelta(hours=24)
"""The small pictures of a list are asked for with each visit."""

PURGE_EVERY_S = 3600

KEPT = (RecordingState.READY, RecordingState.FAILED)


@dataclass(frozen=True)
class Opened:
    file: RangedFile
    mime: str
    name: str
    """For saving it."""


class Archive:
    """One per application; `start` deletes what is due now and then."""

    def __init__(
        self,
        db: Database,
        recorder: RecorderPort,
        clock: Callable[[], datetime],
        *,
        notice: timedelta,
        on_composable: Callable[[], None] = lambda: None,
    ) -> None:
        self._db = db
        self._recorder = recorder
        self._clock = clock
        self._notice = notice
        self._on_composable = on_composable
        self._noted: dict[tuple[str, str, str, str], datetime] = {}
        """(person, recording, file, action) → until when another look counts as the same."""
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._purge_now_and_then())

    async def close(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    # -- looking -------------------------------------------------------------------------------------------------

    async def open_file(self, actor: Actor, recording_id: str, file_id: str, *, download: bool = False) -> Opened:
        """For the practitioner, and the client it is shared with; audited before a byte is read. Raises NotFound."""
        async with self._db.reading() as session:
            row = await seen_by(session, actor, recording_id)
            file = await session.scalar(
                select(RecordingFile).where(RecordingFile.recording_id == row.id, RecordingFile.file_id == file_id)
            )
            if file is None:
                raise NotFound
        if download:
            await self._note_look(actor, row.id, file_id, "downloaded", VIEW_NOTED_FOR)
        elif file.view == THUMBNAIL:
            await self._note_look(actor, row.id, file_id, "previewed", PREVIEW_NOTED_FOR)
        else:
            await self._note_look(actor, row.id, file_id, "viewed", VIEW_NOTED_FOR)
        opened = await self._recorder.open_file(row.id, file_id)
        ending = file.mime.rpartition("/")[2].replace("jpeg", "jpg")
        return Opened(opened, file.mime, f"session-{row.started_at:%Y-%m-%d-%H%M}-{file_id}.{ending}")

    async def _note_look(self, actor: Actor, recording_id: str, file_id: str, what: str, lasts: timedelta) -> None:
        now, look = self._clock(), (actor.person_id, recording_id, file_id, what)
        if look in self._noted and now <= self._noted[look]:
            return
        async with self._db.transaction() as session:
            record(session, actor, f"recording.{what}", f"recording:{recording_id}", {"file": file_id}, now=now)
        self._noted = {key: until for key, until in self._noted.items() if now <= until}
        self._noted[look] = now + lasts

    # -- sharing and holding -------------------------------------------------------------------------------------

    async def share(self, actor: Actor, recording_id: str, *, shared: bool) -> None:
        """Let the session's client see it, or no longer. Raises NotFound, Conflict("not_ready")."""
        now = self._clock()
        async with self._db.transaction() as session:
            row = await own(session, actor, recording_id)
            if row.state != RecordingState.READY:
                raise Conflict("not_ready", "This recording is not finished.", status_now=row.state)
            other = Recording.shared_at.is_(None) if shared else Recording.shared_at.is_not(None)
            values = {"shared_at": now if shared else None}
            if not await _changed(session, row.id, other, **values):
                return
            about = await session.get_one(Appointment, row.appointment_id)
            detail = {"with": about.client_id}
            record(session, actor, f"recording.{'shared' if shared else 'unshared'}", _subject(row), detail, now=now)
            if shared:
                extra = {"path": f"/recordings/{row.id}"}
                facts = await session_facts(session, about)
                await enqueue(session, Notice(NoticeKind.RECORDING_READY, about.client_id, facts, extra), now=now)

    async def hold(self, actor: Actor, recording_id: str, reason: str | None) -> None:
        """Legal hold: with a reason nothing of it is deleted, by nobody and at no time; None ends that.

        By its practitioner or an admin, who need not be able to see it. Raises NotFound.
        """
        now = self._clock()
        async with self._db.transaction() as session:
            if actor.is_any(Role.ADMIN):
                row = await session.get(Recording, recording_id)
                if row is None or row.state == RecordingState.DELETED:
                    raise NotFound
            else:
                row = await own(session, actor, recording_id)
            held = Recording.held_at.is_(None) if reason is not None else Recording.held_at.is_not(None)
            values = {"held_at": None if reason is None else now, "hold_reason": reason}
            if await _changed(session, row.id, held, **values):
                done = "released" if reason is None else "held"
                record(session, actor, f"recording.{done}", _subject(row), {}, now=now)

    # -- deleting ------------------------------------------------------------------------------------------------

    async def delete(self, actor: Actor, recording_id: str) -> None:
        """Erase its keys and files for good.

        Raises NotFound, Conflict("still_running" | "still_finishing" | "legal_hold").
        """
        async with self._db.reading() as session:
            row = await own(session, actor, recording_id)
            if row.state not in KEPT:
                raise Conflict("still_running", "This recording is not finished yet.", status_now=row.state)
            _check_not_held(row)
        with _told_apart():
            await self._recorder.delete(recording_id)
        await self._note_deleted(actor, recording_id, {})

    async def forget_me(self, actor: Actor, appointment_id: str) -> int:
        """Erase what was recorded of the actor in this session; in how many recordings. For clients and guests.

        What is still being recorded or finished is noted and done then. Raises NotFound, Forbidden("not_client"),
        Conflict("still_agreed" | "legal_hold" | "still_finishing").
        """
        now = self._clock()
        async with self._db.transaction() as session:
            about = await load(session, appointment_id)
            if await party_in(session, actor, about) not in (Party.CLIENT, Party.GUEST):
                raise Forbidden("not_client", "Only who was recorded can ask for this.")
            mine = answer_of(await standing_in(session, about), actor.person_id, Purpose.RECORDING)
            if mine is not None and mine.answer is Answer.YES:
                raise Conflict("still_agreed", "Take back your consent to the recording first.")
            kept = Recording.state != RecordingState.DELETED
            rows = list(
                await session.scalars(select(Recording).where(Recording.appointment_id == appointment_id, kept))
            )
            for row in rows:
                _check_not_held(row)
                if await session.get(RecordingErasure, (row.id, actor.person_id)) is None:
                    session.add(RecordingErasure(recording_id=row.id, person_id=actor.person_id, asked_at=now))
                    record(session, actor, "recording.erasure_asked", _subject(row), {}, now=now)
        for row in rows:
            if row.state in KEPT:
                await self.carry_out_erasures(row.id)
        return len(rows)

    async def forget_person(self, person_id: str) -> bool:
        """Take somebody who is erased out of every recording; False while a hold or an unfinished one is left."""
        guest = select(Guest.appointment_id).where(Guest.person_id == person_id)
        theirs = or_(Appointment.client_id == person_id, Appointment.id.in_(guest))
        recorded = select(RecordingFile.recording_id).where(RecordingFile.participant_id == person_id)
        query = (
            select(Recording)
            .join(Appointment, Appointment.id == Recording.appointment_id)
            .where(theirs, Recording.state != RecordingState.DELETED)
            .where(or_(Recording.id.in_(recorded), Recording.state.not_in(KEPT)))
        )
        async with self._db.reading() as session:
            rows = (await session.scalars(query)).all()
        done = True
        for row in rows:
            if row.held_at is not None or row.state not in KEPT:
                done = False
                continue
            async with self._db.transaction() as session:
                if await session.get(RecordingErasure, (row.id, person_id)) is None:
                    asked = RecordingErasure(recording_id=row.id, person_id=person_id, asked_at=self._clock())
                    session.add(asked)
            await self.carry_out_erasures(row.id)
        return done

    async def carry_out_erasures(self, recording_id: str) -> None:
        """Take everybody out who asked for it; idempotent. What then holds nobody any more is deleted whole."""
        open_ones = select(RecordingErasure.person_id).where(
            RecordingErasure.recording_id == recording_id, RecordingErasure.done_at.is_(None)
        )
        async with self._db.reading() as session:
            people = list(await session.scalars(open_ones))
        for person_id in people:
            with _told_apart():
                left = await self._recorder.forget(recording_id, ParticipantId(person_id))
            now = self._clock()
            async with self._db.transaction() as session:
                await session.execute(
                    update(RecordingErasure)
                    .where(RecordingErasure.recording_id == recording_id, RecordingErasure.person_id == person_id)
                    .values(done_at=now)
                )
                await session.execute(delete(RecordingFile).where(RecordingFile.recording_id == recording_id))
                session.add_all(file_rows(recording_id, left))
                chapters = [{"at_ms": mark.at_ms, "title": mark.title} for mark in left.chapters]
                composition = Composition.WAITING if left.files else Composition.NONE
                await _changed(session, recording_id, chapters=chapters, composition=composition)
                detail = {"person": person_id}
                record(session, None, "recording.person_erased", f"recording:{recording_id}", detail, now=now)
            if not left.files:
                await self._recorder.delete(recording_id)
                await self._note_deleted(None, recording_id, {"why": "nobody_left"})
        if people:
            self._on_composable()

    # -- retention -----------------------------------------------------------------------------------------------

    async def due_to_warn(self) -> list[str]:
        soon = Recording.delete_after <= self._clock() + self._notice
        return await self._due(soon, Recording.warned_at.is_(None))

    async def due_to_delete(self) -> list[str]:
        return await self._due(Recording.delete_after <= self._clock(), Recording.warned_at.is_not(None))

    async def _due(self, *where: Any) -> list[str]:
        due = select(Recording.id).where(*where, Recording.held_at.is_(None), Recording.state.in_(KEPT))
        async with self._db.reading() as session:
            return list(await session.scalars(due))

    async def warn(self) -> int:
        """Tell practitioners of what will be deleted soon; how many. Whoever is told late gets the whole time."""
        now = self._clock()
        recording_ids = await self.due_to_warn()
        for recording_id in recording_ids:
            async with self._db.transaction() as session:
                if not await _changed(session, recording_id, Recording.warned_at.is_(None), warned_at=now):
                    continue
                row = await session.get_one(Recording, recording_id, populate_existing=True)
                row.delete_after = max(cast(datetime, row.delete_after), now + self._notice)
                about = await session_facts(session, await session.get_one(Appointment, row.appointment_id))
                extra = {"days": round(self._notice / timedelta(days=1)), "path": f"/therapist/recordings/{row.id}"}
                told = Notice(NoticeKind.RECORDING_DELETED_SOON, row.practitioner_id, about, extra)
                await enqueue(session, told, now=now)
        return len(recording_ids)

    async def purge(self) -> int:
        """Delete what is past its retention; answers how many. Idempotent; one that fails waits for the next time."""
        deleted = 0
        for recording_id in await self.due_to_delete():
            try:
                await self._recorder.delete(recording_id)
                await self._note_deleted(None, recording_id, {"why": "retention"})
                deleted += 1
            except Exception:
                log.exception("recording not deleted recording=%s", recording_id[:8])
        return deleted

    async def _note_deleted(self, actor: Actor | None, recording_id: str, detail: dict[str, str]) -> None:
        now = self._clock()
        async with self._db.transaction() as session:
            values = {"state": RecordingState.DELETED, "deleted_at": now, "shared_at": None}
            if await _changed(session, recording_id, Recording.state.in_(KEPT), **values):
                record(session, actor, "recording.deleted", f"recording:{recording_id}", detail, now=now)

    async def _purge_now_and_then(self) -> None:
        while True:
            try:
                await self.warn()
                await self.purge()
            except Exception:
                log.exception("recordings not purged")
            await asyncio.sleep(PURGE_EVERY_S)


def _subject(row: Recording) -> str:
    return f"recording:{row.id}"


def _check_not_held(row: Recording) -> None:
    if row.held_at is not None:
        raise Conflict("legal_hold", "This recording is under a legal hold: nothing of it can be deleted now.")


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """The recorder's one refusal that goes by itself, in control's words."""
    try:
        yield
    except Exception as error:
        if getattr(error, "code", None) == "still_finishing":
            raise Conflict("still_finishing", "Its files are being made just now. Try again later.") from error
        raise


async def _changed(session: AsyncSession, recording_id: str, *where: Any, **values: Any) -> bool:
    """A conditional update of one row: False if somebody was faster."""
    changed = await session.execute(update(Recording).where(Recording.id == recording_id, *where).values(**values))
    return cast(CursorResult[Any], changed).rowcount == 1
