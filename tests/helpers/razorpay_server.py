"""The part of Razorpay's HTTP API that Holdspace uses, on this machine, with the faults of a bad day.

Keeps orders, payments and refunds, answers under refunds' idempotency keys, signs webhooks and what its page brings
back, and breaks as told: `faults` is taken from in order, one per changing request. No rule of ours is in here.
https://razorpay.com/docs/api/orders, /payments, /refunds, /webhooks
"""

import asyncio
import hashlib
import hmac
import json
import time
from base64 import b64encode
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiohttp import web

from tests.helpers.stripe_server import Fault

KEY_ID, KEY_SECRET, WEBHOOK_SECRET = "rzp_test_holdspace", "razorpay secret", "razorpay webhook secret"
_AUTHORISATION = "Basic " + b64encode(f"{KEY_ID}:{KEY_SECRET}".encode()).decode()

Json = dict[str, Any]
Answer = tuple[int, Json]


@dataclass
class RazorpayServer:
    base: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    down: bool = False
    orders: dict[str, Json] = field(default_factory=dict)
    payments: dict[str, Json] = field(default_factory=dict)
    refunds: dict[str, Json] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    refunds_wait: bool = False
    answers: dict[str, Answer] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/{path:.*}", self._answer)]

    # -- what a test asks ----------------------------------------------------------------------------------------

    @property
    def net_minor(self) -> int:
        """What the practice's account holds."""
        back = sum(one["amount"] for one in self.refunds.values() if one["status"] != "failed")
        return sum(one["amount"] for one in self.payments.values() if one["captured"]) - back

    def pay(self, order_id: str, *, works: bool = True) -> Json:
        """The payer pays on Razorpay's page, or is refused; what the page sends back with them."""
        order = self.orders[order_id]
        payment: Json = {
            "id": f"pay_{next(self._numbers)}",
            "entity": "payment",
            "order_id": order_id,
            "amount": order["amount"],
            "currency": order["currency"],
            "status": "captured" if works else "failed",
            "captured": works,
            "error_reason": None if works else "payment_failed",
            "created_at": int(time.time()),
        }
        self.payments[payment["id"]] = payment
        order["status"] = "paid" if works else "attempted"
        self._tell("order.paid" if works else "payment.failed", order=order if works else None, payment=payment)
        signature = _signed(f"{order_id}|{payment['id']}".encode(), KEY_SECRET)
        names = ("razorpay_order_id", "razorpay_payment_id", "razorpay_signature")
        return dict(zip(names, (order_id, payment["id"], signature), strict=True))

    def settle_refund(self, refund_id: str, status: str) -> None:
        self.refunds[refund_id]["status"] = status
        self._tell(f"refund.{status}", refund=self.refunds[refund_id])

    @staticmethod
    def signed(event: Json, *, secret: str = WEBHOOK_SECRET) -> tuple[bytes, dict[str, str]]:
        """A webhook's raw body and its headers."""
        raw = json.dumps({name: value for name, value in event.items() if name != "id"}).encode()
        return raw, {"X-Razorpay-Signature": _signed(raw, secret), "X-Razorpay-Event-Id": event["id"]}

    # -- answering -----------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            return web.json_response({"error": {"code": "SERVER_ERROR"}}, status=500)
        if request.headers.get("Authorization") != _AUTHORISATION:
            return web.json_response({"error": {"code": "BAD_REQUEST_ERROR"}}, status=401)
        if request.method == "GET":
            return self._json(self._read(request))
        return await self._change(request)

    async def _change(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        key = request.headers.get("X-Refund-Idempotency", "")
        fault = self.faults.popleft() if self.faults else Fault.NONE
        if fault in (Fault.LOST_BEFORE, Fault.LOST_AFTER):
            if fault is Fault.LOST_AFTER:
                self._once(key, request.path, body)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault is Fault.ERROR_BEFORE:
            return self._json((500, {"error": {"code": "SERVER_ERROR"}}))
        answer = self._once(key, request.path, body)
        if fault is Fault.SILENT:
            await asyncio.sleep(5)
        if fault is Fault.ERROR_AFTER:
            answer = 500, {"error": {"code": "SERVER_ERROR"}}
        return self._json(answer)

    def _once(self, key: str, path: str, body: Json) -> Answer:
        if key and key in self.answers:
            return self.answers[key]
        answer = self._do(path, body)
        if key:
            self.answers[key] = answer
        return answer

    @staticmethod
    def _json(answer: Answer) -> web.Response:
        return web.json_response(answer[1], status=answer[0])

    def _read(self, request: web.Request) -> Answer:
        match request.path.strip("/").split("/"):
            case ["v1", "orders"]:
                receipt = request.query.get("receipt")
                return self._list([one for one in self.orders.values() if one["receipt"] == receipt])
            case ["v1", "orders", one] if one in self.orders:
                return 200, self.orders[one]
            case ["v1", "orders", one, "payments"]:
                return self._list([paid for paid in self.payments.values() if paid["order_id"] == one])
            case ["v1", "payments", one, "refunds"]:
                return self._list([back for back in self.refunds.values() if back["payment_id"] == one])
            case ["v1", "refunds", one] if one in self.refunds:
                return 200, self.refunds[one]
        return _refused("not_found")

    @staticmethod
    def _list(rows: list[Json]) -> Answer:
        return 200, {"entity": "collection", "count": len(rows), "items": rows}

    def _do(self, path: str, body: Json) -> Answer:
        match path.strip("/").split("/"):
            case ["v1", "orders"]:
                order = body | {"id": f"order_{next(self._numbers)}", "entity": "order", "status": "created"}
                self.orders[order["id"]] = order
                return 200, order
            case ["v1", "payments", one, "refund"] if one in self.payments:
                return self._refund(self.payments[one], body)
        return _refused("not_found")

    def _refund(self, payment: Json, body: Json) -> Answer:
        back = sum(one["amount"] for one in self.refunds.values() if one["payment_id"] == payment["id"])
        if not payment["captured"] or back + body["amount"] > payment["amount"]:
            return _refused("refund_more_than_captured")
        refund: Json = {
            "id": f"rfnd_{next(self._numbers)}",
            "entity": "refund",
            "payment_id": payment["id"],
            "amount": body["amount"],
            "notes": body["notes"],
            "status": "pending" if self.refunds_wait else "processed",
        }
        self.refunds[refund["id"]] = refund
        self._tell("refund.created", refund=refund)
        return 200, refund

    def _tell(self, kind: str, **about: Json | None) -> None:
        payload = {name: {"entity": json.loads(json.dumps(one))} for name, one in about.items() if one is not None}
        self.events.append({"id": f"evt_{next(self._numbers)}", "event": kind, "payload": payload})


def _refused(reason: str) -> Answer:
    return 400, {"error": {"code": "BAD_REQUEST_ERROR", "reason": reason, "description": "no"}}


def _signed(raw: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
