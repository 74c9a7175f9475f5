"""The composed picture as YUV planes: pictures scaled into their boxes, names written once, nothing else.

Works on planes because a full-size trip through RGB costs several times as much (x264 wants YUV 4:2:0 anyway).
"""

from functools import lru_cache
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from recorder.layout import HEIGHT, WIDTH, Box, fit

Plane = NDArray[np.uint8]

DARK: Final = (35, 130, 125)
"""The session room's stage colour #12181A as Y, U, V (BT.601, limited range)."""
WHITE_LUMA: Final = 235
NO_COLOUR: Final = 128
NAME_PX: Final = 20
NAME_LONGEST: Final = 28
FONTS: Final = ("DejaVuSans.ttf", "NotoSans-Regular.ttf")
"""Tried in this order where the system has them; else the font inside Pillow, which knows Latin letters only."""


class Canvas:
    """One picture, painted again and again."""

    def __init__(self) -> None:
        self._luma = np.empty((HEIGHT, WIDTH), np.uint8)
        self._blue = np.empty((HEIGHT // 2, WIDTH // 2), np.uint8)
        self._red = np.empty((HEIGHT // 2, WIDTH // 2), np.uint8)
        self.clear()

    def clear(self) -> None:
        for plane, value in zip((self._luma, self._blue, self._red), DARK, strict=True):
            plane.fill(value)

    def put(self, picture: av.VideoFrame, box: Box) -> None:
        """Scaled to fit into the box; what stood around it in the box before is cleared."""
        place = fit(picture.width, picture.height, box)
        scaled = picture.reformat(width=place.width, height=place.height, format="yuv420p", threads=1)
        self.blank(box)
        for canvas, plane, shift in zip((self._luma, self._blue, self._red), scaled.planes, (0, 1, 1), strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            x, y, width, height = (value >> shift for value in (place.x, place.y, place.width, place.height))
            canvas[y : y + height, x : x + width] = rows[:height, :width]

    def blank(self, box: Box) -> None:
        for canvas, value, shift in zip((self._luma, self._blue, self._red), DARK, (0, 1, 1), strict=True):
            x, y, width, height = (value >> shift for value in (box.x, box.y, box.width, box.height))
            canvas[y : y + height, x : x + width] = value

    def write_name(self, name: str, box: Box) -> None:
        """In the lower left corner of the box."""
        label = name_label(name)[:, : box.width]
        height, width = label.shape
        if height > box.height:
            return
        y = box.y + box.height - height
        self._luma[y : y + height, box.x : box.x + width] = label
        for plane in (self._blue, self._red):
            plane[y >> 1 : (y + height) >> 1, box.x >> 1 : (box.x + width) >> 1] = NO_COLOUR

    def frame(self) -> av.VideoFrame:
        """A copy, so that painting may go on while it is encoded."""
        whole = np.concatenate([self._luma.ravel(), self._blue.ravel(), self._red.ravel()])
        return av.VideoFrame.from_ndarray(whole.reshape(HEIGHT * 3 // 2, WIDTH), format="yuv420p")


@lru_cache(maxsize=64)
def name_label(name: str) -> Plane:
    """Luma of the name on a dark ground, its sides even."""
    shown = name if len(name) <= NAME_LONGEST else name[: NAME_LONGEST - 1] + "…"
    font = _font()
    left, _, right, _ = font.getbbox(shown or " ")
    width, height = (int(right - left) + 20) & ~1, NAME_PX + 14
    image = Image.new("L", (width, height), DARK[0])
    ImageDraw.Draw(image).text((10, 4), shown, fill=WHITE_LUMA, font=font)
    return np.asarray(image)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in FONTS:
        try:
            return ImageFont.truetype(name, NAME_PX)
        except OSError:
            continue
    return ImageFont.load_default(NAME_PX)
