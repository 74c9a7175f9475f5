"""How well the person is told from what is behind them, on pictures whose masks are known by making (portraits.py)."""

import shutil
import subprocess
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from media.blur.blend import PERSON
from media.blur.port import Frame
from media.blur.segment import Segmenter, Steadied
from media.blur.stream import Stream
from media.types import Background
from tests.helpers.blurring import MODEL, Viewer, encoded, picture_of, rgb_of, written_wall
from tests.helpers.portraits import Portrait, admiral, astronaut

WIDTH, HEIGHT = 640, 480
BAND_PX = 12
"""Around the person nothing is promised."""
LEAST_IOU = 0.9


def garden() -> np.ndarray:
    """Soft and colourful, the opposite of the written wall."""
    dice = np.random.default_rng(3)
    coarse = dice.integers(40, 220, (12, 16, 3), np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def shelves() -> np.ndarray:
    """Books in rows: hard edges in the colours of clothes."""
    dice = np.random.default_rng(5)
    room = np.full((HEIGHT, WIDTH, 3), (120, 96, 70), np.uint8)
    for top in range(20, HEIGHT, 110):
        left = 10
        while left < WIDTH - 40:
            wide, high = int(dice.integers(14, 34)), int(dice.integers(60, 90))
            colour = tuple(int(part) for part in dice.integers(30, 200, 3))
            cv2.rectangle(room, (left, top + 90 - high), (left + wide, top + 90), colour, -1)
            left += wide + 3
    return room


@pytest.fixture(scope="module")
def segmenter() -> Iterator[Segmenter]:
    one = Segmenter(MODEL)
    yield one
    one.close()


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    found, truth = found > 127, truth > 127
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("share", [0.7, 0.85, 1.0])
@pytest.mark.parametrize("wall", [written_wall, garden, shelves])
@pytest.mark.parametrize("person", [astronaut, admiral])
def test_masks_overlap_the_truth_by_nine_tenths_while_the_person_moves(
    segmenter: Segmenter, person: Callable[[], Portrait], wall: Callable[[], np.ndarray], share: float
) -> None:
    portrait, background, steadied = person(), wall(), Steadied()
    overlaps = []
    for left in range(20, 220, 20):
        picture, truth = portrait.before(background, share=share, left=left)
        mask = steadied.add(segmenter.segment(picture_of(picture)))
        overlaps.append(overlap(cv2.LUT(cv2.resize(mask, (WIDTH, HEIGHT)), PERSON), truth))
    assert min(overlaps) >= LEAST_IOU, [round(one, 3) for one in overlaps]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_picture_that_lies_is_understood(segmenter: Segmenter, turns: int) -> None:
    picture, truth = admiral().before(garden(), share=0.9, left=120)
    mask = segmenter.segment(picture_of(np.rot90(picture, turns)), turns)
    lying = np.rot90(truth, turns)
    found = cv2.LUT(cv2.resize(mask, lying.shape[::-1]), PERSON)
    assert overlap(found, lying) >= LEAST_IOU


def words_read(picture: np.ndarray) -> set[str]:
    """Tesseract's, of three letters and more, at twice the size, as it likes its text."""
    large = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    png = cv2.imencode(".png", cv2.cvtColor(large, cv2.COLOR_RGB2BGR))[1].tobytes()
    tesseract = shutil.which("tesseract")
    assert tesseract, "Debian's tesseract-ocr is needed (make test-prerequisites)"
    command = [tesseract, "stdin", "stdout", "--psm", "11"]
    done = subprocess.run(command, input=png, capture_output=True, check=True, timeout=100)  # noqa: S603  ours
    return {word.strip(".,:;'|").lower() for word in done.stdout.decode().split() if len(word) > 2}


@pytest.mark.parametrize("effect", [Background.light, Background.strong])
@pytest.mark.parametrize("person", [astronaut, admiral])
def test_no_word_behind_the_person_can_be_read(
    segmenter: Segmenter, person: Callable[[], Portrait], effect: Background
) -> None:
    written = {"nobody", "else", "may", "read", "this"}
    portrait, stream, viewer = person(), Stream(segmenter, effect), Viewer()
    pictures, masks = zip(
        *(portrait.before(written_wall(), share=0.75, left=left) for left in range(100, 180, 8)), strict=True
    )
    seen = []
    for ts, data in encoded([picture_of(picture) for picture in pictures]):
        stream.take(Frame(ts, data), 0.0)
        (blurred,) = stream.work(0.0)
        assert isinstance(blurred, Frame)
        seen.append(rgb_of(viewer.see(blurred.data)))
    for number in (0, 4, 9):
        band = cv2.dilate(masks[number], cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND_PX + 1,) * 2)) > 0
        raw, blurred = pictures[number].copy(), seen[number].copy()
        raw[band] = blurred[band] = 230
        assert len(words_read(raw) & written) >= 4, "the text must be legible without the blur"
        assert words_read(blurred) & written == set()
