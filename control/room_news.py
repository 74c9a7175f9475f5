"""News for the pages of one session, told over their signaling sockets after the commit.

An action publishes `RoomNews`; the hub posts it to those of the people who are connected. Losing one in a crash loses
nothing that a page does not read again when it comes back.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from control.database import Database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RoomNews:
    """`topic` names what changed (signaling/PROTOCOL.md, "News"); `to` the people who may know it."""

    appointment_id: str
    topic: str
    body: Mapping[str, Any]
    to: tuple[str, ...]


class NewsTeller(Protocol):
    """What the signaling hub offers."""

    def tell(self, appointment_id: str, topic: str, body: Mapping[str, Any], to: Collection[str]) -> None: ...


def forward_news(db: Database, teller: NewsTeller) -> None:
    """From now on hand each committed RoomNews to `teller`, in order."""

    def on_events(events: Sequence[object]) -> None:
        for happened in events:
            if isinstance(happened, RoomNews):
                teller.tell(happened.appointment_id, happened.topic, happened.body, happened.to)

    db.subscribe(on_events)
