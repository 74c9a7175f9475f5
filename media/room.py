"""One room's state: who is in, what they publish, which track fills whose slot. Pure: no core, no clock, no network.

`media/rooms.py` changes it and carries out what it says: `refill` and `reshare` answer with the slots to point
elsewhere, their shares and encodings, the publishers' caps, and the events to tell. Lists keep the order of
publication, because that is the order in which slots fill.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from media.allocation import Candidate, SlotPlace, allocate
from media.layers import Choice, Watch, choose, wanted_rids
from media.sharing import Want, cap, narrowest, next_cap, share
from media.speakers import Speakers
from media.types import (
    Background,
    BackgroundState,
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
    wanted_private: bool = False
    """As the core was last told; then only blurred pictures of it are seen (media/backgrounds.py)."""
    background: BackgroundState = BackgroundState.off

    @property
    def is_veiled(self) -> bool:
        return self.background in (BackgroundState.starting, BackgroundState.unavailable)

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
    share_bps: int | None = None
    """What it may use of the subscriber's estimate; None: no limit is known. 0: paused."""


@dataclass
class Member:
    participant: ParticipantId
    may_publish: frozenset[TrackSource]
    slots: dict[str, Slot] = field(default_factory=dict)
    """By MID, in the order of sections; empty until the first offer and after the connection ended."""
    background: Background = Background.off
    """How they wish their camera to be seen."""
    spoke_of_background: bool = False
    """Be it only to say "off": they may soon want it hidden."""
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
    """What its path carries towards it, sound included; None: no limit of the path is known."""
    cap_bps: int | None = None
    """On what it publishes, as the core was told last."""


@dataclass(frozen=True)
class Changes:
    """What is to be done, in this order."""

    sources: list[tuple[int, int | None]]
    """(slot, track) to be pointed anew."""
    shares: list[tuple[int, int | None]]
    """(slot, bits per second)."""
    caps: list[tuple[ParticipantId, int | None]]
    choices: list[tuple[int, Choice]]
    """(slot, encoding)."""
    events: list[MediaEvent]


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

    def refill(self) -> Changes:
        """Allocate every subscriber's slots anew and say what changed since last time."""
        sources: list[tuple[int, int | None]] = []
        needed: list[tuple[int, int]] = []
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
            needed.append((allocation.audio_needed, allocation.video_needed))
        changes = self.reshare()
        for member, wanted in zip(self.members.values(), needed, strict=True):
            changes.events.extend(self._tell_needed(member, wanted))
        return replace(changes, sources=sources)

    def reshare(self) -> Changes:
        """Share every subscriber's estimate, choose every encoding anew, and say what changed since last time."""
        speaking, members = self.speakers.active(), self.members.values()
        shares = [changed for member in members for changed in self._share(member, speaking)]
        caps = [changed for member in members for changed in self._cap(member)]
        events = [event for member in members for event in self._tell_shown(member)]
        seen: dict[int, list[str | None]] = {}
        choices = [changed for member in members for changed in self._choose(member, seen)]
        events += self._tell_encodings(seen)
        return Changes([], shares, caps, choices, events)

    def _share(self, member: Member, speaking: Collection[ParticipantId]) -> Iterable[tuple[int, int | None]]:
        slots = list(member.slots.values())
        shares: Mapping[int, int] = {}
        if member.estimate_bps is not None:
            shown = [(slot, self.tracks[slot.track]) for slot in slots if slot.track in self.tracks]
            wants = [Want(slot.id, t.source, t.participant in speaking) for slot, t in shown if not t.muted]
            shares = share(member.estimate_bps, wants, {slot.id for slot in slots if slot.share_bps == 0})
        for slot in slots:
            if slot.share_bps != shares.get(slot.id):
                slot.share_bps = shares.get(slot.id)
                yield slot.id, slot.share_bps

    def _cap(self, publisher: Member) -> Iterable[tuple[ParticipantId, int | None]]:
        """Where one encoding serves all who watch, the narrowest path that still gets a picture sets its rate.

        A private camera goes no further than the blur, whose own encoder keeps to what the paths carry: a cap on the
        camera, too, would only make its pictures worse twice.
        """
        tracks = [track for track in self.tracks_of(publisher.participant) if not track.muted]
        sounds = sum(track.source.kind == "audio" for track in tracks)
        watched = [(track, shares) for track in tracks if (shares := self._shares_of(track))]
        limits = [
            (track.source, None if self._adapts(track) else narrowest(track.source, shares))
            for track, shares in watched
        ]
        cap_bps = next_cap(publisher.cap_bps, cap(limits, sounds))
        if cap_bps != publisher.cap_bps:
            publisher.cap_bps = cap_bps
            yield publisher.participant, cap_bps

    def _shares_of(self, track: Track) -> list[int | None]:
        slots = (slot for member in self.members.values() for slot in member.slots.values())
        return [slot.share_bps for slot in slots if slot.track == track.id and slot.kind == "video"]

    def _adapts(self, track: Track) -> bool:
        """What its subscribers get suits their paths whatever its publisher sends."""
        return track.wanted_private or (bool(track.rids) and len(self.members) > 2)

    def _choose(self, member: Member, seen: dict[int, list[str | None]]) -> Iterable[tuple[int, Choice]]:
        """Adds to `seen` the encodings of each track that somebody looks at."""
        slots = {slot.id: slot for slot in member.slots.values() if slot.kind == "video" and slot.track is not None}
        heard = (slot for slot in member.slots.values() if slot.kind == "audio")
        voices = sum(not self.tracks[slot.track].muted for slot in heard if slot.track in self.tracks)
        watches = [self._watch(member, slot) for slot in slots.values()]
        choices = choose(watches, people=len(self.members), voices=voices, estimate_bps=member.estimate_bps)
        for watch in watches:
            slot, choice = slots[watch.slot], choices[watch.slot]
            if watch.height != 0:
                seen.setdefault(watch.track, []).append(choice.rid)
            if choice != slot.choice:
                slot.choice = choice
                yield slot.id, choice

    def _tell_encodings(self, seen: Mapping[int, list[str | None]]) -> Iterable[MediaEvent]:
        for track in self.tracks.values():
            rids = wanted_rids(track.rids, seen.get(track.id, ()), people=len(self.members), recorded=bool(track.taps))
            if rids != track.sent:
                track.sent = rids
                yield EncodingsWanted(self.id, track.participant, track.mid, rids)

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
            is_muted=track.muted,
        )

    def _tell_shown(self, member: Member) -> Iterable[MediaEvent]:
        shown = tuple(self._view(slot) for slot in member.slots.values())
        if shown != member.shown:
            member.shown = shown
            yield SlotsChanged(self.id, member.participant, shown)

    def _tell_needed(self, member: Member, needed: tuple[int, int]) -> Iterable[MediaEvent]:
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
        return SlotView(
            slot.mid, track.participant, track.source, track.muted, paused=slot.share_bps == 0, veiled=track.is_veiled
        )


def _apply(slots: Iterable[Slot], fills: Mapping[int, int | None]) -> Iterable[tuple[int, int | None]]:
    for slot in slots:
        track = fills.get(slot.id)
        if track != slot.track:
            slot.track = track
            yield slot.id, track
