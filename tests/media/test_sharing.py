"""The rules that share a subscriber's estimate and cap publishers."""

from hypothesis import given
from hypothesis import strategies as st

from media.sharing import AUDIO_BPS, ENOUGH_BPS, LEAST_BPS, Want, cap, next_cap, share
from media.types import TrackSource

MIC, CAM, SCREEN, SOUND = (
    TrackSource.microphone,
    TrackSource.camera,
    TrackSource.screen,
    TrackSource.screen_audio,
)


def want(slot: int, source: TrackSource, *, speaking: bool = False) -> Want:
    return Want(slot, source, speaking)


def test_sound_is_set_aside_before_pictures_get_anything() -> None:
    assert share(200_000, [want(1, MIC), want(2, CAM)], ()) == {2: 190_000 - AUDIO_BPS}
    assert share(110_000, [want(1, MIC), want(2, CAM)], ()) == {2: 0}
    assert share(30_000, [want(1, MIC), want(3, SOUND)], ()) == {}


def test_a_screen_comes_before_the_speaker_and_the_speaker_before_the_rest() -> None:
    wants = [want(1, CAM), want(2, CAM, speaking=True), want(3, SCREEN)]
    assert share(120_000, wants, ()) == {3: 114_000, 2: 0, 1: 0}
    assert share(180_000, wants, ()) == {3: 111_000, 2: LEAST_BPS[CAM], 1: 0}
    wide = share(6_000_000, wants, ())
    assert wide == {3: ENOUGH_BPS[SCREEN], 2: 1_640_000, 1: LEAST_BPS[CAM]}


def test_cameras_of_equal_rank_get_the_same() -> None:
    shares = share(1_000_000, [want(slot, CAM) for slot in range(4)], ())
    assert max(shares.values()) - min(shares.values()) <= 1
    assert sum(shares.values()) <= 950_000


def test_a_paused_picture_comes_back_only_with_clearly_more_than_the_least() -> None:
    wants = [want(1, CAM)]
    assert share(70_000, wants, ()) == {1: 66_500}
    assert share(90_000, wants, {1}) == {1: 0}
    assert share(100_000, wants, {1}) == {1: 95_000}


@given(
    st.integers(0, 50_000_000),
    st.lists(st.tuples(st.sampled_from(TrackSource), st.booleans(), st.booleans()), max_size=30),
)
def test_shares_never_exceed_what_sound_leaves(bps: int, tracks: list[tuple[TrackSource, bool, bool]]) -> None:
    wants = [Want(slot, source, speaking) for slot, (source, speaking, _) in enumerate(tracks)]
    paused = {slot for slot, (_, _, is_paused) in enumerate(tracks) if is_paused}
    shares = share(bps, wants, paused)
    assert shares.keys() == {one.slot for one in wants if one.source.kind == "video"}
    sounds = AUDIO_BPS * sum(one.source.kind == "audio" for one in wants)
    assert sum(shares.values()) <= max(0, bps - sounds)
    for one in wants:
        if one.slot in shares:
            assert shares[one.slot] == 0 or LEAST_BPS[one.source] <= shares[one.slot] <= ENOUGH_BPS[one.source]


def test_a_cap_counts_all_that_the_publisher_sends() -> None:
    assert cap([], 1) is None
    assert cap([(CAM, None)], 1) is None
    assert cap([(CAM, 300_000)], 1) == 300_000 + AUDIO_BPS
    assert cap([(CAM, 300_000), (SCREEN, None)], 2) == 300_000 + ENOUGH_BPS[SCREEN] + 2 * AUDIO_BPS


def test_caps_fall_at_once_and_grow_in_steps() -> None:
    assert next_cap(500_000, 490_000) == 490_000
    assert next_cap(500_000, 540_000) == 500_000
    assert next_cap(500_000, 550_000) == 550_000
    assert next_cap(500_000, None) is None
    assert next_cap(None, 500_000) == 500_000
