"""One web push: encrypted for the device, signed as this server, handed to the push service the browser named.

RFC 8030 (the request), RFC 8291 (encryption), RFC 8292 (VAPID, who sends it). Knows no outbox and no database. The
address comes from a browser, so it is asked the way imported calendars are: never inside our own network.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

from control import keyfiles
from control.calendar_fetching import FetchFailed, PublicResolver, check_address_untrusted
from control.config import PushSettings, Settings
from control.config_reading import SettingsError
from control.errors import Malformed
from control.notices.email import NotDelivered
from control.push import Device

CURVE = ec.SECP256R1()
POINT_BYTES, AUTH_BYTES = 65, 16
TTL_S = 900  # both kinds are of no use a quarter of an hour later
TOKEN_LIFE = timedelta(hours=12)  # RFC 8292 allows 24
GONE_STATUSES = frozenset({404, 410})  # RFC 8030 §7.3: the subscription is over
AGAIN_STATUSES = frozenset({401, 403, 408, 425, 429})  # our key's or the hour's fault, not the device's


class DeviceGone(Exception):
    """The push service knows the subscription no more."""


@dataclass(frozen=True)
class Sender:
    """Who pushes: the install's VAPID key and whom a push service may write to about it."""

    key: ec.EllipticCurvePrivateKey
    contact: str

    @property
    def public_key(self) -> str:
        """What a browser subscribes to: the point, uncompressed, in base64url."""
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return base64.urlsafe_b64encode(point).rstrip(b"=").decode()


def sender_of(settings: Settings) -> Sender | None:
    """None while push is switched off. Raises SettingsError for a key that is none."""
    if not settings.push.enabled:
        return None
    try:
        key = ec.derive_private_key(int.from_bytes(keyfiles.push_key(settings), "big"), CURVE)
    except ValueError:
        raise SettingsError(["push.private_key = …: no private key of P-256"]) from None
    address = settings.push.contact or settings.practice.contact_email or settings.mail.sender
    return Sender(key, f"mailto:{address}")


def device_untrusted(endpoint: str, p256dh: str, auth: str, settings: PushSettings) -> Device:
    """Raises Malformed("bad_subscription") for anything no push service of the open internet would have given."""
    try:
        check_address_untrusted(endpoint, allow_private=settings.allow_private_addresses)
        if not settings.allow_private_addresses and urlsplit(endpoint).scheme != "https":
            raise ValueError("no https")
        ec.EllipticCurvePublicKey.from_encoded_point(CURVE, _decoded(p256dh, POINT_BYTES))
        _decoded(auth, AUTH_BYTES)
    except (ValueError, FetchFailed) as error:
        raise Malformed("bad_subscription", "This is no push subscription of a browser.") from error
    return Device(endpoint, p256dh, auth)


def _decoded(text: str, size: int) -> bytes:
    try:
        value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise ValueError("no base64url") from error
    if len(value) != size:
        raise ValueError(f"{len(value)} bytes instead of {size}")
    return value


async def deliver(
    device: Device, shown: dict[str, str], sender: Sender, settings: PushSettings, *, now: datetime
) -> None:
    """Raises NotDelivered or DeviceGone, and nothing else that the network or the service causes."""
    body = http_ece.encrypt(
        json.dumps(shown).encode(),
        private_key=ec.generate_private_key(CURVE),
        dh=_decoded(device.p256dh, POINT_BYTES),
        auth_secret=_decoded(device.auth, AUTH_BYTES),
        version="aes128gcm",
    )
    parts = urlsplit(device.endpoint)
    claims = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": int((now + TOKEN_LIFE).timestamp()),
        "sub": sender.contact,
    }
    headers = {
        **Vapid02(sender.key).sign(claims),
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(TTL_S),
        "Urgency": "high",
    }
    connector = aiohttp.TCPConnector(resolver=None if settings.allow_private_addresses else PublicResolver())
    timeout = aiohttp.ClientTimeout(total=settings.timeout_s)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as client,
            client.post(device.endpoint, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            status = answer.status
    except FetchFailed as error:
        raise NotDelivered("push service's address refused", permanent=True) from error
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        raise NotDelivered(f"push service not reached ({type(error).__name__})", permanent=False) from error
    if status in GONE_STATUSES:
        raise DeviceGone
    if not 200 <= status < 300:
        permanent = 400 <= status < 500 and status not in AGAIN_STATUSES
        raise NotDelivered(f"push service answered {status}", permanent=permanent)
