"""The nouns that media shows to signaling, recorder and control: what goes in and every event that comes out.

Plain frozen data, no behaviour. Core ids (`track`, `tap`, `journal`) are integers chosen by `media/node.py`; rooms
and participants are named by the layers above. Nothing here may import another file of this package.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NewType

RoomId = NewType("RoomId", str)
ParticipantId = NewType("ParticipantId", str)

Kind = Literal["audio", "video"]


class TrackSource(StrEnum):
    """What a published track shows or sounds of."""

    camera = "camera"
    microphone = "microphone"
    screen = "screen"
    screen_audio = "screen_audio"

    @property
    def kind(self) -> Kind:
        return "video" if self in (TrackSource.camera, TrackSource.screen) else "audio"


class Background(StrEnum):
    """How the server treats what is behind a person before anybody else sees their camera."""

    off = "off"
    """Not at all: the camera as it is sent."""
    light = "light"
    strong = "strong"
    colour = "colour"
    """A plain one instead of the background."""


class BackgroundState(StrEnum):
    """What becomes of a person's wish for another background; nobody sees their camera but as `off` and `on` say."""

    off = "off"
    """The camera is seen as it is."""
    starting = "starting"
    """Nothing is seen yet, or for the moment."""
    on = "on"
    unavailable = "unavailable"
    """No worker is free, or blur is not possible on this server: nothing is seen until that changes."""


class ConnectionState(StrEnum):
    """One RTP connection as a person may see it.

    `connecting` until ICE and DTLS are both up; `disconnected` after 8 s of silence (media stops, an ICE restart or
    returning packets bring it back to `connected`); `failed` and `closed` are final: only another `join` helps.
    """

    connecting = "connecting"
    connected = "connected"
    disconnected = "disconnected"
    failed = "failed"
    closed = "closed"


@dataclass(frozen=True)
class Offer:
    """A browser's session description and what each of its publishing sections carries.

    Revisions count the offers of one connection: 1, 2, 3 … from each `join`. The answer carries the same number. The
    newest offer may be repeated word for word (after a dropped socket) and gets the same answer again.
    """

    revision: int
    sdp: str
    sources: Mapping[str, TrackSource]
    """By MID. A sending section that is not named here is answered `inactive`."""


@dataclass(frozen=True)
class Answer:
    revision: int
    sdp: str


@dataclass(frozen=True)
class TrackInfo:
    room: RoomId
    participant: ParticipantId
    track: int
    mid: str
    source: TrackSource
    kind: Kind
    codec: str | None
    """Encoding name in lower case; the answer's first choice until the first packet shows which is in use."""
    muted: bool


@dataclass(frozen=True)
class SlotView:
    """One receiving section of a subscriber and whose track fills it just now."""

    mid: str
    publisher: ParticipantId | None
    source: TrackSource | None
    muted: bool
    paused: bool = False
    """The subscriber's path carries too little for it just now; it comes back by itself."""
    veiled: bool = False
    """Its owner's background is to be hidden and no picture is ready that hides it."""


@dataclass(frozen=True)
class ConnectionChanged:
    """What happened to a connection by itself; an end that `join`, `leave` or `close_room` caused is not told."""

    room: RoomId
    participant: ParticipantId
    state: ConnectionState


@dataclass(frozen=True)
class SlotsChanged:
    """The whole state of one subscriber's slots, in the order of their sections."""

    room: RoomId
    participant: ParticipantId
    slots: tuple[SlotView, ...]


@dataclass(frozen=True)
class SlotsNeeded:
    """The page must offer this many receiving sections in all; it never takes any away."""

    room: RoomId
    participant: ParticipantId
    audio: int
    video: int


@dataclass(frozen=True)
class OfferNeeded:
    """The page must offer again as it is: what its publishing sections were answered no longer suits the room."""

    room: RoomId
    participant: ParticipantId


@dataclass(frozen=True)
class EncodingsWanted:
    """The page is to send these simulcast encodings of section `mid` and no others; none when nobody watches."""

    room: RoomId
    participant: ParticipantId
    mid: str
    rids: tuple[str, ...]


@dataclass(frozen=True)
class BackgroundChanged:
    room: RoomId
    participant: ParticipantId
    state: BackgroundState


@dataclass(frozen=True)
class TrackPublished:
    """A track was negotiated; its first packet has not necessarily arrived."""

    info: TrackInfo


@dataclass(frozen=True)
class TrackCodec:
    """The codec in use became known, or changed."""

    room: RoomId
    participant: ParticipantId
    track: int
    codec: str
    fmtp: str


@dataclass(frozen=True)
class TrackEnded:
    room: RoomId
    participant: ParticipantId
    track: int


@dataclass(frozen=True)
class TrackMuted:
    room: RoomId
    participant: ParticipantId
    track: int
    muted: bool


@dataclass(frozen=True)
class Levels:
    """Who was heard in the last 200 ms: `(participant, level_dbov, active)`.

    Level 0 is the loudest and 127 silence (RFC 6464); `active` marks who is taken to be speaking, with hysteresis.
    """

    room: RoomId
    levels: tuple[tuple[ParticipantId, int, bool], ...]


@dataclass(frozen=True)
class Quality:
    """One connection over some seconds; `media/quality.py` says how it is rated."""

    loss_in: float
    """Share of its packets that did not reach the server, before repair."""
    loss_out: float
    """Share of the server's packets that did not reach it, the worst of its streams, before repair."""
    jitter_ms: float
    round_trip_ms: float | None
    """Between it and the server; None until its first report."""
    mos: float
    """Mean opinion score, 1-4.5."""


@dataclass(frozen=True)
class QualityMeasured:
    """Every few seconds of a connected participant."""

    room: RoomId
    participant: ParticipantId
    quality: Quality


@dataclass(frozen=True)
class RoomFailed:
    """A fault of ours ended this room: everybody in it is gone from media and may join again."""

    room: RoomId
    message: str


@dataclass(frozen=True)
class TapEnded:
    room: RoomId
    tap: int
    reason: str
    """`removed`, `grant_revoked`, `track_gone` or `journal_failed`."""


@dataclass(frozen=True)
class JournalChanged:
    journal: int
    state: str
    """`synced`, `failed` or `closed`."""
    detail: str
    """Bytes on disk for `synced`, the reason for `failed`."""


MediaEvent = (
    ConnectionChanged
    | SlotsChanged
    | SlotsNeeded
    | OfferNeeded
    | EncodingsWanted
    | BackgroundChanged
    | TrackPublished
    | TrackCodec
    | TrackEnded
    | TrackMuted
    | Levels
    | QualityMeasured
    | RoomFailed
    | TapEnded
    | JournalChanged
)
