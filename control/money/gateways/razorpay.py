"""Razorpay by its own library: an order per attempt, paid on Razorpay's page, captured at once, refunded in part.

https://razorpay.com/docs/api/orders, /payments, /refunds, /webhooks. The library blocks, so each call runs in a thread;
its session is ours, because the library prints what goes wrong instead of saying it. Orders are found again by their
receipt, refunds by a note: that is what makes a repeated call safe where Razorpay knows no idempotency key.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import razorpay
import requests

from control.money.gateways import (
    Event,
    Forged,
    GatewayProblem,
    RefundStanding,
    Refused,
    Seen,
    SeenRefund,
    Standing,
    Unreachable,
    Wish,
)

TIMEOUT_S = 20.0
API_BASE = "https://api.razorpay.com"
NOTE_PAYMENT, NOTE_REFUND, NOTE_KEY = "holdspace_payment", "holdspace_refund", "holdspace_key"
_TAKEN = frozenset({"captured", "refunded"})
_REFUND_STANDINGS = {
    "pending": RefundStanding.WORKING,
    "processed": RefundStanding.SUCCEEDED,
    "failed": RefundStanding.FAILED,
}
T = TypeVar("T")
Json = dict[str, Any]


class _Session(requests.Session):
    """Says what went wrong in our own words before the library sees it."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = self._timeout_s
        try:
            answer = super().request(*args, **kwargs)
            if answer.ok:
                answer.json()
                return answer
        except requests.RequestException:
            raise Unreachable("no_answer", answered=False) from None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise Unreachable(f"status_{answer.status_code}", answered=answer.status_code >= 500)
        raise Refused(_code_in(answer))


def _code_in(answer: requests.Response) -> str:
    """Razorpay's word for the refusal; never its description, which may name a card."""
    try:
        error = answer.json()["error"]
        return str(error.get("reason") or error["code"])[:40]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"status_{answer.status_code}"


