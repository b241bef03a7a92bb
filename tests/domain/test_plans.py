"""Plans: shipped ones are data, and a published plan is exactly what its event says."""

from datetime import UTC, datetime

import pytest

from domain import plans
from domain.allowances import check
from domain.plans import Plan, PlanPublished

AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_free_pro_enterprise_and_internal_are_shipped() -> None:
    assert [plan.name for plan in plans.SHIPPED] == ["free", "pro", "enterprise", "internal"]
    assert [plan.name for plan in plans.SHIPPED if plan.self_service] == ["free"]


def test_better_plans_permit_more() -> None:
    free, pro, enterprise, internal = (plan.entitlements for plan in plans.SHIPPED)
    assert 0 < (free.keys or 0) < (pro.keys or 0) < (enterprise.keys or 0)
    assert internal.keys is None
    assert internal.quota is None


@pytest.mark.parametrize("event", plans.SHIPPED, ids=lambda event: event.name)
def test_shipped_plan_is_as_its_event_says(event: PlanPublished) -> None:
    plan = plans.evolve(None, event, AT)
    assert plan == Plan(
        name=event.name,
        tier=event.tier,
        title=event.title,
        entitlements=event.entitlements,
        self_service=event.self_service,
    )
    if plan.entitlements.quota is not None:
        check(plan.entitlements.quota)


def test_publishing_again_replaces_the_whole_plan() -> None:
    first = plans.evolve(None, plans.SHIPPED[1], AT)
    again = PlanPublished(
        name="pro", tier="pro", title="Pro 2", entitlements=plans.Entitlements(keys=1)
    )
    assert plans.evolve(first, again, AT).entitlements == plans.Entitlements(keys=1)
