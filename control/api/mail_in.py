"""What comes back from outside: e-mailed replies, raw and signed with a secret of two; Zendesk's "ticket n changed".

POST /api/webhooks/mail   Content-Type: message/rfc822
X-Holdspace-Signature: t=<Unix seconds>,v1=<hex HMAC-SHA256 of "<t>." and the body>
"""

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from control import mail_in
from control.errors import Malformed, NotFound, Unavailable
from control.keys import CLOCK, DATABASE, MESSAGES, SETTINGS, ZENDESK
from control.zendesk import NotReached, signature_fits

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


class TicketBody(BaseModel):
    """Only a trigger: the ticket is fetched again. What else the webhook is set up to send is not read."""

    ticket_id: Annotated[str, Field(pattern=r"^\d{1,20}$", coerce_numbers_to_str=True)]


@routes.post("/api/webhooks/zendesk")
async def zendesk_told(request: web.Request) -> web.Response:
    """503 while Zendesk can't be asked: it sends the webhook again."""
    desk, secret = request.app[ZENDESK], request.app[SETTINGS].zendesk.webhook_secret
    if desk is None or secret is None:
        raise NotFound
    raw = await request.read()
    at = request.headers.get("X-Zendesk-Webhook-Signature-Timestamp", "")
    signature = request.headers.get("X-Zendesk-Webhook-Signature", "")
    if not signature_fits(secret.get_secret_value().encode(), at, signature, raw):
        raise Malformed("signature_wrong", "The signature is missing or wrong.")
    try:
        told = TicketBody.model_validate_json(raw)
    except ValidationError as error:
        raise Malformed("ticket_malformed", "Send the ticket's number as ticket_id.") from error
    try:
        taken = await desk.take(told.ticket_id, request.app[CLOCK]())
    except NotReached as error:
        raise Unavailable("zendesk_not_reached", "Please send it again.", retry_after_s=60) from error
    return web.json_response({"taken": taken})


def check_signature(secret: bytes, header_untrusted: str, raw: bytes, now: datetime) -> None:
    """Malformed `signature_wrong` unless it was made with our secret within TOLERANCE."""
    found = re.fullmatch(r"t=(\d{1,12}),v1=([0-9a-f]{64})", header_untrusted)
    if found is not None:
        made = hmac.new(secret, found.group(1).encode() + b"." + raw, hashlib.sha256).hexdigest()
        is_fresh = abs(now - datetime.fromtimestamp(int(found.group(1)), UTC)) <= TOLERANCE
        if hmac.compare_digest(made, found.group(2)) and is_fresh:
            return
    raise Malformed("signature_wrong", "The signature is missing, wrong or too old.")
