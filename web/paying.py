"""The ways to pay that one page offers, and the origins its Content-Security-Policy must let in for them.

For the pay pages of sessions (views/booker.py) and of purchases (views/wallet.py). Decides nothing: whether a way is
taken is control/money's to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from control.config import PaymentSettings
from control.keys import CASHIER, SETTINGS
from control.security import Elsewhere, content_security_policy
from web.models import Wallet

_STRIPE_API, _STRIPE_BANKS = "https://api.stripe.com", "https://hooks.stripe.com"
_RAZORPAY, _CHECKOUT = "https://api.razorpay.com", "/v1/checkout/embedded"


@dataclass(frozen=True)
class Ways:
    """What parts/pay_ways.html draws. `wallet` None: money doesn't come from there (a top-up)."""

    gateways: tuple[str, ...]
    wallet: Wallet | None
    credits: int
    stripe_script: str
    stripe_key: str
    razorpay_page: str
    back: str
    """Razorpay's page sends the payer's browser there."""


def ways_of(request: web.Request, wallet: Wallet | None, credits: int = 0) -> Ways:
    settings = request.app[SETTINGS]
    payments = settings.payments
    return Ways(
        gateways=tuple(str(method) for method in request.app[CASHIER].methods),
        wallet=wallet,
        credits=credits,
        stripe_script=payments.stripe_script,
        stripe_key=payments.stripe_publishable_key,
        razorpay_page=(payments.razorpay_api_base or _RAZORPAY) + _CHECKOUT,
        back=f"{settings.server.public_url}/api/payments/razorpay-return",
    )


def let_gateways_in(request: web.Request, page: web.Response) -> web.Response:
    """Nothing more than usual where no gateway of the outside world is set up."""
    settings = request.app[SETTINGS]
    page.headers["Content-Security-Policy"] = content_security_policy(settings.server, _elsewhere(settings.payments))
    return page


def _elsewhere(payments: PaymentSettings) -> Elsewhere:
    scripts: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    connects: tuple[str, ...] = ()
    if payments.takes_stripe:
        parts = urlsplit(payments.stripe_script)
        origin = f"{parts.scheme}://{parts.netloc}"
        scripts, frames = (origin,), (origin, _STRIPE_BANKS)
        connects = (origin, payments.stripe_api_base or _STRIPE_API)
    forms = (payments.razorpay_api_base or _RAZORPAY,) if payments.takes_razorpay else ()
    return Elsewhere(scripts, frames, tuple(dict.fromkeys(connects)), forms)
