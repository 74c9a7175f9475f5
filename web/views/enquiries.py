"""Writing without an account: the form to a practitioner or to the practice, the link that proves the address."""

from __future__ import annotations

from aiohttp import web

from control import enquiries, messages, practitioners
from control.accounts import optional_actor
from control.keys import CLOCK, DATABASE, INSTALL_KEYS, MESSAGES
from control.language import t
from web.render import render

routes = web.RouteTableDef()


@routes.get("/practitioners/{id:[0-9a-f]{32}}/message")
async def to_practitioner(request: web.Request) -> web.StreamResponse:
    """Members go on in their inbox."""
    person = await practitioners.get_profile(request.app[DATABASE], request.match_info["id"])
    if optional_actor(request) is not None:
        raise web.HTTPSeeOther(f"/messages/to/{person.id}")
    return _form(request, person.id, person.name)


@routes.get("/contact")
async def to_practice(request: web.Request) -> web.StreamResponse:
    if optional_actor(request) is not None:
        raise web.HTTPSeeOther("/messages/support")
    return _form(request, None, "")


def _form(request: web.Request, to_id: str | None, to_name: str) -> web.Response:
    stamp = enquiries.form_stamp(request.app[INSTALL_KEYS].session_secret, request.app[CLOCK]())
    return render(
        request,
        "enquiry.html",
        to_id=to_id,
        to_name=to_name,
        stamp=stamp,
        notice=request.app[MESSAGES].notice,
        thanks=t(enquiries.THANKS),
        most=messages.MOST_TEXT_LENGTH,
    )


@routes.get("/enquiries/sent")
async def sent(request: web.Request) -> web.StreamResponse:
    return render(request, "enquiry_link.html", token=None)


@routes.get("/enquiries/{token}")
async def link(request: web.Request) -> web.StreamResponse:
    """Opening the link changes nothing, because mail scanners open links too; the button on the page uses it."""
    return render(request, "enquiry_link.html", token=request.match_info["token"])
