"""What plans and their limits refuse; `codes` is where all codes are."""

from api.http.code import Code

PLANS = (
    Code(
        "PLAN_LIMIT_REACHED",
        403,
        "The plan does not permit more",
        "The account has as many of these as its plan permits, or a key would get a larger quota "
        "than its account has in the same period. `detail` names the entitlement and the limit.",
        "Remove one that is not needed any more, ask for less, or change to a larger plan.",
        "The plan free permits 2 (keys).",
    ),
    Code(
        "UNKNOWN_PLAN",
        400,
        "No such plan",
        "No plan of this name is published.",
        "Take a name from `GET /v1/plans`.",
        "There is no plan `gold`.",
        "plan",
    ),
    Code(
        "UNKNOWN_OPERATION",
        400,
        "No such operation",
        "The plan of the key's account has no price for this operation.",
        "Take an operation from `GET /v1/credits/costs`, or leave it out: then no credits are "
        "spent.",
        "The plan prices no operation `render`.",
        "operation",
    ),
    Code(
        "PLAN_RETIRED",
        409,
        "The plan is retired",
        "The plan takes no new accounts. Those that are on it keep it.",
        "Take a plan from `GET /v1/plans`; retired ones are not on it.",
        "The plan `gold` takes no new accounts.",
        "plan",
    ),
    Code(
        "PLAN_IN_USE",
        409,
        "The plan can't be retired",
        "The server itself puts accounts on this plan: on `free` those that register, on "
        "`internal` those of staff.",
        "Change what the plan permits (`PATCH /v1/plans/{name}`), and leave it in place.",
        "The plan `free` can't be retired.",
    ),
    Code(
        "NOT_SELF_SERVICE",
        403,
        "The plan is not self-service",
        "An owner changes by themselves only to plans that are offered for that: `self_service` "
        "is true of them. Nothing was changed.",
        "Ask the operator, or take a plan from `GET /v1/plans` with `self_service`.",
        "The plan `enterprise` is given by the operator only.",
        "plan",
    ),
)
