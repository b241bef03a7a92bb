"""Verification: what a key, its account, a request and a clock decide.

`judge` answers all that memory can answer. `take` says how counters are taken: it is the
oracle for the SQL function that does it on locked rows (infra/postgres/migrations), and the
tests hold one against the other.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, assert_never

import msgspec

from domain import addresses
from domain.accounts import Account
from domain.api_keys import ApiKey
from domain.calendars import ETERNITY, Window
from domain.counters import Kind
from domain.event import Event
from domain.permission_query import Query

Code = Literal[
    "VALID",
    "NOT_FOUND",
    "DISABLED",
    "EXPIRED",
    "REVOKED",
    "FORBIDDEN",
    "IP_NOT_ALLOWED",
    "INSUFFICIENT_PERMISSIONS",
    "RATE_LIMITED",
    "USAGE_EXCEEDED",
    "CREDITS_EXHAUSTED",
    "ACCOUNT_SUSPENDED",
]

GRANTED = 0
STALE = -1
"""The row knows another rule, or the clock has left both windows: look again, ask again."""
UNSETTLED = -2
"""What the account's credits are has to be decided first (application/credits.py)."""

KINDS: tuple[Kind, ...] = ("quota", "rate", "credits")
"""The kinds of counters by number, as the usage log and the SQL function know them."""
REFUSALS: dict[Kind, Code] = {
    "quota": "USAGE_EXCEEDED",
    "rate": "RATE_LIMITED",
    "credits": "CREDITS_EXHAUSTED",
}


