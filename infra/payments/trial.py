"""A payment provider for trying things: it takes no money, and says whatever you sign.

Only in development and test: whoever knows its secret has credits for nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from application.errors import WebhookRefused
from application.payment_ports import PaymentAttachment
from domain.purchases import MOST_MINOR, PaymentNotice
from infra.payments.signature import require_signed, sign

HEADER = "Tollhouse-Test-Signature"

_Id = Annotated[str, Meta(pattern="^[A-Za-z0-9_]{1,255}$")]
_Amount = Annotated[int, Meta(ge=0, le=MOST_MINOR)]


class _Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the webhook takes. `refunded_minor` is for `refunded`, `reason` for `failed`."""

    type: Literal["paid", "failed", "refunded"]
    purchase_id: Annotated[str, Meta(max_length=100)]
    payment_id: _Id
    amount_minor: _Amount
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    refunded_minor: _Amount = 0
    reason: Annotated[str, Meta(pattern="^[a-z0-9_]{1,64}$")] | None = None


_NOTICE = msgspec.json.Decoder(_Notice)


class Trial:
    """Implements application.ports.PaymentProvider."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def attachment(self, purchase_id: str) -> PaymentAttachment:
        """The payment's id follows from the purchase's."""
        payment_id = f"testpay_{purchase_id.partition('_')[2]}"
        return PaymentAttachment(reference=purchase_id, payment_id=payment_id)

    def verify(
        self, headers: Iterable[tuple[bytes, bytes]], body: bytes, now: datetime
    ) -> PaymentNotice:
        """The notice, as it was signed."""
        require_signed(HEADER, headers, body, [self._secret], now)
        try:
            notice = _NOTICE.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WebhookRefused("content", f"This is not a notice: {error}.") from None
        return PaymentNotice(
            kind=notice.type,
            payment_id=notice.payment_id,
            reference=notice.purchase_id,
            amount_minor=notice.amount_minor,
            currency=notice.currency,
            refunded_minor=notice.refunded_minor,
            reason=notice.reason,
        )

    def signed(self, body: bytes, at: datetime) -> dict[str, str]:
        """The headers of a webhook with this body."""
        signature = sign(self._secret, body, int(at.timestamp()))
        return {"Content-Type": "application/json", HEADER: signature}
