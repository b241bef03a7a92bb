"""Purchases: a package of credits, pending until its provider says that it was paid.

Notices of a provider come twice, late and in any order. So nothing here depends on their order:
a payment counts once, a failed attempt ends nothing, and a refund that comes before its payment
leaves as much as one that comes after it.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, assert_never

import msgspec

from domain.errors import InvalidCommand, UnknownPackage
from domain.event import Event

PREFIX = "pur"
MOST_MINOR = 10**12
"""No price and no payment is larger: a number that is, is a mistake."""

MOST_REMEMBERED = 20
"""So many failed attempts, and so many payments, a purchase takes note of."""

Status = Literal["pending", "failed", "paid", "refunded"]
NoticeKind = Literal["paid", "failed", "refunded", "other"]
Mismatch = Literal["amount_mismatch", "currency_mismatch"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_CURRENCY = re.compile(r"[A-Z]{3}")


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """What can be bought. `credits` in hundredths, `price_minor` in the currency's minor unit
    (cents of USD, whole JPY), `currency` as in ISO 4217. None: the credits never expire."""

    name: str
    title: str
    credits: int
    price_minor: int
    currency: str
    expires_after_days: int | None = None


SHIPPED = (
    Package(
        name="small",
        title="100 credits",
        credits=100_00,
        price_minor=10_00,
        currency="USD",
        expires_after_days=365,
    ),
    Package(
        name="medium",
        title="500 credits",
        credits=500_00,
        price_minor=45_00,
        currency="USD",
        expires_after_days=365,
    ),
    Package(
        name="large",
        title="2,000 credits",
        credits=2_000_00,
        price_minor=160_00,
        currency="USD",
        expires_after_days=365,
    ),
)


class PaymentNotice(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of one payment, once its signature was found to be right.

    `reference` is the purchase's id, if the notice carries one. `amount_minor` is the whole
    payment, `refunded_minor` what was given back of it up to now, in all. `reason` is the
    provider's code for a failure. Kind `other` is of something that is not ours to know.
    """

    kind: NoticeKind
    payment_id: str = ""
    reference: str | None = None
    amount_minor: int = 0
    currency: str = ""
    refunded_minor: int = 0
    reason: str | None = None


class PurchaseStarted(Event, frozen=True, tag="purchase.started.v1"):
    """Somebody wants a package. What it holds and costs is fixed from here on."""

    purchase_id: str
    account_id: str
    package: str
    title: str
    credits: int
    price_minor: int
    currency: str
    provider: str
    expires_after_days: int | None = None


class PurchasePaid(Event, frozen=True, tag="purchase.paid.v1"):
    """It was paid: `credits` were granted in the same transaction. They are fewer than bought
    where some of the payment had been refunded already. `paid_at` is when we were told: what
    is decided with the credits gets their instant, which is the database's."""

    payment_id: str
    amount_minor: int
    credits: int
    paid_at: datetime


class PurchaseFailed(Event, frozen=True, tag="purchase.failed.v1"):
    """An attempt to pay failed, or paid something else than the price. A later one may succeed."""

    payment_id: str
    reason: str


class PurchasePaidAgain(Event, frozen=True, tag="purchase.paid_again.v1"):
    """Another payment came for what was paid already. It buys nothing: give it back."""

    payment_id: str
    amount_minor: int


class PurchaseRefunded(Event, frozen=True, tag="purchase.refunded.v1"):
    """Of this payment, so much was given back up to now, in all. `credits` are what the account
    loses by it, as far as it still has them."""

    payment_id: str
    amount_minor: int
    refunded_minor: int
    credits: int = 0


