"""The part of Stripe's HTTP API that Holdspace uses, on this machine, with the faults of a bad day.

Keeps what Stripe keeps (intents, refunds, answers under idempotency keys), signs webhooks, and breaks as told:
`faults` is taken from in order, one per changing request. No rule of ours is in here, only Stripe's.
"""

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

import stripe
from aiohttp import web

SECRET_KEY, PUBLISHABLE_KEY, WEBHOOK_SECRET = "sk_test_holdspace", "pk_test_holdspace", "whsec_holdspace"
GOOD, DECLINED, ASKS = "pm_card_visa", "pm_card_visa_chargeDeclined", "pm_card_threeDSecure2Required"

NUMBERS = {"4242424242424242": GOOD, "4000000000009995": DECLINED, "4000002500003155": ASKS}
"""What people type into the card field: Stripe's own test numbers."""

STAND_IN = Path(__file__).with_name("stripe_stand_in.js")


class Fault(StrEnum):
    NONE = "none"
    LOST_BEFORE = "lost_before"  # the connection breaks, nothing was done
    LOST_AFTER = "lost_after"  # done, and the answer is lost
    ERROR_BEFORE = "error_before"  # a 500, nothing was done
    ERROR_AFTER = "error_after"  # a 500, although it was done
    SILENT = "silent"  # done, and no answer within the client's patience


Json = dict[str, Any]


