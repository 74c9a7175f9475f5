"""The rule that fills one subscriber's slots."""

from hypothesis import given
from hypothesis import strategies as st

from media.allocation import MAX_AUDIO_SLOTS, Candidate, SlotPlace, allocate
from media.types import ParticipantId, TrackSource

MIC, CAM, SCREEN, SOUND = (
    TrackSource.microphone,
    TrackSource.camera,
    TrackSource.screen,
    TrackSource.screen_audio,
)
A0, V0, A1, V1, A2, V2 = (
    SlotPlace(100 + number, kind, number // 2) for number, kind in enumerate(("audio", "video") * 3)
)


def track(number: int, who: str, source: TrackSource) -> Candidate:
    return Candidate(number, ParticipantId(who), source)


def test_the_other_persons_microphone_and_camera_fill_the_first_slots() -> None:
    result = allocate([A0, V0], [track(1, "ann", MIC), track(2, "ann", CAM)], {})
    assert result.fills == {A0.slot: 1, V0.slot: 2}
    assert (result.audio_needed, result.video_needed) == (1, 1)


def test_a_screen_needs_a_second_video_slot_and_gets_it_when_it_is_there() -> None:
    tracks = [track(1, "ann", MIC), track(2, "ann", CAM), track(3, "ann", SCREEN)]
    first = allocate([A0, V0], tracks, {A0.slot: 1, V0.slot: 2})
    assert first.fills == {A0.slot: 1, V0.slot: 2}
    assert first.video_needed == 2
    second = allocate([A0, V0, V1], tracks, first.fills)
    assert second.fills == {A0.slot: 1, V0.slot: 2, V1.slot: 3}


def test_fills_that_hold_are_never_moved() -> None:
    tracks = [track(1, "ann", CAM), track(2, "bob", CAM)]
    assert allocate([V0, V1], tracks, {V0.slot: 2, V1.slot: 1}).fills == {V0.slot: 2, V1.slot: 1}


def test_a_persons_sound_and_picture_share_a_column() -> None:
    tracks = [track(1, "ann", MIC), track(2, "bob", CAM), track(3, "bob", MIC), track(4, "ann", CAM)]
    fills = allocate([A0, V0, A1, V1], tracks, {}).fills
    assert {fills[A0.slot], fills[V0.slot]} in ({1, 4}, {2, 3})
    assert {fills[A1.slot], fills[V1.slot]} in ({1, 4}, {2, 3})


def test_a_screen_keeps_out_of_its_owners_column() -> None:
    tracks = [track(1, "ann", MIC), track(2, "ann", SCREEN), track(3, "ann", SOUND), track(4, "ann", CAM)]
    fills = allocate([A0, V0, A1, V1], tracks, {}).fills
    columns = [{fills[A0.slot], fills[V0.slot]}, {fills[A1.slot], fills[V1.slot]}]
    assert sorted(columns, key=min) == [{1, 4}, {2, 3}]


def test_a_track_that_ended_leaves_its_slot_to_the_next() -> None:
    result = allocate([A0, V0], [track(5, "bob", CAM)], {A0.slot: 1, V0.slot: 2})
    assert result.fills == {A0.slot: None, V0.slot: 5}


def test_the_loudest_get_the_audio_slots() -> None:
    people = [ParticipantId(f"p{number}") for number in range(MAX_AUDIO_SLOTS + 2)]
    tracks = [track(number, who, MIC) for number, who in enumerate(people)]
    places = [SlotPlace(200 + number, "audio", number) for number in range(MAX_AUDIO_SLOTS)]
    quiet_first = allocate(places, tracks, {})
    assert set(quiet_first.fills.values()) == set(range(MAX_AUDIO_SLOTS))
    assert quiet_first.audio_needed == MAX_AUDIO_SLOTS
    loud = allocate(places, tracks, quiet_first.fills, loudest=[people[7]])
    assert 7 in loud.fills.values()
    kept = set(loud.fills.values()) & set(quiet_first.fills.values())
    assert len(kept) == MAX_AUDIO_SLOTS - 1


def test_screen_sound_is_never_pushed_out_by_voices() -> None:
    voices = [track(number, f"p{number}", MIC) for number in range(MAX_AUDIO_SLOTS)]
    places = [SlotPlace(200 + number, "audio", number) for number in range(MAX_AUDIO_SLOTS)]
    fills = allocate(places, [*voices, track(99, "p0", SOUND)], {}, loudest=[v.publisher for v in voices]).fills
    assert 99 in fills.values()


sources = st.sampled_from(list(TrackSource))
people = st.sampled_from([ParticipantId(letter) for letter in "abcdef"])
candidates = st.lists(st.tuples(people, sources), unique=True, max_size=24).map(
    lambda pairs: [Candidate(number, who, source) for number, (who, source) in enumerate(pairs)]
)
places = st.lists(st.sampled_from(["audio", "video"]), max_size=20).map(
    lambda kinds: [SlotPlace(500 + n, kind, kinds[:n].count(kind)) for n, kind in enumerate(kinds)]
)


@given(places, candidates, st.dictionaries(st.integers(500, 520), st.integers(0, 30), max_size=8))
def test_every_slot_holds_at_most_one_fitting_track_and_none_twice(
    slots: list[SlotPlace], tracks: list[Candidate], current: dict[int, int]
) -> None:
    kinds = {place.slot: place.kind for place in slots}
    of_track = {candidate.track: candidate.source.kind for candidate in tracks}
    before = {slot: t for slot, t in current.items() if of_track.get(t) == kinds.get(slot)}
    before = {slot: t for slot, t in before.items() if list(before.values()).count(t) == 1}
    result = allocate(slots, tracks, before)
    assert set(result.fills) == set(kinds)
    filled = [t for t in result.fills.values() if t is not None]
    assert len(filled) == len(set(filled))
    assert all(of_track[t] == kinds[slot] for slot, t in result.fills.items() if t is not None)
    for kind, needed in (("audio", result.audio_needed), ("video", result.video_needed)):
        there = list(kinds.values()).count(kind)
        wanted = sum(of_track[t] == kind for t in of_track)
        used = sum(of_track[t] == kind for t in filled)
        assert used == min(there, wanted, needed), "no slot stays empty while a track waits"
