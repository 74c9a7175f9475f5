"""The words of the browser's modules in one language, as JSON: what words.js looks up. English has none, it is in them.

The catalog is the one of pages and letters (control/language.py); served is what was found in _SOURCES.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from aiohttp import web

from control.errors import NotFound
from control.keys import SETTINGS
from control.language import ENGLISH, read_catalog

routes = web.RouteTableDef()

_SOURCES = ("web/static/js/", "control/recording_rule.py")  # and why nothing is recorded, which the server says
_KEPT = "public, max-age=31536000, immutable"  # the address has the content's hash


@lru_cache(maxsize=4)
def _words(language: str) -> bytes:
    found = {
        message.id[0] if isinstance(message.id, tuple | list) else message.id: message.string
        for message in read_catalog(language)
        if message.id
        and message.string
        and not message.fuzzy
        and any(file.startswith(_SOURCES) for file, _ in message.locations)
    }
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


@lru_cache(maxsize=4)
def words_url(language: str) -> str:
    if language == ENGLISH:
        return ""
    return f"/words/{language}.json?v={hashlib.sha256(_words(language)).hexdigest()[:10]}"


@routes.get("/words/{language}.json")
async def words(request: web.Request) -> web.Response:
    language = request.match_info["language"]
    if language == ENGLISH or language not in request.app[SETTINGS].practice.languages:
        raise NotFound
    answer = web.Response(body=_words(language), content_type="application/json", headers={"Cache-Control": _KEPT})
    answer.enable_compression()
    return answer
