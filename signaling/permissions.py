"""Who a socket belongs to and what it may do: the words shared by signaling and control.

Control decides everything here (it implements `Gatekeeper`); signaling only asks, obeys and tells.
This file knows no socket, no database and no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from media.types import ParticipantId, RoomId, TrackSource

Snapshot = Mapping[str, Any]
"""The session as one person may see it; JSON as described in PROTOCOL.md, "Snapshot"."""


class Role(StrEnum):
    practitioner = "practitioner"
    client = "client"
    guest = "guest"


class Place(StrEnum):
    """Where a person stands in an appointment: a waiting person has a socket but no transport in the room."""

    waiting = "waiting"
    admitted = "admitted"


@dataclass(frozen=True, slots=True)
class Admission:
    """One person's right to be connected to one appointment, as control granted it for a join token."""

    appointment_id: str
    room: RoomId
    person_id: str
    participant: ParticipantId
    role: Role
    display_name: str
    place: Place
    may_publish: frozenset[TrackSource]
    login: str = ""
    """The sign-in the person came in with: when it ends, so does what it opened."""


class Refused(Exception):
    """Control says no: `code` is stable and goes to the page, `detail` is a sentence for people."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Gatekeeper(Protocol):
    """What signaling asks of control. Every call may raise `Refused`; none may wait for a person."""

    async def redeem(self, token: str) -> Admission:
        """Consume a join token, once. Refused: token_expired, token_used, token_invalid, not_joinable, …"""

    async def place(self, appointment_id: str, person_id: str) -> Place:
        """Asked again at resume and after every session change. Refused if the person has no place any more."""

    async def may_publish(self, appointment_id: str, person_id: str) -> frozenset[TrackSource]:
        """What the person may send now; asked again with `place`. Refused as there."""

    async def connected(self, admission: Admission) -> None:
        """The person's socket is there (joined or resumed): presence log, practitioner is told who waits."""

    async def disconnected(self, admission: Admission, reason: str) -> None:
        """The socket is gone. Reasons: left, dropped, replaced, removed, ended, shutdown."""

    async def snapshot(self, appointment_id: str, person_id: str) -> Snapshot:
        """The session as this person may see it."""
