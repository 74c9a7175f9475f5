"""One camera through the blur, by port messages: what comes out, and that nothing does where it must not."""

from collections.abc import Sequence

import numpy as np
import pytest

from media.blur.codec import MOST_PIXELS, Picture, Plane, is_keyframe
from media.blur.port import Frame, Gap, KeyframeWanted, Message, Rate
from media.blur.segment import MODEL_SIZE
from media.blur.stream import ASK_AGAIN_S, Stream
from media.types import Background
from tests.helpers.blurring import Viewer, edges, encoded, picture_of, written_wall

LEGIBLE, GONE = 10, 2


class RightHalf:
    """Sees a person in the right half of every picture; fails when told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.turns = 0

    def segment(self, picture: Picture, turns: int) -> Plane:
        self.asked += 1
        self.turns = turns
        if self.fails:
            raise RuntimeError("no memory")
        mask = np.zeros(MODEL_SIZE[::-1], np.uint8)
        mask[:, MODEL_SIZE[0] // 2 :] = 255
        return mask


@pytest.fixture
def segmenter() -> RightHalf:
    return RightHalf()


@pytest.fixture
def stream(segmenter: RightHalf) -> Stream:
    return Stream(segmenter, Background.strong)


def wall(width: int = 640, height: int = 480) -> Picture:
    return picture_of(written_wall(width, height))


def through(stream: Stream, frames: Sequence[tuple[int, bytes]], now: float = 0.0) -> list[Message]:
    out: list[Message] = []
    for ts, data in frames:
        out += stream.take(Frame(ts, data), now)
        out += stream.work(now)
    return out


def pictures(messages: Sequence[Message]) -> list[Picture]:
    viewer = Viewer()
    return [viewer.see(message.data) for message in messages if isinstance(message, Frame)]


def test_every_picture_from_the_first_on_is_blurred_and_keeps_its_timestamp(stream: Stream) -> None:
    assert edges(wall()) > LEGIBLE
    frames = encoded([wall()] * 5, first_ts=2**32 - 6000)
    out = through(stream, frames)
    assert [message.rtp_ts for message in out if isinstance(message, Frame)] == [ts for ts, _ in frames]
    assert max(edges(picture) for picture in pictures(out)) < GONE
    assert [is_keyframe(message.data) for message in out if isinstance(message, Frame)] == [True, *[False] * 4]


def test_the_person_stays_sharp(stream: Stream) -> None:
    (seen,) = pictures(through(stream, encoded([wall()])))
    person = seen.y[:, 400:600].astype(int)
    assert np.abs(np.diff(person, axis=1)).mean() > LEGIBLE


@pytest.mark.parametrize("effect", [effect for effect in Background if effect is not Background.off])
def test_every_effect_hides_the_writing(segmenter: RightHalf, effect: Background) -> None:
    seen = pictures(through(Stream(segmenter, effect), encoded([wall()] * 2)))
    assert max(map(edges, seen)) < GONE


def test_an_effect_chosen_later_holds_from_the_next_picture(stream: Stream) -> None:
    first, second = encoded([wall()] * 2)
    out = through(stream, [first])
    stream.effect = Background.colour
    plain = pictures([*out, *through(stream, [second])])[1]
    assert plain.y[:, 4:100].std() < 1.5


def test_before_a_keyframe_nothing_comes_and_one_is_asked_for_now_and_then(stream: Stream) -> None:
    _, *later = encoded([wall()] * 4)
    assert through(stream, later[:1], now=10.0) == [KeyframeWanted()]
    assert through(stream, later[1:2], now=10.1) == []
    assert through(stream, later[2:], now=10.1 + ASK_AGAIN_S) == [KeyframeWanted()]


def test_after_a_loss_everything_is_left_out_until_a_keyframe(stream: Stream) -> None:
    frames = encoded([wall()] * 4)
    through(stream, frames[:1])
    ts, data = frames[2]
    assert stream.take(Frame(ts, data, discontinuity=True), 1.0) == [Gap(), KeyframeWanted()]
    assert stream.work(1.0) == []
    assert through(stream, frames[3:], now=1.1) == []
    assert not stream.flows
    (back,) = through(stream, encoded([wall()], first_ts=90_000), now=1.2)
    assert isinstance(back, Frame)
    assert back.keyframe
    assert stream.flows


def test_a_keyframe_after_a_loss_is_taken_at_once(stream: Stream) -> None:
    through(stream, encoded([wall()]))
    ((ts, data),) = encoded([wall()], first_ts=90_000)
    assert stream.take(Frame(ts, data, discontinuity=True), 1.0) == []
    assert len(stream.work(1.0)) == 1


def test_a_damaged_picture_is_a_loss(stream: Stream) -> None:
    through(stream, encoded([wall()]))
    assert through(stream, [(3750, b"\x01")], now=1.0) == [Gap(), KeyframeWanted()]


def test_a_fault_of_the_segmenter_shows_nothing_and_passes(stream: Stream, segmenter: RightHalf) -> None:
    through(stream, encoded([wall()]))
    segmenter.fails = True
    assert through(stream, encoded([wall()]), now=1.0) == [Gap(), KeyframeWanted()]
    segmenter.fails = False
    out = through(stream, encoded([wall()], first_ts=90_000), now=2.0)
    assert edges(pictures(out)[0]) < GONE


def test_only_the_newest_picture_is_worked_on(stream: Stream, segmenter: RightHalf) -> None:
    frames = encoded([wall()] * 5)
    for ts, data in frames:
        stream.take(Frame(ts, data), 0.0)
    (only,) = stream.work(0.0)
    assert isinstance(only, Frame)
    assert only.rtp_ts == frames[-1][0]
    assert segmenter.asked == 1
    assert stream.work(0.0) == []
    assert stream.waiting_since is None


def test_in_a_hurry_every_second_picture_takes_the_mask_before_it(stream: Stream, segmenter: RightHalf) -> None:
    out: list[Message] = []
    for ts, data in encoded([wall()] * 6):
        stream.take(Frame(ts, data), 0.0)
        out += stream.work(0.0, hurried=True)
    assert segmenter.asked == 3
    assert max(map(edges, pictures(out))) < GONE


def test_a_new_size_is_blurred_from_its_first_picture_on(stream: Stream) -> None:
    out = through(stream, [*encoded([wall()] * 2), *encoded([wall(320, 240)] * 2, 7500), *encoded([wall()], 15000)])
    seen = pictures(out)
    assert [picture.size for picture in seen] == [(640, 480)] * 2 + [(320, 240)] * 2 + [(640, 480)]
    assert max(map(edges, seen)) < GONE
    assert [message.keyframe for message in out if isinstance(message, Frame)] == [True, False, True, False, True]


def test_the_segmenter_is_told_how_a_phone_is_held(stream: Stream, segmenter: RightHalf) -> None:
    first, second = encoded([wall()] * 2)
    for (ts, data), orientation, turns in ((first, 0b1001, 1), (second, 0, 0)):
        stream.take(Frame(ts, data, orientation=orientation), 0.0)
        assert len(stream.work(0.0)) == 1
        assert segmenter.turns == turns


def test_odd_sizes_pass(stream: Stream) -> None:
    odd = wall(320, 240)
    cut = Picture(odd.y[:179, :319], odd.u[:90, :160], odd.v[:90, :160])
    (seen,) = pictures(through(stream, encoded([cut])))
    assert seen.size == (319, 179)


def test_a_large_picture_is_given_out_smaller(stream: Stream) -> None:
    (seen,) = pictures(through(stream, encoded([wall(1280, 720)])))
    assert seen.size == (738, 414)
    assert edges(seen) < GONE


def test_a_picture_beyond_all_bounds_is_not_even_decoded(stream: Stream) -> None:
    ((ts, data),) = encoded([wall()])
    huge = data[:6] + (16_383).to_bytes(2, "little") * 2 + data[10:]
    assert MOST_PIXELS < 16_383**2
    assert through(stream, [(ts, huge)]) == [KeyframeWanted()]


def test_a_keyframe_is_made_when_the_core_wants_one_and_when_a_picture_was_not_sent(stream: Stream) -> None:
    frames = encoded([wall()] * 4)
    through(stream, frames[:1])
    assert stream.take(KeyframeWanted(), 0.0) == []
    (asked,) = through(stream, frames[1:2])
    (next_one,) = through(stream, frames[2:3])
    stream.unsent()
    (mended,) = through(stream, frames[3:])
    assert [is_keyframe(one.data) for one in (asked, next_one, mended) if isinstance(one, Frame)] == [True, False, True]


def test_the_rate_is_the_cores_word() -> None:
    moving = [picture_of(np.roll(written_wall(), 12 * number, axis=1)) for number in range(36)]
    frames = encoded(moving)

    def bytes_at(bps: int) -> int:
        stream = Stream(RightHalf(), Background.light)
        stream.take(Rate(bps), 0.0)
        return sum(len(message.data) for message in through(stream, frames) if isinstance(message, Frame))

    assert bytes_at(300_000) < 0.6 * bytes_at(1_500_000)
