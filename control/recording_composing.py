"""Makes of each finished recording one film of everybody: a queue in the database, the work in the recorder's worker.

    ready ─▶ waiting ─▶ ready | failed        the practitioner may cancel, and ask again
                └─────▶ cancelled ─▶ waiting

`waiting` covers the one that is being made: after a crash or a restart it is found again, and the recorder goes on
after the last whole piece. One at a time; how far it is stands in memory only.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select, update

from control.accounts import Actor
from control.audit import record
from control.database import Database
from control.errors import Conflict
from control.models.recordings import Recording, RecordingFile
from control.recording_ports import Finished, RecorderPort
from control.recording_queries import own
from control.recording_rows import file_rows
from control.recording_rule import Composition, RecordingState

log = logging.getLogger(__name__)

TRY_AGAIN_S = 30.0
"""After the database could not be asked what is next."""

NOTHING_THERE = frozenset({"wrong_state", "unknown_recording"})
"""Recorder's codes for a recording without pictures or sound, and for one deleted meanwhile."""


class Composer:
    """One per application. `start` after the recorder is there; `close` before it goes."""

    def __init__(self, db: Database, recorder: RecorderPort, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._recorder = recorder
        self._clock = clock
        self._more = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._shares: dict[str, float] = {}

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._run())

    async def close(self) -> None:
        """What is being made goes on at the next start."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    def wake(self) -> None:
        """Something is waiting now."""
        self._more.set()

    def share_of(self, recording_id: str) -> float | None:
        """How far it is, 0 to 1; None while it is not its turn."""
        return self._shares.get(recording_id)

    async def ask(self, actor: Actor, recording_id: str) -> None:
        """The practitioner wants the film, again or for the first time. Raises NotFound, Conflict("not_ready")."""
        wants = (Composition.NONE, Composition.CANCELLED, Composition.FAILED)
        async with self._db.transaction() as session:
            row = await own(session, actor, recording_id)
            if row.state != RecordingState.READY:
                raise Conflict("not_ready", "This recording is not finished.", status_now=row.state)
            changed = await session.execute(
                update(Recording)
                .where(Recording.id == row.id, Recording.composition.in_(wants))
                .values(composition=Composition.WAITING)
            )
            if cast(CursorResult[Any], changed).rowcount == 1:
                record(session, actor, "recording.compose_asked", f"recording:{row.id}", {}, now=self._clock())
        self.wake()

    async def cancel(self, actor: Actor, recording_id: str) -> None:
        """Stop making it; what is made of it is kept for when it is asked for again. Nothing to cancel is no fault.

        Raises NotFound.
        """
        async with self._db.transaction() as session:
            row = await own(session, actor, recording_id)
            changed = await session.execute(
                update(Recording)
                .where(Recording.id == row.id, Recording.composition == Composition.WAITING)
                .values(composition=Composition.CANCELLED)
            )
            if cast(CursorResult[Any], changed).rowcount != 1:
                return
            record(session, actor, "recording.compose_cancelled", f"recording:{row.id}", {}, now=self._clock())
        await self._recorder.stop_composing(recording_id)

    # -- the queue -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._more.clear()
            try:
                recording_id = await self._next()
                if recording_id is None:
                    await self._more.wait()
                else:
                    await self._make(recording_id)
            except Exception:
                log.exception("composing failed")
                await asyncio.sleep(TRY_AGAIN_S)

    async def _next(self) -> str | None:
        waiting = select(Recording.id).where(
            Recording.composition == Composition.WAITING, Recording.state == RecordingState.READY
        )
        async with self._db.reading() as session:
            found: str | None = await session.scalar(waiting.order_by(Recording.finished_at, Recording.id).limit(1))
        return found

    async def _make(self, recording_id: str) -> None:
        self._shares[recording_id] = 0.0
        progress = partial(self._shares.__setitem__, recording_id)
        making = asyncio.create_task(self._recorder.compose(recording_id, progress))
        try:
            await asyncio.wait([making])
        finally:
            making.cancel()
            del self._shares[recording_id]
        if making.cancelled():
            return  # by `cancel`, by deleting it, or by a person's erasure: the row says what is next
        error = making.exception()
        if error is None:
            await self._note(recording_id, Composition.READY, making.result())
            return
        code = str(getattr(error, "code", "recorder_failed"))
        log.error("recording not composed recording=%s code=%s", recording_id[:8], code, exc_info=error)
        await self._note(recording_id, Composition.NONE if code in NOTHING_THERE else Composition.FAILED, None)

    async def _note(self, recording_id: str, composition: Composition, finished: Finished | None) -> None:
        async with self._db.transaction() as session:
            changed = await session.execute(
                update(Recording)
                .where(
                    Recording.id == recording_id,
                    Recording.composition == Composition.WAITING,
                    Recording.state == RecordingState.READY,
                )
                .values(composition=composition)
            )
            if cast(CursorResult[Any], changed).rowcount != 1:
                return
            if finished is not None:
                await session.execute(delete(RecordingFile).where(RecordingFile.recording_id == recording_id))
                session.add_all(file_rows(recording_id, finished))
            subject = f"recording:{recording_id}"
            record(session, None, "recording.composed", subject, {"state": composition}, now=self._clock())
