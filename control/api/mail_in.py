"""E-mailed replies from whoever receives the practice's mail: raw, signed with a secret the two share.

POST /api/webhooks/mail   Content-Type: message/rfc822
X-Holdspace-Signature: t=<Unix seconds>,v1=<hex HMAC-SHA256 of "<t>." and the body>
"""

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta

from aiohttp import web

from control import mail_in
from control.errors import Malformed, NotFound
from control.keys import CLOCK, DATABASE, MESSAGES, SETTINGS

routes = web.RouteTableDef()

HEADER = "X-Holdspace-Signature"
TOLERANCE = timedelta(minutes=5)  # a signature older than this may have been kept by somebody


@routes.post("/api/webhooks/mail")
async def receive(request: web.Request) -> web.Response:
    secret = request.app[SETTINGS].messages.mail_webhook_secret
    if secret is None:
        raise NotFound
    raw, now = await request.read(), request.app[CLOCK]()
    check_signature(secret.get_secret_value().encode(), request.headers.get(HEADER, ""), raw, now)
    outcome = await mail_in.take(request.app[DATABASE], request.app[MESSAGES], raw, now=now)
    mail_in.log.info("mail in outcome=%s", outcome)
    return web.json_response({"outcome": outcome})


def check_signature(secret: bytes, header_untrusted: str, raw: bytes, now: datetime) -> None:
    """Malformed `signature_wrong` unless it was made with our secret within TOLERANCE."""
    found = re.fullmatch(r"t=(\d{1,12}),v1=([0-9a-f]{64})", header_untrusted)
    if found is not None:
        made = hmac.new(secret, found.group(1).encode() + b"." + raw, hashlib.sha256).hexdigest()
        is_fresh = abs(now - datetime.fromtimestamp(int(found.group(1)), UTC)) <= TOLERANCE
        if hmac.compare_digest(made, found.group(2)) and is_fresh:
            return
    raise Malformed("signature_wrong", "The signature is missing, wrong or too old.")
