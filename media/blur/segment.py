"""Where the person is: MediaPipe's selfie segmenter (landscape model) on a small picture, steady over time.

The library is pinned to the last versions that send nothing to anybody (0.10.30 to 0.10.33); the worker has no network
besides (offline.py). The model is 144 by 256 whatever the camera's size, and masks stay that small until blend.py.
"""

from pathlib import Path
from typing import Final

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

from media.blur.codec import Picture, Plane

MODEL_SIZE: Final = (256, 144)
"""(width, height)"""
REAL_CHANGE: Final = 48
"""Of 255. A point of the mask that changes by more has been uncovered or covered and is believed at once; smaller
changes are the segmenter's unrest and are averaged. Higher smears the outline of who moves, lower lets it flicker."""


class Segmenter:
    """Keeps nothing of a picture: one serves several people."""

    def __init__(self, model: Path) -> None:
        options = vision.ImageSegmenterOptions(
            base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
            running_mode=vision.RunningMode.IMAGE,
            output_confidence_masks=True,
            output_category_mask=False,
        )
        self._segmenter = vision.ImageSegmenter.create_from_options(options)

    def close(self) -> None:
        self._segmenter.close()

    def segment(self, picture: Picture, turns: int = 0) -> Plane:
        """144 by 256, or the other way round where the picture lies; 255 is certainly a person.

        `turns`: quarter turns clockwise until the picture is upright, as the model knows people.
        """
        size = MODEL_SIZE[::-1] if turns % 2 else MODEL_SIZE
        planes = (picture.y, picture.u, picture.v)
        small = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes]
        lying = cv2.cvtColor(cv2.merge(small), cv2.COLOR_YUV2RGB)
        rgb = np.ascontiguousarray(np.rot90(lying, -turns))
        found = self._segmenter.segment(mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb))
        confidence = found.confidence_masks[0].numpy_view()
        mask: Plane = cv2.convertScaleAbs(confidence.reshape(MODEL_SIZE[::-1]), alpha=255)
        return np.ascontiguousarray(np.rot90(mask, turns))


class Steadied:
    """The masks of one camera over time."""

    def __init__(self) -> None:
        self._mask: Plane | None = None

    @property
    def mask(self) -> Plane | None:
        """The last one; None before the first."""
        return self._mask

    def add(self, mask: Plane) -> Plane:
        if self._mask is None:
            self._mask = mask
        else:
            calm = cv2.addWeighted(mask, 0.5, self._mask, 0.5, 0)
            np.copyto(calm, mask, where=cv2.absdiff(mask, self._mask) > REAL_CHANGE)
            self._mask = calm
        return self._mask

    def forget(self) -> None:
        self._mask = None
