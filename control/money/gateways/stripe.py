"""Stripe by its own library: PaymentIntents with manual or automatic capture, refunds, signed webhooks.

https://docs.stripe.com/api/payment_intents, /api/refunds, /webhooks, /api/idempotent_requests. The library's aiohttp
client keeps the loop free; its own retries are off, because only cashier.py knows whether a repeat is safe.
"""

import json
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import aiohttp
import stripe

from control.money.gateways import (
    Event,
    Forged,
    RefundStanding,
    Refused,
    Seen,
    SeenRefund,
    Standing,
    Unreachable,
    Wish,
)

TIMEOUT_S = 20.0  # Stripe says a charge may take 10 s and more; longer than this, nobody is left waiting for it
TOLERANCE_S = 300  # Stripe's own; a signed webhook older than this is a replay
CLOCKS_APART = timedelta(minutes=5)  # how far Stripe's clock may be from ours when looking for an attempt
METADATA_PAYMENT, METADATA_REFUND = "holdspace_payment", "holdspace_refund"

_STANDINGS = {
    "requires_payment_method": Standing.NEEDS_METHOD,
    "requires_confirmation": Standing.NEEDS_METHOD,
    "requires_action": Standing.NEEDS_ACTION,
    "processing": Standing.WORKING,
    "requires_capture": Standing.AUTHORISED,
    "succeeded": Standing.CAPTURED,
    "canceled": Standing.CANCELLED,
}
_REFUND_STANDINGS = {
    "pending": RefundStanding.WORKING,
    "requires_action": RefundStanding.WORKING,
    "succeeded": RefundStanding.SUCCEEDED,
    "failed": RefundStanding.FAILED,
    "canceled": RefundStanding.FAILED,
}
T = TypeVar("T")


