"""One small picture of a recording, for lists. Runs in the worker process after the files are finished."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from PIL import Image

from recorder.compose import paint
from recorder.journal import EVENT_KEY
from recorder.sources import sources_of
from recorder.storage import EncryptedFile, EncryptedWriter, Shelf, file_key

THUMBNAIL: Final = "thumbnail"
SIZE: Final = (320, 180)
LATEST_S: Final = 20.0
"""People have settled by then; short recordings are taken in their middle."""


def make_thumbnail(root: Path, keys: Mapping[int, bytes], manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Its manifest entry; None where nobody had a picture. Raises what decoding raises."""
    shelf = Shelf(root, manifest["recording"])
    sources = sources_of(shelf, keys, manifest)
    if not any(source.has_video for source in sources):
        return None
    at_s = min(LATEST_S, manifest["duration_ms"] / 2000)
    picture = Image.fromarray(next(paint(sources, at_s, at_s + 1)).to_ndarray(format="rgb24"))
    picture.thumbnail(SIZE)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=80)
    path = shelf.file_path(THUMBNAIL)
    key, context = file_key(keys[EVENT_KEY], THUMBNAIL), shelf.file_context(THUMBNAIL)
    with EncryptedWriter(path, key, context) as sink:
        sink.write(jpeg.getvalue())
    return {
        "file_id": THUMBNAIL,
        "participant": "",
        "display_name": "",
        "key_id": EVENT_KEY,
        "view": THUMBNAIL,
        "mime": "image/jpeg",
        "size": sink.size,
        "sha256": EncryptedFile(path, key, context, sink.size).sha256(),
        "starts_ms": 0,
        "duration_ms": 0,
        "width": picture.width,
        "height": picture.height,
        "video_frames": 1,
        "audio_frames": 0,
        "lost_frames": 0,
    }
