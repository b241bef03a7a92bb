"""What the reference says of the plan routes."""

from api.http.operation import Operation, Parameter
from api.http.plan_comparison import Comparison
from api.http.plan_shapes import (
    AssignRequest,
    CancelRequest,
    ChangeRequest,
    CurrentPlan,
    FeatureAnswer,
    OnPlanAnswer,
    PlanAnswer,
    PlanPage,
    PublishRequest,
    UpgradeRequest,
)

_TAG = "Plans and quotas"
_QUOTA = {
    "limit": 10,
    "period": "day",
    "scope": "shared",
    "carry_over_max": 0,
    "anchor": None,
    "time_zone": "UTC",
}
_ENTITLEMENTS = {
    "keys": 5,
    "quota": _QUOTA,
    "rate_limits": [{"name": "burst", "limit": 5, "period": "second", "cost": 1}],
    "monthly_credits": "5.00",
    "features": ["webhooks"],
    "operation_costs": {"image": "2.50"},
}
_PLAN = {
    "name": "free",
    "tier": "free",
    "title": "Free",
    "self_service": True,
    "retired": False,
    "revision": 1,
    "entitlements": _ENTITLEMENTS,
}
_TEAM = {**_PLAN, "name": "team", "tier": "team", "title": "Team", "self_service": False}
_NAME = Parameter("name", "The plan's name.", {"type": "string"}, "team", "path")
ACCOUNT_ID = Parameter(
    "account_id",
    "The account's id, or `@` and its username.",
    {"type": "string"},
    "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "path",
)
_ON_PLAN = {
    "account_id": ACCOUNT_ID.example,
    "plan": "pro",
    "next": {"plan": "free", "due_at": "2026-03-01T00:00:00Z"},
    "over": {"keys": {"have": 7, "allowed": 5}},
}

PLANS = Operation(
    id="list_plans",
    tag=_TAG,
    summary="List plans",
    description="The plans that are on offer. There are few, so they are always one page.",
    who="public",
    answer=PlanPage,
    example={"items": [_PLAN], "next_cursor": None},
    reads=True,
)

GET = Operation(
    id="get_plan",
    tag=_TAG,
    summary="Read a plan",
    description="One plan, a retired one too.",
    who="public",
    answer=PlanAnswer,
    example=_TEAM,
    parameters=(_NAME,),
    reads=True,
    errors=("NOT_FOUND",),
)

CURRENT = Operation(
    id="current_plan",
    tag=_TAG,
    summary="Read the own plan",
    description="The plan that the caller's account is on, and what it changes to at renewal.",
    who="user",
    answer=CurrentPlan,
    example={**_PLAN, "next": None},
    reads=True,
)

COMPARISON = Operation(
    id="compare_plans",
    tag=_TAG,
    summary="Compare plans",
    description="The plans on offer side by side, as a page of prices shows them.",
    who="public",
    answer=Comparison,
    example={
        "plans": [{"name": "free", "tier": "free", "title": "Free", "self_service": True}],
        "keys": {"free": 5},
        "quota": {"free": _QUOTA},
        "rate_limits": {"free": _ENTITLEMENTS["rate_limits"]},
        "monthly_credits": {"free": "5.00"},
        "features": {"webhooks": {"free": True}},
        "operation_costs": {"image": {"free": "2.50"}},
    },
    reads=True,
)

FEATURE = Operation(
    id="plan_feature",
    tag=_TAG,
    summary="Ask whether a plan has a feature",
    description="A feature that no plan knows is included in none.",
    who="public",
    answer=FeatureAnswer,
    example={"plan": "team", "feature": "webhooks", "included": True},
    parameters=(
        _NAME,
        Parameter("feature", "The feature's name.", {"type": "string"}, "webhooks", "path"),
    ),
    reads=True,
    errors=("NOT_FOUND",),
)

PUBLISH = Operation(
    id="publish_plan",
    tag=_TAG,
    summary="Publish a plan",
    description="Makes a plan, on offer from now on. For staff.",
    who="staff",
    right="plans.publish",
    status=201,
    answer=PlanAnswer,
    example=_TEAM,
    body=PublishRequest,
    body_example={
        "name": "team",
        "title": "Team",
        "entitlements": {
            "keys": 20,
            "quota": {"limit": 50_000, "period": "month", "carry_over_max": 10_000},
            "rate_limits": [{"name": "burst", "limit": 50, "period": "second"}],
            "monthly_credits": "40.00",
            "features": ["webhooks"],
            "operation_costs": {"image": "2.50"},
        },
    },
    commands=True,
    once=True,
    errors=("ALREADY_TAKEN", "INVALID_AMOUNT"),
)

CHANGE = Operation(
    id="change_plan",
    tag=_TAG,
    summary="Change a plan",
    description=(
        "Changes what the body has and leaves the rest; lists and the table of costs are given "
        "whole. It holds at once for every account on the plan. For staff."
    ),
    who="staff",
    right="plans.publish",
    answer=PlanAnswer,
    example={**_TEAM, "revision": 2},
    body=ChangeRequest,
    body_example={"title": "Team", "entitlements": {"keys": 30, "quota": None}},
    parameters=(_NAME,),
    commands=True,
    errors=("NOT_FOUND", "INVALID_AMOUNT"),
)

RETIRE = Operation(
    id="retire_plan",
    tag=_TAG,
    summary="Retire a plan",
    description=(
        "The plan takes no new accounts from now on; those on it keep it. `free` and `internal` "
        "stay. For staff."
    ),
    who="staff",
    right="plans.publish",
    answer=PlanAnswer,
    example={**_TEAM, "retired": True},
    parameters=(_NAME,),
    commands=True,
    errors=("NOT_FOUND", "PLAN_IN_USE"),
)

UPGRADE = Operation(
    id="upgrade_plan",
    tag=_TAG,
    summary="Change the own plan",
    description=(
        "Puts the caller's account on a plan with `self_service`, at once or at the next renewal: "
        "the first of the next month, UTC. What the account has too many of for it, it keeps; "
        "`over` says so."
    ),
    who="user",
    own_hand=True,
    answer=OnPlanAnswer,
    example=_ON_PLAN,
    body=UpgradeRequest,
    body_example={"plan": "free", "when": "at_renewal"},
    commands=True,
    once=True,
    errors=("UNKNOWN_PLAN", "PLAN_RETIRED", "NOT_SELF_SERVICE"),
)

ASSIGN = Operation(
    id="assign_plan",
    tag=_TAG,
    summary="Put an account on a plan",
    description=(
        "At once or at the next renewal: the first of the next month, UTC. With it ends a quota "
        "that staff had given the account. What the account has too many of, it keeps; `over` "
        "says so. For staff."
    ),
    who="staff",
    right="plan.assign",
    answer=OnPlanAnswer,
    example=_ON_PLAN,
    body=AssignRequest,
    body_example={"plan": "free", "when": "at_renewal", "reason": "cancelled by letter"},
    parameters=(ACCOUNT_ID,),
    commands=True,
    errors=("NOT_FOUND", "UNKNOWN_PLAN", "PLAN_RETIRED"),
)

CANCEL = Operation(
    id="cancel_plan_change",
    tag=_TAG,
    summary="Stay on the plan",
    description=(
        "Takes back what was scheduled for the renewal; where nothing was, nothing changes. For "
        "the account's owner, and for staff, who say why."
    ),
    who="user",
    right="plan.assign",
    status=204,
    body=CancelRequest,
    body_example={"reason": "stays after all"},
    body_optional=True,
    parameters=(ACCOUNT_ID,),
    commands=True,
    errors=("NOT_FOUND",),
)
