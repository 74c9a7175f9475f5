"""A table as a CSV file (RFC 4180), streamed row by row, harmless when a spreadsheet opens it."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from typing import Any

from aiohttp import web

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet calculate: such a text gets an apostrophe, which it shows as text."""

_FLUSH_AT = 64_000  # characters


async def csv_answer(
    request: web.Request, name: str, header: Iterable[str], rows: AsyncIterator[tuple[Any, ...]]
) -> web.StreamResponse:
    """`name` is the file's, of our own making."""
    answer = web.StreamResponse()
    answer.content_type = "text/csv"
    answer.charset = "utf-8"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.headers["Cache-Control"] = "no-store"
    await answer.prepare(request)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    async for row in rows:
        writer.writerow([_harmless(cell) for cell in row])
        if buffer.tell() > _FLUSH_AT:
            await answer.write(_taken(buffer))
    await answer.write(_taken(buffer))
    await answer.write_eof()
    return answer


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()
