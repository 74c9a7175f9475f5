"""What schemathesis leaves out; loaded by its own process through SCHEMATHESIS_HOOKS."""

from typing import Any
from urllib.parse import urlencode

import schemathesis

LONGEST = 8_000
"""aiohttp's parser refuses a request line over 8,190 bytes before any route sees it."""


@schemathesis.hook
def filter_query(_context: Any, query: dict[str, Any] | None) -> bool:
    return len(urlencode(query or {}, doseq=True, errors="replace")) < LONGEST