class RazorpayGateway:
    def __init__(
        self,
        key_id: str,
        key_secret: str,
        webhook_secret: str,
        *,
        api_base: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.key_id = key_id
        self._webhook_secret = webhook_secret
        self._session = _Session(timeout_s)
        self._client: Any = razorpay.Client(
            session=self._session, auth=(key_id, key_secret), base_url=api_base or API_BASE
        )

    async def authorise(self, wish: Wish, key: str) -> Seen:
        order = {
            "amount": wish.amount_minor,
            "currency": wish.currency,
            "receipt": wish.payment_id,
            "payment_capture": True,
            "notes": {NOTE_PAYMENT: wish.payment_id, NOTE_KEY: key},
        }
        created: Json = await _asked(lambda: self._client.order.create(order))
        return _seen(created, [])

    async def capture(self, ref: str, amount_minor: int, key: str) -> Seen:
        del key  # a payment is captured once; a repeat is refused, and looked up by whoever asked
        promised = next((one for one in await self._payments(ref) if one["status"] == "authorized"), None)
        if promised is None:
            raise Refused("nothing_authorised", ref)
        content = {"currency": promised["currency"]}
        await _asked(lambda: self._client.payment.capture(promised["id"], amount_minor, content))
        return await self.fetch(ref)

    async def cancel(self, ref: str, key: str) -> Seen:
        """Razorpay lets go of an order by itself. One that is paid later all the same is seen and given back."""
        del key
        seen = await self.fetch(ref)
        if seen.standing is Standing.CAPTURED:
            raise Refused("already_captured", ref)
        return Seen(seen.ref, seen.payment_id, Standing.CANCELLED, seen.amount_minor, 0, seen.currency)

    async def refund(self, ref: str, refund_id: str, amount_minor: int, key: str) -> SeenRefund:
        taken = await self._taken(ref)
        if taken is None:
            raise Refused("nothing_captured", ref)
        content = {"amount": amount_minor, "notes": {NOTE_REFUND: refund_id}}
        headers = {"X-Refund-Idempotency": key}
        made: Json = await _asked(lambda: self._client.payment.refund(taken["id"], content, headers=headers))
        return _seen_refund(made)

    async def fetch(self, ref: str) -> Seen:
        order: Json = await _asked(lambda: self._client.order.fetch(ref))
        return _seen(order, await self._payments(ref))

    async def find(self, wish: Wish) -> tuple[Seen, ...]:
        page: Json = await _asked(lambda: self._client.order.all({"receipt": wish.payment_id, "count": 100}))
        return tuple([_seen(order, await self._payments(order["id"])) for order in page["items"]])

    async def fetch_refund(self, refund_ref: str) -> SeenRefund:
        return _seen_refund(await _asked(lambda: self._client.refund.fetch(refund_ref)))

    async def find_refund(self, ref: str, refund_id: str) -> SeenRefund | None:
        taken = await self._taken(ref)
        if taken is None:
            return None
        page: Json = await _asked(lambda: self._client.payment.fetch_multiple_refund(taken["id"], {"count": 100}))
        return next((seen for seen in map(_seen_refund, page["items"]) if seen.refund_id == refund_id), None)

    def verify_webhook(self, raw: bytes, headers: Mapping[str, str]) -> Event:
        try:
            signature = headers["X-Razorpay-Signature"]
            self._client.utility.verify_webhook_signature(raw.decode(), signature, self._webhook_secret)
            content = json.loads(raw)
            kind, payload = str(content["event"]), content["payload"]
            attempt = payload.get("order") or payload.get("payment")
            refund = payload.get("refund")
            attempt_ref = _order_in(attempt["entity"]) if attempt else None
            refund_ref = str(refund["entity"]["id"]) if refund else None
        except (razorpay.errors.SignatureVerificationError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Forged(type(error).__name__) from None
        # The event's own number is not signed, so a replay under another number is only one more look.
        event_id = headers.get("X-Razorpay-Event-Id") or hashlib.sha256(raw).hexdigest()
        if len(event_id) > 64 or len(kind) > 80:
            raise Forged("shape")
        return Event(event_id, kind, attempt_ref, refund_ref)

    def verify_return(self, order_ref: str, payment_ref: str, signature: str) -> None:
        """What Razorpay's page brings back with the payer. Raises Forged."""
        told = {
            "razorpay_order_id": order_ref,
            "razorpay_payment_id": payment_ref,
            "razorpay_signature": signature,
        }
        try:
            self._client.utility.verify_payment_signature(told)
        except (razorpay.errors.SignatureVerificationError, TypeError, ValueError) as error:
            raise Forged(type(error).__name__) from None

    async def close(self) -> None:
        self._session.close()

    async def _payments(self, ref: str) -> list[Json]:
        page: Json = await _asked(lambda: self._client.order.payments(ref))
        return list(page["items"])

    async def _taken(self, ref: str) -> Json | None:
        return next((one for one in await self._payments(ref) if one["status"] in _TAKEN), None)


async def _asked(call: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(call)
    except GatewayProblem:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise Unreachable(type(error).__name__, answered=True) from None


def _order_in(entity: Json) -> str | None:
    """Of an order its own id, of a payment the id of its order."""
    found = entity["id"] if entity.get("entity") == "order" else entity.get("order_id")
    return None if found is None else str(found)


def _seen(order: Json, payments: list[Json]) -> Seen:
    taken = next((one for one in payments if one["status"] in _TAKEN), None)
    newest = max(payments, key=lambda one: one.get("created_at", 0), default=None)
    failure: str | None = None
    if taken is not None:
        standing = Standing.CAPTURED
    elif any(one["status"] == "authorized" for one in payments):
        standing = Standing.AUTHORISED
    elif newest is not None and newest["status"] == "created":
        standing = Standing.NEEDS_ACTION
    else:
        standing = Standing.NEEDS_METHOD
        failure = str(newest.get("error_reason") or newest.get("error_code") or "refused")[:40] if newest else None
    notes = order.get("notes")
    return Seen(
        ref=str(order["id"]),
        payment_id=notes.get(NOTE_PAYMENT) if isinstance(notes, dict) else None,
        standing=standing,
        amount_minor=int(order["amount"]),
        captured_minor=int(taken["amount"]) if taken is not None else 0,
        currency=str(order["currency"]),
        failure_code=failure,
    )


def _seen_refund(refund: Json) -> SeenRefund:
    notes = refund.get("notes")
    return SeenRefund(
        ref=str(refund["id"]),
        refund_id=notes.get(NOTE_REFUND) if isinstance(notes, dict) else None,
        standing=_REFUND_STANDINGS.get(str(refund.get("status")), RefundStanding.WORKING),
        amount_minor=int(refund["amount"]),
    )
