"""Who takes money, and says so by signed webhooks."""

from datetime import UTC, datetime

from application.payment_ports import PaymentProvider
from domain.errors import UnknownProvider
from infra.payments.stripe import Stripe
from infra.payments.trial import Trial
from infra.settings import Settings


def providers(settings: Settings) -> dict[str, PaymentProvider]:
    """Those that are set up, by the name that routes use. The one that takes no money is there
    in development and test only, whatever is set."""
    found: dict[str, PaymentProvider] = {}
    secrets = (settings.stripe_webhook_secret, settings.stripe_webhook_secret_previous)
    if settings.stripe_webhook_secret:
        found["stripe"] = Stripe([secret for secret in secrets if secret])
    if settings.lenient and settings.test_payment_secret:
        found["test"] = Trial(settings.test_payment_secret)
    return found


def signed_test_notice(settings: Settings, body: bytes) -> dict[str, str]:
    """The headers of a webhook with this body from the provider `test`. UnknownProvider where
    that is not: outside development and test."""
    known = providers(settings)
    match known.get("test"):
        case Trial() as trial:
            return trial.signed(body, datetime.now(UTC))
    raise UnknownProvider("test", tuple(known))
