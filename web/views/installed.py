"""What makes the pages an installed app: the manifest, the service worker, the offline page, the page it starts with.

    a signed-in page ─▶ static/js/installed.js registers /sw.js ─▶ keeps the shell (below), shows what is pushed

The service worker must lie at the root to see every page. What it keeps is listed here and is for everybody.
"""

from __future__ import annotations

import hashlib
import json

from aiohttp import web

from control.keys import SETTINGS
from control.language import t
from web.render import home_url, reader_of, render, static_url
from web.static_files import file_untrusted

routes = web.RouteTableDef()

OFFLINE = "/offline"
_SHELL = (
    *("css/tokens.css", "css/components.css", "css/pages.css"),
    *("js/early.js", "js/offline.js", "mark.svg", "img/app-192.png"),
)
_ICONS = (("img/app-192.png", "192x192", "any"), ("img/app-512.png", "512x512", "any"))
_MASKABLE = ("img/app-maskable-512.png", "512x512", "maskable")
_PAPER, _PRIMARY = "#fbfaf7", "#0e5c59"  # tokens.css; a manifest knows no variables


@routes.get("/manifest.webmanifest")
async def manifest(request: web.Request) -> web.Response:
    name = request.app[SETTINGS].practice.name
    icons = [
        {"src": static_url(path), "sizes": sizes, "type": "image/png", "purpose": purpose}
        for path, sizes, purpose in (*_ICONS, _MASKABLE)
    ]
    said = {
        "id": "/",
        "name": name,
        "short_name": name[:12].rstrip(),
        "description": t("Your sessions at %(name)s", name=name),
        "start_url": "/start",
        "scope": "/",
        "display": "standalone",
        "background_color": _PAPER,
        "theme_color": _PRIMARY,
        "icons": icons,
    }
    return web.json_response(said, content_type="application/manifest+json")


@routes.get("/start")
async def start(request: web.Request) -> web.Response:
    """Where the installed app begins."""
    reader = reader_of(request)
    raise web.HTTPSeeOther("/sign-in" if reader is None else home_url(reader))


@routes.get(OFFLINE)
async def offline(request: web.Request) -> web.Response:
    return render(request, "offline.html")


@routes.get("/sw.js")
async def service_worker(request: web.Request) -> web.Response:
    """A change of anything in the shell makes it another worker, which browsers then take."""
    shell = [OFFLINE, *(static_url(path) for path in _SHELL)]
    body = file_untrusted("js/sw.js").plain.decode()
    version = hashlib.sha256(f"{shell} {request.app[SETTINGS].practice.name} {body}".encode()).hexdigest()[:12]
    head = f"self.SHELL = {json.dumps(shell)};\nself.VERSION = {json.dumps(version)};\n"
    return web.Response(text=head + body, content_type="text/javascript", headers={"Cache-Control": "no-cache"})
