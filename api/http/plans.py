"""Plans: what is on offer, and what the caller's account is on."""

import msgspec
from litestar import Controller, Response, get

from api.http.answers import shown
from api.http.dependencies import Caller, ThePorts
from api.http.operation import Operation
from domain.allowances import Period
from domain.errors import NotFound
from domain.plans import INTERNAL, Plan


class PlanQuota(msgspec.Struct, frozen=True):
    """So many verifications in each period, shared by the account's keys."""

    limit: int
    period: Period


class EntitlementsAnswer(msgspec.Struct, frozen=True):
    """What a plan permits; null is without limit. Credits are decimals with two places."""

    keys: int | None
    quota: PlanQuota | None
    monthly_credits: str
    features: tuple[str, ...]


class PlanAnswer(msgspec.Struct, frozen=True):
    """A plan. `self_service`: its owner may change to it without asking anybody."""

    name: str
    tier: str
    title: str
    self_service: bool
    entitlements: EntitlementsAnswer


class PlanPage(msgspec.Struct, frozen=True):
    """All plans that are on offer."""

    items: list[PlanAnswer]
    next_cursor: str | None


_EXAMPLE = {
    "name": "free",
    "tier": "free",
    "title": "Free",
    "self_service": True,
    "entitlements": {
        "keys": 5,
        "quota": {"limit": 10, "period": "day"},
        "monthly_credits": "5.00",
        "features": [],
    },
}

PLANS = Operation(
    id="list_plans",
    tag="Plans and quotas",
    summary="List plans",
    description="The plans that are on offer. There are few, so they are always one page.",
    who="public",
    answer=PlanPage,
    example={"items": [_EXAMPLE], "next_cursor": None},
    reads=True,
)

CURRENT_PLAN = Operation(
    id="current_plan",
    tag="Plans and quotas",
    summary="Read the own plan",
    description="The plan that the caller's account is on.",
    who="user",
    answer=PlanAnswer,
    example=_EXAMPLE,
    reads=True,
)


class PlanController(Controller):
    """Reads from memory only."""

    @get("/v1/plans", opt={"operation": PLANS})
    async def list_plans(self, ports: ThePorts) -> Response[bytes]:
        """All but the one that is for staff."""
        offered = [plan for plan in ports.directory.plans() if plan.tier != INTERNAL]
        return shown(PlanPage([plan_answer(plan) for plan in offered], None))

    @get("/v1/plans/current", opt={"operation": CURRENT_PLAN})
    async def current_plan(self, user: Caller, ports: ThePorts) -> Response[bytes]:
        """The caller's."""
        account = ports.directory.account(user.id)
        plan = None if account is None else ports.directory.plan(account.plan)
        if plan is None:
            raise NotFound("plan", user.id)
        return shown(plan_answer(plan))


def plan_answer(plan: Plan) -> PlanAnswer:
    """The plan as it is shown."""
    permits = plan.entitlements
    quota = permits.quota
    return PlanAnswer(
        name=plan.name,
        tier=plan.tier,
        title=plan.title,
        self_service=plan.self_service,
        entitlements=EntitlementsAnswer(
            keys=permits.keys,
            quota=None if quota is None else PlanQuota(quota.limit, quota.period),
            monthly_credits=credits(permits.monthly_credits),
            features=permits.features,
        ),
    )


def credits(hundredths: int) -> str:
    """Credits as decimals with two places."""
    sign = "-" if hundredths < 0 else ""
    whole, rest = divmod(abs(hundredths), 100)
    return f"{sign}{whole}.{rest:02d}"
