"""Plans: the contract of an account. What a plan permits are its entitlements.

Accounts follow their plan by reference: what changes in it holds at once for everybody who is
on it, by one event (docs/adr/0024-plans-by-reference.md). The shipped plans are data: the first
start publishes them as events, and from then on the log is what counts.
"""

from datetime import UTC, datetime
from typing import assert_never

import msgspec

from domain.accounts import Account
from domain.errors import EntitlementExceeded, PlanInUse, PlanNotOffered
from domain.event import Event
from domain.quotas import Quota, RateLimit

FREE = "free"
INTERNAL = "internal"
KEPT = frozenset((FREE, INTERNAL))
"""Plans that this server itself puts accounts on: they can't be retired."""

_REVISION_BITS = 20


class Entitlements(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a plan permits. None is without limit; credits are integer hundredths.

    `operation_costs` is what a verification that names an operation spends in credits.
    """

    keys: int | None = None
    quota: Quota | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    monthly_credits: int = 0
    features: tuple[str, ...] = ()
    operation_costs: dict[str, int] = {}


class PlanPublished(Event, frozen=True, tag="plan.published.v1"):
    """A plan exists, with these entitlements, from now on."""

    name: str
    tier: str
    title: str
    entitlements: Entitlements
    self_service: bool = False


class PlanChanged(Event, frozen=True, tag="plan.changed.v1"):
    """The plan permits this from now on, to everybody who is on it."""

    title: str
    entitlements: Entitlements
    self_service: bool


class PlanRetired(Event, frozen=True, tag="plan.retired.v1"):
    """The plan takes no new accounts. Those on it keep it."""


PlanEvent = PlanPublished | PlanChanged | PlanRetired


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A published plan. `revision` rises with everything that changes what it permits."""

    name: str
    tier: str
    title: str
    entitlements: Entitlements
    self_service: bool
    revision: int = 1
    retired: bool = False


_COSTS = {
    "post": 1_00,
    "post_with_media": 1_50,
    "thread": 50,
    "ai": 2_00,
    "image": 2_50,
    "analysis": 50,
    "api_call": 10,
}

SHIPPED = (
    PlanPublished(
        name=FREE,
        tier="free",
        title="Free",
        entitlements=Entitlements(
            keys=5,
            quota=Quota(limit=10, period="day"),
            monthly_credits=5_00,
            operation_costs=_COSTS,
        ),
        self_service=True,
    ),
    PlanPublished(
        name="pro",
        tier="pro",
        title="Pro",
        entitlements=Entitlements(
            keys=50,
            quota=Quota(limit=100_000, period="day"),
            monthly_credits=120_00,
            operation_costs=_COSTS,
        ),
    ),
    PlanPublished(
        name="enterprise",
        tier="enterprise",
        title="Enterprise",
        entitlements=Entitlements(
            keys=1_000,
            quota=Quota(limit=10_000_000, period="day"),
            monthly_credits=600_00,
            operation_costs=_COSTS,
        ),
    ),
    PlanPublished(
        name=INTERNAL,
        tier="internal",
        title="Internal",
        entitlements=Entitlements(operation_costs=_COSTS),
    ),
)


def stream(name: str) -> str:
    """The stream that a plan's events are in."""
    return f"plan_{name}"


def rule_no(account: Account, plan: Plan) -> int:
    """Rises whenever this account's plan permits something else: by another plan, or by a
    change of the one it is on. What an account is metered by carries it."""
    return account.plan_no << _REVISION_BITS | plan.revision


def renewal_after(now: datetime) -> datetime:
    """When plans renew next: the first instant of the next calendar month, UTC."""
    months = now.astimezone(UTC).year * 12 + now.astimezone(UTC).month
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def retire(plan: Plan) -> list[Event]:
    """Take no new accounts; twice is once. PlanInUse where this server itself needs the plan."""
    if plan.name in KEPT:
        raise PlanInUse(plan.name)
    return [] if plan.retired else [PlanRetired()]


def admit(plan: Plan) -> None:
    """Whether an account may be put on this plan: PlanNotOffered where it is retired."""
    if plan.retired:
        raise PlanNotOffered(plan.name)


def permit_key_quota(quota: Quota, shared: Quota | None, plan: str) -> None:
    """Whether an owner may give a key this quota: in the period of the account's own, no more
    than the account has. EntitlementExceeded."""
    if shared is not None and shared.period == quota.period and quota.limit > shared.limit:
        raise EntitlementExceeded(f"per {quota.period}", shared.limit, plan)


def evolve(state: Plan | None, event: PlanEvent, at: datetime) -> Plan:
    """The plan after this event."""
    if isinstance(event, PlanPublished):
        return Plan(
            name=event.name,
            tier=event.tier,
            title=event.title,
            entitlements=event.entitlements,
            self_service=event.self_service,
            revision=1 if state is None else state.revision + 1,
        )
    if state is None:
        raise ValueError(f"{type(event).__name__} before plan.published")
    replace = msgspec.structs.replace
    match event:
        case PlanChanged():
            return replace(
                state,
                title=event.title,
                entitlements=event.entitlements,
                self_service=event.self_service,
                # What is only said of it changes nothing that anybody counts by.
                revision=state.revision + (event.entitlements != state.entitlements),
            )
        case PlanRetired():
            return replace(state, retired=True)
        case _:
            assert_never(event)
