"""One camera's way through a worker: port messages in, blurred pictures out. No socket and no clock of its own.

`take` decodes every picture, because each is the next one's reference, and keeps only the newest; `work` blurs and
encodes that one. What comes too fast is left out before the segmenter and so never waits. Whatever goes wrong, nothing
is given out until a picture has been through the blur again.
"""

import logging
from typing import Final, Protocol

from media.blur.blend import blend
from media.blur.codec import BadPicture, Decoder, Encoder, Picture, Plane, fit, is_keyframe
from media.blur.port import Frame, Gap, KeyframeWanted, Message, Rate
from media.blur.segment import Steadied
from media.types import Background

log = logging.getLogger(__name__)

ASK_AGAIN_S: Final = 0.5
"""Between two requests for the same missing keyframe; the core spaces what goes to the camera."""


TURNS: Final = 0b11


class SegmentsPictures(Protocol):
    def segment(self, picture: Picture, turns: int) -> Plane: ...


class Stream:
    def __init__(self, segmenter: SegmentsPictures, effect: Background) -> None:
        self.effect = effect
        self._segmenter = segmenter
        self._steadied = Steadied()
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._newest: tuple[Picture, int] | None = None
        self._turns = 0
        self._skipped_last = False
        self._is_lost = True
        """A reference is missing: nothing is decoded until a keyframe."""
        self._asked: float | None = None
        self._keyframe_due = True
        self.flows = False
        """The last thing given out was a picture."""
        self.waiting_since: float | None = None
        """When the first picture came after the one worked on last."""

    def take(self, message: Message, now: float) -> list[Message]:
        match message:
            case Frame():
                return self._decode(message, now)
            case KeyframeWanted():
                self._keyframe_due = True
            case Rate(bps):
                self._encoder.set_rate(bps)
            case Gap():
                pass  # ours to say
        return []

    def _decode(self, frame: Frame, now: float) -> list[Message]:
        if is_keyframe(frame.data):
            self._is_lost = False
        elif frame.discontinuity:
            self._is_lost = True
        if self._is_lost:
            return self._lose(now)
        try:
            picture = self._decoder.decode(frame.data)
        except BadPicture as error:
            log.info("picture refused reason=%s", error)
            self._decoder = Decoder()
            return self._lose(now)
        self._asked = None
        if frame.orientation & TURNS != self._turns:
            self._turns = frame.orientation & TURNS
            self._steadied.forget()
        if picture is not None:
            self._newest = picture, frame.rtp_ts
            if self.waiting_since is None:
                self.waiting_since = now
        return []

    def work(self, now: float, *, hurried: bool = False) -> list[Message]:
        """Blur the newest picture. `hurried`: others wait, so every second picture takes the mask before it."""
        if self._newest is None:
            return []
        (picture, rtp_ts), self._newest, self.waiting_since = self._newest, None, None
        try:
            data = self._blurred(fit(picture), rtp_ts, hurried=hurried)
        except Exception:
            # Ours, whatever it is: the picture ends here, and the stream begins anew.
            log.exception("a picture could not be blurred")
            self._decoder, self._encoder = Decoder(), Encoder()
            return self._lose(now)
        if not data:
            return []
        self.flows = True
        return [Frame(rtp_ts, data, is_keyframe(data))]

    def _blurred(self, picture: Picture, rtp_ts: int, *, hurried: bool) -> bytes:
        mask = self._steadied.mask
        if mask is None or not hurried or self._skipped_last:
            mask = self._steadied.add(self._segmenter.segment(picture, self._turns))
            self._skipped_last = False
        else:
            self._skipped_last = True
        blurred = blend(picture, mask, self.effect)
        data = self._encoder.encode(blurred, rtp_ts, keyframe=self._keyframe_due)
        self._keyframe_due = False
        return data

    def unsent(self) -> None:
        """A picture given out was dropped on its way: the next one must not refer to it."""
        self._keyframe_due = True

    def _lose(self, now: float) -> list[Message]:
        replies: list[Message] = []
        self._is_lost = self._keyframe_due = True
        self._newest = self.waiting_since = None
        self._steadied.forget()
        if self.flows:
            self.flows = False
            replies.append(Gap())
        if self._asked is None or now - self._asked >= ASK_AGAIN_S:
            self._asked = now
            replies.append(KeyframeWanted())
        return replies
