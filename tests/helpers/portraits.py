"""Two people cut out of public-domain portraits, to be put before any background, with masks that are true by making.

The outlines were found by GrabCut from strokes by hand, looked at and mended by hand (collar, cap, hair), never by the
segmenter that they test. What a picture shows of the person is exactly what lies inside the moved and scaled outline,
whatever a segmenter thinks of it; so the outline is the truth about the picture and not an opinion.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image

# fmt: off
ASTRONAUT_OUTLINE = [
    (277, 32), (252, 19), (226, 16), (201, 23), (185, 38), (174, 43), (157, 57), (153, 67), (154, 94), (158, 105),
    (168, 115), (172, 125), (182, 135), (185, 152), (177, 153), (159, 148), (140, 154), (128, 165), (125, 181),
    (120, 186), (116, 200), (90, 227), (79, 233), (64, 247), (44, 282), (36, 313), (33, 315), (28, 328), (24, 347),
    (363, 347), (360, 342), (361, 329), (357, 323), (356, 301), (353, 289), (347, 281), (339, 261), (303, 232),
    (300, 221), (285, 195), (271, 186), (256, 172), (263, 140), (274, 133), (294, 111), (300, 93), (300, 76),
    (295, 56), (287, 41),
]
"""Of scikit-image's astronaut (Eileen Collins, NASA), its upper 348 rows: below, she holds a helmet."""
ADMIRAL_OUTLINE = [
    (218, 31), (214, 37), (216, 43), (186, 62), (173, 86), (158, 100), (148, 102), (145, 105), (145, 158),
    (161, 157), (155, 220), (160, 226), (170, 260), (167, 279), (173, 287), (189, 294), (194, 299), (196, 318),
    (182, 334), (165, 344), (134, 353), (121, 360), (96, 363), (83, 367), (58, 381), (52, 382), (46, 389), (38, 410),
    (24, 421), (23, 426), (27, 433), (27, 462), (17, 523), (11, 599), (511, 599), (511, 440), (508, 439), (493, 395),
    (487, 389), (464, 377), (419, 365), (363, 341), (339, 323), (331, 313), (332, 308), (358, 291), (362, 268),
    (362, 252), (367, 227), (370, 222), (369, 210), (375, 197), (374, 188), (368, 180), (371, 133), (369, 130),
    (369, 99), (365, 90), (356, 85), (346, 68), (320, 44), (300, 42), (293, 34), (279, 26), (247, 23), (227, 31),
]
"""Of matplotlib's grace_hopper.jpg (US Navy)."""
# fmt: on


@dataclass(frozen=True)
class Portrait:
    rgb: np.ndarray
    mask: np.ndarray
    """255 inside the outline, 0 outside."""

    def before(self, wall: np.ndarray, *, share: float, left: int) -> tuple[np.ndarray, np.ndarray]:
        """(picture, mask): the person stands on the lower edge, `share` of the wall's height tall."""
        height, width = wall.shape[:2]
        size = round(self.rgb.shape[1] * share * height / self.rgb.shape[0]), round(share * height)
        rgb = cv2.resize(self.rgb, size, interpolation=cv2.INTER_AREA)
        inside = cv2.resize(self.mask, size, interpolation=cv2.INTER_AREA)
        begin, end = max(0, left), min(width, left + size[0])
        mask = np.zeros((height, width), np.uint8)
        mask[height - size[1] :, begin:end] = inside[:, begin - left : end - left]
        placed = wall.copy()
        placed[height - size[1] :, begin:end] = rgb[:, begin - left : end - left]
        alpha = mask[..., None] / 255
        return np.round(placed * alpha + wall * (1 - alpha)).astype(np.uint8), mask


def _portrait(rgb: np.ndarray, outline: list[tuple[int, int]]) -> Portrait:
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.array(outline, np.int32)], (255,))
    return Portrait(rgb, mask)


def astronaut() -> Portrait:
    from skimage import data  # the benchmarks do with the other one

    picture: np.ndarray = data.astronaut()  # type: ignore[no-untyped-call]  # the library is half typed
    return _portrait(picture[:348], ASTRONAUT_OUTLINE)


def admiral() -> Portrait:
    path = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return _portrait(np.asarray(Image.open(path).convert("RGB")), ADMIRAL_OUTLINE)
