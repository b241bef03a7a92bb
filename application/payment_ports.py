"""What purchases need from the outside: somebody who takes money, and says so."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

import msgspec

from domain.purchases import PaymentNotice


class PaymentAttachment(msgspec.Struct, frozen=True, kw_only=True):
    """What to hand to the provider with a payment, so that its notices name the purchase.

    `metadata` goes with the payment, `reference` where the provider has a field for one.
    `payment_id` is for a provider where the payment's id is known beforehand.
    """

    reference: str
    metadata: dict[str, str] = {}
    payment_id: str | None = None


class PaymentProvider(Protocol):
    """Somebody who takes money and says so by a signed webhook."""

    def attachment(self, purchase_id: str) -> PaymentAttachment: ...

    def verify(
        self, headers: Iterable[tuple[bytes, bytes]], body: bytes, now: datetime
    ) -> PaymentNotice:
        """What the provider says, if it is the provider that says it, and says it now: judged
        by the exact bytes. `headers` have names in lower case. Raises WebhookRefused."""
        ...
