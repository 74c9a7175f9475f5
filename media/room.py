"""One room's state: who is in, what they publish, which track fills whose slot. Pure: no core, no clock, no network.

`media/rooms.py` changes it and carries out what it says: `refill` answers with the slots to point elsewhere and the
events to tell. Lists keep the order of publication, because that is the order in which slots fill.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from media.allocation import Candidate, SlotPlace, allocate
from media.layers import Choice, Watch, choose, wanted_rids
from media.speakers import Speakers
from media.types import (
    EncodingsWanted,
    Kind,
    MediaEvent,
    ParticipantId,
    RoomId,
    SlotsChanged,
    SlotsNeeded,
    SlotView,
    TrackInfo,
    TrackSource,
)


@dataclass
class Track:
    """What a person publishes in one section."""

    id: int
    participant: ParticipantId
    mid: str
    source: TrackSource
    codec: str | None
    muted: bool = False
    rids: tuple[str, ...] = ()
    """Simulcast encodings, smallest first."""
    sent: tuple[str, ...] = ()
    """Encodings the page was last told to send, or said in a later offer that it does."""
    taps: set[int] = field(default_factory=set)

    def offer_rids(self, rids: tuple[str, ...], paused: frozenset[str]) -> None:
        self.rids, self.sent = rids, tuple(rid for rid in rids if rid not in paused)

    def info(self, room: RoomId) -> TrackInfo:
        return TrackInfo(
            room=room,
            participant=self.participant,
            track=self.id,
            mid=self.mid,
            source=self.source,
            kind=self.source.kind,
            codec=self.codec,
            muted=self.muted,
        )


@dataclass
class Slot:
    """One outgoing stream of a subscriber; `track` is what fills it."""

    id: int
    mid: str
    kind: Kind
    column: int
    open: bool = True
    """False while the section is offered inactive."""
    track: int | None = None
    choice: Choice = field(default_factory=Choice)
    """As the core was last told."""


@dataclass
class Member:
    participant: ParticipantId
    may_publish: frozenset[TrackSource]
    slots: dict[str, Slot] = field(default_factory=dict)
    """By MID, in the order of sections; empty until the first offer and after the connection ended."""
    negotiated: bool = False
    """An offer of its present connection was answered."""
    decodes: frozenset[str] = frozenset()
    """Video codecs its receiving sections take; empty until known."""
    shown: tuple[SlotView, ...] = ()
    """As the last SlotsChanged said."""
    needed: tuple[int, int] | None = None
    """(audio, video) slots as the last SlotsNeeded said."""
    heights: Mapping[str, int] = field(default_factory=dict)
    """By MID: device pixels at which its page shows the section."""
    estimate_bps: int | None = None
    """What its path carries, where that is known to be a limit."""


@dataclass(frozen=True)
class Refill:
    """What `refill` wants done, in this order."""

    sources: tuple[tuple[int, int | None], ...]
    """(slot, track) to be pointed anew."""
    events: tuple[MediaEvent, ...]


@dataclass(frozen=True)
class Relayer:
    """What `relayer` wants done."""

    choices: tuple[tuple[int, Choice], ...]
    """(slot, choice) to be told anew."""
    events: tuple[MediaEvent, ...]


class Room:
    def __init__(self, room: RoomId, core_id: int, thread: int) -> None:
        self.id = room
        self.core_id = core_id
        self.thread = thread
        self.members: dict[ParticipantId, Member] = {}
        self.tracks: dict[int, Track] = {}
        self.speakers = Speakers()

    def tracks_of(self, participant: ParticipantId) -> list[Track]:
        return [track for track in self.tracks.values() if track.participant == participant]

    def find_track(self, participant: ParticipantId, mid: str) -> Track | None:
        return next((track for track in self.tracks_of(participant) if track.mid == mid), None)

    def decodable_beside(self, participant: ParticipantId) -> frozenset[str] | None:
        """Video codecs that everybody else can decode; None when nobody else has said."""
        known = [
            member.decodes for member in self.members.values() if member.participant != participant and member.decodes
        ]
        return frozenset.intersection(*known) if known else None

    def refill(self) -> Refill:
        """Allocate every subscriber's slots anew and say what changed since last time."""
        sources: list[tuple[int, int | None]] = []
        events: list[MediaEvent] = []
        loudest = self.speakers.loudest()
        for member in self.members.values():
            candidates = [
                Candidate(track.id, track.participant, track.source)
                for track in self.tracks.values()
                if track.participant != member.participant
            ]
            places = [SlotPlace(slot.id, slot.kind, slot.column) for slot in member.slots.values() if slot.open]
            current = {slot.id: slot.track for slot in member.slots.values()}
            allocation = allocate(places, candidates, current, loudest)
            sources += _apply(member.slots.values(), allocation.fills)
            events += self._tell(member, (allocation.audio_needed, allocation.video_needed))
        return Refill(tuple(sources), tuple(events))

    def relayer(self) -> Relayer:
        """Choose every video slot's encoding anew and say which encodings publishers send because of it."""
        told: list[tuple[int, Choice]] = []
        seen: dict[int, list[str | None]] = {}
        for member in self.members.values():
            slots = {slot.id: slot for slot in member.slots.values() if slot.kind == "video" and slot.track is not None}
            voices = sum(slot.kind == "audio" and slot.track is not None for slot in member.slots.values())
            watches = [self._watch(member, slot) for slot in slots.values()]
            choices = choose(watches, people=len(self.members), voices=voices, estimate_bps=member.estimate_bps)
            for watch in watches:
                slot, choice = slots[watch.slot], choices[watch.slot]
                if watch.height != 0:
                    seen.setdefault(watch.track, []).append(choice.rid)
                if choice != slot.choice:
                    slot.choice = choice
                    told.append((slot.id, choice))
        events: list[MediaEvent] = []
        for track in self.tracks.values():
            rids = wanted_rids(track.rids, seen.get(track.id, ()), people=len(self.members), recorded=bool(track.taps))
            if rids != track.sent:
                track.sent = rids
                events.append(EncodingsWanted(self.id, track.participant, track.mid, rids))
        return Relayer(tuple(told), tuple(events))

    def _watch(self, member: Member, slot: Slot) -> Watch:
        track = self.tracks[slot.track] if slot.track is not None else None
        if track is None:
            raise ValueError("an empty slot shows nothing")
        return Watch(
            slot=slot.id,
            track=track.id,
            rids=track.rids,
            height=member.heights.get(slot.mid),
            is_screen=track.source is TrackSource.screen,
            is_speaking=track.participant in self.speakers.active(),
        )

    def _tell(self, member: Member, needed: tuple[int, int]) -> Iterable[MediaEvent]:
        shown = tuple(self._view(slot) for slot in member.slots.values())
        if shown != member.shown:
            member.shown = shown
            yield SlotsChanged(self.id, member.participant, shown)
        if not member.negotiated or needed == member.needed:
            return
        offered = [slot.kind for slot in member.slots.values() if slot.open]
        if needed[0] > offered.count("audio") or needed[1] > offered.count("video"):
            member.needed = needed
            yield SlotsNeeded(self.id, member.participant, *needed)

    def _view(self, slot: Slot) -> SlotView:
        track = self.tracks.get(slot.track) if slot.track is not None else None
        if track is None:
            return SlotView(slot.mid, None, None, muted=False)
        return SlotView(slot.mid, track.participant, track.source, track.muted)


def _apply(slots: Iterable[Slot], fills: Mapping[int, int | None]) -> Iterable[tuple[int, int | None]]:
    for slot in slots:
        track = fills.get(slot.id)
        if track != slot.track:
            slot.track = track
            yield slot.id, track
