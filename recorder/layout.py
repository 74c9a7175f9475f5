"""Where each person and each shared screen stands in the composed picture. Pure arithmetic, in pixels.

Everything is even, because colour is stored at half the size (YUV 4:2:0).
"""

from dataclasses import dataclass
from typing import Final

WIDTH: Final = 1280
HEIGHT: Final = 720
SCREEN_WIDTH: Final = 960
"""A shared screen takes this much of the left; people stand in the rest. More makes faces too small to read."""

USUAL_ASPECT: Final = 4 / 3


@dataclass(frozen=True, slots=True)
class Box:
    x: int
    y: int
    width: int
    height: int


def arrange(people: int, screens: int) -> tuple[list[Box], list[Box]]:
    """Boxes for people, and for screens, in order."""
    whole = Box(0, 0, WIDTH, HEIGHT)
    if not screens:
        return grid(whole, people), []
    return (
        grid(Box(SCREEN_WIDTH, 0, WIDTH - SCREEN_WIDTH, HEIGHT), people),
        grid(Box(0, 0, SCREEN_WIDTH, HEIGHT), screens),
    )


def grid(region: Box, count: int) -> list[Box]:
    """`count` equal boxes, in as many columns as makes a usual camera picture largest."""
    if count == 0:
        return []
    columns = max(range(1, count + 1), key=lambda columns: _picture_area(region, columns, -(-count // columns)))
    rows = -(-count // columns)
    width, height = _even(region.width // columns), _even(region.height // rows)
    return [
        Box(region.x + number % columns * width, region.y + number // columns * height, width, height)
        for number in range(count)
    ]


def fit(width: int, height: int, box: Box) -> Box:
    """The largest place in the middle of `box` for a picture of that shape."""
    scale = min(box.width / width, box.height / height)
    wide, high = max(2, _even(int(width * scale))), max(2, _even(int(height * scale)))
    return Box(box.x + _even((box.width - wide) // 2), box.y + _even((box.height - high) // 2), wide, high)


def _picture_area(region: Box, columns: int, rows: int) -> float:
    width, height = region.width / columns, region.height / rows
    return min(width, height * USUAL_ASPECT) ** 2


def _even(value: int) -> int:
    return value & ~1
