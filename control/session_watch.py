"""Sees what another process did to the sessions of this one, such as `holdspace sessions end` beside the server.

Events after a commit reach only the process that committed (session_events.py). So every few seconds the states of
the appointments that have seats or a recording here are read, in one query, and the hub and the recordings are told
where they differ. Needs no lease: each process looks after its own seats. Writes nothing.
"""

import asyncio
import contextlib
import logging
from typing import Protocol

from sqlalchemy import select

from control.appointment_states import ENDED
from control.database import Database
from control.models.appointments import Appointment
from control.session_events import SessionListener

log = logging.getLogger(__name__)

INTERVAL_S = 2.0
"""How long people stay connected at most after another process ended their session."""


class Seats(SessionListener, Protocol):
    """What the signaling hub offers."""

    def appointments(self) -> tuple[str, ...]: ...


class RunningRecordings(Protocol):
    def appointments(self) -> tuple[str, ...]: ...
    async def reconcile_recording(self, appointment_id: str) -> None: ...


class SessionWatch:
    """`start` and `close` for the application, `look` for tests."""

    def __init__(
        self, db: Database, seats: Seats, recordings: RunningRecordings, interval_s: float = INTERVAL_S
    ) -> None:
        self._db = db
        self._seats = seats
        self._recordings = recordings
        self._interval_s = interval_s
        self._told: dict[str, str | None] = {}
        """Appointment → the state its people were last told of here."""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.look()
            except Exception:
                log.exception("sessions not looked at")

    async def look(self) -> None:
        """Tell of each difference. What is told twice, here and by the event, changes nothing the second time."""
        watched = {*self._seats.appointments(), *self._recordings.appointments()}
        self._told = {one: state for one, state in self._told.items() if one in watched}
        if not watched:
            return
        async with self._db.reading() as session:
            found = await session.execute(select(Appointment.id, Appointment.state).where(Appointment.id.in_(watched)))
            states = {row.id: row.state for row in found}
        for appointment_id in watched:
            state = states.get(appointment_id)
            # Who still sits in an ended session is told until they are gone.
            if state in ENDED or appointment_id not in self._told or self._told[appointment_id] != state:
                await self._tell(appointment_id, state)

    async def _tell(self, appointment_id: str, state: str | None) -> None:
        """One that fails is told again at the next look; the others do not wait for it."""
        try:
            try:
                # Before the room goes: nothing more is taken from then on.
                await self._recordings.reconcile_recording(appointment_id)
            finally:
                if state in ENDED:
                    await self._seats.end(appointment_id, str(state))
                else:
                    await self._seats.session_changed(appointment_id)
        except Exception:
            log.exception("session not told of its state appointment=%s", appointment_id[:8])
        else:
            self._told[appointment_id] = state
