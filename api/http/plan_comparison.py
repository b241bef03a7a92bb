"""The plans on offer side by side, for a page of prices: entitlement, then plan, then value."""

from collections.abc import Sequence

import msgspec

from api.http.plan_shapes import RateLimitRule, entitlements_answer
from api.http.quota_shapes import QuotaRule
from domain.plans import Plan


class ComparedPlan(msgspec.Struct, frozen=True):
    """A column of the table."""

    name: str
    tier: str
    title: str
    self_service: bool


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Every entitlement by plan. null is without limit; an operation that a plan has no price for
    can't be asked for on it, and is null there."""

    plans: list[ComparedPlan]
    keys: dict[str, int | None]
    quota: dict[str, QuotaRule | None]
    rate_limits: dict[str, list[RateLimitRule]]
    monthly_credits: dict[str, str]
    features: dict[str, dict[str, bool]]
    operation_costs: dict[str, dict[str, str | None]]


def compare(plans: Sequence[Plan]) -> Comparison:
    """These plans side by side, in this order."""
    shown = {plan.name: entitlements_answer(plan.entitlements) for plan in plans}
    features = dict.fromkeys(name for each in shown.values() for name in each.features)
    operations = dict.fromkeys(name for each in shown.values() for name in each.operation_costs)
    return Comparison(
        plans=[ComparedPlan(each.name, each.tier, each.title, each.self_service) for each in plans],
        keys={name: each.keys for name, each in shown.items()},
        quota={name: each.quota for name, each in shown.items()},
        rate_limits={name: each.rate_limits for name, each in shown.items()},
        monthly_credits={name: each.monthly_credits for name, each in shown.items()},
        features={
            feature: {name: feature in each.features for name, each in shown.items()}
            for feature in features
        },
        operation_costs={
            operation: {name: each.operation_costs.get(operation) for name, each in shown.items()}
            for operation in operations
        },
    )
