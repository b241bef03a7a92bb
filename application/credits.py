"""Credits: grant, withdraw, spend; and settle, for verifications.

Those that are set aside are in `credit_holds`, what things take in `credit_prices`.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from application.credit_holds import Held as Held
from application.credit_holds import capture as capture
from application.credit_holds import hold as hold
from application.credit_holds import release as release
from application.credit_prices import Price as Price
from application.credit_prices import may_spend as may_spend
from application.credit_prices import priced as priced
from application.crediting import Also as Also
from application.crediting import (
    Behind,
    Terms,
    decide,
    lock_of,
    opened,
    terms_now,
    terms_of,
    written,
)
from application.deciding import SYSTEM, Context, new_id
from application.known_account import require_active
from application.ports import Decided, Locked, Ports
from application.rows import Row
from application.staff_permits import spare_staff
from domain import credits
from domain.credits import Entries
from domain.credits import GrantCredits as GrantCredits
from domain.event import Metadata, NewEvent

MOST_AT_ONCE = 200


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


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """Credits that were taken back: as much as was left of them."""

    account_id: str
    amount: int
    available: int


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
        require_active(terms.account)
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


def _known(ports: Ports, account_id: str) -> Terms | None:
    account = ports.directory.account(account_id)
    plan = None if account is None else ports.directory.plan(account.plan)
    return None if account is None or plan is None else terms_of(account, plan)
