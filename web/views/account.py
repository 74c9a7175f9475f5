"""The account's basics and the privacy page."""

from __future__ import annotations

from aiohttp import web

from control.accounts import require_actor
from control.keys import SETTINGS
from web.render import render

routes = web.RouteTableDef()


@routes.get("/account")
async def account(request: web.Request) -> web.StreamResponse:
    require_actor(request)
    return render(request, "account.html")


@routes.get("/privacy")
async def privacy(request: web.Request) -> web.StreamResponse:
    return render(request, "privacy.html", kept_days=request.app[SETTINGS].recording.retention_days)
