"""Verification: what a key, its account, a request and a clock decide.

`judge` answers all that memory can answer. `take` says how counters are taken: it is the
oracle for the SQL function that does it on locked rows (infra/postgres/migrations), and the
tests hold one against the other.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, assert_never

import msgspec

from domain.accounts import Account
from domain.allowances import Window
from domain.api_keys import ApiKey
from domain.event import Event

Code = Literal[
    "VALID",
    "NOT_FOUND",
    "DISABLED",
    "EXPIRED",
    "REVOKED",
    "FORBIDDEN",
    "USAGE_EXCEEDED",
    "ACCOUNT_SUSPENDED",
]

GRANTED = 0
STALE = -1
"""The row knows another rule, or the clock has left both windows: look again, ask again."""


class VerificationsCounted(Event, frozen=True, tag="usage.counted.v1"):
    """What one flush counted: a batch of verifications in columns, one row each.

    Columns of ids index `keys` and `accounts`; -1 where a key was not found. `judged_at` is
    run-length: [first row, directory position]. `takes` is flat: row, counter index, amount.
    The rest is what the database decided on locked rows: per counter the window, the limit,
    and `used` and `entry_no` as they stood before this batch; the rows that were refused and
    by which counter (1-based). A row's balance after is the sum up to it.
    """

    instance: str
    at_us: list[int]
    judged_at: list[tuple[int, int]]
    keys: list[str]
    accounts: list[str]
    key: list[int]
    account: list[int]
    code: list[str]
    cost: list[int]
    takes: list[int]
    counters: list[int]
    labels: dict[str, dict[str, str | list[str]]] = {}
    counted_at_us: int = 0
    windows: list[int] = []
    limits: list[int | None] = []
    opening: list[int] = []
    entry_no: list[int] = []
    refused: list[int] = []
    refused_by: list[int] = []


UsageEvent = VerificationsCounted


class Counter(msgspec.Struct):
    """A row of the counter table. `limit` None counts without refusing."""

    limit: int | None
    used: int = 0
    window_start: int = 0
    rule_no: int = 1
    entry_no: int = 0


class Take(NamedTuple):
    """So much of that counter (an index into the counters at hand)."""

    counter: int
    amount: int


def judge(key: ApiKey | None, account: Account | None, audience: str | None, now: float) -> Code:
    """The verdict as far as memory knows it; VALID means: only the counters are left.

    `now` is Unix seconds. A key whose account isn't known is not found.
    """
    if key is None or account is None:
        return "NOT_FOUND"
    if key.revoked_at is not None:
        return "REVOKED"
    if account.status != "active":
        return "ACCOUNT_SUSPENDED"
    if not key.enabled:
        return "DISABLED"
    if key.expires_at is not None and key.expires_at <= now:
        return "EXPIRED"
    if key.audience is not None and key.audience != audience:
        return "FORBIDDEN"
    return "VALID"


def take(
    counters: Sequence[Counter],
    expected: Sequence[tuple[int, Window]],
    requests: Sequence[Sequence[Take]],
    now: int,
) -> list[int]:
    """Take every request's amounts from all of its counters, or from none, in order.

    `expected` is, per counter, the rule number and the windows that the caller knows.
    Changes the counters in place. Answers per request GRANTED, STALE, or the 1-based index
    of the first counter that refused. A window never moves back, whatever the clock does.
    """
    stale = set()
    for number, (counter, (rule_no, window)) in enumerate(zip(counters, expected, strict=True)):
        if counter.rule_no != rule_no or not window.start <= now < window.next_end:
            stale.add(number)
            continue
        start = window.start if now < window.end else window.end
        if start > counter.window_start:
            counter.window_start = start
            counter.used = 0
    return [_take_one(counters, stale, takes) for takes in requests]


def _take_one(counters: Sequence[Counter], stale: set[int], takes: Sequence[Take]) -> int:
    if any(each.counter in stale for each in takes):
        return STALE
    for each in takes:
        counter = counters[each.counter]
        if counter.limit is not None and counter.used + each.amount > counter.limit:
            return each.counter + 1
    for each in takes:
        counters[each.counter].used += each.amount
        counters[each.counter].entry_no += 1
    return GRANTED


def outcomes(event: VerificationsCounted) -> list[str]:
    """What each row was answered with. UNAVAILABLE: it was refused with 503, and took
    nothing. RETRIED: nobody was told, since it was asked again and has a later row."""
    codes = list(event.code)
    for row, counter in zip(event.refused, event.refused_by, strict=True):
        codes[row] = "RETRIED" if counter == STALE else "USAGE_EXCEEDED"
    return codes


def verification_id(stream: str, version: int, row: int | str) -> str:
    """The id of a row of a usage event: where it is in the usage log."""
    return f"ver_{stream.removeprefix('usage_')}_{version}_{row}"


def evolve(state: int | None, event: UsageEvent, at: datetime) -> int:
    """How many verifications this stream has counted."""
    match event:
        case VerificationsCounted():
            return (state or 0) + len(event.code)
        case _:
            assert_never(event)
