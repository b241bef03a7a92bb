"""How credits stand, now or then; what would pass; and what happened to them. Nothing is written.

Who looks sees what the account could spend at that instant, whether or not anybody has settled
it: the lots as they were last written down, less what verifications have spent, and what time
has changed since.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile

import msgspec

from application.crediting import (
    Terms,
    counter_id_of,
    state_of,
    stream_of,
    terms_now,
    terms_of,
)
from application.credits import Price, priced
from application.deciding import ACCOUNT, PLAN, Principal
from application.ports import CreditEntry, Ports
from domain import credits, plans
from domain.calendars import ETERNITY, microseconds
from domain.credit_accounts import CreditAccount
from domain.credits import CreditEvent, Entries, Standing
from domain.errors import InvalidCommand, NotFound, NotPermitted
from domain.event import Recorded

AsOf = datetime | int
"""An instant, or a position of the decisions log."""


class Expiring(msgspec.Struct, frozen=True):
    """So much of what is available will be gone at this instant, if it is not spent before."""

    amount: int
    expires_at_us: int


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """An account's credits at an instant, in hundredths. `upcoming` was granted for later."""

    account_id: str
    at_us: int
    available: int
    held: int
    upcoming: int
    expiring: list[Expiring]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it would pass at this moment."""

    account_id: str
    allowed: bool
    amount: int
    operation: str | None
    available: int


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan charges for each operation, and gives each month."""

    plan: str
    monthly: int
    operations: dict[str, int]


def may_see(principal: Principal, account_id: str) -> None:
    """Credits are seen by their owner, by staff, and by services that may spend them. For
    others there is no such account: NotFound. NotPermitted for a service without the right."""
    if principal.may("credits.read"):
        return
    if principal.kind == "service":
        if "credits.spend" not in principal.permissions:
            raise NotPermitted("credits.spend")
        return
    if principal.kind != "account" or principal.id != account_id:
        raise NotFound("account", account_id)


async def balance(ports: Ports, account_id: str, as_of: AsOf | None = None) -> Balance:
    """The account's credits now, or as they were. InvalidCommand for an instant that is yet to
    come or from before the account, PositionNotReached where the past is not all there yet."""
    if as_of is None:
        entries, _ = await _now(ports, account_id)
        return _balance(entries)
    return _balance(await _then(ports, account_id, as_of))


async def check(ports: Ports, account_id: str, price: Price) -> Check:
    """Whether this could be spent now; spends nothing. InvalidCommand, UnknownOperation."""
    entries, terms = await _now(ports, account_id)
    amount = priced(terms, price)
    active = terms.account.status == "active"
    return Check(
        account_id=account_id,
        allowed=active and amount <= entries.available,
        amount=amount,
        operation=price.operation,
        available=entries.available,
    )


async def costs(ports: Ports, account_id: str) -> Costs:
    """What operations cost this account, by its plan."""
    terms = await terms_now(ports, account_id)
    return Costs(plan=terms.account.plan, monthly=terms.monthly, operations=terms.costs)


async def history(
    ports: Ports,
    account_id: str,
    before: int | None,
    limit: int,
    *,
    as_of: AsOf | None = None,
    at_least: int | None = None,
) -> list[CreditEntry]:
    """The account's entries before this one and up to then, newest first."""
    until_us = None
    if isinstance(as_of, datetime):
        until_us = microseconds(as_of)
    elif as_of is not None:
        at_least = max(as_of, at_least or 0)
        moment = await ports.read_models.moment(as_of, stream_of(account_id))
        if moment is None:
            return []
        until_us = microseconds(moment.at)
    return await ports.read_models.credit_entries(account_id, before, until_us, limit, at_least)


async def _now(ports: Ports, account_id: str) -> tuple[Entries, Terms]:
    terms = await terms_now(ports, account_id)
    row = await ports.lookups.credit_row(stream_of(account_id), counter_id_of(account_id))
    counter = row.counter
    used, entry_no = (0, 0) if counter is None else (counter.used, counter.entry_no)
    state = state_of(row.state)
    standing = Standing(used, entry_no, row.now_us)
    return credits.settled(account_id, state, standing, terms.monthly), terms


