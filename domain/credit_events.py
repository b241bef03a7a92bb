"""The facts of an account's credits, each with its place in the account's one row of entries.

Amounts are integer hundredths of a credit, instants (`..._us`) integer microseconds since 1970
UTC by the database's clock. `entry_no` counts the entries of the account without a gap: what
verifications spend are entries too, and those are in the usage log. `before` and `after` are
what was available around the entry, so each begins where the one before it ended.
"""

from typing import Literal, NamedTuple, assert_never

import msgspec

from domain.event import Event

Place = Literal["issued", "upcoming", "available", "held", "spent", "lapsed", "withdrawn"]
"""Where credits can be. Entries move them from one place to others, and never make any:
`issued` goes below zero by as much as all other places hold together."""

ReleaseReason = Literal["released", "expired", "rest"]
"""Somebody let go of the hold; its time was over; it was captured, and this was left of it."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """So much of that lot."""

    lot: int
    amount: int


class CreditGranted(Event, frozen=True, tag="credit.granted.v1"):
    """The account has a lot of credits more. One that starts later is available from its
    `credit.begun.v1` on.

    Lots are spent in the order of `priority` (lower first), end, and number. `source` says
    where it is from: `plan` (then `month` is the month that it is for, in months since year
    0), `grant`, or what the grantor calls it.
    """

    account_id: str
    entry_no: int
    at_us: int
    before: int
    after: int
    lot: int
    amount: int
    priority: int
    starts_at_us: int
    expires_at_us: int | None = None
    source: str = "grant"
    month: int | None = None


class CreditBegun(Event, frozen=True, tag="credit.begun.v1"):
    """A lot's time has come: it is available."""

    entry_no: int
    at_us: int
    before: int
    after: int
    lot: int
    amount: int


class CreditExpired(Event, frozen=True, tag="credit.expired.v1"):
    """A lot's time is over: what was left of it is gone."""

    entry_no: int
    at_us: int
    before: int
    after: int
    lot: int
    amount: int


class CreditDrawn(Event, frozen=True, tag="credit.drawn.v1"):
    """From which lots came what verifications have spent since this was last written down.

    They took it when they were counted, each with an entry of its own in the usage log, so
    nothing changes here: `before` is `after`. `used` is what verifications have spent in the
    account's whole life.
    """

    entry_no: int
    at_us: int
    before: int
    after: int
    amount: int
    parts: tuple[Part, ...]
    used: int


class CreditSpent(Event, frozen=True, tag="credit.spent.v1"):
    """Credits were spent by a command. `operation` is what they were spent on, if priced by
    the plan."""

    entry_no: int
    at_us: int
    before: int
    after: int
    amount: int
    parts: tuple[Part, ...]
    operation: str | None = None


class CreditHeld(Event, frozen=True, tag="credit.held.v1"):
    """Credits were set aside, to be captured or released until the hold expires."""

    entry_no: int
    at_us: int
    before: int
    after: int
    hold_id: str
    amount: int
    parts: tuple[Part, ...]
    expires_at_us: int
    operation: str | None = None


class CreditCaptured(Event, frozen=True, tag="credit.captured.v1"):
    """Of what was held this much was spent. The hold has ended: what is left of it comes back
    with a `credit.released.v1` in the same commit."""

    entry_no: int
    at_us: int
    before: int
    after: int
    hold_id: str
    amount: int
    parts: tuple[Part, ...]


class CreditReleased(Event, frozen=True, tag="credit.released.v1"):
    """The hold has ended, and this comes back to the lots that it is from."""

    entry_no: int
    at_us: int
    before: int
    after: int
    hold_id: str
    amount: int
    parts: tuple[Part, ...]
    reason: ReleaseReason


class CreditWithdrawn(Event, frozen=True, tag="credit.withdrawn.v1"):
    """Of what was left of a lot, this was taken back, as after a refund. `upcoming`: the lot
    had not begun."""

    entry_no: int
    at_us: int
    before: int
    after: int
    lot: int
    amount: int
    upcoming: bool = False


CreditEvent = (
    CreditGranted
    | CreditBegun
    | CreditExpired
    | CreditDrawn
    | CreditSpent
    | CreditHeld
    | CreditCaptured
    | CreditReleased
    | CreditWithdrawn
)


class Posting(NamedTuple):
    """One side of an entry: this place has so much more, or less."""

    place: Place
    amount: int


def postings(event: CreditEvent) -> tuple[Posting, ...]:
    """The entry as double-entry bookkeeping has it: the sum of its postings is zero.

    By the decisions log alone verifications spend when it is written down from which lots, so
    `available` here is that of the account at its `credit.drawn.v1` events.
    """
    match event:
        case CreditGranted():
            begun = event.starts_at_us <= event.at_us
            return _move("issued", "available" if begun else "upcoming", event.amount)
        case CreditBegun():
            return _move("upcoming", "available", event.amount)
        case CreditExpired():
            return _move("available", "lapsed", event.amount)
        case CreditDrawn() | CreditSpent():
            return _move("available", "spent", event.amount)
        case CreditHeld():
            return _move("available", "held", event.amount)
        case CreditCaptured():
            return _move("held", "spent", event.amount)
        case CreditReleased():
            return _move("held", "available", event.amount)
        case CreditWithdrawn():
            source: Place = "upcoming" if event.upcoming else "available"
            return _move(source, "withdrawn", event.amount)
        case _:
            assert_never(event)


def _move(source: Place, to: Place, amount: int) -> tuple[Posting, ...]:
    return (Posting(source, -amount), Posting(to, amount))
