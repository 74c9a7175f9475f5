"""A receipt as a page and as a PDF, for its payer and for admins."""

from __future__ import annotations

import asyncio

from aiohttp import web

from control.accounts import require_actor
from control.keys import DATABASE, SETTINGS
from control.money.receipt_pdf import paper_rows, paper_sums, receipt_pdf
from control.money.receipts import Paper, paper_for
from web.render import render

routes = web.RouteTableDef()


@routes.get("/receipts/{id:[0-9a-f]{32}}")
async def receipt(request: web.Request) -> web.StreamResponse:
    paper = await _paper(request)
    return render(request, "receipt.html", paper=paper, rows=paper_rows(paper), sums=paper_sums(paper))


@routes.get("/receipts/{id:[0-9a-f]{32}}.pdf")
async def receipt_as_pdf(request: web.Request) -> web.StreamResponse:
    paper = await _paper(request)
    answer = web.Response(body=await asyncio.to_thread(receipt_pdf, paper), content_type="application/pdf")
    answer.headers["Content-Disposition"] = f'attachment; filename="{paper.file_name}"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def _paper(request: web.Request) -> Paper:
    actor = require_actor(request)
    practice = request.app[SETTINGS].practice
    return await paper_for(request.app[DATABASE], actor, request.match_info["id"], practice)
