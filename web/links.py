"""Addresses in what people wrote, as links that know nothing of this page. The same rule as static/js/room/chat.js.

Only http and https become links; everything else stays text, escaped.
"""

import re
from urllib.parse import urlsplit

from markupsafe import Markup, escape

_ADDRESS = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_TRAILING = ".,;:!?)]}'’”"


def with_links(text: str) -> Markup:
    parts: list[Markup] = []
    at = 0
    for found in _ADDRESS.finditer(text):
        written = found.group().rstrip(_TRAILING)
        if not _is_web(written):
            continue
        parts.append(escape(text[at : found.start()]))
        parts.append(Markup('<a href="{0}" target="_blank" rel="noopener noreferrer">{0}</a>').format(written))
        at = found.start() + len(written)
    parts.append(escape(text[at:]))
    return Markup("").join(parts)


def _is_web(written: str) -> bool:
    try:
        parsed = urlsplit(written)
        return parsed.scheme.lower() in ("http", "https") and bool(parsed.hostname)
    except ValueError:
        return False
