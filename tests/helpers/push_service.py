"""A push service of our own: gives devices an address, takes what is pushed, opens it as the device would."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import http_ece
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

AUTH = b"sixteen bytes, k"


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@dataclass
class PushService:
    """`status` is how it answers next; `taken` what was said to the device, `headers` how."""

    base: str = ""
    status: int = 201
    taken: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def device(self, name: str = "one") -> dict[str, str]:
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"endpoint": f"{self.base}/push/{name}", "p256dh": _base64url(point), "auth": _base64url(AUTH)}

    async def take(self, request: web.Request) -> web.Response:
        sealed = await request.read()
        self.headers.append(dict(request.headers))
        assert Vapid02.verify(request.headers["Authorization"])
        if self.status < 300:
            opened = http_ece.decrypt(sealed, private_key=self.key, auth_secret=AUTH, version="aes128gcm")
            self.taken.append(json.loads(opened))
        return web.Response(status=self.status)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/push/{name}", self.take)]
