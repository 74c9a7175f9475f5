"""Sign-in, the landing of an e-mailed link, and sign-up. They only show forms: control/api/accounts.py acts."""

from __future__ import annotations

from aiohttp import web

from control import demo
from control.accounts import local_path, optional_actor
from control.keys import SETTINGS
from web.render import render

routes = web.RouteTableDef()

#: Where a sign-in leads when nothing else was wanted; it sends each role to its own page.
HOME = "/dashboard"


@routes.get("/sign-in")
async def sign_in(request: web.Request) -> web.StreamResponse:
    wanted = _wanted(request)
    if optional_actor(request) is not None:
        raise web.HTTPSeeOther(wanted or HOME)
    return render(request, "sign_in.html", next=wanted or HOME, wants=bool(wanted), demo_people=_demo_people(request))


@routes.get("/sign-in/link/{token}")
async def link(request: web.Request) -> web.StreamResponse:
    """Opening the link changes nothing, because mail scanners open links too; the button on the page uses it."""
    return render(request, "link.html", token=request.match_info["token"])


@routes.get("/sign-up")
async def sign_up(request: web.Request) -> web.StreamResponse:
    wanted = _wanted(request)
    if optional_actor(request) is not None:
        raise web.HTTPSeeOther(wanted or HOME)
    return render(request, "sign_up.html", next=wanted or HOME, wants=bool(wanted))


def _wanted(request: web.Request) -> str:
    """A path on this site that asked for the sign-in, or nothing."""
    path = local_path(request.query.get("next")) or ""
    return "" if path.startswith("/sign-") else path


def _demo_people(request: web.Request) -> tuple[demo.SignIn, ...]:
    """The demo's published sign-ins; never on another install."""
    return demo.EVERYBODY if request.app[SETTINGS].demo else ()
