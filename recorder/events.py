"""The journal's own events: what the tap side writes and the finishing side reads back.

Each is a small JSON document under the journal's event key. Unknown kinds and members are passed over, so that an
older reader finishes a newer journal.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Started:
    """First event; its arrival time is the recording's zero."""

    recording: str
    wall_time: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class Included:
    """From now on this participant may be recorded; records under `key_id` are theirs."""

    key_id: int
    participant: str
    name: str


@dataclass(frozen=True, slots=True)
class Tapped:
    """One tap begins. `connection` counts the participant's connections: streams of one share a clock."""

    tap: int
    key_id: int
    source: str
    connection: int


@dataclass(frozen=True, slots=True)
class Noted:
    """For people who look into a recording: pause, resume, exclude, mute, tap ended, stop."""

    what: str
    participant: str = ""
    tap: int = 0


Event = Started | Included | Tapped | Noted
_KINDS: dict[str, type[Any]] = {"started": Started, "included": Included, "tapped": Tapped, "noted": Noted}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode(event: Event) -> bytes:
    return json.dumps({"event": _NAMES[type(event)], **asdict(event)}).encode()


def decode(payload: bytes) -> Event | None:
    """None for events this version does not know."""
    try:
        document = json.loads(payload)
        kind = _KINDS[document.pop("event")]
        members = {name: value for name, value in document.items() if name in kind.__dataclass_fields__}
        event: Event = kind(**members)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return event
