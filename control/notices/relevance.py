"""Whether a notice still has a reason when its turn comes: the state of its session is looked at once more.

Only what would now be wrong or useless is dropped. A fact (completed, cancelled, refunded, a receipt) always goes.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control.appointment_states import State
from control.models.appointments import Appointment
from control.models.messages import Conversation, ConversationReader
from control.models.problems import ProblemReport
from control.notices.kinds import NoticeKind

StillWanted = Callable[[AsyncSession, str | None, Mapping[str, Any], datetime], Awaitable[bool]]
"""(session, appointment id, facts, now) → is there still a reason to send this?"""

_COMING = frozenset({State.SCHEDULED, State.CONFIRMED, State.IN_PROGRESS})

_STATES = {
    NoticeKind.BOOKING_CONFIRMED: _COMING,
    NoticeKind.NEW_BOOKING: _COMING,
    NoticeKind.SESSION_ACTIVATED: _COMING,
    NoticeKind.RESCHEDULE_REQUESTED: frozenset({State.SCHEDULED, State.CONFIRMED}),
    NoticeKind.RESCHEDULE_ACCEPTED: _COMING,
    NoticeKind.GUEST_INVITED: _COMING,
    NoticeKind.CLIENT_WAITING: _COMING,
    NoticeKind.STARTING_SOON: frozenset({State.CONFIRMED}),
    NoticeKind.SESSION_STARTED: frozenset({State.IN_PROGRESS}),
}


def _only_in(states: frozenset[State]) -> StillWanted:
    async def wanted(
        session: AsyncSession, appointment_id: str | None, _facts: Mapping[str, Any], _now: datetime
    ) -> bool:
        state = await session.scalar(select(Appointment.state).where(Appointment.id == appointment_id))
        return state in states

    return wanted


async def _reminder(session: AsyncSession, appointment_id: str | None, facts: Mapping[str, Any], now: datetime) -> bool:
    """Of the start it was planned for, and only before it."""
    found = (
        await session.execute(select(Appointment.state, Appointment.starts_at).where(Appointment.id == appointment_id))
    ).one_or_none()
    planned_for = datetime.fromisoformat(facts["about"]["starts_at"])
    return (
        found is not None
        and found.state in (State.SCHEDULED, State.CONFIRMED)
        and found.starts_at == planned_for
        and now < planned_for
    )


async def _problem(
    session: AsyncSession, _appointment_id: str | None, facts: Mapping[str, Any], _now: datetime
) -> bool:
    """Until somebody has taken it."""
    waiting = select(ProblemReport.id).where(
        ProblemReport.id == facts.get("problem_id"), ProblemReport.taken_at.is_(None)
    )
    return await session.scalar(waiting) is not None


async def _unread(session: AsyncSession, _subject: str | None, facts: Mapping[str, Any], _now: datetime) -> bool:
    reader = await session.get(ConversationReader, (facts["conversation_id"], facts["reader_id"]))
    return reader is None or reader.read_seq < facts["seq"]


async def _unanswered(session: AsyncSession, _subject: str | None, facts: Mapping[str, Any], _now: datetime) -> bool:
    waiting = select(Conversation.unanswered).where(Conversation.id == facts["conversation_id"])
    return bool(await session.scalar(waiting))


STILL_WANTED: Mapping[NoticeKind, StillWanted] = {
    **{kind: _only_in(states) for kind, states in _STATES.items()},
    NoticeKind.REMINDER: _reminder,
    NoticeKind.NEW_MESSAGE: _unread,
    NoticeKind.UNANSWERED_MESSAGES: _unanswered,
    NoticeKind.PROBLEM_ALERT: _problem,
}