PurchaseEvent = (
    PurchaseStarted | PurchasePaid | PurchaseFailed | PurchasePaidAgain | PurchaseRefunded
)


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase. `refunds` has, by payment, what was given back; `failures` the payments that
    failed, with the reason; `surplus` the payments that came when it was paid already."""

    id: str
    account_id: str
    package: str
    title: str
    credits: int
    price_minor: int
    currency: str
    provider: str
    expires_after_days: int | None
    started_at: datetime
    payment_id: str | None = None
    paid_minor: int = 0
    paid_at: datetime | None = None
    refunds: dict[str, int] = {}
    failures: tuple[tuple[str, str], ...] = ()
    surplus: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """In a word. `failed`: the last attempt did, and another one may still succeed."""
        if self.payment_id is None:
            return "failed" if self.failures else "pending"
        back = self.refunds.get(self.payment_id, 0)
        return "refunded" if back >= self.paid_minor else "paid"


def check(packages: Sequence[Package]) -> tuple[Package, ...]:
    """These packages, if each makes sense and no name is there twice. InvalidCommand."""
    for each in packages:
        if _NAME.fullmatch(each.name) is None:
            raise InvalidCommand("name", "1 to 40 characters a-z 0-9 _ -")
        if not 1 <= len(each.title) <= 100:
            raise InvalidCommand("title", "1 to 100 characters")
        if not 1 <= each.credits <= MOST_MINOR:
            raise InvalidCommand("credits", "more than nothing")
        if not 1 <= each.price_minor <= MOST_MINOR:
            raise InvalidCommand("price_minor", "more than nothing, in the currency's minor unit")
        if _CURRENCY.fullmatch(each.currency) is None:
            raise InvalidCommand("currency", "three capital letters, as in ISO 4217")
        days = each.expires_after_days
        if days is not None and not 1 <= days <= 36_500:
            raise InvalidCommand("expires_after_days", "1 to 36500, or null")
    if len({each.name for each in packages}) != len(packages):
        raise InvalidCommand("name", "each name once")
    return tuple(packages)


def package_named(packages: Sequence[Package], name: str) -> Package:
    """The package of this name. UnknownPackage."""
    for package in packages:
        if package.name == name:
            return package
    raise UnknownPackage(name)


def start(purchase_id: str, account_id: str, package: Package, provider: str) -> list[Event]:
    """Begin to buy a package as it is on offer now."""
    return [
        PurchaseStarted(
            purchase_id=purchase_id,
            account_id=account_id,
            package=package.name,
            title=package.title,
            credits=package.credits,
            price_minor=package.price_minor,
            currency=package.currency,
            provider=provider,
            expires_after_days=package.expires_after_days,
        )
    ]


def settle(purchase: Purchase, notice: PaymentNotice, now: datetime) -> Sequence[PurchaseEvent]:
    """What this notice means for the purchase; nothing where it was known, or says nothing new.

    A payment of at least the price in the right currency counts (tax may come on top). One of
    less is taken note of as failed: nobody gets credits for it, and staff can see why.
    """
    match notice.kind:
        case "paid":
            return _paid(purchase, notice, now)
        case "failed":
            return _failed(purchase, notice.payment_id, notice.reason or "failed")
        case "refunded":
            return _refunded(purchase, notice)
        case "other":
            return []
        case _:
            assert_never(notice.kind)


def credits_lost(credits: int, amount_minor: int, refunded_minor: int) -> int:
    """How many of these credits a refund takes: its share, rounded up, and never more."""
    if amount_minor <= 0 or refunded_minor >= amount_minor:
        return credits
    return -(-credits * refunded_minor // amount_minor)


def knows(purchase: Purchase, payment_id: str) -> bool:
    """Whether this payment has come for this purchase already."""
    return payment_id == purchase.payment_id or payment_id in purchase.surplus


def _paid(purchase: Purchase, notice: PaymentNotice, now: datetime) -> Sequence[PurchaseEvent]:
    payment_id, amount = notice.payment_id, notice.amount_minor
    if knows(purchase, payment_id):
        return []
    if notice.currency != purchase.currency:
        return _failed(purchase, payment_id, "currency_mismatch")
    if amount < purchase.price_minor:
        return _failed(purchase, payment_id, "amount_mismatch")
    if purchase.payment_id is not None:
        if len(purchase.surplus) >= MOST_REMEMBERED:
            return []
        return [PurchasePaidAgain(payment_id=payment_id, amount_minor=amount)]
    lost = credits_lost(purchase.credits, amount, purchase.refunds.get(payment_id, 0))
    return [
        PurchasePaid(
            payment_id=payment_id,
            amount_minor=amount,
            credits=purchase.credits - lost,
            paid_at=now,
        )
    ]


def _failed(purchase: Purchase, payment_id: str, reason: str) -> Sequence[PurchaseEvent]:
    known = (payment_id, reason) in purchase.failures
    if known or purchase.payment_id is not None or len(purchase.failures) >= MOST_REMEMBERED:
        return []
    return [PurchaseFailed(payment_id=payment_id, reason=reason)]


def _refunded(purchase: Purchase, notice: PaymentNotice) -> Sequence[PurchaseEvent]:
    before = purchase.refunds.get(notice.payment_id, 0)
    now = min(notice.refunded_minor, notice.amount_minor)
    full = len(purchase.refunds) >= MOST_REMEMBERED and notice.payment_id not in purchase.refunds
    if now <= before or full:
        return []
    lost = 0
    if notice.payment_id == purchase.payment_id:
        paid = purchase.paid_minor
        lost = credits_lost(purchase.credits, paid, now)
        lost -= credits_lost(purchase.credits, paid, before)
    return [
        PurchaseRefunded(
            payment_id=notice.payment_id,
            amount_minor=notice.amount_minor,
            refunded_minor=now,
            credits=lost,
        )
    ]


def evolve(state: Purchase | None, event: PurchaseEvent, at: datetime) -> Purchase:
    """The purchase after this event."""
    if isinstance(event, PurchaseStarted):
        return Purchase(
            id=event.purchase_id,
            account_id=event.account_id,
            package=event.package,
            title=event.title,
            credits=event.credits,
            price_minor=event.price_minor,
            currency=event.currency,
            provider=event.provider,
            expires_after_days=event.expires_after_days,
            started_at=at,
        )
    if state is None:
        raise ValueError(f"{type(event).__name__} before purchase.started")
    replace = msgspec.structs.replace
    match event:
        case PurchasePaid():
            return replace(
                state,
                payment_id=event.payment_id,
                paid_minor=event.amount_minor,
                paid_at=event.paid_at,
            )
        case PurchaseFailed():
            return replace(state, failures=(*state.failures, (event.payment_id, event.reason)))
        case PurchasePaidAgain():
            return replace(state, surplus=(*state.surplus, event.payment_id))
        case PurchaseRefunded():
            return replace(state, refunds={**state.refunds, event.payment_id: event.refunded_minor})
        case _:
            assert_never(event)
