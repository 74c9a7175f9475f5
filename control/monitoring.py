"""The notice under which messages are written, and who has acknowledged which of its texts.

A text's version is its digest: an operator who changes the words or switches monitoring changes the version, and the
next message of everybody is held back until they have seen the new one.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.audit import record
from control.database import insert_into
from control.errors import Conflict
from control.language import N_, look_up
from control.models.messages import MonitoringAcknowledgement

NOT_MONITORED = N_("These messages are not monitored. Only you and the person you write to can read them.")


@dataclass(frozen=True)
class WritingNotice:
    """What people are told before they write: the practice's own words, or ours, which are translated too."""

    text: str
    monitored: bool

    @property
    def said(self) -> str:
        """In the language that is spoken, where it is a text of ours."""
        return look_up(self.text)

    @property
    def version(self) -> str:
        return hashlib.sha256(f"{self.monitored}\n{self.text}".encode()).hexdigest()[:16]


async def has_acknowledged(session: AsyncSession, person_id: str, notice: WritingNotice) -> bool:
    return await session.get(MonitoringAcknowledgement, (person_id, notice.version)) is not None


async def require_acknowledgement(
    session: AsyncSession, actor: Actor, notice: WritingNotice, seen_version: str | None, *, now: datetime
) -> None:
    """Record the first acknowledgement; Conflict `notice_not_seen` if this text has not been shown to this person."""
    if await has_acknowledged(session, actor.person_id, notice):
        return
    if seen_version != notice.version:
        raise Conflict(
            "notice_not_seen",
            "Please read the notice above the message first, then send it again.",
            notice=notice.said,
            notice_version=notice.version,
        )
    values = {"person_id": actor.person_id, "text_version": notice.version, "acknowledged_at": now}
    kept = await session.execute(
        insert_into(session, MonitoringAcknowledgement).values(**values).on_conflict_do_nothing()
    )
    if cast(CursorResult[Any], kept).rowcount != 1:
        return  # two first messages at once
    record(
        session,
        actor,
        "monitoring.acknowledged",
        f"person:{actor.person_id}",
        {"version": notice.version, "monitored": notice.monitored},
        now=now,
    )
