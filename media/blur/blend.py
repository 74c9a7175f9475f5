"""The person sharp, what is behind them blurred or replaced: on 8-bit planes, the blur on a quarter of each side.

The same picture that web/static/js/room/blur-gl.js draws in browsers, so that both paths look alike: the same curves,
the same width of blur, the same plain colour. Pure functions of a picture and its mask; a full-size RGB Gaussian would
cost 22 ms a picture, this costs about one.
"""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from media.blur.codec import Picture, Plane
from media.types import Background

SHRINK: Final = 4
SIGMA: Final = {Background.light: 2.75, Background.strong: 4.8}
"""Of the blur, in pixels of a quarter-size picture: as many as the browser's two and six passes come to."""
COLOUR_YUV: Final = (101, 125, 123)
"""The app's quiet grey-green (#5C6B63) in BT.601, studio range."""


def _curve(low: float, high: float) -> Plane:
    """A look-up table: 0 below `low`, 255 above `high`, smooth between (GLSL's smoothstep)."""
    t = np.clip((np.arange(256) / 255 - low) / (high - low), 0, 1)
    return np.round(255 * t * t * (3 - 2 * t)).astype(np.uint8)


LEAST_WEIGHT: Final = 0.004
"""Deep in a person no background is near enough to be known; nothing of it shows there."""
PERSON: Final = _curve(0.35, 0.75)
BEHIND: Final = np.maximum(1 - _curve(0.05, 0.4).astype(np.float32) / 255, LEAST_WEIGHT)
"""How much a point counts as background: the person's colours must not run into the blur around them."""


def blend(picture: Picture, mask: Plane, effect: Background) -> Picture:
    """`mask` of any size, stretched over the picture; 255 is a person."""
    width, height = picture.size
    backgrounds = _plain if effect is Background.colour else _blurred(mask, SIGMA[effect])
    alphas = {size: cv2.LUT(cv2.resize(mask, size), PERSON) for size in {(width, height), _size(picture.u)}}
    planes = (
        _over(plane, backgrounds(plane, number), alphas[_size(plane)])
        for number, plane in enumerate((picture.y, picture.u, picture.v))
    )
    return Picture(*planes)


def _size(plane: Plane) -> tuple[int, int]:
    return plane.shape[1], plane.shape[0]


def _over(sharp: Plane, background: Plane, alpha: Plane) -> Plane:
    front = cv2.multiply(sharp, alpha, scale=1 / 255)
    back = cv2.multiply(background, cv2.bitwise_not(alpha), scale=1 / 255)
    return cv2.add(front, back)


def _plain(plane: Plane, number: int) -> Plane:
    return np.full_like(plane, COLOUR_YUV[number])


def _blurred(mask: Plane, sigma: float) -> Callable[[Plane, int], Plane]:
    weights: dict[tuple[int, int], tuple[Plane, Plane]] = {}

    def background(plane: Plane, number: int) -> Plane:
        width, height = _size(plane)
        small = max(1, width // SHRINK), max(1, height // SHRINK)
        wide = sigma if number == 0 else sigma / 2
        if small not in weights:
            weight = cv2.LUT(cv2.resize(mask, small), BEHIND)
            weights[small] = weight, cv2.GaussianBlur(weight, (0, 0), wide)
        weight, known = weights[small]
        shrunk = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
        spread = cv2.GaussianBlur(cv2.multiply(shrunk, weight, dtype=cv2.CV_32F), (0, 0), wide)
        return cv2.resize(cv2.divide(spread, known, dtype=cv2.CV_8U), (width, height))

    return background
