"""Purchases of credits: begin one, and settle it by what its provider says.

The webhook is where money becomes credits, and it is delivered at least once: twice at the same
moment, days late, or in the wrong order. A payment counts once because three things are written
in one transaction or not at all: the event at the purchase's next version, a claim on the
payment's id, and the grant.
"""

from datetime import timedelta
from typing import Literal

import msgspec
import structlog

from application import credits
from application.credits import Also, GrantCredits
from application.deciding import (
    PURCHASE,
    Context,
    Principal,
    change,
    commit,
    fresh,
    load,
    new_id,
    retrying,
)
from application.known_account import known_account, require_active
from application.payment_ports import PaymentAttachment
from application.ports import Ports
from application.rows import ClaimRow
from domain import purchases
from domain.errors import NotFound, Taken, UnknownProvider
from domain.ids import is_id
from domain.purchases import (
    PREFIX,
    Package,
    PaymentNotice,
    Purchase,
    PurchaseEvent,
    PurchasePaid,
    PurchasePaidAgain,
    PurchaseRefunded,
)

log = structlog.get_logger()

CLAIM = "payment"
PRIORITY = 100
"""Bought credits are spent after those of the plan, which lapse earlier."""
_PAGE = 200

Outcome = Literal["counted", "recorded", "duplicate", "ignored"]


class Settled(msgspec.Struct, frozen=True):
    """What became of a notice: credits moved; it was taken note of; it said nothing new; it is
    about nothing that we sold."""

    outcome: Outcome


async def start(
    ports: Ports, context: Context, package: str, provider: str | None = None
) -> tuple[Purchase, int]:
    """Begin to buy a package for the own account; answers the purchase and the position.

    `provider` may be left out where there is one. Raises UnknownPackage, UnknownProvider,
    NotFound, AccountNotActive.
    """
    wanted = purchases.package_named(ports.policy.packages, package)
    chosen = _provider(ports, provider)
    account_id = context.principal.account_id or ""
    account = (await known_account(ports, account_id)).state
    require_active(account)
    now = ports.clock()
    purchase_id = new_id(ports, PREFIX)
    events = purchases.start(purchase_id, account_id, wanted, chosen)
    started = change(fresh(PURCHASE, purchase_id), events, now, account_id)
    position = await commit(ports, context, now, [started], result=started.state)
    return started.state, position


def packages(ports: Ports) -> tuple[Package, ...]:
    """What is on offer."""
    return ports.policy.packages


def attachment(ports: Ports, purchase: Purchase) -> PaymentAttachment | None:
    """What to hand to the provider; None if it is not set up any more."""
    provider = ports.payments.get(purchase.provider)
    return None if provider is None else provider.attachment(purchase.id)


async def get(ports: Ports, principal: Principal, purchase_id: str) -> Purchase:
    """The purchase as it stands in the log. NotFound where it is somebody else's."""
    purchase = None
    if is_id(PREFIX, purchase_id):
        purchase = (await load(ports, PURCHASE, purchase_id)).state
    own = purchase is not None and purchase.account_id == principal.account_id
    if purchase is None or not (own or principal.may("credits.read")):
        raise NotFound("purchase", purchase_id)
    return purchase


async def settle(
    ports: Ports, context: Context, provider: str, notice: PaymentNotice
) -> tuple[Settled, int]:
    """Let a verified notice have its effect, once; answers what that was, and the position.

    Everything that sending it again can't mend is answered, not raised, or the provider would
    repeat it for days and then switch the endpoint off: a notice of something else that the
    same shop sells, of a purchase that isn't here, of a payment that counted for another one.
    Raises what passes by itself: StoreUnavailable, VersionConflict.
    """
    purchase_id = await _purchase_of(ports, provider, notice)

    async def attempt() -> tuple[Settled, int]:
        stream = await load(ports, PURCHASE, purchase_id or "")
        purchase = stream.state
        if purchase is None or purchase.provider != provider:
            return _ignored(ports, provider, notice, "no such purchase")
        now = ports.clock()
        events = purchases.settle(purchase, notice, now)
        if not events:
            return Settled("duplicate"), ports.directory.position
        [event] = events
        rows = _claims(ports, provider, purchase, event)
        changed = change(stream, events, now, purchase.account_id)
        return await _write(ports, context, event, Also([changed], rows), changed.state)

    try:
        return await retrying(attempt)
    except Taken:
        # The claim: another process was first with this notice, or the payment is another's.
        state = (await load(ports, PURCHASE, purchase_id or "")).state
        if state is not None and purchases.knows(state, notice.payment_id):
            return Settled("duplicate"), ports.directory.position
        return _ignored(ports, provider, notice, "counted for another purchase")


async def _write(
    ports: Ports, context: Context, event: PurchaseEvent, also: Also, purchase: Purchase
) -> tuple[Settled, int]:
    source = f"purchase:{purchase.id}"
    match event:
        case PurchasePaid(credits=amount) if amount:
            expires_at = None
            if purchase.expires_after_days is not None:
                expires_at = ports.clock() + timedelta(days=purchase.expires_after_days)
            command = GrantCredits(
                amount=amount, priority=PRIORITY, expires_at=expires_at, source=source, paid=True
            )
            _, position = await credits.grant(
                ports, context, purchase.account_id, command, also=also
            )
        case PurchaseRefunded(credits=amount) if amount:
            _, position = await credits.withdraw(
                ports, context, purchase.account_id, source, amount, also=also
            )
        case _:
            position = await commit(ports, context, ports.clock(), also.changes, also.rows)
            return Settled("recorded"), position
    return Settled("counted"), position


def _claims(
    ports: Ports, provider: str, purchase: Purchase, event: PurchaseEvent
) -> list[ClaimRow]:
    """A payment belongs to one purchase for ever, whichever process hears of it."""
    match event:
        case PurchasePaid(payment_id=payment_id) | PurchasePaidAgain(payment_id=payment_id):
            digests = ports.digests.claims(CLAIM, f"{provider}:{payment_id}")
            return [ClaimRow(CLAIM, digest, purchase.account_id) for digest in digests]
    return []


async def _purchase_of(ports: Ports, provider: str, notice: PaymentNotice) -> str | None:
    """The purchase that a notice is about. Refunds may come without a reference: then by the
    payment, which is remembered once it has counted."""
    if notice.reference is not None:
        return notice.reference if is_id(PREFIX, notice.reference) else None
    if notice.kind != "refunded":
        return None
    digests = ports.digests.claims(CLAIM, f"{provider}:{notice.payment_id}")
    account_id = await ports.lookups.claim_holder(CLAIM, digests)
    after = None
    while account_id is not None:
        page = await ports.lookups.purchases_of(account_id, after, _PAGE)
        for purchase in page:
            if purchases.knows(purchase, notice.payment_id):
                return purchase.id
        if len(page) < _PAGE:
            break
        after = page[-1].id
    return None


def _provider(ports: Ports, name: str | None) -> str:
    known = tuple(sorted(ports.payments))
    if name is None and len(known) == 1:
        return known[0]
    if name is None or name not in known:
        raise UnknownProvider(name or "", known)
    return name


def _ignored(ports: Ports, provider: str, notice: PaymentNotice, why: str) -> tuple[Settled, int]:
    """Nothing of ours; but money that came for something we can't find is worth a line."""
    if notice.kind != "other" and notice.reference is not None:
        log.warning(
            "payment notice ignored",
            why=why,
            provider=provider,
            kind=notice.kind,
            payment_id=notice.payment_id,
        )
    return Settled("ignored"), ports.directory.position
