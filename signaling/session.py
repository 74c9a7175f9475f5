"""One person's session with one appointment: a state machine that outlives its sockets. No I/O, no clock.

A session is made by a join token and has at most one socket (an `Outbox`) at a time. Losing the socket drops the
session, a resume attaches a new one, and everything numbered that was said in between is said again. hub.py decides
when; this file knows what may follow what, the numbering, and which resume token is good.
"""

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from media.types import Background, ConnectionState, TrackSource
from signaling.messages import PersonView, ServerMessage, pack
from signaling.outbox import Closing, Outbox
from signaling.permissions import Admission, Place, Refused

MAX_KEPT_MESSAGES = 256
MAX_KEPT_BYTES = 512 * 1024
"""What is kept for a resume. 30 s of a busy room are far below; more missed than this is quicker to join afresh."""

ROTATE_AFTER_S = 240.0
"""Age at which a live session is given a new resume token: well below tokens.RESUME_LIFETIME."""


class Link(StrEnum):
    attached = "attached"
    dropped = "dropped"
    gone = "gone"


class Turn(StrEnum):
    socket_lost = "socket_lost"
    resumed = "resumed"
    left = "left"


NEXT_LINK: dict[tuple[Link, Turn], Link] = {
    (Link.attached, Turn.socket_lost): Link.dropped,
    (Link.attached, Turn.resumed): Link.attached,  # the new socket was quicker than the old one's end
    (Link.attached, Turn.left): Link.gone,
    (Link.dropped, Turn.socket_lost): Link.dropped,
    (Link.dropped, Turn.resumed): Link.attached,
    (Link.dropped, Turn.left): Link.gone,
    (Link.gone, Turn.socket_lost): Link.gone,
    (Link.gone, Turn.left): Link.gone,
}
"""(gone, resumed) is missing on purpose: there is nothing to come back to."""


class Session:
    def __init__(self, session_id: str, admission: Admission, since: datetime, outbox: Outbox) -> None:
        self.id = session_id
        self.admission = admission
        self.since = since
        self.place: Place = admission.place
        self.link = Link.attached
        self.outbox: Outbox | None = outbox
        # media
        self.has_peer = False
        self.joining = False
        """The media node is being asked for a peer: what it still says of an older one's end is not about this one."""
        self.media_state: ConnectionState | None = None
        self.offering: int | None = None
        self.answered = 0
        """Revision of the last answered offer of this peer; repeating that one is fine, an older one is not."""
        self.mids: Mapping[str, TrackSource] = {}
        """What each section of this peer that ever sent was offered as."""
        self.background: Background | None = None
        """As the page said it; None: it did not speak of it."""
        self.freezes = self.frozen_ms = 0
        """What the page saw of its pictures since the last measurement."""
        self.quality_told: dict[str, tuple[str, float]] = {}
        """Person → the word and score this page was told last."""
        self.people_told: tuple[PersonView, ...] | None = None
        # resume
        self.generation = 0
        self.token_issued_s = 0.0
        self._confirm_at: int | None = None
        self._last_n = 0
        self._kept: deque[tuple[int, str]] = deque()
        self._kept_bytes = 0
        self._lost_upto = 0

    @property
    def attached(self) -> bool:
        return self.link is Link.attached

    @property
    def gone(self) -> bool:
        return self.link is Link.gone

    def turn(self, turn: Turn) -> bool:
        """Take the step if there is one; the answer says whether."""
        after = NEXT_LINK.get((self.link, turn))
        if after is None:
            return False
        self.link = after
        return True

    # ------------------------------------------------------------ saying

    def post(self, message: ServerMessage) -> None:
        """Say it now, and again after a resume if the message is numbered; else only if somebody listens."""
        if self.gone:
            return
        if not message.numbered:
            if self.outbox is not None:
                self.outbox.push(pack(message))
            return
        self._last_n += 1
        text = pack(message, self._last_n)
        self._keep(self._last_n, text)
        if self.outbox is not None:
            self.outbox.push(text)

    def _keep(self, n: int, text: str) -> None:
        self._kept.append((n, text))
        self._kept_bytes += len(text)
        while len(self._kept) > MAX_KEPT_MESSAGES or self._kept_bytes > MAX_KEPT_BYTES:
            self._lost_upto = self._forget_oldest()

    def _forget_oldest(self) -> int:
        n, text = self._kept.popleft()
        self._kept_bytes -= len(text)
        return n

    def acknowledge(self, received: int) -> None:
        """Everything up to `received` has been handled by the client and need not be kept."""
        if received > self._last_n:
            raise ValueError("acknowledges what was never said")
        while self._kept and self._kept[0][0] <= received:
            self._forget_oldest()
        if self._confirm_at is not None and received >= self._confirm_at:
            self._confirm_at = None

    def close_socket(self, code: int, reason: str) -> None:
        if self.outbox is not None:
            self.outbox.close(Closing(code, reason))
            self.outbox = None

    # ------------------------------------------------------------ resuming

    def next_generation(self, now_s: float, *, in_numbered: bool) -> int:
        """A new resume token is about to be told, in `welcome` or in the next numbered message."""
        self.generation += 1
        self.token_issued_s = now_s
        # After a welcome any message confirms it: `received` is at least 0 then.
        self._confirm_at = self._last_n + 1 if in_numbered else 0
        return self.generation

    def token_is_old(self, now_s: float) -> bool:
        return now_s - self.token_issued_s >= ROTATE_AFTER_S

    def heard(self) -> None:
        """Any message after `welcome` shows that the client has the token in it."""
        if self._confirm_at == 0:
            self._confirm_at = None

    def resume(self, generation: int, received: int, outbox: Outbox) -> list[str]:
        """Attach a new socket; the answer is what it missed. Raises Refused resume_unknown or resume_lost."""
        newest = self.generation
        # Until the newest token is known to have arrived, the one before it is as good.
        good = {newest} if self._confirm_at is None else {newest, newest - 1}
        if self.gone or generation not in good or received > self._last_n:
            raise Refused("resume_unknown", "This connection can't be continued. Joining again.")
        if received < self._lost_upto:
            raise Refused("resume_lost", "Too much was missed. Joining again.")
        self.turn(Turn.resumed)
        self.close_socket(4409, "superseded")
        self.outbox = outbox
        return [text for n, text in self._kept if n > received]
