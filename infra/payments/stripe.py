"""Stripe: which of its events say something of a purchase, and what.

The shop makes the payment with its own Stripe key; this server holds none, and only listens.
https://docs.stripe.com/webhooks, https://docs.stripe.com/api/events/types
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from application.errors import WebhookRefused
from application.payment_ports import PaymentAttachment
from domain.purchases import MOST_MINOR, NoticeKind, PaymentNotice
from infra.payments.signature import require_signed

HEADER = "Stripe-Signature"
METADATA = "tollhouse_purchase"

_Id = Annotated[str, Meta(pattern="^[A-Za-z0-9_]{1,255}$")]
_Amount = Annotated[int, Meta(ge=0, le=MOST_MINOR)]
_Currency = Annotated[str, Meta(pattern="^[A-Za-z]{3}$")]
_Text = Annotated[str, Meta(max_length=500)]
_REASON = re.compile(r"[a-z0-9_]{1,64}")
_OTHER = PaymentNotice(kind="other")


class _Data(msgspec.Struct, frozen=True):
    object: msgspec.Raw


class _Event(msgspec.Struct, frozen=True):
    type: Annotated[str, Meta(max_length=200)]
    data: _Data


class _Session(msgspec.Struct, frozen=True):
    """A Checkout Session. It is `completed` when the form is, which need not mean paid."""

    id: _Id
    payment_status: str
    payment_intent: _Id | None = None
    amount_total: _Amount | None = None
    currency: _Currency | None = None
    client_reference_id: _Text | None = None
    metadata: dict[str, _Text] | None = None


class _Failure(msgspec.Struct, frozen=True):
    code: str | None = None


class _Intent(msgspec.Struct, frozen=True):
    """A PaymentIntent."""

    id: _Id
    amount: _Amount
    currency: _Currency
    amount_received: _Amount = 0
    metadata: dict[str, _Text] | None = None
    last_payment_error: _Failure | None = None


class _Charge(msgspec.Struct, frozen=True):
    """A charge; Stripe gives it the metadata of its PaymentIntent."""

    id: _Id
    amount: _Amount
    amount_refunded: _Amount
    currency: _Currency
    payment_intent: _Id | None = None
    metadata: dict[str, _Text] | None = None


_EVENT = msgspec.json.Decoder(_Event)
_SESSION = msgspec.json.Decoder(_Session)
_INTENT = msgspec.json.Decoder(_Intent)
_CHARGE = msgspec.json.Decoder(_Charge)


class Stripe:
    """Implements application.ports.PaymentProvider. `secrets` are the endpoint's signing secrets
    (whsec_…): one, or two while it is rolled."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret.encode() for secret in secrets]

    def attachment(self, purchase_id: str) -> PaymentAttachment:
        """For `client_reference_id` of a Checkout Session, and `metadata` of its payment."""
        return PaymentAttachment(reference=purchase_id, metadata={METADATA: purchase_id})

    def verify(
        self, headers: Iterable[tuple[bytes, bytes]], body: bytes, now: datetime
    ) -> PaymentNotice:
        """The notice; of kind `other` for events that don't concern us."""
        require_signed(HEADER, headers, body, self._secrets, now)
        try:
            event = _EVENT.decode(body)
            reader = _READERS.get(event.type)
            return _OTHER if reader is None else reader(bytes(event.data.object))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WebhookRefused(
                "content", f"This is not an event as we know it: {error}."
            ) from None


def _session_paid(raw: bytes) -> PaymentNotice:
    session = _SESSION.decode(raw)
    if session.payment_status != "paid":  # it will be, or not: another event says so
        return _OTHER
    return _of_session(session, "paid")


def _session_failed(raw: bytes) -> PaymentNotice:
    return _of_session(_SESSION.decode(raw), "failed")


def _of_session(session: _Session, kind: NoticeKind) -> PaymentNotice:
    return PaymentNotice(
        kind=kind,
        payment_id=session.payment_intent or session.id,
        reference=_reference(session.metadata) or session.client_reference_id,
        amount_minor=session.amount_total or 0,
        currency=(session.currency or "").upper(),
    )


def _intent_paid(raw: bytes) -> PaymentNotice:
    intent = _INTENT.decode(raw)
    return PaymentNotice(
        kind="paid",
        payment_id=intent.id,
        reference=_reference(intent.metadata),
        amount_minor=intent.amount_received,
        currency=intent.currency.upper(),
    )


def _intent_failed(raw: bytes) -> PaymentNotice:
    intent = _INTENT.decode(raw)
    failure = intent.last_payment_error
    code = None if failure is None else failure.code
    return PaymentNotice(
        kind="failed",
        payment_id=intent.id,
        reference=_reference(intent.metadata),
        amount_minor=intent.amount,
        currency=intent.currency.upper(),
        reason=code if code is not None and _REASON.fullmatch(code) else None,
    )


def _refunded(raw: bytes) -> PaymentNotice:
    charge = _CHARGE.decode(raw)
    return PaymentNotice(
        kind="refunded",
        payment_id=charge.payment_intent or charge.id,
        reference=_reference(charge.metadata),
        amount_minor=charge.amount,
        currency=charge.currency.upper(),
        refunded_minor=charge.amount_refunded,
    )


def _reference(metadata: dict[str, str] | None) -> str | None:
    return (metadata or {}).get(METADATA)


_READERS: dict[str, Callable[[bytes], PaymentNotice]] = {
    "checkout.session.completed": _session_paid,
    "checkout.session.async_payment_succeeded": _session_paid,
    "checkout.session.async_payment_failed": _session_failed,
    "payment_intent.succeeded": _intent_paid,
    "payment_intent.payment_failed": _intent_failed,
    "charge.refunded": _refunded,
}
