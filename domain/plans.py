"""Plans: the contract of an account. What a plan permits are its entitlements.

The shipped plans are data: the first migration publishes them as events, and from then on
the log is what counts.
"""

from datetime import datetime
from typing import assert_never

import msgspec

from domain.allowances import Quota
from domain.event import Event

FREE = "free"
INTERNAL = "internal"


class Entitlements(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a plan permits. None is without limit; credits are integer hundredths."""

    keys: int | None = None
    quota: Quota | None = None
    monthly_credits: int = 0
    features: tuple[str, ...] = ()


class PlanPublished(Event, frozen=True, tag="plan.published.v1"):
    """A plan exists, with these entitlements, from now on."""

    name: str
    tier: str
    title: str
    entitlements: Entitlements
    self_service: bool = False


PlanEvent = PlanPublished


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A published plan."""

    name: str
    tier: str
    title: str
    entitlements: Entitlements
    self_service: bool


SHIPPED = (
    PlanPublished(
        name=FREE,
        tier="free",
        title="Free",
        entitlements=Entitlements(
            keys=5, quota=Quota(limit=10, period="day"), monthly_credits=5_00
        ),
        self_service=True,
    ),
    PlanPublished(
        name="pro",
        tier="pro",
        title="Pro",
        entitlements=Entitlements(
            keys=50, quota=Quota(limit=100_000, period="day"), monthly_credits=120_00
        ),
    ),
    PlanPublished(
        name="enterprise",
        tier="enterprise",
        title="Enterprise",
        entitlements=Entitlements(
            keys=1_000, quota=Quota(limit=10_000_000, period="day"), monthly_credits=600_00
        ),
    ),
    PlanPublished(name=INTERNAL, tier="internal", title="Internal", entitlements=Entitlements()),
)


def stream(name: str) -> str:
    """The stream that a plan's events are in."""
    return f"plan_{name}"


def evolve(state: Plan | None, event: PlanEvent, at: datetime) -> Plan:
    """The plan after this event."""
    match event:
        case PlanPublished():
            return Plan(
                name=event.name,
                tier=event.tier,
                title=event.title,
                entitlements=event.entitlements,
                self_service=event.self_service,
            )
        case _:
            assert_never(event)
