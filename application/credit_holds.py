"""Holds: credits that are set aside until it is known how much of them is spent."""

from typing import Literal

import msgspec

from application.credit_prices import Price, may_spend, priced
from application.crediting import Act, Terms, decide
from application.deciding import Context, Principal, new_id
from application.known_account import require_active
from application.ports import HoldRow, Ports
from domain import credits
from domain.credits import DEFAULT_HOLD_SECONDS, Entries
from domain.errors import HoldEnded, NotFound
from domain.ids import is_id

HOLD = "hold"


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as a command left it."""

    hold_id: str
    account_id: str
    status: Literal["held", "captured", "released"]
    amount: int
    captured: int
    expires_at_us: int
    available: int


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
        require_active(terms.account)
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
