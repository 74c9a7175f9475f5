"""What happened to a session, told after the commit to whoever subscribed to the database (hub, live notices).

Plain values; a listener that needs more reads it. Losing one in a crash loses nothing that is not read again at
the next connect.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from control.appointment_states import ENDED, State
from control.database import Database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """An appointment has a new state."""

    appointment_id: str
    practitioner_id: str
    client_id: str
    state: State


@dataclass(frozen=True, slots=True)
class ConsentChanged:
    """Somebody answered, or took back an answer."""

    appointment_id: str
    person_id: str
    purpose: str
    answer: str


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Somebody came into, or left, the waiting room or room."""

    appointment_id: str
    practitioner_id: str
    person_id: str
    connected: bool


@dataclass(frozen=True, slots=True)
class SignedOut:
    """A browser's sign-in ended."""

    web_session_id: str


class SessionListener(Protocol):
    """What the signaling hub offers."""

    async def session_changed(self, appointment_id: str) -> None: ...
    async def end(self, appointment_id: str, reason: str) -> None: ...


def forward_to(db: Database, listener: SessionListener) -> None:
    """From now on tell `listener` of each committed change, one appointment's changes in their order."""
    turns: dict[str, asyncio.Task[None]] = {}

    async def tell(before: asyncio.Task[None] | None, happened: SessionChanged | ConsentChanged) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            if isinstance(happened, SessionChanged) and happened.state in ENDED:
                await listener.end(happened.appointment_id, happened.state)
            else:
                await listener.session_changed(happened.appointment_id)
        except Exception:
            log.exception("session listener failed appointment=%s", happened.appointment_id[:8])

    def finished(appointment_id: str, task: asyncio.Task[None]) -> None:
        if turns.get(appointment_id) is task:
            del turns[appointment_id]

    def on_events(events: Sequence[object]) -> None:
        for happened in events:
            if isinstance(happened, SessionChanged | ConsentChanged):
                appointment_id = happened.appointment_id
                task = asyncio.create_task(tell(turns.get(appointment_id), happened))
                turns[appointment_id] = task
                task.add_done_callback(partial(finished, appointment_id))

    db.subscribe(on_events)


def forward_sign_outs(db: Database, sign_out: Callable[[str], Awaitable[None]]) -> None:
    """From now on call `sign_out` with the id of each sign-in that ended."""
    running: set[asyncio.Task[None]] = set()

    async def tell(web_session_id: str) -> None:
        try:
            await sign_out(web_session_id)
        except Exception:
            log.exception("sign-out did not reach the session rooms")

    def on_events(events: Sequence[object]) -> None:
        for happened in events:
            if isinstance(happened, SignedOut):
                task = asyncio.create_task(tell(happened.web_session_id))
                running.add(task)
                task.add_done_callback(running.discard)

    db.subscribe(on_events)
