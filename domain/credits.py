"""Credits: what happens to an account's credits, decided on its locked row.

Verifications spend without coming here: they take from the account's counter as they take a
quota, up to what was available when this was last decided. So whoever decides first writes
down what they have spent since and what time has changed (`settled`), and goes on from there.
Pure: the counter's `used` and the database's clock come in as arguments.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import msgspec

from domain.calendars import ETERNITY, instant, microseconds
from domain.credit_accounts import CreditAccount as CreditAccount
from domain.credit_accounts import evolve as evolve
from domain.credit_amounts import checked
from domain.credit_events import (
    CreditBegun,
    CreditCaptured,
    CreditDrawn,
    CreditExpired,
    CreditGranted,
    CreditHeld,
    CreditReleased,
    CreditSpent,
    CreditWithdrawn,
    Part,
    ReleaseReason,
)
from domain.credit_events import CreditEvent as CreditEvent
from domain.credit_lots import (
    Every,
    Hold,
    draw,
    first_of,
    later,
    month_of,
    month_start_us,
)
from domain.errors import CreditsExhausted, HoldEnded, InvalidAmount, InvalidCommand
from domain.quotas import MAX_AMOUNT

MAX_LOTS = 200
MAX_HOLDS = 200
MAX_TIMES = 24
MAX_HOLD_SECONDS = 2_592_000
DEFAULT_HOLD_SECONDS = 900
PLAN = "plan"
PLAN_PRIORITY = 0
DEFAULT_PRIORITY = 50
MAX_PRIORITY = 255

_LAST_YEAR = 2200


class Standing(NamedTuple):
    """The account's counter as it is locked: what verifications have spent in all, how many
    entries there are; and the database's clock."""

    used: int
    entry_no: int
    now_us: int


class GrantCredits(msgspec.Struct, frozen=True, kw_only=True):
    """A lot, or `times` of them, each a day, week or month after the one before, and each as
    long as the first. `amount` is that of each. Without `starts_at` it begins now, without
    `expires_at` it never ends. What was `paid` for is given however many lots there are."""

    amount: int
    priority: int = DEFAULT_PRIORITY
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    source: str = "grant"
    every: Every | None = None
    times: int = 1
    paid: bool = False


class Entries:
    """An account's credits while they are decided on: the state, and the facts so far."""

    def __init__(self, account_id: str, state: CreditAccount | None, standing: Standing) -> None:
        self.state = state or CreditAccount(account_id=account_id, entry_no=0, at_us=0)
        self.events: list[CreditEvent] = []
        self.entry_no = standing.entry_no
        self.used = standing.used
        # What was decided stays decided when the clock steps back.
        self.now_us = max(standing.now_us, self.state.at_us)

    @property
    def available(self) -> int:
        """What can be spent at this instant."""
        return self.state.begun - (self.used - self.state.settled_used)

    def changes_at(self, monthly: int) -> int:
        """When time alone will change that; ETERNITY if it won't."""
        month_end = month_start_us(month_of(self.now_us) + 1) if monthly else ETERNITY
        return min(self.state.next_change_us(), month_end)

    def put(
        self, kind: Callable[..., CreditEvent], delta: int, at_us: int, **fields: object
    ) -> None:
        """One fact more, which changes what is available by `delta`."""
        self.entry_no += 1
        before = self.available
        event = kind(
            entry_no=self.entry_no, at_us=at_us, before=before, after=before + delta, **fields
        )
        self.events.append(event)
        self.state = evolve(self.state, event, instant(at_us))


def settled(
    account_id: str, state: CreditAccount | None, standing: Standing, monthly: int
) -> Entries:
    """The account as of now: what verifications have spent is drawn from its lots, what time
    has changed has happened, and the plan's lot of this month is there.

    Verifications spend only before the next change by time, so all that they have spent comes
    from the lots as they stood: drawn now or drawn at once, it is the same.
    """
    entries = Entries(account_id, state, standing)
    spent = entries.used - entries.state.settled_used
    if spent:
        parts = draw(entries.state.lots, spent)
        at_us = max(min(entries.state.next_change_us(), entries.now_us), entries.state.at_us)
        entries.put(CreditDrawn, 0, at_us, amount=spent, parts=parts, used=entries.used)
    while entries.state.next_change_us() <= entries.now_us:
        _pass_to(entries, entries.state.next_change_us())
    _grant_month(entries, monthly)
    return entries


