"""The messages of PROTOCOL.md: strict reading of what clients send, writing of what the server says.

`parse_untrusted` is the only door for bytes of strangers: it returns a frozen message or raises `BadMessage`, and
nothing else. Bounds stand here and in PROTOCOL.md; a test compares both. Meaning (who may send what, when) is
session.py's and hub.py's.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn, TypeAlias

from media.types import Background, BackgroundState, TrackSource
from signaling.permissions import Place, Role, Snapshot
from signaling.tokens import MAX_TOKEN_CHARS

VERSION = 1
MAX_MESSAGE_BYTES = 65_536
"""One WebSocket frame. Offers of 30 sections are about 45 kB; more would only let strangers make us parse more."""
MAX_SDP_BYTES = 60_000
MAX_DEPTH = 4
MAX_SOURCES = 32
MAX_HEIGHT = 8_192
MAX_COUNT = 2**53
MAX_REVISION = 2**31 - 1
MAX_FREEZES = 1_000
MAX_FROZEN_MS = 60_000
"""Of one report: pages report every few seconds, and a page that slept says no more than a minute."""

_MID = re.compile(r"[A-Za-z0-9_-]{1,16}")


class BadMessage(Exception):
    """What a client sent is not a message of the protocol. `code` is the error told to it."""

    def __init__(self, detail: str, code: str = "bad_message") -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


# ---------------------------------------------------------------- client to server


@dataclass(frozen=True, slots=True)
class Hello:
    token: str


@dataclass(frozen=True, slots=True)
class Resume:
    """A `hello` that carries `resume`."""

    resume: str
    received: int


@dataclass(frozen=True, slots=True)
class OfferMessage:
    revision: int
    sdp: str
    sources: Mapping[str, TrackSource]


@dataclass(frozen=True, slots=True)
class Mute:
    mid: str
    muted: bool


@dataclass(frozen=True, slots=True)
class View:
    heights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Playback:
    """What the page saw of the pictures it plays since it last said so."""

    freezes: int
    frozen_ms: int


@dataclass(frozen=True, slots=True)
class Blur:
    effect: Background


@dataclass(frozen=True, slots=True)
class Ping:
    received: int


@dataclass(frozen=True, slots=True)
class Leave:
    pass


ClientMessage: TypeAlias = Hello | Resume | OfferMessage | Mute | View | Playback | Blur | Ping | Leave


def parse_untrusted(text: str) -> ClientMessage:
    """Raises BadMessage, whatever the text is."""
    body = _object_untrusted(text)
    kind = body.pop("type", None)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise BadMessage("unknown type")
    message = reader(body)
    if body:
        raise BadMessage("unknown field")
    return message


def _object_untrusted(text: str) -> dict[str, Any]:
    # Characters first: len() is free, and no text has fewer bytes than characters.
    if len(text) > MAX_MESSAGE_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_MESSAGE_BYTES:
        raise BadMessage("too large", "too_large")
    try:
        body = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_bounded_int)
    except (ValueError, RecursionError) as error:
        raise BadMessage("not JSON") from error
    if not isinstance(body, dict):
        raise BadMessage("not an object")
    if _deeper_than(body, MAX_DEPTH):
        raise BadMessage("nested too deep")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise BadMessage("duplicate key")
    return result


def _no_constant(name: str) -> NoReturn:
    raise BadMessage("not a number")


def _bounded_int(digits: str) -> int:
    if len(digits) > 20:
        raise BadMessage("number too large")
    return int(digits)


def _deeper_than(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if depth == 0:
        return True
    children = value.values() if isinstance(value, dict) else value
    return any(_deeper_than(child, depth - 1) for child in children)


def _take(body: dict[str, Any], name: str) -> Any:
    if name not in body:
        raise BadMessage(f"{name} is missing")
    return body.pop(name)


def _take_text(body: dict[str, Any], name: str, longest: int) -> str:
    value = _take(body, name)
    if not isinstance(value, str):
        raise BadMessage(f"{name} is not text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise BadMessage(f"{name} has a lone surrogate") from error
    if not 1 <= size <= longest:
        raise BadMessage(f"{name} is out of bounds")
    return value


def _take_int(body: dict[str, Any], name: str, least: int, most: int) -> int:
    value = _take(body, name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadMessage(f"{name} is out of bounds")
    return value


def _take_bool(body: dict[str, Any], name: str) -> bool:
    value = _take(body, name)
    if not isinstance(value, bool):
        raise BadMessage(f"{name} is not a boolean")
    return value


def _mid_untrusted(value: object) -> str:
    if not isinstance(value, str) or not _MID.fullmatch(value):
        raise BadMessage("mid is out of bounds")
    return value


def _take_sources(body: dict[str, Any]) -> dict[str, TrackSource]:
    value = _take(body, "sources")
    if not isinstance(value, dict) or len(value) > MAX_SOURCES:
        raise BadMessage("sources is out of bounds")
    try:
        return {_mid_untrusted(mid): TrackSource(source) for mid, source in value.items()}
    except (ValueError, TypeError) as error:
        raise BadMessage("unknown source") from error


def _read_hello(body: dict[str, Any]) -> ClientMessage:
    if _take_int(body, "version", 0, MAX_COUNT) != VERSION:
        raise BadMessage(f"this server speaks version {VERSION}", "bad_version")
    if "resume" in body:
        return Resume(_take_text(body, "resume", MAX_TOKEN_CHARS), _take_int(body, "received", 0, MAX_COUNT))
    return Hello(_take_text(body, "token", MAX_TOKEN_CHARS))


def _read_offer(body: dict[str, Any]) -> ClientMessage:
    revision = _take_int(body, "revision", 1, MAX_REVISION)
    return OfferMessage(revision, _take_text(body, "sdp", MAX_SDP_BYTES), _take_sources(body))


def _read_mute(body: dict[str, Any]) -> ClientMessage:
    return Mute(_mid_untrusted(_take(body, "mid")), _take_bool(body, "muted"))


def _read_view(body: dict[str, Any]) -> ClientMessage:
    heights = _take(body, "heights")
    if not isinstance(heights, dict) or len(heights) > MAX_SOURCES:
        raise BadMessage("heights is out of bounds")
    return View({_mid_untrusted(mid): _take_int(heights, mid, 0, MAX_HEIGHT) for mid in list(heights)})


def _read_playback(body: dict[str, Any]) -> ClientMessage:
    return Playback(_take_int(body, "freezes", 0, MAX_FREEZES), _take_int(body, "frozen_ms", 0, MAX_FROZEN_MS))


def _read_blur(body: dict[str, Any]) -> ClientMessage:
    effect = _take(body, "effect")
    if effect not in list(Background):
        raise BadMessage("unknown effect")
    return Blur(Background(effect))


def _read_ping(body: dict[str, Any]) -> ClientMessage:
    return Ping(_take_int(body, "received", 0, MAX_COUNT))


def _read_leave(body: dict[str, Any]) -> ClientMessage:
    return Leave()


_READERS: dict[str, Callable[[dict[str, Any]], ClientMessage]] = {
    "hello": _read_hello,
    "offer": _read_offer,
    "mute": _read_mute,
    "view": _read_view,
    "playback": _read_playback,
    "blur": _read_blur,
    "ping": _read_ping,
    "leave": _read_leave,
}


# ---------------------------------------------------------------- server to client


class ServerMessage:
    """Base of what the server says. `type` is the wire name; numbered ones are kept for a resume."""

    __slots__ = ()
    type: ClassVar[str]
    numbered: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Welcome(ServerMessage):
    type = "welcome"
    numbered = False
    version: int
    session: str
    person: str
    role: Role
    place: Place
    resumed: bool
    resume: str
    ice_servers: Sequence[Mapping[str, Any]]
    server_now: datetime
    heartbeat_s: float


@dataclass(frozen=True, slots=True)
class SnapshotMessage(ServerMessage):
    type = "snapshot"
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class PersonView:
    id: str
    name: str
    role: Role
    place: Place
    connected: bool
    media: str
    since: datetime


@dataclass(frozen=True, slots=True)
class People(ServerMessage):
    type = "people"
    people: tuple[PersonView, ...]


@dataclass(frozen=True, slots=True)
class Admitted(ServerMessage):
    type = "admitted"


@dataclass(frozen=True, slots=True)
class Waiting(ServerMessage):
    type = "waiting"


@dataclass(frozen=True, slots=True)
class AnswerMessage(ServerMessage):
    type = "answer"
    revision: int
    sdp: str


@dataclass(frozen=True, slots=True)
class Slot:
    mid: str
    person: str | None
    source: TrackSource | None
    muted: bool
    paused: bool
    veiled: bool


@dataclass(frozen=True, slots=True)
class Slots(ServerMessage):
    type = "slots"
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class SlotsWanted(ServerMessage):
    type = "slots_needed"
    audio: int
    video: int


@dataclass(frozen=True, slots=True)
class OfferWanted(ServerMessage):
    type = "offer_needed"


@dataclass(frozen=True, slots=True)
class Encodings(ServerMessage):
    type = "encodings"
    mid: str
    rids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BackgroundTold(ServerMessage):
    type = "background"
    state: BackgroundState


@dataclass(frozen=True, slots=True)
class PeerLost(ServerMessage):
    type = "peer_lost"


@dataclass(frozen=True, slots=True)
class News(ServerMessage):
    """What control tells a page of its session: signaling carries it and does not read it."""

    type = "news"
    topic: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Speaking(ServerMessage):
    type = "speaking"
    numbered = False
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QualityMessage(ServerMessage):
    type = "quality"
    numbered = False
    person: str
    word: str
    mos: float
    loss: float
    jitter_ms: int
    round_trip_ms: int | None
    freezes: int


@dataclass(frozen=True, slots=True)
class ResumeToken(ServerMessage):
    type = "resume_token"
    resume: str


@dataclass(frozen=True, slots=True)
class Pong(ServerMessage):
    type = "pong"
    numbered = False
    server_now: datetime


@dataclass(frozen=True, slots=True)
class Ended(ServerMessage):
    type = "ended"
    reason: str


@dataclass(frozen=True, slots=True)
class Replaced(ServerMessage):
    type = "replaced"


@dataclass(frozen=True, slots=True)
class Removed(ServerMessage):
    type = "removed"
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class ErrorMessage(ServerMessage):
    type = "error"
    numbered = False
    code: str
    detail: str
    fatal: bool
    revision: int | None = None


def pack(message: ServerMessage, n: int | None = None) -> str:
    head: dict[str, Any] = {"type": message.type}
    if n is not None:
        head["n"] = n
    return json.dumps(head | _plain_fields(message), separators=(",", ":"), default=_plain)


def _plain_fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case PersonView() | Slot():
            return _plain_fields(value)
        case Mapping():
            return dict(value)
    raise TypeError(f"no wire form for {type(value).__name__}")
