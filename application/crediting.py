"""How credits are decided: on the account's locked row, in the transaction that appends.

Whoever decides first settles: writes down what verifications spent, what time changed, and what
the plan gives this month. Then the row says what verifications may spend, and until when.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec

from application.deciding import (
    CATCH_UP_SECONDS,
    CREDIT,
    PLAN,
    Change,
    Context,
    Stream,
    change,
    load,
    metadata_of,
)
from application.known_account import known_account
from application.ports import CounterLock, Decided, Locked, Ports
from application.rows import (
    CreditCounterRow,
    CreditHoldOverRow,
    CreditHoldRow,
    Row,
)
from domain import credits, plans
from domain.accounts import Account
from domain.calendars import microseconds
from domain.counters import counter_of
from domain.credit_accounts import CreditAccount
from domain.credit_events import CreditCaptured, CreditEvent, CreditHeld, CreditReleased
from domain.credits import Entries, Standing
from domain.errors import UnknownPlan
from domain.event import NewEvent
from domain.plans import Plan

T = TypeVar("T")

COUNTER = "credits"

_STATE = msgspec.json.Decoder(CreditAccount)


class Also(msgspec.Struct, frozen=True):
    """What else is to be written in the same transaction."""

    changes: Sequence[Change[Any]] = ()
    rows: Sequence[Row] = ()


class Terms(NamedTuple):
    """What an account's plan gives: its credits for a month, its prices, and the number that
    rises whenever any of that changes."""

    account: Account
    monthly: int
    costs: dict[str, int]
    rule_no: int


class Behind(Exception):
    """The row has seen a newer plan than we have."""


Act = Callable[[Entries, Terms], T]
"""Decides on a settled account; pure. What it raises is the answer."""


def stream_of(account_id: str) -> str:
    """The stream of an account's credits."""
    return f"credit_{account_id.partition('_')[2]}"


def counter_id_of(account_id: str) -> int:
    """The counter that verifications take credits from."""
    return counter_of(account_id, COUNTER)


def lock_of(account_id: str) -> CounterLock:
    """What to lock to decide on an account's credits."""
    return CounterLock(counter_id_of(account_id), account_id, account_id, stream_of(account_id))


def terms_of(account: Account, plan: Plan) -> Terms:
    """What this plan gives this account."""
    permits = plan.entitlements
    return Terms(
        account,
        permits.monthly_credits,
        permits.operation_costs,
        plans.rule_no(account, plan),
    )


async def terms_now(ports: Ports, account_id: str, *, from_log: bool = False) -> Terms:
    """The account as the log has it, and its plan as this process knows it; `from_log`: that,
    too, as the log has it. NotFound, UnknownPlan."""
    account = (await known_account(ports, account_id)).state
    plan = None if from_log else ports.directory.plan(account.plan)
    if plan is None:
        plan = (await load(ports, PLAN, plans.stream(account.plan))).state
    if plan is None:
        raise UnknownPlan(account.plan)
    return terms_of(account, plan)


def opened(locked: Locked, terms: Terms, now: datetime) -> Entries:
    """The account's credits, settled as of now. Behind where the row has seen a newer plan."""
    counter = locked.counter
    if counter.rule_no > terms.rule_no:
        raise Behind
    standing = Standing(counter.used, counter.entry_no, microseconds(now))
    return credits.settled(terms.account.id, state_of(locked.state), standing, terms.monthly)


def state_of(stored: bytes | None) -> CreditAccount | None:
    """A state row's state."""
    return None if stored is None else _STATE.decode(stored)


def written(
    entries: Entries, locked: Locked, terms: Terms, now: datetime
) -> tuple[list[NewEvent], list[Row]]:
    """The events of these entries, and the rows that must be right with them."""
    account_id = terms.account.id
    rows: list[Row] = [
        CreditCounterRow(
            counter_id_of(account_id),
            entries.used + entries.available,
            entries.changes_at(terms.monthly),
            terms.rule_no,
            entries.entry_no,
        ),
        *_hold_rows(account_id, entries.events),
    ]
    if not entries.events:
        return [], rows
    stream = Stream(CREDIT, stream_of(account_id), locked.version, state_of(locked.state))
    changed = change(stream, entries.events, now, account_id)
    return list(changed.events), [*rows, changed.row]


async def decide(
    ports: Ports,
    context: Context,
    account_id: str,
    act: Act[T],
    *,
    also: Also | None = None,
    reason: str | None = None,
) -> tuple[T, int]:
    """Settle, act, and append what came of it together with what `also` is to be written;
    answers the result and the position.

    Raises NotFound, UnknownPlan, and whatever `act` and EventStore.append_locked raise.
    """
    also = also or Also()
    terms = await terms_now(ports, account_id)
    try:
        return await _decide(ports, context, terms, act, also, reason)
    except Behind:
        terms = await terms_now(ports, account_id, from_log=True)
        return await _decide(ports, context, terms, act, also, reason)


async def _decide(
    ports: Ports, context: Context, terms: Terms, act: Act[T], also: Also, reason: str | None
) -> tuple[T, int]:
    def decision(locked: Sequence[Locked], now: datetime) -> Decided[T]:
        entries = opened(locked[0], terms, now)
        result = act(entries, terms)
        events, rows = written(entries, locked[0], terms, now)
        # Ours last: what is looked up after a lost reply is the end of what was appended.
        all_events = [*(each for change in also.changes for each in change.events), *events]
        all_rows = [*also.rows, *(change.row for change in also.changes), *rows]
        if all_events and context.idempotency is not None:
            last = all_events[-1]
            all_rows.append(context.idempotency.row(result, last.stream, last.version))
        return Decided(all_events, all_rows, result)

    metadata = metadata_of(context, ports.clock(), (terms.account.id,), reason)
    appended = await ports.store.append_locked([lock_of(terms.account.id)], decision, metadata)
    if appended.position is None:
        return appended.result, ports.directory.position
    await ports.directory.catch_up(appended.position, CATCH_UP_SECONDS)
    return appended.result, appended.position


def _hold_rows(account_id: str, events: Sequence[CreditEvent]) -> list[Row]:
    rows: list[Row] = []
    for event in events:
        match event:
            case CreditHeld():
                rows.append(
                    CreditHoldRow(event.hold_id, account_id, event.amount, event.expires_at_us)
                )
            case CreditCaptured():
                rows.append(CreditHoldOverRow(event.hold_id, "captured", event.amount))
            case CreditReleased() if event.reason != "rest":
                rows.append(CreditHoldOverRow(event.hold_id, event.reason, 0))
            case _:
                pass
    return rows
