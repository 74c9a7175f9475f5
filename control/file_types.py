"""What a file is, by its content: documents and images people share, nothing that a browser or a program would run.

Pure over bytes of strangers: `kind_untrusted` answers a type or None, whatever it is given. Blocks for a while on big
pictures and archives: call it from a thread.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import PurePath
from warnings import catch_warnings, simplefilter

from PIL import Image

from control.language import N_

MOST_PIXELS = 50_000_000
THUMBNAIL = (320, 320)
_TEXT = ("text/plain", (".txt", ".md", ".csv", ".log"))
_IMAGES = {
    "PNG": ("image/png", (".png",)),
    "JPEG": ("image/jpeg", (".jpg", ".jpeg")),
    "GIF": ("image/gif", (".gif",)),
    "WEBP": ("image/webp", (".webp",)),
}
_OFFICE = {
    "word/document.xml": (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        (".docx",),
    ),
    "xl/workbook.xml": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", (".xlsx",)),
    "ppt/presentation.xml": (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        (".pptx",),
    ),
}
_OPEN_DOCUMENT = {
    "application/vnd.oasis.opendocument.text": (".odt",),
    "application/vnd.oasis.opendocument.spreadsheet": (".ods",),
    "application/vnd.oasis.opendocument.presentation": (".odp",),
}
MOST_ENTRIES = 5_000
"""Of an archive: more is no letter."""

WANTED = N_("PDF, pictures (PNG, JPEG, GIF, WebP), Word, Excel, PowerPoint, OpenDocument, RTF and plain text")


@dataclass(frozen=True, slots=True)
class FileKind:
    mime: str
    endings: tuple[str, ...]
    thumbnail: bytes | None = None
    """A small JPEG, of pictures."""

    def fits(self, name: str) -> bool:
        return PurePath(name).suffix.lower() in self.endings


def kind_untrusted(data: bytes) -> FileKind | None:
    if data.startswith(b"%PDF-"):
        return FileKind("application/pdf", (".pdf",))
    if data.startswith(b"{\\rtf"):
        return FileKind("application/rtf", (".rtf",))
    if data.startswith(b"PK\x03\x04"):
        return _document(data)
    return _picture(data) or _text(data)


def _document(data: bytes) -> FileKind | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            if len(names) > MOST_ENTRIES:
                return None
            if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
                mime = archive.read("mimetype").decode("ascii", "replace").strip()
                return FileKind(mime, _OPEN_DOCUMENT[mime]) if mime in _OPEN_DOCUMENT else None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError):
        return None
    # A program inside a document (vbaProject.bin) has an ending of its own, which is not among ours.
    if "[Content_Types].xml" not in names or any(name.lower().endswith("vbaproject.bin") for name in names):
        return None
    return next((FileKind(*known) for part, known in _OFFICE.items() if part in names), None)


def _picture(data: bytes) -> FileKind | None:
    with catch_warnings():
        simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=tuple(_IMAGES)) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    return None
                mime, endings = _IMAGES[picture.format or ""]
                picture.draft("RGB", THUMBNAIL)
                small = picture.convert("RGB")
                small.thumbnail(THUMBNAIL)
                out = io.BytesIO()
                small.save(out, "JPEG", quality=80)
        except Exception:
            return None
    return FileKind(mime, endings, out.getvalue())


def _text(data: bytes) -> FileKind | None:
    if b"\x00" in data:
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return FileKind(*_TEXT)