def available(state: CreditAccount | None, used: int, now_us: int, monthly: int) -> int:
    """What the account could spend at this instant, whether or not anybody has looked."""
    return settled("", state, Standing(used, 0, now_us), monthly).available


def grant(entries: Entries, command: GrantCredits) -> list[int]:
    """Give credits; answers the lots' numbers. InvalidAmount, InvalidCommand."""
    amount = checked(command.amount)
    _check_grant(entries, command)
    first = instant(entries.now_us)
    if command.starts_at is not None:
        first = max(command.starts_at, first)
    numbers = []
    for number in range(command.times):
        starts = first if command.every is None else later(first, command.every, number)
        ends = command.expires_at
        if ends is not None and command.every is not None:
            ends = later(ends, command.every, number)  # months end where months do
        ends_at_us = None if ends is None else microseconds(ends)
        starts_at_us = microseconds(starts)
        _put_lot(entries, amount, command.priority, starts_at_us, ends_at_us, command.source)
        numbers.append(entries.state.last_lot)
    return numbers


def spend(entries: Entries, amount: int, operation: str | None = None) -> None:
    """Spend at once. InvalidAmount, CreditsExhausted."""
    parts = _drawn(entries, amount)
    entries.put(
        CreditSpent, -amount, entries.now_us, amount=amount, parts=parts, operation=operation
    )


def hold(
    entries: Entries, hold_id: str, amount: int, seconds: int, operation: str | None = None
) -> Hold:
    """Set aside, for so many seconds. InvalidAmount, InvalidCommand, CreditsExhausted."""
    if not 1 <= seconds <= MAX_HOLD_SECONDS:
        raise InvalidCommand("expires_in", f"between 1 and {MAX_HOLD_SECONDS}")
    if len(entries.state.holds) >= MAX_HOLDS:
        raise InvalidCommand("account_id", f"has {MAX_HOLDS} open holds, and may have no more")
    parts = _drawn(entries, amount)
    entries.put(
        CreditHeld,
        -amount,
        entries.now_us,
        hold_id=hold_id,
        amount=amount,
        parts=parts,
        expires_at_us=entries.now_us + seconds * 1_000_000,
        operation=operation,
    )
    return entries.state.holds[-1]


def capture(entries: Entries, hold_id: str, amount: int | None) -> int:
    """Spend this much of what is held (None: all of it), and let go of the rest; answers how
    much was spent. InvalidAmount, HoldEnded where its time has just run out; None is open."""
    found = _open(entries, hold_id)
    amount = found.amount if amount is None else checked(amount)
    if amount > found.amount:
        raise InvalidAmount("amount", "no more than is held")
    taken, rest = first_of(found.parts, amount)
    entries.put(CreditCaptured, 0, entries.now_us, hold_id=hold_id, amount=amount, parts=taken)
    if rest:
        _put_back(entries, hold_id, rest, entries.now_us, "rest")
    return amount


def release(entries: Entries, hold_id: str) -> int:
    """Let go of all that is held; answers how much. HoldEnded as for `capture`."""
    found = _open(entries, hold_id)
    _put_back(entries, hold_id, found.parts, entries.now_us, "released")
    return found.amount


def withdraw(entries: Entries, source: str, most: int) -> int:
    """Take back what is left of the lots from this source, up to so much; answers how much
    that was. What is spent stays spent, and what is held stays held."""
    missing = checked(most)
    for lot in sorted(entries.state.lots, key=lambda each: -each.no):
        taken = min(lot.left, missing)
        if lot.source == source and taken:
            missing -= taken
            delta = -taken if lot.begun else 0
            entries.put(
                CreditWithdrawn,
                delta,
                entries.now_us,
                lot=lot.no,
                amount=taken,
                upcoming=not lot.begun,
            )
    return most - missing


