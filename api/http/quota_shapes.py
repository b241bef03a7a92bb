"""Quotas and rate limits as bodies give them and answers show them, of keys, accounts and plans."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from api.http.answers import NO_NUL, in_utc
from api.http.problems import HttpProblem
from domain.calendars import UTC_NAME, Period, RatePeriod
from domain.counters import Scope
from domain.errors import InvalidCommand
from domain.quotas import MAX_AMOUNT, Quota, RateLimit, check

Amount = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
Anchor = Annotated[
    datetime | None,
    msgspec.Meta(description="An instant at which a window begins; the others follow from it."),
]
TimeZone = Annotated[
    str,
    msgspec.Meta(
        pattern=NO_NUL,
        description="Whose days, weeks and months: a name of the IANA database.",
        examples=["Europe/Berlin"],
    ),
]
CarryOver = Annotated[
    Amount, msgspec.Meta(description="So much of what is left may be used in later windows.")
]


class PlanQuotaBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many verifications in each period, shared by the keys of each account."""

    limit: Amount
    period: Period
    carry_over_max: CarryOver = 0
    anchor: Anchor = None
    time_zone: TimeZone = UTC_NAME

    def rule(self, param: str | None) -> Quota:
        """The rule, its anchor in UTC. HttpProblem, InvalidCommand; `param` is where it stands
        in the body, None for the body itself."""
        anchor = self.anchor
        quota = Quota(
            self.limit,
            self.period,
            self.carry_over_max,
            None if anchor is None else in_utc(anchor, _within(param, "anchor")),
            self.time_zone,
        )
        try:
            return check(quota, "")
        except InvalidCommand as refused:
            raise InvalidCommand(_within(param, refused.param[1:]), refused.reason) from None


class QuotaBody(PlanQuotaBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many verifications in each period. `scope` says no more than the route does."""

    scope: Scope | UnsetType = UNSET

    def own(self, param: str | None = "quota") -> Quota:
        """A key's rule; HttpProblem where it is meant to be shared."""
        if self.scope == "shared":
            detail = "A key's quota is its own; a shared one belongs to the account and its plan."
            raise HttpProblem("INVALID_REQUEST", detail, param=_within(param, "scope"))
        return self.rule(param)

    def shared(self, param: str | None = "quota") -> Quota:
        """An account's rule; HttpProblem where it is meant for one key."""
        if self.scope == "own":
            detail = "An account's quota is shared by its keys; an own one belongs to a key."
            raise HttpProblem("INVALID_REQUEST", detail, param=_within(param, "scope"))
        return self.rule(param)


def _within(param: str | None, field: str) -> str:
    return field if param is None else f"{param}.{field}"


class RateLimitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many in each short window; each verification takes `cost`."""

    name: Annotated[str, msgspec.Meta(pattern=NO_NUL)]
    limit: Amount
    period: RatePeriod
    cost: Amount = 1

    def rate_limit(self) -> RateLimit:
        """The rule."""
        return RateLimit(self.name, self.limit, self.period, self.cost)


class QuotaRule(msgspec.Struct, frozen=True, kw_only=True):
    """A quota as it was set; what is left of it is at GET /v1/quotas."""

    limit: int
    period: Period
    scope: Scope
    carry_over_max: int
    anchor: datetime | None
    time_zone: str


def quota_rule(quota: Quota, scope: Scope) -> QuotaRule:
    """The quota as it is shown."""
    return QuotaRule(
        limit=quota.limit,
        period=quota.period,
        scope=scope,
        carry_over_max=quota.carry_over_max,
        anchor=quota.anchor,
        time_zone=quota.time_zone,
    )
