"""The live bus: hands what was stored to the open pages of the person it concerns, in this process.

Notices come from committed transactions and carry their number, so a page that lost its socket asks for what it
missed. Hints ("look again") are not stored: a page reloads its data after a reconnect anyway. With several processes
the same class will stand on Redis; `publish` and `open` stay.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from control.message_events import MessageStored
from control.notices.outbox import NoticeStored
from control.session_events import ConsentChanged, PresenceChanged, SessionChanged

log = logging.getLogger(__name__)

MOST_PENDING = 200  # messages for one slow page; beyond it the page is told to reconnect and replay
MOST_PAGES = 12  # open sockets of one person; the oldest is closed when another opens


class LivePage:
    """One open socket's queue. `overflowed` once it was too slow."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(MOST_PENDING)
        self.closed = asyncio.Event()

    def put(self, message: Mapping[str, Any]) -> bool:
        try:
            self.messages.put_nowait(message)
        except asyncio.QueueFull:
            self.closed.set()
            return False
        return True


class LiveBus:
    def __init__(self) -> None:
        self._pages: dict[str, list[LivePage]] = {}
        self.overflows = 0

    def after_commit(self, events: Sequence[object]) -> None:
        """The listener for `Database.subscribe`."""
        for happened in events:
            match happened:
                case NoticeStored():
                    self.publish(happened.person_id, as_message(happened))
                case SessionChanged(appointment_id, practitioner_id, client_id, state):
                    for person_id in (practitioner_id, client_id):
                        self.publish(person_id, _hint("session_changed", appointment_id, state=state))
                case PresenceChanged(appointment_id, practitioner_id, person_id, connected):
                    hint = _hint("presence_changed", appointment_id, person=person_id, connected=connected)
                    for told in {practitioner_id, person_id}:
                        self.publish(told, hint)
                case ConsentChanged(appointment_id, person_id, purpose, answer):
                    hint = _hint("consent_changed", appointment_id, purpose=purpose, answer=answer)
                    self.publish(person_id, hint)
                case MessageStored(conversation_id, people, author_id, seq):
                    for person_id in people:
                        self.publish(person_id, _hint("message", conversation_id, seq=seq, author=author_id))

    def publish(self, person_id: str, message: Mapping[str, Any]) -> None:
        for page in tuple(self._pages.get(person_id, ())):
            if not page.put(message):
                self.overflows += 1
                log.info("live page too slow person=%s", person_id[:8])

    @contextmanager
    def open(self, person_id: str) -> Iterator[LivePage]:
        page = LivePage()
        pages = self._pages.setdefault(person_id, [])
        pages.append(page)
        if len(pages) > MOST_PAGES:
            pages[0].closed.set()
        try:
            yield page
        finally:
            pages.remove(page)
            if not pages:
                self._pages.pop(person_id, None)

    @property
    def open_pages(self) -> int:
        return sum(len(pages) for pages in self._pages.values())

    def close(self) -> None:
        for pages in self._pages.values():
            for page in pages:
                page.closed.set()


def _hint(kind: str, appointment_id: str, **more: Any) -> dict[str, Any]:
    """Not stored, never replayed: a page that was away looks again anyway."""
    return {"type": kind, "about": appointment_id, **more}


def as_message(notice: NoticeStored) -> dict[str, Any]:
    return {
        "type": "notice",
        "id": notice.seq,
        "kind": notice.kind,
        "title": notice.title,
        "body": notice.body,
        "path": notice.path,
        "about": notice.facts.get("about", {}).get("appointment_id"),
        "at": notice.created_at.isoformat(),
    }
