"""Web push on this device: what to subscribe to, on, off. 404 `push_off` until the operator has switched it on."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from control import push
from control.accounts import require_actor
from control.api.bodies import Body, read
from control.api.shapes import Text
from control.errors import NotFound, NotSignedIn
from control.keys import CLOCK, DATABASE, PUSH_SENDER, SESSION_ID, SETTINGS
from control.notices.push import Sender, device_untrusted

routes = web.RouteTableDef()


class DeviceBody(Body):
    endpoint: Annotated[Text, Field(min_length=1, max_length=1000)]
    p256dh: Annotated[Text, Field(min_length=1, max_length=100)]
    auth: Annotated[Text, Field(min_length=1, max_length=30)]


def _sender(request: web.Request) -> Sender:
    sender = request.app[PUSH_SENDER]
    if sender is None:
        raise NotFound("push_off", "Notices on devices are switched off here.")
    return sender


def _session_id(request: web.Request) -> str:
    found = request[SESSION_ID]
    if found is None:
        raise NotSignedIn
    return found


@routes.get("/api/push")
async def this_device(request: web.Request) -> web.Response:
    require_actor(request)
    public_key = _sender(request).public_key
    is_on = await push.is_on(request.app[DATABASE], _session_id(request))
    return web.json_response({"public_key": public_key, "on": is_on})


@routes.put("/api/push")
async def switch_on(request: web.Request) -> web.Response:
    actor = require_actor(request)
    body = await read(request, DeviceBody)
    _sender(request)
    device = device_untrusted(body.endpoint, body.p256dh, body.auth, request.app[SETTINGS].push)
    await push.switch_on(request.app[DATABASE], actor, _session_id(request), device, now=request.app[CLOCK]())
    return web.Response(status=204)


@routes.delete("/api/push")
async def switch_off(request: web.Request) -> web.Response:
    actor = require_actor(request)
    await push.switch_off(request.app[DATABASE], actor, _session_id(request), now=request.app[CLOCK]())
    return web.Response(status=204)
