"""Composes one recording into a single MP4: people side by side, a shared screen large, names, all voices.

Runs in the worker process, blocks, decodes and encodes on one core. Pictures are made in pieces of `PIECE_S` seconds,
each sealed when whole: whoever is stopped goes on after the last whole piece. Then the pieces are joined without
encoding them again, with the mixed sound and the chapter marks. Nothing in clear ever reaches the disk.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
from av.packet import Packet

from recorder.canvas import Canvas
from recorder.errors import WrongState
from recorder.journal import EVENT_KEY
from recorder.layout import HEIGHT, WIDTH, Box, arrange
from recorder.sources import SAMPLE_HZ, Pictures, Source, mixed, sources_of
from recorder.storage import COMPOSED, EncryptedFile, EncryptedReader, EncryptedWriter, Shelf, file_key

FPS: Final = 24
PIECE_S: Final = 60
"""What is lost when the worker is stopped; shorter pieces cost a keyframe each."""
X264: Final = {"preset": "superfast", "crf": "26", "threads": "1", "bf": "0", "g": str(FPS * 4)}
"""One thread, so that sessions keep the other cores; no B-frames, so that pieces join without a gap."""
SOUND_BPS: Final = 96_000
SOUND_SHARE: Final = 0.1
"""Of the progress that is shown: joining and sound take about that much of the time."""

if TYPE_CHECKING:
    from av.container.core import Chapter

Progress = Callable[[float], None]
"""Called with 0 to 1, at most a few times a second."""


def compose(root: Path, recording_id: str, keys: Mapping[int, bytes], progress: Progress) -> dict[str, Any]:
    """Makes the composed file of a finished recording and answers its manifest entry (the caller keeps it).

    Raises WrongState if there is nothing to show or to hear. May be repeated: whole pieces are kept.
    """
    shelf = Shelf(root, recording_id)
    manifest = shelf.read_manifest(keys[EVENT_KEY])
    sources = sources_of(shelf, keys, manifest)
    length_s = manifest["duration_ms"] / 1000
    if not sources or length_s <= 0:
        raise WrongState("the recording holds nothing to compose")
    count = -(-manifest["duration_ms"] // (PIECE_S * 1000))
    pieces = []
    for number in range(count):
        begins_s, ends_s = number * PIECE_S, min(length_s, (number + 1) * PIECE_S)

        def seen(at_s: float) -> None:
            progress((1 - SOUND_SHARE) * at_s / length_s)

        pieces.append(_piece(shelf, keys, sources, number, begins_s, ends_s, seen))
    size = _join(shelf, keys, pieces, sources, manifest, lambda share: progress(1 - SOUND_SHARE * (1 - share)))
    stored = _open(shelf, keys, COMPOSED, size)
    shelf.drop_pieces()
    return {
        "file_id": COMPOSED,
        "participant": "",
        "display_name": "Everybody",
        "key_id": EVENT_KEY,
        "view": COMPOSED,
        "mime": "video/mp4",
        "size": size,
        "sha256": stored.sha256(),
        "starts_ms": 0,
        "duration_ms": manifest["duration_ms"],
        "width": WIDTH,
        "height": HEIGHT,
        "video_frames": round(length_s * FPS),
        "audio_frames": round(length_s * SAMPLE_HZ / 1024),
        "lost_frames": 0,
    }


# pictures


def _piece(
    shelf: Shelf,
    keys: Mapping[int, bytes],
    sources: Sequence[Source],
    number: int,
    begins_s: float,
    ends_s: float,
    seen: Progress,
) -> EncryptedFile:
    name = _piece_id(number)
    path = shelf.file_path(name)
    if not path.exists():
        partial = path.with_suffix(".part")
        with (
            EncryptedWriter(partial, file_key(keys[EVENT_KEY], name), shelf.file_context(name)) as sink,
            av.open(sink, "w", format="mp4") as container,
        ):
            stream = container.add_stream("libx264", rate=FPS, options=dict(X264))
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for at, frame in enumerate(paint(sources, begins_s, ends_s)):
                frame.pts, frame.time_base = at, Fraction(1, FPS)
                container.mux(stream.encode(frame))
                if at % FPS == 0:
                    seen(begins_s + at / FPS)
            container.mux(stream.encode(None))
        partial.replace(path)
    return _open(shelf, keys, name, EncryptedFile.plain_size(path))


def paint(sources: Sequence[Source], begins_s: float, ends_s: float) -> Iterator[av.VideoFrame]:
    """The composed pictures from one moment to another, `FPS` a second."""
    people = [source for source in sources if source.view == "camera"]
    screens = [source for source in sources if source.view == "screen" and source.has_video]
    showing = {
        source: Pictures(source, begins_s)
        for source in [*people, *screens]
        if source.has_video and source.starts_s < ends_s and source.ends_s > begins_s
    }
    canvas, shown, on_canvas = Canvas(), dict[Source, av.VideoFrame | None](), -1
    try:
        for number in range(max(1, round((ends_s - begins_s) * FPS))):
            at_s = begins_s + number / FPS
            now = {source: pictures.at(at_s) for source, pictures in showing.items()}
            shared = [screen for screen in screens if now.get(screen) is not None]
            people_boxes, screen_boxes = arrange(len(people), len(shared))
            if len(shared) != on_canvas:
                canvas.clear()
                shown, on_canvas = {}, len(shared)
            for source, box in [*zip(people, people_boxes, strict=True), *zip(shared, screen_boxes, strict=True)]:
                _show(canvas, source, box, now.get(source), shown)
            yield canvas.frame()
    finally:
        for pictures in showing.values():
            pictures.close()


def _show(
    canvas: Canvas, source: Source, box: Box, picture: av.VideoFrame | None, shown: dict[Source, av.VideoFrame | None]
) -> None:
    if source in shown and shown[source] is picture:
        return
    if picture is None:
        canvas.blank(box)
    else:
        canvas.put(picture, box)
    canvas.write_name(source.name, box)
    shown[source] = picture


# joining


def _join(
    shelf: Shelf,
    keys: Mapping[int, bytes],
    pieces: Sequence[EncryptedFile],
    sources: Sequence[Source],
    manifest: Mapping[str, Any],
    progress: Progress,
) -> int:
    path = shelf.file_path(COMPOSED)
    partial = path.with_suffix(".part")
    length_s = manifest["duration_ms"] / 1000
    with (
        EncryptedWriter(partial, file_key(keys[EVENT_KEY], COMPOSED), shelf.file_context(COMPOSED)) as sink,
        av.open(EncryptedReader(pieces[0]), "r") as first,
        av.open(sink, "w", format="mp4") as container,
    ):
        video = container.add_stream_from_template(first.streams.video[0])
        sound = container.add_stream("aac", rate=SAMPLE_HZ, layout="stereo", bit_rate=SOUND_BPS)
        container.set_chapters(_chapters(manifest))
        frames, heard_s = mixed(sources, length_s), 0
        for at_s, packet in _packets(pieces):
            while at_s >= heard_s and (frame := next(frames, None)) is not None:
                container.mux(sound.encode(frame))
                heard_s += 1
                progress(min(1.0, heard_s / length_s))
            packet.stream = video
            container.mux(packet)
        for frame in frames:
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    partial.replace(path)
    return sink.size


def _packets(pieces: Sequence[EncryptedFile]) -> Iterator[tuple[float, "Packet[av.VideoStream]"]]:
    """All pieces' pictures one after the other, and the second of the recording at which each shows."""
    for number, piece in enumerate(pieces):
        with av.open(EncryptedReader(piece), "r") as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.pts is None or packet.dts is None:
                    continue  # the demuxer's end mark
                offset = round(number * PIECE_S / packet.time_base)
                packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                yield float(packet.pts * packet.time_base), packet


def _chapters(manifest: Mapping[str, Any]) -> "list[Chapter]":
    marks = [*manifest.get("chapters", ()), {"at_ms": manifest["duration_ms"]}]
    return [
        {
            "id": number,
            "start": mark["at_ms"],
            "end": after["at_ms"],
            "time_base": Fraction(1, 1000),
            "metadata": {"title": mark["title"]},
        }
        for number, (mark, after) in enumerate(itertools.pairwise(marks))
        if after["at_ms"] > mark["at_ms"]
    ]


def _piece_id(number: int) -> str:
    return f"{COMPOSED}-{number:04}"


def _open(shelf: Shelf, keys: Mapping[int, bytes], file_id: str, size: int) -> EncryptedFile:
    key = file_key(keys[EVENT_KEY], file_id)
    return EncryptedFile(shelf.file_path(file_id), key, shelf.file_context(file_id), size)
