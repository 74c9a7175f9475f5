"""Recordings: pressing Record, keeping what runs in step with the rule, finishing.

    press, consent, coming and going ─▶ reconcile_recording ─▶ recorder: start, exclude, pause, include, resume, stop
                                                          └─▶ finishing task ─▶ files of the recording

The rule is recording_rule.py. Rows are written here only, by conditional updates; the recorder owns the media on
disk. What runs is in this process's memory: after a crash `start` ends open recordings, finishes what was stored, and
lets one go on whose session is still in progress.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast
from weakref import WeakValueDictionary

from sqlalchemy import CursorResult, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control import consents
from control.accounts import Actor
from control.appointment_moves import load, session_facts
from control.appointment_states import ENDED, State
from control.audit import record
from control.consents import Answer, Purpose, answer_of, standing_in
from control.database import Database
from control.errors import Unavailable
from control.models.appointments import Appointment
from control.models.recordings import Recording
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.recording_ports import Finished, RecorderPort, Sessions
from control.recording_rows import OPEN, check_press, file_rows, names_of, new_recording, open_recording, store_press
from control.recording_rule import (
    ALONE_FOR,
    OFF,
    Cause,
    Composition,
    Pressed,
    RecordingState,
    Room,
    Shown,
    Wanted,
    shown_for,
    wanted,
)
from control.session_events import ConsentChanged, SessionChanged
from media.types import ParticipantId, RoomId
from signaling.events import Admitted, Entered, HubEvent, Left, SentBack
from signaling.permissions import Place

log = logging.getLogger(__name__)

RULE_READ_WITHIN_S = 5.0
"""A rule that takes longer counts as unreadable: meanwhile somebody without a yes may be in the room."""

TRY_AGAIN_FIRST_S = 1.0
TRY_AGAIN_MOST_S = 30.0
"""After a rule that could not be read: the first pause, doubled each time up to the second."""

FINISH_AGAIN_S = 3600.0
"""What could not be finished is tried again so often: a disk that was full may have room by then."""

CONTINUED = "continued after a restart"

DAMAGED = "cut_by_damage"
"""Failure of a recording whose journal was changed on disk: what stands before that is kept."""


class Recordings:
    """One per application. `start` after the hub and the recorder are there; `close` before they go."""

    def __init__(
        self,
        db: Database,
        recorder: RecorderPort,
        sessions: Sessions,
        clock: Callable[[], datetime],
        *,
        keep: timedelta,
        on_finished: Callable[[str], Awaitable[None]],
    ) -> None:
        """`on_finished` is told each recording whose files there are now: what is left to do with them."""
        self._db = db
        self._recorder = recorder
        self._sessions = sessions
        self._clock = clock
        self._keep = keep
        self._on_finished = on_finished
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._included: dict[str, dict[str, str]] = {}
        """Recording → person → consent, as the recorder was told."""
        self._open: dict[str, str] = {}
        """Appointment → its recording, while the recorder has one."""
        self._paused: set[str] = set()
        """Recordings that the recorder was told to pause, whatever their rows say."""
        self._again: dict[str, asyncio.TimerHandle] = {}
        self._tries: dict[str, int] = {}
        """Appointment → how often in a row its rule could not be read or noted."""
        self._refusing: dict[str, set[str]] = {}
        """Appointment → whose newest answer is no: known before the rule is next asked, and stronger than it."""
        self._shown: dict[str, Shown] = {}
        self._broken: dict[str, Shown] = {}
        """Appointment → why its recording ended by itself."""
        self._alone: dict[str, tuple[datetime, asyncio.TimerHandle]] = {}
        """Appointment → since when there is but one person in its room, and when to look again."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._recovering: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Left-over rows are closed before anybody can come in; their files are made in the background."""
        unfinished = await self._close_left_over()
        self._sessions.add_listener(self._on_hub)
        self._recorder.add_failure_listener(self._on_failure)
        self._db.subscribe(self._on_events)
        self._spawn(self._recover(unfinished))
        self._recovering = asyncio.create_task(self._recover_now_and_then())

    async def close(self) -> None:
        """Finishing tasks are cut off; the next `start` repeats them."""
        if self._recovering is not None:
            self._recovering.cancel()
        for timer in (*self._again.values(), *(look for _, look in self._alone.values())):
            timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def state_of(self, appointment_id: str) -> Shown:
        """For the snapshot."""
        return self._shown.get(appointment_id, OFF)

    def appointments(self) -> tuple[str, ...]:
        """Those the recorder has a recording of."""
        return tuple(self._open)

    # -- pressing ------------------------------------------------------------------------------------------------

    async def press(self, actor: Actor, appointment_id: str, pressed: Pressed) -> Shown:
        """The practitioner's button; pressing twice is pressing once. Answers what then holds, as `state_of` does.

        Pressing Record is also the practitioner's own yes, kept like every answer to the newest text. Raises
        Forbidden for others, Conflict("not_in_progress" | "recording_not_offered" | "not_recording").
        """
        now = self._clock()
        async with self._db.reading() as session:
            row = await load(session, appointment_id)
            check_press(actor, row, pressed)
            mine = answer_of(await standing_in(session, row), actor.person_id, Purpose.RECORDING)
        if pressed is Pressed.ON and (mine is None or mine.answer is not Answer.YES):
            text = await consents.current_text(self._db, Purpose.RECORDING, actor.person_id)
            await consents.answer(self._db, actor, appointment_id, Purpose.RECORDING, Answer.YES, text.id, now=now)
        self._broken.pop(appointment_id, None)
        try:
            async with self._db.transaction() as session:
                await store_press(session, actor, appointment_id, pressed, now)
        except IntegrityError:
            # Pressed twice at once: the other one's recording is open now, and this press is about that one.
            async with self._db.transaction() as session:
                await store_press(session, actor, appointment_id, pressed, now)
        await self.reconcile_recording(appointment_id)
        return await self.state_of(appointment_id)

    # -- the rule at work ----------------------------------------------------------------------------------------

    async def reconcile_recording(self, appointment_id: str) -> None:
        """Make the recorder do what the rule wants now. Safe to call at any time, any number of times.

        Raises what kept the rule from being read or noted, after pausing (Unavailable where it took too long); it is
        then tried again by itself.
        """
        failure: Exception | None = None
        async with self._turn_of(appointment_id):
            before = after = self._shown.get(appointment_id, OFF)
            try:
                after = await self._reconciled(appointment_id)
                self._forget_tries(appointment_id)
            except Exception as error:
                failure = error
                if await self._fail_closed(appointment_id) or before.state != "off":
                    after = shown_for(RecordingState.PAUSED, Cause.UNSURE)
                self._try_again(appointment_id)
            self._shown[appointment_id] = after
            if after == OFF:
                self._shown.pop(appointment_id)
        try:
            if before != after:
                await self._sessions.session_changed(appointment_id)
        finally:
            if failure is not None:
                raise failure

    async def _fail_closed(self, appointment_id: str) -> bool:
        """Nothing more is taken until the rule is known again; whether anything was running."""
        recording_id = self._open.get(appointment_id)
        if recording_id is None or not self._recorder.is_live(recording_id):
            return False
        try:
            await self._pause(recording_id)
        except Exception:
            log.exception("recording not paused, so stopped recording=%s", recording_id[:8])
            self._spawn(self._recorder.stop(recording_id))
        return True

    def _try_again(self, appointment_id: str) -> None:
        tries = self._tries.get(appointment_id, 0)
        self._forget_tries(appointment_id)
        self._tries[appointment_id] = tries + 1
        delay_s = min(TRY_AGAIN_MOST_S, TRY_AGAIN_FIRST_S * 2.0 ** min(tries, 16))
        self._again[appointment_id] = asyncio.get_running_loop().call_later(
            delay_s, lambda: self._spawn(self._react(appointment_id))
        )

    def _forget_tries(self, appointment_id: str) -> None:
        self._tries.pop(appointment_id, None)
        if (timer := self._again.pop(appointment_id, None)) is not None:
            timer.cancel()

    def _turn_of(self, appointment_id: str) -> asyncio.Lock:
        turn = self._turns.get(appointment_id)
        if turn is None:
            turn = self._turns[appointment_id] = asyncio.Lock()
        return turn

    async def _reconciled(self, appointment_id: str) -> Shown:
        try:
            async with asyncio.timeout(RULE_READ_WITHIN_S), self._db.reading() as session:
                row = await session.get(Appointment, appointment_id)
                recording = await open_recording(session, appointment_id)
                if row is None or recording is None:
                    return self._broken.get(appointment_id, OFF)
                room = await self._room(session, row)
                names = await names_of(session, room.admitted)
        except TimeoutError:
            tries = self._tries.get(appointment_id, 0)
            log.warning(
                "recording rule not read appointment=%s within_s=%g tries=%d",
                appointment_id[:8],
                RULE_READ_WITHIN_S,
                tries + 1,
            )
            raise Unavailable("database_busy", "Please try again in a moment.", retry_after_s=2) from None
        decision = wanted(Pressed(recording.pressed), room, in_progress=row.state == State.IN_PROGRESS)
        try:
            shown = await self._carry_out(recording, decision, room.standing, names)
        except Exception as error:
            log.exception("recording failed recording=%s", recording.id[:8])
            return await self._break(recording, str(getattr(error, "code", "recorder_failed")))
        if decision.state is RecordingState.FINISHING:
            await self._end(recording, None)
        else:
            await self._note_state(recording, decision)
        return shown

    async def _room(self, session: AsyncSession, row: Appointment) -> Room:
        answers = [one for one in await standing_in(session, row) if one.purpose is Purpose.RECORDING]
        present = self._sessions.present(row.id)
        admitted = frozenset(one.person_id for one in present if one.place is Place.admitted)
        return Room(
            admitted,
            standing={one.person_id: one.consent_id for one in answers if one.answer is Answer.YES},
            refused=frozenset(one.person_id for one in answers if one.answer is not Answer.YES),
            alone_for=self._alone_for(row.id, len(admitted)),
        )

    def _alone_for(self, appointment_id: str, count: int) -> timedelta:
        """How long nobody else has been there; looks again by itself when that has been too long."""
        if count != 1:
            self._forget_alone(appointment_id)
            return timedelta(0)
        now = self._clock()
        if appointment_id not in self._alone:
            look = asyncio.get_running_loop().call_later(
                ALONE_FOR.total_seconds(), lambda: self._spawn(self._react(appointment_id))
            )
            self._alone[appointment_id] = now, look
        return now - self._alone[appointment_id][0]

    def _forget_alone(self, appointment_id: str) -> None:
        if (alone := self._alone.pop(appointment_id, None)) is not None:
            alone[1].cancel()

    async def _break(self, recording: Recording, code: str) -> Shown:
        """It ends here, and the room is told why until Record is pressed again or the session is over."""
        broken = shown_for("off", Cause.DISK_FULL if code == Cause.DISK_FULL else Cause.FAILED)
        self._broken[recording.appointment_id] = broken
        await self._end(recording, code)
        return broken

    async def _carry_out(
        self, recording: Recording, decision: Wanted, standing: Mapping[str, str], names: Mapping[str, str]
    ) -> Shown:
        """Whatever protects somebody comes first: exclude, pause; only then include, resume."""
        if decision.state is RecordingState.FINISHING:
            return OFF
        told = self._included.setdefault(recording.id, {})
        live = self._recorder.is_live(recording.id)
        for person, consent in list(told.items()):
            if standing.get(person) != consent:
                del told[person]
                if live:
                    await self._recorder.exclude(recording.id, ParticipantId(person))
        if decision.state is RecordingState.PAUSED:
            if live:
                await self._pause(recording.id)
        else:
            await self._run(recording, decision, names, told, live=live)
        return shown_for(decision.state, decision.cause)

    async def _pause(self, recording_id: str) -> None:
        if recording_id not in self._paused:
            await self._recorder.pause(recording_id)
            self._paused.add(recording_id)

    async def _run(
        self,
        recording: Recording,
        decision: Wanted,
        names: Mapping[str, str],
        told: dict[str, str],
        *,
        live: bool,
    ) -> None:
        if not live:
            await self._recorder.start(recording.id, RoomId(f"session_{recording.appointment_id}"))
            self._open[recording.appointment_id] = recording.id
        for person, consent in decision.include.items():
            if person in self._refusing.get(recording.appointment_id, ()):
                continue  # the decision is older than their no, which brings the next one
            # Said again each time: after everybody left, the room and its grants were gone.
            await self._recorder.include(recording.id, ParticipantId(person), names.get(person, ""), consent)
            told[person] = consent
        if recording.id in self._paused:
            await self._recorder.resume(recording.id)
            self._paused.discard(recording.id)

    async def _note_state(self, recording: Recording, decision: Wanted) -> None:
        if recording.state == decision.state:
            return
        async with self._db.transaction() as session:
            changed = await session.execute(
                update(Recording)
                .where(Recording.id == recording.id, Recording.state.in_(OPEN))
                .values(state=decision.state)
            )
            if cast(CursorResult[Any], changed).rowcount == 1:
                action = "resumed" if decision.state is RecordingState.RECORDING else "paused"
                detail = {"missing": sorted(decision.missing), "consents": dict(decision.include)}
                subject = f"recording:{recording.id}"
                record(session, None, f"recording.{action}", subject, detail, now=self._clock())

    # -- the end -------------------------------------------------------------------------------------------------

    async def _end(self, recording: Recording, failure: str | None) -> None:
        """Stop taking media at once, whatever becomes of the row; the files are made by a task."""
        self._spawn(self._recorder.stop(recording.id))
        self._included.pop(recording.id, None)
        self._open.pop(recording.appointment_id, None)
        self._forget_alone(recording.appointment_id)
        self._paused.discard(recording.id)
        now = self._clock()
        async with self._db.transaction() as session:
            values = {"state": RecordingState.FINISHING, "stopped_at": now, "failure": failure}
            changed = await session.execute(
                update(Recording).where(Recording.id == recording.id, Recording.state.in_(OPEN)).values(values)
            )
            if cast(CursorResult[Any], changed).rowcount == 1:
                subject = f"recording:{recording.id}"
                record(session, None, "recording.stopped", subject, {"failure": failure}, now=now)
        self._spawn(self._finish(recording.id))

    async def _finish(self, recording_id: str) -> None:
        """Files, then rows. Repeated after a crash it does what is missing."""
        finished: Finished | None = None
        failure: str | None = None
        try:
            await self._recorder.stop(recording_id)
            finished = await self._recorder.finish(recording_id)
        except Exception as error:
            failure = str(getattr(error, "code", "recorder_failed"))
            if failure != "unknown_recording":
                log.exception("recording not finished recording=%s", recording_id[:8])
        # Unknown to the recorder: everybody's yes never came together, so nothing was ever recorded.
        if failure == "unknown_recording" or (finished is not None and not finished.files):
            await self._recorder.delete(recording_id)
            await self._close_row(recording_id, RecordingState.DELETED, None, None)
        elif finished is None:
            await self._close_row(recording_id, RecordingState.FAILED, failure, None)
        else:
            await self._close_row(recording_id, RecordingState.READY, DAMAGED if finished.damage else None, finished)
            await self._on_finished(recording_id)

    async def _close_row(
        self, recording_id: str, state: RecordingState, failure: str | None, finished: Finished | None
    ) -> None:
        now = self._clock()
        values: dict[str, Any] = {"state": state, "finished_at": now, "delete_after": now + self._keep}
        if failure is not None:
            values["failure"] = failure
        if finished is not None:
            values |= {
                "duration_ms": finished.duration_ms,
                "complete": finished.complete,
                "chapters": [{"at_ms": mark.at_ms, "title": mark.title} for mark in finished.chapters],
                "composition": Composition.WAITING,
            }
        if state is RecordingState.DELETED:
            values["deleted_at"] = now
        async with self._db.transaction() as session:
            changed = await session.execute(
                update(Recording)
                .where(Recording.id == recording_id, Recording.state == RecordingState.FINISHING)
                .values(values)
            )
            if cast(CursorResult[Any], changed).rowcount != 1:
                return
            if finished is not None:
                session.add_all(file_rows(recording_id, finished))
                await self._tell_ready(session, recording_id, finished, now)
            record(session, None, f"recording.{state}", f"recording:{recording_id}", {}, now=now)

    async def _tell_ready(self, session: AsyncSession, recording_id: str, finished: Finished, now: datetime) -> None:
        """The practitioner hears of it; after a crash the row says what the last kept moment was."""
        row = await session.get_one(Recording, recording_id, populate_existing=True)
        if row.recovered_at is not None and finished.started_at is not None:
            row.stopped_at = finished.started_at + timedelta(milliseconds=finished.duration_ms)
        about = await session_facts(session, await session.get_one(Appointment, row.appointment_id))
        extra = {"path": f"/therapist/recordings/{row.id}"}
        await enqueue(session, Notice(NoticeKind.RECORDING_READY, row.practitioner_id, about, extra), now=now)

    async def _close_left_over(self) -> list[str]:
        """What was open has stopped with the process; where the session still runs a new recording is opened."""
        now = self._clock()
        async with self._db.transaction() as session:
            for row in list(await session.scalars(select(Recording).where(Recording.state.in_(OPEN)))):
                row.state, row.stopped_at, row.recovered_at = RecordingState.FINISHING, now, now
                await session.flush()
                about = await session.get_one(Appointment, row.appointment_id)
                if about.state == State.IN_PROGRESS and row.pressed != Pressed.OFF:
                    again = new_recording(about, Pressed(row.pressed), now)
                    session.add(again)
                    detail = {"why": CONTINUED, "before": row.id}
                    record(session, None, "recording.started", f"recording:{again.id}", detail, now=now)
            await session.flush()
            waiting = select(Recording.id).where(Recording.state == RecordingState.FINISHING)
            return list(await session.scalars(waiting))

    async def _recover(self, unfinished: Sequence[str]) -> None:
        """Finish what the last process left, and try again what could not be finished."""
        recovered = await self._recorder.recover()
        async with self._db.transaction() as session:
            again = update(Recording).where(Recording.id.in_(recovered), Recording.state == RecordingState.FAILED)
            await session.execute(again.values(state=RecordingState.FINISHING, failure=None))
        for recording_id in dict.fromkeys([*unfinished, *recovered]):
            await self._finish(recording_id)

    async def _recover_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(FINISH_AGAIN_S)
            self._spawn(self._recover(()))

    # -- who tells us --------------------------------------------------------------------------------------------

    def _on_hub(self, event: HubEvent) -> None:
        match event:
            case Entered() | Admitted() | SentBack() | Left():
                self._spawn(self._react(event.admission.appointment_id))

    def _on_events(self, events: Sequence[object]) -> None:
        for happened in events:
            if isinstance(happened, ConsentChanged) and happened.purpose == Purpose.RECORDING:
                refusing = self._refusing.setdefault(happened.appointment_id, set())
                (refusing.discard if happened.answer == Answer.YES else refusing.add)(happened.person_id)
            elif isinstance(happened, SessionChanged) and happened.state in ENDED:
                self._refusing.pop(happened.appointment_id, None)
                self._broken.pop(happened.appointment_id, None)
            if isinstance(happened, ConsentChanged) and happened.answer != Answer.YES:
                self._spawn(self._refused(happened))
            elif isinstance(happened, SessionChanged | ConsentChanged):
                self._spawn(self._react(happened.appointment_id))

    def _on_failure(self, recording_id: str, why: str) -> None:
        async def ended() -> None:
            async with self._db.reading() as session:
                row = await session.get(Recording, recording_id)
            if row is not None:
                await self._break(row, why)
                await self._react(row.appointment_id)

        self._spawn(ended())

    async def _refused(self, happened: ConsentChanged) -> None:
        """Nothing more of this person, before anything is read or decided; then the rule, as always."""
        recording_id = self._open.get(happened.appointment_id)
        if happened.purpose == Purpose.RECORDING and recording_id and self._recorder.is_live(recording_id):
            self._included.get(recording_id, {}).pop(happened.person_id, None)
            await self._recorder.exclude(recording_id, ParticipantId(happened.person_id))
        await self._react(happened.appointment_id)

    async def _react(self, appointment_id: str) -> None:
        with suppress(Unavailable):  # said in the log, and tried again by itself
            await self.reconcile_recording(appointment_id)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(_done, self._tasks))


def _done(tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
    tasks.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("recording task failed", exc_info=error)
