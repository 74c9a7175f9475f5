"""Serves web/static from memory: text compressed once, every file with an ETag, read again when it changes on disk.

Why not aiohttp's static route: it sends style sheets and modules as they lie there, four times as many bytes for the
first page. A file asked for with its version (`static_url`, `module_url`) never changes and is not asked for again;
the others are, by their ETag.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from control.errors import NotFound
from control.keys import SETTINGS
from control.security import Elsewhere, content_security_policy
from web.render import STATIC, modules_version

routes = web.RouteTableDef()

YEAR_S = 365 * 24 * 3600

_TEXT = ("text/", "image/svg+xml", "application/json")
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".mjs": "text/javascript",
}
_WASM = Elsewhere(scripts=("'wasm-unsafe-eval'",))
_WITH_WASM = {"js/room/blur-worker.js"}
"""Workers that compile WebAssembly: the policy of a worker is that of its own answer, so no page needs to allow it."""


@dataclass(frozen=True)
class StaticFile:
    changed_ns: int
    mime: str
    etag: str
    plain: bytes
    gzipped: bytes | None  # None where compressing gains nothing


_kept: dict[str, StaticFile] = {}


@routes.get("/static/{path:.+}")
async def static_file(request: web.Request) -> web.StreamResponse:
    version, path = _version_and_path(request.match_info["path"])
    found = file_untrusted(path)
    accepts = request.headers.get("Accept-Encoding", "")
    packed = found.gzipped if "gzip" in accepts else None
    etag = f'"{found.etag}{"-gz" if packed is not None else ""}"'
    is_fixed = "v" in request.query or version == modules_version()
    caching = f"public, max-age={YEAR_S}, immutable" if is_fixed else "no-cache"
    headers = {"ETag": etag, "Vary": "Accept-Encoding", "Cache-Control": caching}
    if path in _WITH_WASM:
        headers["Content-Security-Policy"] = content_security_policy(request.app[SETTINGS].server, _WASM)
    if etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    headers["Content-Type"] = f"{found.mime}; charset=utf-8" if found.mime.startswith("text/") else found.mime
    return web.Response(body=found.plain if packed is None else packed, headers=headers)


def _version_and_path(asked: str) -> tuple[str, str]:
    """An older version is answered too, not to be kept: a page opened before an update still loads what it needs."""
    first, _, rest = asked.partition("/")
    return (first, rest) if first.startswith("v-") else ("", asked)


def file_untrusted(path: str) -> StaticFile:
    """The file of that path under web/static. Raises NotFound for everything else, whatever the path holds."""
    try:
        file = (STATIC / path).resolve()
        if not file.is_relative_to(STATIC.resolve()) or not file.is_file():
            raise NotFound
        changed = file.stat().st_mtime_ns
    except (OSError, ValueError):  # a NUL, a name too long, a loop of links
        raise NotFound from None
    name = str(file.relative_to(STATIC.resolve()))
    kept = _kept.get(name)
    if kept is None or kept.changed_ns != changed:
        kept = _kept[name] = _read(file, changed)
    return kept


def _read(file: Path, changed_ns: int) -> StaticFile:
    plain = file.read_bytes()
    mime = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    gzipped = gzip.compress(plain, 9, mtime=0) if mime.startswith(_TEXT) else None
    if gzipped is not None and len(gzipped) >= len(plain):
        gzipped = None
    return StaticFile(changed_ns, mime, hashlib.sha256(plain).hexdigest()[:20], plain, gzipped)