def _pass_to(entries: Entries, instant_us: int) -> None:
    """What happens at this instant by time alone: holds end, then lots begin, then lots end."""
    at_us = max(instant_us, entries.state.at_us)
    for each in entries.state.holds:
        if each.expires_at_us <= instant_us:
            _put_back(entries, each.id, each.parts, at_us, "expired")
    for lot in entries.state.lots:
        if not lot.begun and lot.starts_at_us <= instant_us:
            entries.put(CreditBegun, lot.left, at_us, lot=lot.no, amount=lot.left)
    for lot in entries.state.lots:
        if lot.begun and lot.left and lot.ends_at_us <= instant_us:
            entries.put(CreditExpired, -lot.left, at_us, lot=lot.no, amount=lot.left)


def _put_back(
    entries: Entries, hold_id: str, parts: tuple[Part, ...], at_us: int, reason: ReleaseReason
) -> None:
    amount = sum(part.amount for part in parts)
    entries.put(
        CreditReleased, amount, at_us, hold_id=hold_id, amount=amount, parts=parts, reason=reason
    )
    # A lot whose time ran out while it was held is gone the moment it comes back.
    for lot in entries.state.lots:
        if lot.begun and lot.left and lot.ends_at_us <= at_us:
            entries.put(CreditExpired, -lot.left, at_us, lot=lot.no, amount=lot.left)


def _grant_month(entries: Entries, monthly: int) -> None:
    """The plan's credits for this month, if it has not given them yet; after a change to a
    plan that gives more, the difference. What was given is never taken back."""
    month = month_of(entries.now_us)
    given = entries.state.month_granted if entries.state.month == month else 0
    if month < entries.state.month or monthly <= given:
        return
    ends_at_us = month_start_us(month + 1)
    now_us = entries.now_us
    _put_lot(entries, monthly - given, PLAN_PRIORITY, now_us, ends_at_us, PLAN, month)


def _put_lot(
    entries: Entries,
    amount: int,
    priority: int,
    starts_at_us: int,
    expires_at_us: int | None,
    source: str,
    month: int | None = None,
) -> None:
    entries.put(
        CreditGranted,
        amount if starts_at_us <= entries.now_us else 0,
        entries.now_us,
        account_id=entries.state.account_id,
        lot=entries.state.last_lot + 1,
        amount=amount,
        priority=priority,
        starts_at_us=starts_at_us,
        expires_at_us=expires_at_us,
        source=source,
        month=month,
    )


def _check_grant(entries: Entries, command: GrantCredits) -> None:
    if not 1 <= command.priority <= MAX_PRIORITY:
        raise InvalidCommand("priority", f"between 1 and {MAX_PRIORITY}")
    if not 1 <= command.times <= MAX_TIMES:
        raise InvalidCommand("times", f"between 1 and {MAX_TIMES}")
    if command.times > 1 and command.every is None:
        raise InvalidCommand("every", "day, week or month, where `times` is more than one")
    if len(entries.state.lots) + command.times > MAX_LOTS and not command.paid:
        raise InvalidCommand("times", f"an account has at most {MAX_LOTS} lots of credits")
    now = instant(entries.now_us)
    for param, at in (("starts_at", command.starts_at), ("expires_at", command.expires_at)):
        if at is None:
            continue
        if at.tzinfo is None:
            raise InvalidCommand(param, "needs a time zone, as in 2030-01-31T00:00:00Z")
        if not 1970 <= at.year <= _LAST_YEAR:
            raise InvalidCommand(param, f"between the years 1970 and {_LAST_YEAR}")
    if command.expires_at is not None:
        if command.expires_at <= now:
            raise InvalidCommand("expires_at", "in the future")
        if command.starts_at is not None and command.expires_at <= command.starts_at:
            raise InvalidCommand("expires_at", "after `starts_at`")
    state = entries.state
    there = state.begun + state.held + state.upcoming
    if there + command.amount * command.times > MAX_AMOUNT:
        raise InvalidAmount("amount", "an account can't have as many credits")


def _drawn(entries: Entries, amount: int) -> tuple[Part, ...]:
    checked(amount)
    if amount > entries.available:
        raise CreditsExhausted(entries.available, amount)
    return draw(entries.state.lots, amount)


def _open(entries: Entries, hold_id: str) -> Hold:
    found = entries.state.hold(hold_id)
    if found is None:
        raise HoldEnded(hold_id, "expired")
    return found
