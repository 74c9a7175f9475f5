"""The public enquiry form and the link that proves its writer's address; nobody is signed in here."""

from datetime import timedelta
from typing import Annotated

from aiohttp import web
from pydantic import Field

from control import enquiries
from control.accounts import normalised_email
from control.api.bodies import Body, EmptyBody, read
from control.api.shapes import Id, Text
from control.keys import CLOCK, DATABASE, INSTALL_KEYS, LIMITS, MESSAGES, SETTINGS
from control.language import t
from control.limits import Rule, client_address, network_of
from control.messages import MOST_TEXT_LENGTH

routes = web.RouteTableDef()

FROM_ONE_NETWORK = Rule("enquiries from one network", 5, timedelta(hours=1))
TO_ONE_ADDRESS = Rule("enquiries of one address", 3, timedelta(days=1))  # each sends that address an e-mail
PROVING = Rule("enquiry links", 30, timedelta(minutes=15))


class EnquiryBody(Body):
    to: Id | None = None
    name: Annotated[Text, Field(min_length=1, max_length=120)]
    email: Annotated[Text, Field(min_length=3, max_length=254)]
    text: Annotated[Text, Field(min_length=1, max_length=MOST_TEXT_LENGTH)]
    notice_version: Annotated[str, Field(max_length=16)]
    stamp: Annotated[str, Field(max_length=100)]
    website: Annotated[str, Field(max_length=500)] = ""
    """No person sees this field; what fills it in is a script."""


@routes.post("/api/enquiries")
async def send(request: web.Request) -> web.Response:
    """202 whatever became of it: whether an address has an account is nobody's business."""
    body = await read(request, EnquiryBody)
    now, limits = request.app[CLOCK](), request.app[LIMITS]
    network = network_of(client_address(request, request.app[SETTINGS].server.trusted_proxies))
    limits.count(FROM_ONE_NETWORK, network, now)
    enquiries.check_stamp(request.app[INSTALL_KEYS].session_secret, body.stamp, now)
    if not body.website:
        limits.count(TO_ONE_ADDRESS, normalised_email(body.email), now)
        wanted = enquiries.NewEnquiry(body.to, body.name, body.email, body.text, body.notice_version)
        await enquiries.send(request.app[DATABASE], request.app[MESSAGES], wanted, now=now)
    return web.json_response({"detail": t(enquiries.THANKS)}, status=202)


@routes.post("/api/enquiries/{token}/prove")
async def prove(request: web.Request) -> web.Response:
    await read(request, EmptyBody)
    now = request.app[CLOCK]()
    network = network_of(client_address(request, request.app[SETTINGS].server.trusted_proxies))
    request.app[LIMITS].count(PROVING, network, now)
    await enquiries.prove(request.app[DATABASE], request.app[MESSAGES], request.match_info["token"], now=now)
    return web.json_response({"path": "/enquiries/sent"})
