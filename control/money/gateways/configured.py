"""Which gateways an install has, by its settings: those with keys, else the test gateway."""

from control.config import Settings
from control.money.gateways import Gateway
from control.money.gateways.demo import DemoGateway
from control.money.payments import Method


def gateways_of(settings: Settings) -> dict[Method, Gateway]:
    """In the order pages offer them. A gateway's library is loaded only where it is used."""
    payments = settings.payments
    found: dict[Method, Gateway] = {}
    if payments.stripe_secret_key is not None and payments.stripe_webhook_secret is not None:
        from control.money.gateways.stripe import StripeGateway

        found[Method.STRIPE] = StripeGateway(
            payments.stripe_secret_key.get_secret_value(),
            payments.stripe_webhook_secret.get_secret_value(),
            api_base=payments.stripe_api_base,
        )
    if payments.razorpay_key_secret is not None and payments.razorpay_webhook_secret is not None:
        from control.money.gateways.razorpay import RazorpayGateway

        found[Method.RAZORPAY] = RazorpayGateway(
            payments.razorpay_key_id,
            payments.razorpay_key_secret.get_secret_value(),
            payments.razorpay_webhook_secret.get_secret_value(),
            api_base=payments.razorpay_api_base,
        )
    if payments.is_test_only:
        found[Method.DEMO] = DemoGateway(settings.server.data_dir / "test-gateway.db")
    return found
