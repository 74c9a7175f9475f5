"""What gateways tell by themselves. No session, no CSRF, no Idempotency-Key: the raw body's signature is the proof.

Answers say nothing of what is known here. 503 makes the gateway send it again.
"""

from aiohttp import web

from control.errors import Malformed, Unavailable
from control.keys import CASHIER, CLOCK
from control.money.gateways import Forged, Unreachable
from control.money.payments import Method

routes = web.RouteTableDef()


@routes.post("/api/webhooks/stripe")
async def stripe(request: web.Request) -> web.Response:
    return await _hear(request, Method.STRIPE)


@routes.post("/api/webhooks/razorpay")
async def razorpay(request: web.Request) -> web.Response:
    return await _hear(request, Method.RAZORPAY)


async def _hear(request: web.Request, method: Method) -> web.Response:
    raw = await request.read()
    try:
        await request.app[CASHIER].webhook(method, raw, request.headers, now=request.app[CLOCK]())
    except Forged:
        raise Malformed("signature_wrong", "This was not signed by the gateway.") from None
    except Unreachable:
        raise Unavailable("gateway_unreachable", "Send it again.", retry_after_s=30) from None
    return web.json_response({"received": True})
