"""What purchase routes take and answer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from application.payment_ports import PaymentAttachment
from domain.credit_amounts import decimal
from domain.purchases import Package, Purchase, Status

Name = Annotated[str, Meta(min_length=1, max_length=40)]


class PurchaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which package, and who takes the money: left out where only one provider is set up."""

    package: Name
    provider: Name | None = None


class PackageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A package. `price_minor` is in the currency's minor unit: cents of USD, whole JPY."""

    name: str
    title: str
    credits: str
    price_minor: int
    currency: str
    expires_after_days: int | None


class PackagePage(msgspec.Struct, frozen=True):
    """All packages that are on offer."""

    items: list[PackageAnswer]
    next_cursor: str | None


class AttachmentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What to hand to the provider with the payment, so that its webhooks name the purchase."""

    reference: str
    metadata: dict[str, str]
    payment_id: str | None


class PurchaseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase. `attach` is null once the provider is not set up here any more. `failure` is
    the last attempt's, while none has succeeded."""

    id: str
    account_id: str
    status: Status
    package: str
    title: str
    credits: str
    price_minor: int
    currency: str
    expires_after_days: int | None
    provider: str
    attach: AttachmentAnswer | None
    started_at: datetime
    paid_at: datetime | None
    payment_id: str | None
    refunded_minor: int
    failure: str | None


class PurchasePage(msgspec.Struct, frozen=True):
    """A page of purchases, oldest first."""

    items: list[PurchaseAnswer]
    next_cursor: str | None


class NoticeRequest(msgspec.Struct, frozen=True):
    """What a provider signed: an event of Stripe's, of which this is the `type`; or, from the
    provider `test`, all of these fields."""

    type: str
    purchase_id: str | None = None
    payment_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    refunded_minor: int = 0
    reason: str | None = None


class NoticeAnswer(msgspec.Struct, frozen=True):
    """What became of a notice: `counted` moved credits, `recorded` was taken note of,
    `duplicate` said nothing new, `ignored` is about nothing that was sold here."""

    outcome: Literal["counted", "recorded", "duplicate", "ignored"]


def package_page(packages: Sequence[Package]) -> PackagePage:
    """The packages as they are shown."""
    items = [
        PackageAnswer(
            name=each.name,
            title=each.title,
            credits=decimal(each.credits),
            price_minor=each.price_minor,
            currency=each.currency,
            expires_after_days=each.expires_after_days,
        )
        for each in packages
    ]
    return PackagePage(items, None)


def purchase_answer(purchase: Purchase, attachment: PaymentAttachment | None) -> PurchaseAnswer:
    """The purchase as it is shown."""
    status, payment_id = purchase.status, purchase.payment_id
    return PurchaseAnswer(
        id=purchase.id,
        account_id=purchase.account_id,
        status=status,
        package=purchase.package,
        title=purchase.title,
        credits=decimal(purchase.credits),
        price_minor=purchase.price_minor,
        currency=purchase.currency,
        expires_after_days=purchase.expires_after_days,
        provider=purchase.provider,
        attach=None
        if attachment is None
        else AttachmentAnswer(
            reference=attachment.reference,
            metadata=attachment.metadata,
            payment_id=attachment.payment_id,
        ),
        started_at=purchase.started_at,
        paid_at=purchase.paid_at,
        payment_id=payment_id,
        refunded_minor=0 if payment_id is None else purchase.refunds.get(payment_id, 0),
        failure=purchase.failures[-1][1] if status == "failed" else None,
    )