@dataclass
class StripeServer:
    base: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    down: bool = False
    """Every request is a 500."""
    intents: dict[str, Json] = field(default_factory=dict)
    refunds: dict[str, Json] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refunds_wait: bool = False
    answers: dict[str, tuple[str, int, Json]] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/{path:.*}", self._answer)]

    # -- what a test asks ----------------------------------------------------------------------------------------

    @property
    def net_minor(self) -> int:
        """What the practice's account holds."""
        back = sum(one["amount"] for one in self.refunds.values() if one["status"] != "failed")
        return sum(one["amount_received"] for one in self.intents.values()) - back

    def net_of(self, intent: Json) -> int:
        back = sum(
            one["amount"]
            for one in self.refunds.values()
            if one["payment_intent"] == intent["id"] and one["status"] != "failed"
        )
        return int(intent["amount_received"]) - back

    def answer_bank(self, intent_id: str, *, yes: bool) -> None:
        """The payer answers their bank's question."""
        intent = self.intents[intent_id]
        if intent["status"] != "requires_action":
            return
        if yes:
            self._charge(intent)
        else:
            self._decline(intent, "authentication_required")

    def confirm(self, intent_id: str, card: str) -> None:
        """The payer's browser confirms with Stripe's own element."""
        intent = self.intents[intent_id]
        if intent["status"] == "requires_payment_method":
            self._confirm(intent, card)

    def settle_refund(self, refund_id: str, status: str) -> None:
        self.refunds[refund_id]["status"] = status
        if status == "failed":
            self.refunds[refund_id]["failure_reason"] = "expired_or_canceled_card"
        self._tell(f"refund.{'failed' if status == 'failed' else 'updated'}", self.refunds[refund_id])

    def lapse(self, intent_id: str) -> None:
        """The bank takes an authorisation back."""
        self.intents[intent_id]["status"] = "canceled"
        self._tell("payment_intent.canceled", self.intents[intent_id])

    @staticmethod
    def signed(event: Json, *, secret: str = WEBHOOK_SECRET, age_s: int = 0) -> tuple[bytes, str]:
        """A webhook's raw body and its Stripe-Signature."""
        raw = json.dumps(event)
        stamp = int(time.time()) - age_s
        return raw.encode(), stripe.WebhookSignature.generate_signature_header(raw, secret, stamp)

    # -- answering -----------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/v3/":
            return web.Response(text=STAND_IN.read_text(encoding="utf-8"), content_type="text/javascript")
        if request.path.startswith("/stand-in/"):
            return await self._in_browser(request)
        self.requests.append((request.method, request.path))
        if self.down:
            return self._error(500, "api_error")
        if request.headers.get("Authorization") != f"Bearer {SECRET_KEY}":
            return self._error(401, "invalid_request_error")
        if request.method == "GET":
            status, body = self._read(request)
            return web.json_response(body, status=status)
        return await self._change(request)

    async def _in_browser(self, request: web.Request) -> web.Response:
        """What the card field of stripe_stand_in.js asks: the card's number is confirmed, or the bank answered."""
        told = json.loads(await request.text())
        intent_id = str(told["secret"]).removesuffix("_secret")
        if told["key"] != PUBLISHABLE_KEY or intent_id not in self.intents:
            return self._error(401, "invalid_request_error")
        if request.path == "/stand-in/answer":
            self.answer_bank(intent_id, yes=told["yes"])
        else:
            self.confirm(intent_id, NUMBERS[told["card"].replace(" ", "")])
        intent = self.intents[intent_id]
        answer: Json = {"status": intent["status"]}
        if intent["status"] == "requires_payment_method":
            answer = {"error": {"message": "Your card was declined."}}
        return web.json_response(answer, headers={"Access-Control-Allow-Origin": "*"})

    async def _change(self, request: web.Request) -> web.StreamResponse:
        key = request.headers.get("Idempotency-Key", "")
        assert key, "every change carries a key"
        form = {name: str(value) for name, value in (await request.post()).items()}
        what = json.dumps([request.path, form], sort_keys=True)
        fault = self.faults.popleft() if self.faults else Fault.NONE
        if fault is Fault.LOST_BEFORE:
            return self._break(request)
        if key in self.answers:
            before, status, body = self.answers[key]
            if before != what:
                return self._error(400, "idempotency_error")
        elif fault is Fault.ERROR_BEFORE:
            status, body = 500, {"error": {"type": "api_error", "message": "ours"}}
        else:
            status, body = self._do(request.path, form)
            if fault is Fault.ERROR_AFTER:
                status, body = 500, {"error": {"type": "api_error", "message": "ours"}}
        self.answers.setdefault(key, (what, status, json.loads(json.dumps(body))))
        if fault is Fault.LOST_AFTER:
            return self._break(request)
        if fault is Fault.SILENT:
            await asyncio.sleep(5)
        return web.json_response(self.answers[key][2], status=status)

    @staticmethod
    def _break(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    @staticmethod
    def _error(status: int, kind: str) -> web.Response:
        return web.json_response({"error": {"type": kind, "message": kind}}, status=status)

    def _read(self, request: web.Request) -> tuple[int, Json]:
        match request.path.strip("/").split("/"):
            case ["v1", "payment_intents"]:
                newest = list(reversed(self.intents.values()))
                return self._page(request, newest)
            case ["v1", "refunds"]:
                of = request.query["payment_intent"]
                return self._page(request, [one for one in self.refunds.values() if one["payment_intent"] == of])
            case ["v1", "payment_intents", one] if one in self.intents:
                return 200, self.intents[one]
            case ["v1", "refunds", one] if one in self.refunds:
                return 200, self.refunds[one]
        return 404, {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "no"}}

    @staticmethod
    def _page(request: web.Request, rows: list[Json]) -> tuple[int, Json]:
        after, limit = request.query.get("starting_after"), min(int(request.query.get("limit", "10")), 2)
        if after is not None:
            rows = rows[[row["id"] for row in rows].index(after) + 1 :]
        page = {"object": "list", "data": rows[:limit], "has_more": len(rows) > limit, "url": request.path}
        return 200, page

    def _do(self, path: str, form: dict[str, str]) -> tuple[int, Json]:
        match path.strip("/").split("/"):
            case ["v1", "payment_intents"]:
                return self._create(form)
            case ["v1", "payment_intents", one, "capture"]:
                return self._capture(self.intents[one], int(form["amount_to_capture"]))
            case ["v1", "payment_intents", one, "cancel"]:
                return self._cancel(self.intents[one])
            case ["v1", "refunds"]:
                return self._refund(form)
        return 404, {"error": {"type": "invalid_request_error", "message": path}}

    def _refused(self, intent: Json | None, code: str) -> tuple[int, Json]:
        kind = "card_error" if code == "card_declined" else "invalid_request_error"
        error: Json = {"type": kind, "code": code, "message": code}
        if intent is not None:
            error["payment_intent"] = json.loads(json.dumps(intent))
        return (402 if kind == "card_error" else 400), {"error": error}

    def _create(self, form: dict[str, str]) -> tuple[int, Json]:
        number = next(self._numbers)
        if form.get("payment_method") == "pm_unknown":
            return 400, {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "no"}}
        intent: Json = {
            "id": f"pi_{number}",
            "object": "payment_intent",
            "amount": int(form["amount"]),
            "amount_received": 0,
            "capture_method": form["capture_method"],
            "client_secret": f"pi_{number}_secret",
            "created": int(time.time()),
            "currency": form["currency"],
            "last_payment_error": None,
            "metadata": {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")},
            "status": "requires_payment_method",
        }
        self.intents[intent["id"]] = intent
        self._tell("payment_intent.created", intent)
        if form.get("confirm") == "true" and not self._confirm(intent, form["payment_method"]):
            return self._refused(intent, "card_declined")
        return 200, intent

    def _confirm(self, intent: Json, card: str) -> bool:
        if card == DECLINED:
            self._decline(intent, "insufficient_funds")
            return False
        if card == ASKS:
            intent["status"] = "requires_action"
            self._tell("payment_intent.requires_action", intent)
        else:
            self._charge(intent)
        return True

    def _charge(self, intent: Json) -> None:
        if intent["capture_method"] == "manual":
            intent["status"] = "requires_capture"
            self._tell("payment_intent.amount_capturable_updated", intent)
        else:
            intent |= {"status": "succeeded", "amount_received": intent["amount"]}
            self._tell("payment_intent.succeeded", intent)

    def _decline(self, intent: Json, code: str) -> None:
        intent["status"] = "requires_payment_method"
        intent["last_payment_error"] = {"type": "card_error", "code": "card_declined", "decline_code": code}
        self._tell("payment_intent.payment_failed", intent)

    def _capture(self, intent: Json, amount: int) -> tuple[int, Json]:
        if intent["status"] != "requires_capture" or not 0 < amount <= intent["amount"]:
            return self._refused(intent, "payment_intent_unexpected_state")
        intent |= {"status": "succeeded", "amount_received": amount}
        self._tell("payment_intent.succeeded", intent)
        return 200, intent

    def _cancel(self, intent: Json) -> tuple[int, Json]:
        if intent["status"] in {"succeeded", "canceled"}:
            return self._refused(intent, "payment_intent_unexpected_state")
        intent["status"] = "canceled"
        self._tell("payment_intent.canceled", intent)
        return 200, intent

    def _refund(self, form: dict[str, str]) -> tuple[int, Json]:
        intent, amount = self.intents[form["payment_intent"]], int(form["amount"])
        if amount > self.net_of(intent):
            return self._refused(None, "charge_already_refunded")
        refund: Json = {
            "id": f"re_{next(self._numbers)}",
            "object": "refund",
            "amount": amount,
            "currency": intent["currency"],
            "metadata": {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")},
            "payment_intent": intent["id"],
            "status": "pending" if self.refunds_wait else "succeeded",
        }
        self.refunds[refund["id"]] = refund
        self._tell("refund.created", refund)
        return 200, refund

    def _tell(self, kind: str, about: Json) -> None:
        event = {"id": f"evt_{next(self._numbers)}", "object": "event", "type": kind}
        self.events.append(event | {"data": {"object": json.loads(json.dumps(about))}})