class VerificationsCounted(Event, frozen=True, tag="usage.counted.v1"):
    """What one flush counted: a batch of verifications in columns, one row each.

    Columns of ids index `keys` and `accounts`; -1 where a key was not found. `judged_at` is
    run-length: [first row, directory position]. `takes` is flat: row, counter index, amount.
    `kinds` says what each counter counts (an index into KINDS; none: all are quotas), and
    `operations` by row what was priced in credits (hundredths).
    The rest is what the database decided on locked rows: per counter the window, the limit
    with what was carried over, and `used` and `entry_no` as they stood before this batch; the
    rows that were refused and by which counter (1-based). A row's balance after is the sum up
    to it.
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
    kinds: list[int] = []
    labels: dict[str, dict[str, str | list[str]]] = {}
    operations: dict[str, str] = {}
    counted_at_us: int = 0
    windows: list[int] = []
    limits: list[int | None] = []
    opening: list[int] = []
    entry_no: list[int] = []
    refused: list[int] = []
    refused_by: list[int] = []


UsageEvent = VerificationsCounted


class Counter(msgspec.Struct):
    """A row of the counter table. `limit` None counts without refusing. Of credits: `used` is
    what was ever spent, and `limit` holds until `changes_at`."""

    limit: int | None
    used: int = 0
    window_start: int = 0
    rule_no: int = 1
    entry_no: int = 0
    carried: int = 0
    carry_max: int = 0
    changes_at: int = ETERNITY

    @property
    def allowed(self) -> int | None:
        """The limit with what was carried over."""
        return None if self.limit is None else self.limit + self.carried


class Expected(NamedTuple):
    """What the caller knows of a counter: its rule, and the windows around now."""

    rule_no: int
    window: Window
    limit: int | None = None
    carry_max: int = 0
    kind: Kind = "quota"
    length: int = ETERNITY


class Take(NamedTuple):
    """So much of that counter (an index into the counters at hand)."""

    counter: int
    amount: int


class Presented(msgspec.Struct, frozen=True, gc=False):
    """What came with a key. `superseded`: its secret was replaced by a rotation."""

    audience: str | None = None
    query: Query | None = None
    ip: str | None = None
    superseded: bool = False


def judge(key: ApiKey | None, account: Account | None, presented: Presented, now: float) -> Code:
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
    if presented.superseded and (key.previous_until is None or key.previous_until <= now):
        return "EXPIRED"
    if key.audience is not None and key.audience != presented.audience:
        return "FORBIDDEN"
    if key.ip_allow and not addresses.allowed(key.ip_allow, presented.ip):
        return "IP_NOT_ALLOWED"
    if presented.query is not None and not presented.query.holds(key.permissions, key.roles):
        return "INSUFFICIENT_PERMISSIONS"
    return "VALID"


def take(
    counters: Sequence[Counter],
    expected: Sequence[Expected],
    requests: Sequence[Sequence[Take]],
    now: int,
) -> list[int]:
    """Take every request's amounts from all of its counters, or from none, in order.

    Changes the counters in place. Answers per request GRANTED, STALE, UNSETTLED, or the
    1-based index of the first counter that refused. A window never moves back, whatever the
    clock does.
    """
    closed: dict[int, int] = {}
    for number, (counter, known) in enumerate(zip(counters, expected, strict=True)):
        reason = _enter(counter, known, now)
        if reason != GRANTED:
            closed[number] = reason
    return [_take_one(counters, closed, takes) for takes in requests]


def _enter(counter: Counter, known: Expected, now: int) -> int:
    """Bring the counter into the window that is now, under the newest rule."""
    if known.kind == "credits":
        if counter.rule_no > known.rule_no:
            return STALE
        behind = counter.rule_no < known.rule_no or now >= counter.changes_at
        return UNSETTLED if behind else GRANTED
    window = known.window
    if counter.rule_no > known.rule_no or not window.start <= now < window.next_end:
        return STALE
    in_next = now >= window.end
    start, base = (window.end, window.end) if in_next else (window.start, window.base)
    if start > counter.window_start:
        counter.carried = carried_into(counter, base, known)
        counter.window_start, counter.used = start, 0
    if counter.rule_no < known.rule_no:
        counter.rule_no = known.rule_no
        counter.limit, counter.carry_max = known.limit, known.carry_max
        counter.carried = min(counter.carried, counter.carry_max)
    return GRANTED


def carried_into(counter: Counter, base: int, known: Expected) -> int:
    """What is carried over from the counter's window into the one that begins at `base`: the
    rest of it, and the whole limit of every window in between that nobody used. Both the rule
    that it was counted by and the one that holds now have to allow it."""
    carry_max = min(counter.carry_max, known.carry_max)
    if carry_max == 0 or counter.limit is None or counter.window_start == 0:
        return 0
    if counter.window_start >= base:
        return min(counter.carried, carry_max)  # a reset in the middle of a window
    left = max(counter.limit + counter.carried - counter.used, 0)
    # A month or a day in a time zone may be shorter or longer than the mean.
    elapsed = base - counter.window_start - known.length // 8
    windows = max(-(-elapsed // known.length), 1)
    return min(left + (windows - 1) * counter.limit, carry_max)


def _take_one(counters: Sequence[Counter], closed: dict[int, int], takes: Sequence[Take]) -> int:
    reasons = [closed[each.counter] for each in takes if each.counter in closed]
    if reasons:
        return max(reasons)  # STALE before UNSETTLED: look again before anything is decided
    for each in takes:
        allowed = counters[each.counter].allowed
        if allowed is not None and counters[each.counter].used + each.amount > allowed:
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
        codes[row] = "RETRIED" if counter < 0 else REFUSALS[kind_of(event, counter - 1)]
    return codes


def credits_spent(event: VerificationsCounted) -> dict[int, int]:
    """The hundredths that each row spent, where one was granted and priced."""
    refused = set(event.refused)
    takes = event.takes
    return {
        takes[at]: takes[at + 2]
        for at in range(0, len(takes), 3)
        if takes[at] not in refused and kind_of(event, takes[at + 1] - 1) == "credits"
    }


def kind_of(event: VerificationsCounted, counter: int) -> Kind:
    """What the counter of this index counts."""
    return KINDS[event.kinds[counter]] if event.kinds else "quota"


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
