"""Credits: grant, hold, capture, release, spend; and settle, for verifications."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from application.crediting import (
    Act,
    Behind,
    Terms,
    decide,
    lock_of,
    opened,
    terms_now,
    terms_of,
    written,
)
from application.crediting import (
    Also as Also,
)
from application.deciding import SYSTEM, Context, Principal, new_id
from application.ports import Decided, HoldRow, Locked, Ports
from application.rows import Row
from application.staff_permits import spare_staff
from domain import credits
from domain.credits import DEFAULT_HOLD_SECONDS, Entries
from domain.credits import GrantCredits as GrantCredits
from domain.errors import (
    AccountNotActive,
    HoldEnded,
    InvalidCommand,
    NotFound,
    NotPermitted,
    UnknownOperation,
)
from domain.event import Metadata, NewEvent
from domain.ids import is_id

HOLD = "hold"
MOST_AT_ONCE = 200

_SPEND = "credits.spend"


class Price(msgspec.Struct, frozen=True):
    """What to spend or to hold: an amount in hundredths, or an operation that the plan has a
    price for. One of the two."""

    amount: int | None = None
    operation: str | None = None


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """Credits that were given, in so many lots of this amount."""

    account_id: str
    amount: int
    priority: int
    lots: list[int]
    available: int


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Credits that were spent."""

    account_id: str
    amount: int
    operation: str | None
    available: int


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as a command left it."""

    hold_id: str
    account_id: str
    status: Literal["held", "captured", "released"]
    amount: int
    captured: int
    expires_at_us: int
    available: int


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """Credits that were taken back: as much as was left of them."""

    account_id: str
    amount: int
    available: int


def may_spend(principal: Principal) -> None:
    """Credits are granted, held and spent by staff and by services that have the right to.
    NotPermitted."""
    if not principal.may("credits.grant") and _SPEND not in principal.permissions:
        raise NotPermitted(_SPEND)


async def grant(
    ports: Ports,
    context: Context,
    account_id: str,
    command: GrantCredits,
    *,
    also: Also | None = None,
    reason: str | None = None,
) -> tuple[Granted, int]:
    """Give credits, on top of what is there; answers what was given and the position.

    `also` is written in the same transaction, or neither. Raises NotPermitted, NotFound,
    InvalidAmount, InvalidCommand; VersionConflict where a stream of `also` has moved on.
    """
    may_spend(context.principal)
    spare_staff(ports, context.principal, account_id)

    def act(entries: Entries, terms: Terms) -> Granted:
        lots = credits.grant(entries, command)
        return Granted(
            account_id=account_id,
            amount=command.amount,
            priority=command.priority,
            lots=lots,
            available=entries.available,
        )

    return await decide(ports, context, account_id, act, also=also, reason=reason)


async def withdraw(
    ports: Ports,
    context: Context,
    account_id: str,
    source: str,
    amount: int,
    *,
    also: Also | None = None,
    reason: str | None = None,
) -> tuple[Withdrawn, int]:
    """Take back up to so much of what is left of the lots from this source. What was spent or
    is held stays so: nothing ever goes below zero. Otherwise as `grant`."""
    may_spend(context.principal)

    def act(entries: Entries, terms: Terms) -> Withdrawn:
        taken = credits.withdraw(entries, source, amount)
        return Withdrawn(account_id=account_id, amount=taken, available=entries.available)

    return await decide(ports, context, account_id, act, also=also, reason=reason)


async def spend(ports: Ports, context: Context, account_id: str, price: Price) -> tuple[Spent, int]:
    """Spend at once; answers what was spent and the position.

    Raises NotPermitted, NotFound, AccountNotActive, InvalidAmount, UnknownOperation,
    CreditsExhausted.
    """
    may_spend(context.principal)

    def act(entries: Entries, terms: Terms) -> Spent:
        _require_active(terms)
        amount = priced(terms, price)
        if amount or price.operation is None:
            credits.spend(entries, amount, price.operation)
        return Spent(
            account_id=account_id,
            amount=amount,
            operation=price.operation,
            available=entries.available,
        )

    return await decide(ports, context, account_id, act)


async def hold(
    ports: Ports,
    context: Context,
    account_id: str,
    price: Price,
    expires_in: int = DEFAULT_HOLD_SECONDS,
) -> tuple[Held, int]:
    """Set credits aside for so many seconds; answers the hold and the position.

    Raises as `spend`, and InvalidCommand.
    """
    may_spend(context.principal)
    hold_id = new_id(ports, HOLD)

    def act(entries: Entries, terms: Terms) -> Held:
        _require_active(terms)
        amount = priced(terms, price)
        made = credits.hold(entries, hold_id, amount, expires_in, price.operation)
        return Held(
            hold_id=hold_id,
            account_id=account_id,
            status="held",
            amount=amount,
            captured=0,
            expires_at_us=made.expires_at_us,
            available=entries.available,
        )

    return await decide(ports, context, account_id, act)


async def capture(
    ports: Ports, context: Context, hold_id: str, amount: int | None = None
) -> tuple[Held, int]:
    """Spend this much of a hold (None: all of it) and let go of the rest; answers the hold and
    the position. Raises NotPermitted, NotFound, InvalidAmount, HoldEnded."""
    row = await _hold(ports, context.principal, hold_id)

    def act(entries: Entries, terms: Terms) -> Held:
        return _ended(entries, row, "captured", credits.capture(entries, hold_id, amount))

    return await _end(ports, context, row, act)


async def release(ports: Ports, context: Context, hold_id: str) -> tuple[Held, int]:
    """Let go of a hold; answers it and the position. Raises as `capture`."""
    row = await _hold(ports, context.principal, hold_id)

    def act(entries: Entries, terms: Terms) -> Held:
        credits.release(entries, hold_id)
        return _ended(entries, row, "released", 0)

    return await _end(ports, context, row, act)


async def settle(ports: Ports, account_ids: Sequence[str]) -> None:
    """Decide anew what these accounts' verifications may spend: many in one transaction.

    Accounts that are unknown here are passed over. Raises StoreUnavailable.
    """
    wanted = sorted(set(account_ids), key=lambda each: lock_of(each).counter_id)
    for first in range(0, len(wanted), MOST_AT_ONCE):
        some = wanted[first : first + MOST_AT_ONCE]
        terms = [found for each in some if (found := _known(ports, each)) is not None]
        try:
            await _settle(ports, terms)
        except Behind:
            ids = [each.account.id for each in terms]
            await _settle(ports, [await terms_now(ports, each, from_log=True) for each in ids])


async def _settle(ports: Ports, terms: Sequence[Terms]) -> None:
    if not terms:
        return

    def decision(locked: Sequence[Locked], now: datetime) -> Decided[None]:
        events: list[NewEvent] = []
        rows: list[Row] = []
        for one, its in zip(locked, terms, strict=True):
            entries = opened(one, its, now)
            more_events, more_rows = written(entries, one, its, now)
            events += more_events
            rows += more_rows
        # Each kind in a run, which is written at once: nobody counts for these accounts till then.
        rows.sort(key=lambda row: type(row).__name__)
        return Decided(events, rows, None)

    metadata = Metadata(at=ports.clock(), actor=SYSTEM.id, command_id=new_id(ports, "cmd"))
    locks = [lock_of(each.account.id) for each in terms]
    await ports.store.append_locked(locks, decision, metadata)


def priced(terms: Terms, price: Price) -> int:
    """What this takes, in hundredths. InvalidCommand unless it is one of the two,
    UnknownOperation where the plan has no price for it."""
    if (price.amount is None) == (price.operation is None):
        raise InvalidCommand("amount", "either `amount` or `operation`")
    if price.operation is None:
        return price.amount or 0
    cost = terms.costs.get(price.operation)
    if cost is None:
        raise UnknownOperation(price.operation, sorted(terms.costs))
    return cost


def _known(ports: Ports, account_id: str) -> Terms | None:
    account = ports.directory.account(account_id)
    plan = None if account is None else ports.directory.plan(account.plan)
    return None if account is None or plan is None else terms_of(account, plan)


def _require_active(terms: Terms) -> None:
    if terms.account.status != "active":
        raise AccountNotActive(terms.account.id, terms.account.status)


async def _hold(ports: Ports, principal: Principal, hold_id: str) -> HoldRow:
    may_spend(principal)
    row = await ports.lookups.credit_hold(hold_id) if is_id(HOLD, hold_id) else None
    if row is None:
        raise NotFound("hold", hold_id)
    _require_open(row)
    return row


def _require_open(row: HoldRow) -> None:
    if row.status != "held":
        raise HoldEnded(row.hold_id, row.status)


async def _end(ports: Ports, context: Context, row: HoldRow, act: Act[Held]) -> tuple[Held, int]:
    try:
        return await decide(ports, context, row.account_id, act)
    except HoldEnded:
        # It is not open any more. Somebody ended it since we looked, or else its time did.
        _require_open(await ports.lookups.credit_hold(row.hold_id) or row)
        raise


def _ended(
    entries: Entries, row: HoldRow, status: Literal["captured", "released"], captured: int
) -> Held:
    return Held(
        hold_id=row.hold_id,
        account_id=row.account_id,
        status=status,
        amount=row.amount,
        captured=captured,
        expires_at_us=row.expires_at_us,
        available=entries.available,
    )