async def _then(ports: Ports, account_id: str, as_of: AsOf) -> Entries:
    """The account's credits as they were: its entries up to then, and what its verifications
    had spent by then."""
    stream = stream_of(account_id)
    # The row first: whatever is decided in the meantime has a higher entry number.
    row = await ports.lookups.credit_row(stream, counter_id_of(account_id))
    recorded = await ports.store.read(stream)
    if isinstance(as_of, datetime):
        at = as_of
        if microseconds(at) > row.now_us:
            raise InvalidCommand("as_of", "not in the future")
        then = list(takewhile(lambda each: each.metadata.at <= at, recorded))
    else:
        moment = await ports.read_models.moment(as_of, stream)
        if moment is None:
            raise InvalidCommand("as_of", "the account is younger")
        at = moment.at
        then = [each for each in recorded if each.version <= moment.version]
    terms = await _terms_then(ports, account_id, at)
    state = _folded(then)
    # Every entry has its number, without a gap: those that are not in the stream, up to the
    # counter's, are verifications.
    entry_no = 0 if row.counter is None else row.counter.entry_no
    following = recorded[len(then) : len(then) + 1]
    used = await ports.read_models.credits_used(
        account_id,
        until_us=microseconds(at),
        after_entry=0 if state is None else state.entry_no,
        before_entry=_entry_no(following[0]) if following else entry_no + 1,
        complete_to=_last_use(recorded, entry_no),
    )
    standing = Standing(used, 0, microseconds(at))
    return credits.settled(account_id, state, standing, terms.monthly)


async def _terms_then(ports: Ports, account_id: str, at: datetime) -> Terms:
    account = None
    for recorded in await ports.store.read(account_id):
        if isinstance(recorded.event, ACCOUNT.events) and recorded.metadata.at <= at:
            account = ACCOUNT.evolve(account, recorded.event, recorded.metadata.at)
    if account is None:
        if ports.directory.account(account_id) is None:
            raise NotFound("account", account_id)
        raise InvalidCommand("as_of", "the account is younger")
    plan = None
    for recorded in await ports.store.read(plans.stream(account.plan)):
        # A plan that was put in later than the account (as by a first start) counts from then.
        if plan is None or recorded.metadata.at <= at:
            plan = PLAN.evolve(plan, recorded.event, recorded.metadata.at)
    if plan is None:
        raise InvalidCommand("as_of", "the account had no plan then")
    return terms_of(account, plan)


def _folded(recorded: Sequence[Recorded]) -> CreditAccount | None:
    state = None
    for each in recorded:
        event = each.event
        if not isinstance(event, CreditEvent):
            raise TypeError(f"{type(event).__name__} among credits")
        state = credits.evolve(state, event, each.metadata.at)
    return state


def _last_use(recorded: Sequence[Recorded], entry_no: int) -> int:
    """The number of the last entry up to this one that is a verification's; 0 for none."""
    ours = {_entry_no(each) for each in recorded}
    while entry_no in ours:
        entry_no -= 1
    return entry_no


def _entry_no(recorded: Recorded) -> int:
    assert isinstance(recorded.event, CreditEvent)
    return recorded.event.entry_no


def _balance(entries: Entries) -> Balance:
    state = entries.state
    by_end: dict[int, int] = {}
    for lot in state.lots:
        if lot.begun and lot.left and lot.ends_at_us < ETERNITY:
            by_end[lot.ends_at_us] = by_end.get(lot.ends_at_us, 0) + lot.left
    return Balance(
        account_id=state.account_id,
        at_us=entries.now_us,
        available=entries.available,
        held=state.held,
        upcoming=state.upcoming,
        expiring=[Expiring(by_end[end], end) for end in sorted(by_end)],
    )
