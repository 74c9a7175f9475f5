"""What goes into a composed recording: decoded pictures by time, and all voices mixed. Reads finished files.

Times are seconds of the recording. Decoding is single-threaded on purpose: sessions in progress come first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from recorder.storage import EncryptedFile, EncryptedReader, Shelf, file_key

SAMPLE_HZ: Final = 48_000
CAMERA_STANDS_S: Final = 3.0
"""A camera picture older than this is a camera that was switched off: the name stands alone."""
SCREEN_STANDS_S: Final = 5.0
"""A still screen is sent again about once a second; after this long it is no longer shared."""


@dataclass(frozen=True, slots=True)
class Source:
    """One finished file as the composition needs it."""

    file: EncryptedFile
    name: str
    view: str
    starts_s: float
    ends_s: float
    has_video: bool
    has_audio: bool

    def open(self) -> InputContainer:
        return av.open(EncryptedReader(self.file), "r")


def sources_of(shelf: Shelf, keys: Mapping[int, bytes], manifest: Mapping[str, Any]) -> list[Source]:
    """Everybody's files; without those whose key has been erased."""
    return [_source(shelf, keys[entry["key_id"]], entry) for entry in manifest["files"] if entry["key_id"] in keys]


def _source(shelf: Shelf, participant_key: bytes, entry: Mapping[str, Any]) -> Source:
    file_id = entry["file_id"]
    key = file_key(participant_key, file_id)
    starts_s = entry["starts_ms"] / 1000
    return Source(
        file=EncryptedFile(shelf.file_path(file_id), key, shelf.file_context(file_id), entry["size"]),
        name=entry["display_name"],
        view=entry["view"],
        starts_s=starts_s,
        ends_s=starts_s + entry["duration_ms"] / 1000,
        has_video=entry["video_frames"] > 0,
        has_audio=entry["audio_frames"] > 0,
    )


class Pictures:
    """The pictures of one source, asked for in order of time."""

    def __init__(self, source: Source, from_s: float) -> None:
        self._starts_s = source.starts_s
        self._stands_s = SCREEN_STANDS_S if source.view == "screen" else CAMERA_STANDS_S
        self._container = source.open()
        stream = self._container.streams.video[0]
        stream.codec_context.thread_count = 1
        if from_s > source.starts_s:
            self._container.seek(int((from_s - source.starts_s) * av.time_base), backward=True)
        self._frames = self._container.decode(stream)
        self._next: av.VideoFrame | None = next(self._frames, None)
        self._current: av.VideoFrame | None = None

    def at(self, at_s: float) -> av.VideoFrame | None:
        """The picture that shows then; the same object as long as it is the same picture."""
        while self._next is not None and self._time_of(self._next) <= at_s:
            self._current, self._next = self._next, next(self._frames, None)
        current = self._current
        return current if current is not None and at_s - self._time_of(current) < self._stands_s else None

    def close(self) -> None:
        self._container.close()

    def _time_of(self, frame: av.VideoFrame) -> float:
        return self._starts_s + (frame.time or 0.0)


class Voice:
    """The sound of one source, added into a mix in order of time."""

    def __init__(self, source: Source) -> None:
        self._starts_s = source.starts_s
        self._container = source.open()
        self._parts = self._decoded()
        self._part = next(self._parts, None)

    def add_to(self, mix: NDArray[np.float32], first_sample: int) -> None:
        """`mix` holds two channels from sample `first_sample` of the recording on."""
        end = first_sample + mix.shape[1]
        while self._part is not None:
            at, samples = self._part
            if at >= end:
                return
            begin, stop = max(at, first_sample), min(at + samples.shape[1], end)
            if begin < stop:
                mix[:, begin - first_sample : stop - first_sample] += samples[:, begin - at : stop - at]
            if at + samples.shape[1] > end:
                return
            self._part = next(self._parts, None)

    def close(self) -> None:
        self._container.close()

    def _decoded(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_HZ)
        for decoded in self._container.decode(self._container.streams.audio[0]):
            at = round((self._starts_s + (decoded.time or 0.0)) * SAMPLE_HZ)
            for part in resampler.resample(decoded):
                yield at, part.to_ndarray().astype(np.float32, copy=False)
                at += part.samples


def mixed(sources: Sequence[Source], length_s: float) -> Iterator[av.AudioFrame]:
    """Everybody's voice together, a second at a time. Louder than full scale is cut."""
    voices = [Voice(source) for source in sources if source.has_audio]
    try:
        for first in range(0, round(length_s * SAMPLE_HZ), SAMPLE_HZ):
            mix = np.zeros((2, min(SAMPLE_HZ, round(length_s * SAMPLE_HZ) - first)), np.float32)
            for voice in voices:
                voice.add_to(mix, first)
            frame = av.AudioFrame.from_ndarray(np.clip(mix, -1.0, 1.0), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = SAMPLE_HZ, first
            yield frame
    finally:
        for voice in voices:
            voice.close()
