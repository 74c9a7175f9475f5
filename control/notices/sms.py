"""One SMS: handed to Twilio's HTTP API, or to any gateway whose request can be written as a template.

Knows no outbox and no database. Gateways have no key against repeats: a crash between their "taken" and our commit
sends a text twice, never zero times.
"""

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp

from control.config import SmsSettings
from control.notices.email import NotDelivered

TWILIO = "https://api.twilio.com"
MOST_ANSWER_BYTES = 64 * 1024
AGAIN_STATUSES = frozenset({401, 403, 408, 425, 429})  # our account's or the hour's fault, not the number's


@dataclass(frozen=True)
class Sms:
    to_number: str
    """E.164: + and digits."""
    text: str


@dataclass(frozen=True)
class _Request:
    url: str
    body: bytes
    content_type: str
    authorization: str | None = None


async def deliver(sms: Sms, settings: SmsSettings) -> None:
    """Raises NotDelivered, and nothing else that the network or the gateway causes."""
    wanted = _for_twilio(sms, settings) if settings.gateway == "twilio" else _by_template(sms, settings)
    headers = {"Content-Type": wanted.content_type, "Accept": "application/json"}
    if wanted.authorization is not None:
        headers["Authorization"] = wanted.authorization
    timeout = aiohttp.ClientTimeout(total=settings.timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(wanted.url, data=wanted.body, headers=headers, allow_redirects=False) as answer,
        ):
            raw = await answer.content.read(MOST_ANSWER_BYTES)
            status = answer.status
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        raise NotDelivered(f"SMS gateway not reached ({type(error).__name__})", permanent=False) from error
    if not 200 <= status < 300:
        permanent = 400 <= status < 500 and status not in AGAIN_STATUSES
        raise NotDelivered(f"SMS gateway answered {status}{_code_of(raw)}", permanent=permanent)


def _code_of(raw_untrusted: bytes) -> str:
    """Twilio's number of what was wrong; other gateways' words are not kept, they may repeat the text."""
    try:
        code = json.loads(raw_untrusted)["code"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return f" (code {code})" if isinstance(code, int) else ""


def _for_twilio(sms: Sms, settings: SmsSettings) -> _Request:
    """https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource"""
    account = settings.twilio_account_sid or ""
    token = settings.twilio_auth_token.get_secret_value() if settings.twilio_auth_token else ""
    fields = {"To": sms.to_number, "From": settings.sender, "Body": sms.text}
    return _Request(
        f"{settings.twilio_api_base or TWILIO}/2010-04-01/Accounts/{quote(account, safe='')}/Messages.json",
        "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items()).encode(),
        "application/x-www-form-urlencoded",
        "Basic " + base64.b64encode(f"{account}:{token}".encode()).decode(),
    )


def _by_template(sms: Sms, settings: SmsSettings) -> _Request:
    """Every value is written as its place needs it: JSON-escaped in JSON, percent-escaped in forms and addresses."""
    values = {"{to}": sms.to_number, "{text}": sms.text, "{sender}": settings.sender}
    is_json = settings.http_content_type == "application/json"
    return _Request(
        _filled(settings.http_url or "", {name: quote(value, safe="") for name, value in values.items()}),
        _filled(
            settings.http_body,
            {name: json.dumps(value)[1:-1] if is_json else quote(value, safe="") for name, value in values.items()},
        ).encode(),
        settings.http_content_type,
        settings.http_authorization.get_secret_value() if settings.http_authorization else None,
    )


def _filled(template: str, values: dict[str, str]) -> str:
    """Left to right, once: a text that holds "{to}" stays as it is."""
    for number, name in enumerate(values):
        template = template.replace(name, f"\x00{number}\x00")
    for number, value in enumerate(values.values()):
        template = template.replace(f"\x00{number}\x00", value)
    return template
