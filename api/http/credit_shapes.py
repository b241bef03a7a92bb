"""What credit routes take and answer. Amounts are decimal strings with two places."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from api.http.answers import in_utc
from api.http.plan_shapes import Reason
from application.credit_balances import Balance, Check, Costs
from application.credits import GrantCredits, Granted, Held, Price, Spent
from application.ports import CreditEntry, CreditEntryKind
from domain.calendars import instant
from domain.credit_amounts import decimal, hundredths
from domain.credit_lots import Every
from domain.credits import DEFAULT_HOLD_SECONDS, DEFAULT_PRIORITY, MAX_HOLD_SECONDS, MAX_TIMES

Amount = Annotated[
    str,
    Meta(
        max_length=20,
        description="A decimal with at most two places, in quotes.",
        examples=["12.50"],
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
AccountId = Annotated[str, Meta(min_length=1, max_length=40)]


class PriceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `amount`, or an `operation` that the account's plan has a price for."""

    amount: Amount | None = None
    operation: Name | None = None

    def price(self) -> Price:
        """The same, in hundredths. InvalidAmount."""
        amount = None if self.amount is None else hundredths(self.amount)
        return Price(amount, self.operation)


class CheckRequest(PriceBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose credits (left out: the caller's), and how many of them."""

    account_id: AccountId | None = None


class SpendRequest(PriceBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose credits to spend, how many, and why."""

    account_id: AccountId
    reason: Reason | None = None


class HoldRequest(PriceBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose credits to set aside, how many, for how many seconds, and why."""

    account_id: AccountId
    expires_in: Annotated[int, Meta(ge=1, le=MAX_HOLD_SECONDS)] = DEFAULT_HOLD_SECONDS
    reason: Reason | None = None


class CaptureRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of what is held to spend (left out: all of it), and why."""

    amount: Amount | None = None
    reason: Reason | None = None


class ReleaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why it is let go."""

    reason: Reason | None = None


class GrantRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credits to give, on top of what is there. Lower `priority` is spent first; the plan's own
    are 0. With `every` and `times`, so many lots of this amount, each a period after the one
    before, and each for as long."""

    account_id: AccountId
    amount: Amount
    priority: Annotated[int, Meta(ge=1, le=255)] = DEFAULT_PRIORITY
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    every: Every | None = None
    times: Annotated[int, Meta(ge=1, le=MAX_TIMES)] = 1
    reason: Reason | None = None

    def command(self) -> GrantCredits:
        """The same, in hundredths and in UTC. InvalidAmount, HttpProblem."""
        return GrantCredits(
            amount=hundredths(self.amount),
            priority=self.priority,
            starts_at=None if self.starts_at is None else in_utc(self.starts_at, "starts_at"),
            expires_at=None if self.expires_at is None else in_utc(self.expires_at, "expires_at"),
            every=self.every,
            times=self.times,
        )


class ExpiringAnswer(msgspec.Struct, frozen=True):
    """What of it will be gone at this instant, unless it is spent before."""

    amount: str
    expires_at: datetime


class CreditsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An account's credits at an instant. `upcoming` was granted for later."""

    account_id: str
    available: str
    held: str
    upcoming: str
    currency: Literal["credits"] = "credits"
    expiring: list[ExpiringAnswer]
    as_of: datetime


class CreditEntryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `amount` is what it is about, `before` and `after` what was available around
    it: a later entry begins where this one ended."""

    entry_no: int
    at: datetime
    kind: CreditEntryKind
    amount: str
    before: str
    after: str
    operation: str | None
    verification_id: str | None
    key_id: str | None
    hold_id: str | None
    lot: int | None
    source: str | None
    expires_at: datetime | None


class CreditHistoryPage(msgspec.Struct, frozen=True):
    """A page of entries, newest first."""

    items: list[CreditEntryAnswer]
    next_cursor: str | None


class CheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it would pass now."""

    account_id: str
    allowed: bool
    amount: str
    operation: str | None
    available: str


class CostsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What operations cost under the account's plan, and what the plan gives each month."""

    plan: str
    currency: Literal["credits"] = "credits"
    monthly_credits: str
    costs: dict[str, str]


class GrantAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was given: so many `lots` of this amount, by their numbers."""

    account_id: str
    amount: str
    priority: int
    lots: list[int]
    available: str


class SpendAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent, and what is available after it."""

    account_id: str
    amount: str
    operation: str | None
    available: str


class HoldAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as the command left it; `captured` of its amount was spent."""

    id: str
    account_id: str
    status: Literal["held", "captured", "released"]
    amount: str
    captured: str
    expires_at: datetime
    available: str


def credits_answer(balance: Balance) -> CreditsAnswer:
    """A balance as it is shown."""
    return CreditsAnswer(
        account_id=balance.account_id,
        available=decimal(balance.available),
        held=decimal(balance.held),
        upcoming=decimal(balance.upcoming),
        expiring=[
            ExpiringAnswer(decimal(each.amount), instant(each.expires_at_us))
            for each in balance.expiring
        ],
        as_of=instant(balance.at_us),
    )


def entry_answers(entries: Sequence[CreditEntry]) -> list[CreditEntryAnswer]:
    """Entries as they are shown."""
    return [
        CreditEntryAnswer(
            entry_no=each.entry_no,
            at=instant(each.at_us),
            kind=each.kind,
            amount=decimal(each.amount),
            before=decimal(each.before),
            after=decimal(each.after),
            operation=each.operation,
            verification_id=each.verification_id,
            key_id=each.key_id,
            hold_id=each.hold_id,
            lot=each.lot,
            source=each.source,
            expires_at=None if each.expires_at_us is None else instant(each.expires_at_us),
        )
        for each in entries
    ]


def check_answer(check: Check) -> CheckAnswer:
    """A check as it is shown."""
    return CheckAnswer(
        account_id=check.account_id,
        allowed=check.allowed,
        amount=decimal(check.amount),
        operation=check.operation,
        available=decimal(check.available),
    )


def costs_answer(costs: Costs) -> CostsAnswer:
    """Prices as they are shown."""
    return CostsAnswer(
        plan=costs.plan,
        monthly_credits=decimal(costs.monthly),
        costs={name: decimal(cost) for name, cost in sorted(costs.operations.items())},
    )


def grant_answer(granted: Granted) -> GrantAnswer:
    """A grant as it is shown."""
    return GrantAnswer(
        account_id=granted.account_id,
        amount=decimal(granted.amount),
        priority=granted.priority,
        lots=granted.lots,
        available=decimal(granted.available),
    )


def spend_answer(spent: Spent) -> SpendAnswer:
    """A spend as it is shown."""
    return SpendAnswer(
        account_id=spent.account_id,
        amount=decimal(spent.amount),
        operation=spent.operation,
        available=decimal(spent.available),
    )


def hold_answer(held: Held) -> HoldAnswer:
    """A hold as it is shown."""
    return HoldAnswer(
        id=held.hold_id,
        account_id=held.account_id,
        status=held.status,
        amount=decimal(held.amount),
        captured=decimal(held.captured),
        expires_at=instant(held.expires_at_us),
        available=decimal(held.available),
    )
