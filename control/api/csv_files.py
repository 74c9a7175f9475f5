"""Tables as CSV files, written off the event loop; cells that a spreadsheet would run as a formula are made text."""

import asyncio
import csv
import io
from collections.abc import Iterable, Sequence

from aiohttp import web

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def csv_answer(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> web.Response:
    answer = web.Response(body=await asyncio.to_thread(_written, head, list(rows)), content_type="text/csv")
    answer.charset = "utf-8"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _written(head: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(head)
    writer.writerows([[_harmless(cell) for cell in row] for row in rows])
    return out.getvalue().encode("utf-8-sig")  # the mark makes spreadsheets read UTF-8


def _harmless(cell: str) -> str:
    negative = cell[:1] == "-" and cell[1:].replace(".", "").isdigit()
    return f"'{cell}" if cell.startswith(_FORMULA) and not negative else cell
