"""What the plan routes take and answer. Credits are decimal strings with two places."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from api.http.answers import NO_NUL, instant
from api.http.quota_shapes import PlanQuotaBody, QuotaRule, RateLimitBody, quota_rule
from application.plans import OnPlan, When
from domain.credit_amounts import decimal, hundredths
from domain.plan_rules import ChangePlan, PublishPlan
from domain.plans import Entitlements, Plan

Text = Annotated[str, msgspec.Meta(pattern=NO_NUL)]
Credits = Annotated[
    str,
    msgspec.Meta(description="A decimal with at most two places, in quotes.", examples=["2.50"]),
]
Reason = Annotated[
    str,
    msgspec.Meta(
        pattern=NO_NUL,
        max_length=500,
        description="Why, for the account's history. Staff have to say it, of what isn't theirs.",
    ),
]


class EntitlementsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan permits. `keys` and `quota` are without limit where they are null or absent."""

    keys: int | None = None
    quota: PlanQuotaBody | None = None
    rate_limits: tuple[RateLimitBody, ...] = ()
    monthly_credits: Credits = "0.00"
    features: tuple[Text, ...] = ()
    operation_costs: dict[Text, Credits] = {}

    def entitlements(self) -> Entitlements:
        """The same, with credits in hundredths. InvalidAmount."""
        quota = self.quota
        return Entitlements(
            keys=self.keys,
            quota=None if quota is None else quota.rule("entitlements.quota"),
            rate_limits=tuple(each.rate_limit() for each in self.rate_limits),
            monthly_credits=_hundredths(self.monthly_credits, "entitlements.monthly_credits"),
            features=self.features,
            operation_costs=_costs(self.operation_costs),
        )


class EntitlementsChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of it: what is absent stays; lists and the table of costs are given whole."""

    keys: int | UnsetType | None = UNSET
    quota: PlanQuotaBody | UnsetType | None = UNSET
    rate_limits: tuple[RateLimitBody, ...] | UnsetType = UNSET
    monthly_credits: Credits | UnsetType = UNSET
    features: tuple[Text, ...] | UnsetType = UNSET
    operation_costs: dict[Text, Credits] | UnsetType = UNSET


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new plan. `name` never changes; `tier` is for grouping, its own name where it is absent."""

    name: Text
    tier: Text | None = None
    title: Text
    entitlements: EntitlementsBody = EntitlementsBody()
    self_service: bool = False

    def command(self) -> PublishPlan:
        """The command."""
        return PublishPlan(
            name=self.name,
            tier=self.name if self.tier is None else self.tier,
            title=self.title,
            entitlements=self.entitlements.entitlements(),
            self_service=self.self_service,
        )


class ChangeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a plan: what is absent stays."""

    title: Text | UnsetType = UNSET
    entitlements: EntitlementsChange = EntitlementsChange()
    self_service: bool | UnsetType = UNSET

    def command(self) -> ChangePlan:
        """The command."""
        given = self.entitlements
        quota, rates, monthly = given.quota, given.rate_limits, given.monthly_credits
        return ChangePlan(
            title=self.title,
            self_service=self.self_service,
            keys=given.keys,
            quota=quota.rule("entitlements.quota") if isinstance(quota, PlanQuotaBody) else quota,
            rate_limits=(UNSET if rates is UNSET else tuple(each.rate_limit() for each in rates)),
            monthly_credits=(
                UNSET if monthly is UNSET else _hundredths(monthly, "entitlements.monthly_credits")
            ),
            features=given.features,
            operation_costs=(
                UNSET if given.operation_costs is UNSET else _costs(given.operation_costs)
            ),
        )


class UpgradeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which plan, and when: `at_renewal` is the first of the next month, UTC."""

    plan: Text
    when: When = "now"


class AssignRequest(UpgradeRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which plan, when, and why."""

    reason: Reason | None = None


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why."""

    reason: Reason | None = None


class RateLimitRule(msgspec.Struct, frozen=True):
    """A rate limit as it was set."""

    name: str
    limit: int
    period: Literal["second", "minute", "hour", "day"]
    cost: int


class EntitlementsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan permits; null is without limit."""

    keys: int | None
    quota: QuotaRule | None
    rate_limits: list[RateLimitRule]
    monthly_credits: str
    features: tuple[str, ...]
    operation_costs: dict[str, str]


class PlanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A plan. `self_service`: owners may change to it by themselves. `retired`: it takes no new
    accounts. `revision` counts its changes."""

    name: str
    tier: str
    title: str
    self_service: bool
    retired: bool
    revision: int
    entitlements: EntitlementsAnswer


class PlanPage(msgspec.Struct, frozen=True):
    """All plans that are on offer."""

    items: list[PlanAnswer]
    next_cursor: str | None


class NextPlan(msgspec.Struct, frozen=True):
    """What the account changes to, and when."""

    plan: str
    due_at: datetime


class CurrentPlan(PlanAnswer, frozen=True, kw_only=True):
    """The plan that an account is on, and what it changes to at the next renewal, if it does."""

    next: NextPlan | None


class Over(msgspec.Struct, frozen=True):
    """The account has more than the plan permits: it keeps them, and gets no more."""

    have: int
    allowed: int


class OnPlanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which plan an account is on, what it changes to, and what it has too many of for the plan
    that was asked for (`keys`)."""

    account_id: str
    plan: str
    next: NextPlan | None
    over: dict[Literal["keys"], Over]


class FeatureAnswer(msgspec.Struct, frozen=True):
    """Whether the plan includes the feature. One that no plan has is included in none."""

    plan: str
    feature: str
    included: bool


def plan_answer(plan: Plan) -> PlanAnswer:
    """The plan as it is shown."""
    return PlanAnswer(
        name=plan.name,
        tier=plan.tier,
        title=plan.title,
        self_service=plan.self_service,
        retired=plan.retired,
        revision=plan.revision,
        entitlements=entitlements_answer(plan.entitlements),
    )


def entitlements_answer(permits: Entitlements) -> EntitlementsAnswer:
    """The entitlements as they are shown."""
    return EntitlementsAnswer(
        keys=permits.keys,
        quota=None if permits.quota is None else quota_rule(permits.quota, "shared"),
        rate_limits=[
            RateLimitRule(each.name, each.limit, each.period, each.cost)
            for each in permits.rate_limits
        ],
        monthly_credits=decimal(permits.monthly_credits),
        features=permits.features,
        operation_costs={name: decimal(cost) for name, cost in permits.operation_costs.items()},
    )


def next_plan(plan: str | None, due_at: float | None) -> NextPlan | None:
    """What is scheduled, if something is."""
    return None if plan is None or due_at is None else NextPlan(plan, instant(due_at))


def on_plan_answer(on: OnPlan) -> OnPlanAnswer:
    """The answer to who was put on a plan."""
    allowed = on.plan.entitlements.keys
    over: dict[Literal["keys"], Over] = {}
    if allowed is not None and on.living_keys > allowed:
        over["keys"] = Over(on.living_keys, allowed)
    return OnPlanAnswer(
        account_id=on.account.id,
        plan=on.account.plan,
        next=next_plan(on.account.next_plan, on.account.next_plan_at),
        over=over,
    )


def _hundredths(text: str, param: str) -> int:
    # A plan may give nothing, and an operation cost nothing; a grant or a spend may not.
    return 0 if text in ("0", "0.0", "0.00") else hundredths(text, param)


def _costs(costs: dict[str, str]) -> dict[str, int]:
    return {
        operation: _hundredths(cost, f"entitlements.operation_costs.{operation}")
        for operation, cost in costs.items()
    }