class StripeGateway:
    def __init__(
        self, secret_key: str, webhook_secret: str, *, api_base: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._webhook_secret = webhook_secret
        self._http = stripe.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=timeout_s))
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base} if api_base else {},
            max_network_retries=0,
            http_client=self._http,
        )

    async def authorise(self, wish: Wish, key: str) -> Seen:
        params: Any = {
            "amount": wish.amount_minor,
            "currency": wish.currency.lower(),
            "capture_method": "manual" if wish.manual_capture else "automatic",
            "payment_method_types": ["card"],
            "metadata": {METADATA_PAYMENT: wish.payment_id},
        }
        if wish.method_token is not None:
            params |= {"payment_method": wish.method_token, "confirm": True}
        try:
            return _seen(await _asked(self._client.v1.payment_intents.create_async(params, {"idempotency_key": key})))
        except Refused as refusal:
            if refusal.ref is None:
                raise
            return await self.fetch(refusal.ref)

    async def capture(self, ref: str, amount_minor: int, key: str) -> Seen:
        params: Any = {"amount_to_capture": amount_minor}
        return _seen(await _asked(self._client.v1.payment_intents.capture_async(ref, params, {"idempotency_key": key})))

    async def cancel(self, ref: str, key: str) -> Seen:
        return _seen(await _asked(self._client.v1.payment_intents.cancel_async(ref, {}, {"idempotency_key": key})))

    async def refund(self, ref: str, refund_id: str, amount_minor: int, key: str) -> SeenRefund:
        params: Any = {"payment_intent": ref, "amount": amount_minor, "metadata": {METADATA_REFUND: refund_id}}
        return _seen_refund(await _asked(self._client.v1.refunds.create_async(params, {"idempotency_key": key})))

    async def fetch(self, ref: str) -> Seen:
        return _seen(await _asked(self._client.v1.payment_intents.retrieve_async(ref)))

    async def find(self, wish: Wish) -> tuple[Seen, ...]:
        since = int((wish.created_at - CLOCKS_APART).timestamp())
        until = int((wish.created_at + timedelta(days=2)).timestamp())
        params: Any = {"created": {"gte": since, "lte": until}, "limit": 100}
        found: list[Seen] = []
        while True:
            page = await _asked(self._client.v1.payment_intents.list_async(params))
            found += [seen for seen in map(_seen, page.data) if seen.payment_id == wish.payment_id]
            if not page.has_more or not page.data:
                return tuple(found)
            params |= {"starting_after": page.data[-1].id}

    async def fetch_refund(self, refund_ref: str) -> SeenRefund:
        return _seen_refund(await _asked(self._client.v1.refunds.retrieve_async(refund_ref)))

    async def find_refund(self, ref: str, refund_id: str) -> SeenRefund | None:
        params: Any = {"payment_intent": ref, "limit": 100}
        page = await _asked(self._client.v1.refunds.list_async(params))
        return next((seen for seen in map(_seen_refund, page.data) if seen.refund_id == refund_id), None)

    def verify_webhook(self, raw: bytes, headers: Mapping[str, str]) -> Event:
        try:
            signature = headers.get("Stripe-Signature")
            stripe.WebhookSignature.verify_header(raw, signature, self._webhook_secret, TOLERANCE_S)
            content = json.loads(raw)
            event_id, kind, about = str(content["id"]), str(content["type"]), content["data"]["object"]
            noun, about_id = about.get("object"), about.get("id")
        except (stripe.SignatureVerificationError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Forged(type(error).__name__) from None
        if not isinstance(about_id, str) or len(event_id) > 64 or len(kind) > 80:
            raise Forged("shape")
        return Event(
            event_id,
            kind,
            attempt_ref=about_id if noun == "payment_intent" else None,
            refund_ref=about_id if noun == "refund" else None,
        )

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the library leaves it so


async def _asked(call: Awaitable[T]) -> T:
    """The library's errors in our three kinds. Never logs or keeps a message: it may name a card."""
    try:
        return await call
    except (stripe.CardError, stripe.InvalidRequestError) as error:
        raise Refused((error.code or "refused")[:40], _ref_in(error)) from None
    except stripe.APIConnectionError:
        raise Unreachable("no_answer", answered=False) from None
    except stripe.StripeError as error:
        # 409 (the first request under this key is still at work) and 429 were not carried out and are not kept.
        kept = error.http_status is not None and error.http_status >= 500
        raise Unreachable(f"status_{error.http_status}", answered=kept) from None
    except (aiohttp.ClientError, TimeoutError):
        raise Unreachable("answer_cut_off", answered=False) from None


def _ref_in(error: stripe.StripeError) -> str | None:
    body: Any = error.json_body
    try:
        return str(body["error"]["payment_intent"]["id"])
    except (KeyError, TypeError):
        return None


def _ours(metadata: Any, name: str) -> str | None:
    found = getattr(metadata, name, None)  # the library's own object, whatever its annotation says
    return found if isinstance(found, str) else None


def _seen(intent: stripe.PaymentIntent) -> Seen:
    last_error = intent.last_payment_error
    failure = (getattr(last_error, "decline_code", None) or getattr(last_error, "code", None)) if last_error else None
    return Seen(
        ref=intent.id,
        payment_id=_ours(intent.metadata, METADATA_PAYMENT),
        standing=_STANDINGS.get(intent.status, Standing.WORKING),
        amount_minor=intent.amount,
        captured_minor=intent.amount_received if intent.status == "succeeded" else 0,
        currency=intent.currency.upper(),
        client_secret=intent.client_secret,
        failure_code=failure[:40] if failure else None,
    )


def _seen_refund(refund: stripe.Refund) -> SeenRefund:
    return SeenRefund(
        ref=refund.id,
        refund_id=_ours(refund.metadata, METADATA_REFUND),
        standing=_REFUND_STANDINGS.get(refund.status or "", RefundStanding.WORKING),
        amount_minor=refund.amount,
        failure_code=(getattr(refund, "failure_reason", None) or None),
    )
